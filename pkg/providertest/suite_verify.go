package providertest

import (
	"bytes"
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// verified has a copy of a delivery verified. That makes no request, and changes nothing.
func (h hook) verified(t *testing.T, credentials any, req *contracts.WebhookRequest) error {
	t.Helper()
	return h.verifiedBy(t, credentials, h.Metadata, req)
}

func (h hook) verifiedBy(t *testing.T, credentials, metadata any, req *contracts.WebhookRequest) error {
	t.Helper()
	given, upstream := cloned(req), h.upstream()
	in := h.another(t, credentials, metadata, upstream)
	err := h.guarded(t, "VerifyWebhookSignature", func() error { return h.VerifyWebhookSignature(h.context(t), in, given) })
	h.checkError(t, err)
	if upstream.count() > 0 {
		t.Error("VerifyWebhookSignature makes a request: the sender waits, and strangers could have the upstream asked")
	}
	if !bytes.Equal(given.Body, req.Body) {
		t.Error("VerifyWebhookSignature changes the body of the delivery: the handler would see another one")
	}
	if !sameHeader(given.Header, req.Header) {
		t.Error("VerifyWebhookSignature changes the headers of the delivery: the handler would see others")
	}
	return err
}

// signature wants a delivery accepted, and refused with anything changed that is signed.
func (h hook) signature(t *testing.T, delivery *contracts.WebhookRequest) {
	changed := func(change func(req *contracts.WebhookRequest)) error {
		req := cloned(delivery)
		change(req)
		return h.verified(t, h.Credentials, req)
	}
	if err := changed(func(*contracts.WebhookRequest) {}); err != nil {
		t.Fatalf("the delivery that the upstream signed is refused: %v", err)
	}
	if wrong, where := h.password(t, delivery); wrong == nil {
		h.body(t, delivery)
	} else if h.verified(t, h.Credentials, wrong) == nil { // the sender shows that it knows the secret, and signs nothing
		t.Errorf("a delivery is accepted with a wrong %s", where)
	}
	if changed(func(req *contracts.WebhookRequest) { req.Header, req.Query = http.Header{}, "" }) == nil {
		t.Error("a delivery is accepted without headers, and without a query")
	}
	h.untold(t, delivery)
	h.stamped(t, delivery)
}

// body wants a delivery refused with any byte of its body changed.
func (h hook) body(t *testing.T, delivery *contracts.WebhookRequest) {
	for i := range delivery.Body {
		req := cloned(delivery)
		req.Body[i] ^= 1
		if h.verified(t, h.Credentials, req) == nil {
			t.Fatalf("a delivery is accepted though byte %d of its body was changed", i)
		}
	}
	req := cloned(delivery)
	req.Body = append(req.Body, '\n')
	if h.verified(t, h.Credentials, req) == nil {
		t.Error("a delivery is accepted though a line end was added to its body: the signature is that of the bytes as they came")
	}
}

// password is a delivery with a wrong credential, if it has one itself, as with HTTP Basic or a token in the address; nil otherwise.
func (h hook) password(t *testing.T, delivery *contracts.WebhookRequest) (wrong *contracts.WebhookRequest, where string) {
	const basic = "Basic "
	wrong = cloned(delivery)
	for _, secret := range h.secrets(t) {
		other := backwards(secret)
		if escaped := url.QueryEscape(secret); strings.Contains(delivery.Query, escaped) {
			wrong.Query = strings.ReplaceAll(delivery.Query, escaped, url.QueryEscape(other))
			return wrong, "query"
		}
		for name := range delivery.Header {
			value := delivery.Header.Get(name)
			decoded, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(value, basic))
			switch {
			case strings.Contains(value, secret):
				wrong.Header.Set(name, strings.ReplaceAll(value, secret, other))
				return wrong, name
			case err == nil && strings.Contains(string(decoded), secret):
				text := strings.ReplaceAll(string(decoded), secret, other)
				wrong.Header.Set(name, basic+base64.StdEncoding.EncodeToString([]byte(text)))
				return wrong, name
			}
		}
	}
	return nil, ""
}

// aSignature is a text that may be a signature.
var aSignature = regexp.MustCompile(`[A-Za-z0-9+/_-]{20,}`)

// untold checks that a refusal does not tell the signature that would have been right: whoever reads it could forge deliveries.
func (h hook) untold(t *testing.T, delivery *contracts.WebhookRequest) {
	for name := range delivery.Header {
		value := delivery.Header.Get(name)
		for _, at := range aSignature.FindAllStringIndex(value, -1) {
			right, middle := value[at[0]:at[1]], (at[0]+at[1])/2
			other := byte('0')
			if value[middle] == other {
				other = '1'
			}
			req := cloned(delivery)
			req.Header.Set(name, value[:middle]+string(other)+value[middle+1:])
			if err := h.verified(t, h.Credentials, req); err != nil && strings.Contains(err.Error(), right) {
				t.Errorf("with a wrong %s the error of VerifyWebhookSignature tells the right one: whoever reads it could sign deliveries", name)
			}
		}
	}
}

// answersNoDelivery checks that a delivery is not taken for the question by which an upstream makes sure of an address.
func (h hook) answersNoDelivery(t *testing.T, delivery *contracts.WebhookRequest) {
	challenger, ok := h.WebhookHandler.(contracts.WebhookChallenger)
	if !ok {
		return
	}
	upstream, isChallenge := h.upstream(), false
	err := h.guarded(t, "WebhookChallenge", func() (err error) {
		_, isChallenge, err = challenger.WebhookChallenge(h.context(t), h.integration(t, upstream), cloned(delivery))
		return err
	})
	h.checkError(t, err)
	if isChallenge {
		t.Errorf("WebhookChallenge takes the delivery that was given for a challenge (%v): it would be answered and never handled", err)
	}
	if upstream.count() > 0 {
		t.Error("WebhookChallenge makes a request: the sender waits, and strangers could have the upstream asked")
	}
}

// handlers checks that whatever the provider says that it handles has a handler.
func (h hook) handlers(t *testing.T) {
	for event, handler := range h.WebhookHandlers() {
		if handler == nil {
			t.Errorf("WebhookHandlers has nothing for the type %q: leave the type out, and its deliveries are ignored", event)
		}
		if event == "" {
			t.Error("WebhookHandlers has a handler for the empty type: a delivery without a type goes to HandleWebhook")
		}
	}
	const times = 50
	types := slices.Sorted(maps.Keys(h.WebhookHandlers()))
	for range times {
		if again := slices.Sorted(maps.Keys(h.WebhookHandlers())); !slices.Equal(types, again) {
			t.Errorf("WebhookHandlers has the types %q and then %q: they are those of the build of the provider, and the same in every process", types, again)
			return
		}
	}
}
