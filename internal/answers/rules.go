package answers

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// IsCacheable reports whether the answer to a request is one to keep. A condition of the caller's is answered by the
// upstream.
func IsCacheable(req *http.Request) bool {
	if method := cmp.Or(req.Method, http.MethodGet); method != http.MethodGet && method != http.MethodHead ||
		req.Body != nil && req.Body != http.NoBody {
		return false
	}
	for _, name := range []string{
		"If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since", "If-Range",
		"Range",
	} {
		if req.Header.Get(name) != "" {
			return false
		}
	}
	return true
}

// Conditional is the request for what has changed since an answer: the same, if that can't be asked.
func Conditional(req *http.Request, header http.Header) *http.Request {
	etag, modified := header.Get("Etag"), header.Get("Last-Modified")
	if etag == "" && modified == "" {
		return req
	}
	asked := req.Clone(req.Context())
	if etag != "" {
		asked.Header.Set("If-None-Match", etag)
	}
	if modified != "" {
		asked.Header.Set("If-Modified-Since", modified)
	}
	return asked
}

// KeyOf is of all that an answer depends on for sure. It is a digest, as URLs may hold secrets.
func KeyOf(req *http.Request, integration string, credentials int64) []byte {
	digest := sha256.New()
	_, _ = fmt.Fprintf(digest, "%s\x00%d\x00%s\x00%s\x00%s", integration, credentials,
		cmp.Or(req.Method, http.MethodGet), req.URL, req.Header.Get("Authorization"))
	return digest.Sum(nil)
}

// variantOf is of the request headers that an answer names; false if it depends on more.
func variantOf(req *http.Request, vary []string) (names []string, variant []byte, ok bool) {
	named := map[string]bool{}
	for _, value := range vary {
		for name := range strings.SplitSeq(value, ",") {
			if name = http.CanonicalHeaderKey(strings.TrimSpace(name)); name != "" {
				named[name] = true
			}
		}
	}
	if named["*"] {
		return nil, nil, false
	}
	names = slices.Sorted(maps.Keys(named))
	digest := sha256.New()
	for _, name := range names {
		_, _ = fmt.Fprintf(digest, "%s\x00%q\x00", name, req.Header.Values(name))
	}
	return names, digest.Sum(nil), true
}

func writeHeader(w io.Writer, header http.Header) {
	raw, _ := json.Marshal(header) // sorted; texts always encode
	_, _ = w.Write(raw)
}

// Freshen takes the headers of a 304 over, but for those that describe the body, which stays (RFC 9111, section 3.2). A
// Link among them may name a page that was not there before.
func Freshen(kept, with http.Header) {
	for name, values := range with {
		if !strings.HasPrefix(name, "Content-") && name != "Transfer-Encoding" && name != "Connection" &&
			name != "Trailer" {
			kept[name] = values
		}
	}
}
