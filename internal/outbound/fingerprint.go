package outbound

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"github.com/tributaryhq/tributary/internal/redact"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// largestKeyed is how large a body with an idempotency key may be that can be read only once.
const largestKeyed = 8 << 20

// fingerprinted tells by what a request is recognised: method, URL without secrets, and body. A body that can be read
// only once is read, and the returned request has it again.
func fingerprinted(req *http.Request, redactor *redact.Redactor) (*http.Request, []byte, error) {
	digest := sha256.New()
	_, _ = fmt.Fprintf(digest, "%s\x00%s\x00", methodOf(req), redactor.URL(req.URL))
	if req.Body == nil || req.Body == http.NoBody {
		return req, digest.Sum(nil), nil
	}
	if req.GetBody == nil {
		buffered, err := buffer(req)
		if err != nil {
			return nil, nil, err
		}
		req = buffered
	}
	body, err := req.GetBody()
	if err != nil {
		closeBody(req)
		return nil, nil, fmt.Errorf("read the body of a request with an idempotency key: %w", err)
	}
	defer func() { _ = body.Close() }()
	media, parameters, _ := mime.ParseMediaType(req.Header.Get("Content-Type"))
	from := io.Reader(body)
	// The boundary is another one each time.
	if boundary := parameters["boundary"]; boundary != "" && len(media) > 0 {
		whole, err := io.ReadAll(io.LimitReader(body, largestKeyed))
		if err != nil {
			closeBody(req)
			return nil, nil, fmt.Errorf("read the body of a request with an idempotency key: %w", err)
		}
		from = io.MultiReader(bytes.NewReader(bytes.ReplaceAll(whole, []byte(boundary), nil)), body)
	}
	if _, err := io.Copy(digest, from); err != nil {
		closeBody(req)
		return nil, nil, fmt.Errorf("read the body of a request with an idempotency key: %w", err)
	}
	return req, digest.Sum(nil), nil
}

// buffer returns the request with a body that can be read again.
func buffer(req *http.Request) (*http.Request, error) {
	body, err := io.ReadAll(io.LimitReader(req.Body, largestKeyed+1))
	closeBody(req)
	if err != nil {
		return nil, fmt.Errorf("read the body of a request with an idempotency key: %w", err)
	}
	if len(body) > largestKeyed {
		return nil,
			contracts.Permanent(errors.New("the body of a request with an idempotency key is too large to be read " +
				"twice; give the request a GetBody"))
	}
	again := req.WithContext(req.Context())
	again.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	again.Body, _ = again.GetBody()
	again.ContentLength = int64(len(body))
	return again, nil
}
