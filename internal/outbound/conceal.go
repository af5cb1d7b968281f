package outbound

import "net/http"

// conceal shows those between it and [reveal] a URL without secrets: a trace takes all of it.
type conceal struct {
	next     http.RoundTripper
	redactor func() *Redactor
}

func (c *conceal) RoundTrip(req *http.Request) (*http.Response, error) {
	if shown := c.redactor().URL(req.URL); shown != req.URL {
		callOf(req).url = req.URL
		req = req.WithContext(req.Context())
		req.URL = shown
	}
	return c.next.RoundTrip(req)
}

// reveal has the true URL go on, and shows errors without secrets.
type reveal struct {
	next     http.RoundTripper
	redactor func() *Redactor
}

func (r *reveal) RoundTrip(req *http.Request) (*http.Response, error) {
	if u := callOf(req).url; u != nil {
		req = req.WithContext(req.Context())
		req.URL = u
	}
	res, err := r.next.RoundTrip(req)
	if err != nil {
		return nil, r.redactor().Error(err)
	}
	return res, nil
}
