package outbound

import (
	"context"
	"net/http"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// Tokens keeps the access token of one integration fresh.
type Tokens interface {
	// Fresh returns the integration with an access token that has not expired. While the one in memory has not, it
	// waits for nothing. A token that is being got, or for which the user must authorize again, is a deferral.
	Fresh(ctx context.Context) (*contracts.Integration, error)
	// Renew is told of an integration whose token the upstream refused, and returns it with another token; with the
	// same, if no other is to be had.
	Renew(ctx context.Context, refused *contracts.Integration) (*contracts.Integration, error)
}

// reauth sends a request again, once, with another token when the upstream refused the first with 401: such a request
// was not carried out, whatever its method. It stands outside of what counts and records requests, so that the second
// one is counted and recorded, too.
type reauth struct {
	base   http.RoundTripper
	tokens Tokens
}

func (r *reauth) RoundTrip(req *http.Request) (*http.Response, error) {
	call := callOf(req)
	call.signed = nil
	res, err := r.base.RoundTrip(req)
	if err != nil || res.StatusCode != http.StatusUnauthorized || call.signed == nil || !canRewind(req) {
		return res, err
	}
	refused := call.signed
	renewed, err := r.tokens.Renew(req.Context(), refused)
	if _, deferred := contracts.AsDeferral(err); deferred {
		discard(res)
		return nil, err
	}
	if err != nil || renewed == refused {
		return res, nil //nolint:nilerr // without another token the upstream's answer stands
	}
	again, unread := rewound(req)
	if unread != nil {
		return res, nil //nolint:nilerr // as above
	}
	discard(res)
	call.attempt++
	return r.base.RoundTrip(again)
}
