package requestlog

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

const (
	upstreamIDBytes = 128
	errorBytes      = 4 << 10
	// nameBytes bounds the other texts that come from outside.
	nameBytes = 2 << 10
)

// Row is one attempt as it is stored: redacted, cut, and of text that a database takes.
type Row struct {
	ID, First      uuid.UUID
	At             time.Time
	Integration    string
	Provider       string
	Origin         Origin
	Attempt        int
	IdempotencyKey string
	// Method to Query are those of the URL that was asked for.
	Method, Host, Path, Query foreign.Text
	// Status is 0 without an answer.
	Status int
	Class  contracts.FailureClass
	Error  foreign.Text
	// UpstreamID is the id that the upstream gave the request.
	UpstreamID foreign.Text
	// Duration is until the head of the answer, or the error.
	Duration time.Duration
	// RequestHeader and ResponseHeader are JSON objects of lists.
	RequestHeader, ResponseHeader string
	RequestBody, ResponseBody     foreign.Text
	// RequestBytes and ResponseBytes are how much was read of the bodies, the cut ones too. A body is also cut when it
	// broke off upstream, which Error tells then.
	RequestBytes, ResponseBytes int64
	RequestCut, ResponseCut     bool
	// BodiesDropped says that there was no memory for a body.
	BodiesDropped bool
}

// row is the attempt as it is stored.
func (a *Attempt) row(maxResponse int64) Row {
	request, answer := a.Redactor.Exchange()
	u := request.URL(&a.url)
	row := Row{
		ID: a.ID, First: a.First, At: a.At, Integration: a.Integration, Provider: a.Provider, Origin: a.Origin,
		Attempt: a.Number, IdempotencyKey: a.Key,
		Method: foreign.Clean(cmp.Or(a.method, http.MethodGet), nameBytes), Host: foreign.Clean(u.Host, nameBytes),
		Path: foreign.Clean(u.Path, nameBytes), Query: foreign.Clean(u.RawQuery, nameBytes),
		Status: a.status, Class: a.class, Duration: max(a.duration, 0),
		RequestHeader: headerText(request.Header(a.requestHeader)),
	}
	row.RequestBody, row.RequestBytes, row.RequestCut,
		row.BodiesDropped = a.request.text(func(body []byte, cut bool) []byte {
		return request.RequestBody(a.requestHeader.Get("Content-Type"), body, cut)
	})
	response, dropped := answer(), false
	broken := a.response.brokenBy()
	if broken != nil && a.failure == "" {
		row.Class, a.failure = a.Classify(broken), "the answer broke off: "+broken.Error()
	}
	row.Error, row.UpstreamID = foreign.Clean(response.Text(a.failure), errorBytes),
		foreign.Clean(response.Text(upstreamID(a.responseHeader)), upstreamIDBytes)
	row.ResponseHeader = headerText(response.Header(a.responseHeader))
	row.ResponseBody, row.ResponseBytes, row.ResponseCut, dropped = a.response.text(func(body []byte, cut bool) []byte {
		return response.ResponseBody(a.responseHeader.Get("Content-Type"), body, cut)
	})
	row.BodiesDropped, row.ResponseCut = row.BodiesDropped || dropped, row.ResponseCut || broken != nil
	if a.response.unwanted && row.ResponseBytes > 0 || maxResponse > 0 && row.ResponseBytes > maxResponse {
		row.ResponseBody, row.ResponseCut = foreign.Line("["+strconv.FormatInt(row.ResponseBytes, 10)+" bytes]"), false
	}
	return row
}

// free gives the memory of the bodies back.
func (a *Attempt) free() {
	a.request.free()
	a.response.free()
}

// brokenBy is why the body could not be read to its end; nil if nobody has seen that.
func (r *recording) brokenBy() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.broken
}

// text is what is stored of a body. It ends the recording.
func (r *recording) text(redact func(body []byte, cut bool) []byte) (text foreign.Text, size int64, cut, dropped bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	if r.digest != nil {
		return binary(r.size, r.digest.Sum(nil)), r.size, false, false
	}
	shown := redact(r.kept, r.full)
	if !isText(shown, r.full) {
		digest := sha256.Sum256(r.kept)
		return binary(r.size, digest[:]), r.size, false, r.dropped
	}
	cut = r.full || len(shown) > recordedBytes
	if cut {
		shown = wholeRunes(shown[:min(len(shown), recordedBytes)])
	}
	return foreign.Clean(string(shown), recordedBytes), r.size, cut, r.dropped
}

// wholeRunes leaves out the beginning of a character that a cut has parted.
func wholeRunes(text []byte) []byte {
	for i := len(text) - 1; i >= max(len(text)-utf8.UTFMax, 0); i-- {
		if utf8.RuneStart(text[i]) {
			if !utf8.FullRune(text[i:]) {
				return text[:i]
			}
			break
		}
	}
	return text
}

func (r *recording) free() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log.release(len(r.kept))
	r.kept = nil
}

func binary(size int64, digest []byte) foreign.Text {
	return foreign.Line("[BINARY " + strconv.FormatInt(size, 10) + " bytes sha256=" + hex.EncodeToString(digest) + "]")
}

func headerText(header http.Header) string {
	if len(header) == 0 {
		return "{}"
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(header); err != nil {
		return "{}"
	}
	return string(bytes.TrimSpace(text.Bytes()))
}

// upstreamID is the id by which an upstream's own people find the request.
func upstreamID(header http.Header) string {
	for _, name := range []string{
		"X-Request-Id", "Request-Id", "X-Github-Request-Id", "X-Zendesk-Request-Id", "X-Amzn-Requestid",
		"X-Amz-Request-Id", "X-Correlation-Id", "X-Trace-Id", "Cf-Ray",
	} {
		if id := header.Get(name); id != "" {
			return id
		}
	}
	return ""
}
