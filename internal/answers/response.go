// Package answers keeps answers of upstreams: as the response cache has them, and as a request with an idempotency key
// gets them a second time. Package outbound decides when; package platform has the store.
package answers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// largest is how many bytes the body of an answer may have that is kept.
const largest = 1 << 20

// Response is an answer as it is kept.
type Response struct {
	Status int         `json:"status"`
	Header http.Header `json:"header"`
	Body   []byte      `json:"body"`
}

// Keep reads an answer and returns it as it is kept, nil if it is too large. The caller still gets all of it.
func Keep(res *http.Response) ([]byte, error) {
	body, whole, err := ReadAhead(res)
	if err != nil || !whole {
		return nil, err
	}
	kept, err := json.Marshal(Response{Status: res.StatusCode, Header: res.Header, Body: body})
	if err != nil {
		return nil, fmt.Errorf("encode an answer: %w", err)
	}
	return kept, nil
}

// ReadAhead reads a body that is small enough to be kept, and puts it back. Its error leaves nothing to be read.
func ReadAhead(res *http.Response) (body []byte, whole bool, err error) {
	if res.Body == nil || res.Body == http.NoBody {
		return nil, true, nil
	}
	body, err = io.ReadAll(io.LimitReader(res.Body, largest+1))
	if err != nil {
		_ = res.Body.Close()
		return nil, false, err
	}
	if len(body) <= largest {
		err = res.Body.Close()
		res.Body = io.NopCloser(bytes.NewReader(body))
		return body, true, err
	}
	res.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(body), res.Body), res.Body}
	return nil, false, nil
}

// Decode reads what [Keep] returned.
func Decode(raw []byte) (kept Response, err error) {
	if json.Unmarshal(raw, &kept) != nil {
		return kept, errors.New("decode the answer of an earlier request: it is not what was written")
	}
	return kept, nil
}

// Answer makes the answer to a request of what was kept.
func (r Response) Answer(req *http.Request) *http.Response {
	header := r.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{
		Status: strings.TrimSpace(fmt.Sprint(r.Status, " ", http.StatusText(r.Status))), StatusCode: r.Status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: io.NopCloser(bytes.NewReader(r.Body)), ContentLength: int64(len(r.Body)), Request: req,
	}
}
