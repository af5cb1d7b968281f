package platform_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// use has the mappings and the requests of an integration get texts. What they answer does not matter here.
func (p anything) use(ctx context.Context, in *contracts.Integration) {
	p.mapAnything(ctx, in.Mappings())
	keyed, err := contracts.WithIdempotencyKey(ctx, p.text())
	if err != nil {
		keyed = ctx
	}
	p.request(keyed, in, http.MethodPost)
	p.request(contracts.WithCache(ctx, contracts.Cache{TTL: time.Hour}), in, http.MethodGet)
}

func (p anything) mapAnything(ctx context.Context, mappings contracts.Mappings) {
	for _, method := range []string{"Ensure", "Claim", "Remap", "Release", "Resolve", "Find"} {
		p.note(method)
	}
	_, _, _ = mappings.Ensure(ctx, p.text(), p.text(), p.text())
	_ = mappings.Claim(ctx, p.text(), p.text(), p.text())
	_ = mappings.Remap(ctx, p.text(), p.text(), p.text(), p.text())
	_ = mappings.Release(ctx, p.text(), p.text(), p.text())
	_, _ = mappings.Resolve(ctx, p.text(), p.list()...)
	_, _ = mappings.Find(ctx, p.text(), p.list()...)
}

// request asks the upstream, and does not wait for long: throttled requests are none of this test's.
func (p anything) request(ctx context.Context, in *contracts.Integration, method string) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "https://upstream.example/x", strings.NewReader(p.text()))
	if err != nil {
		return
	}
	if answer, err := in.HTTP().Do(req); err == nil {
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
	}
}

// RoundTrip is the upstream, which answers anything.
func (p anything) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		_, _ = io.Copy(io.Discard, req.Body)
		_ = req.Body.Close()
	}
	if req.URL.Path != "/x" {
		return p.grant(req), nil
	}
	if p.below(4) == 0 {
		return nil, errors.New(p.text())
	}
	body := p.text()
	return &http.Response{
		StatusCode: []int{200, 400, 404, 422}[p.below(4)], Request: req, Header: http.Header{"X-Says": {p.text()}, "Content-Type": {p.text()}},
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}, nil
}
