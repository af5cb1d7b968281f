package webhookingress

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// named is the id by which a second copy is recognised: the upstream's, or a hash of what was sent.
type named struct {
	id          string
	isUpstreams bool
}

func (g *Ingress) idOf(ctx context.Context, handler contracts.WebhookHandler, provider string, req *contracts.WebhookRequest) (named, error) {
	return ask(ctx, g.calls, provider, func(context.Context) (named, error) {
		id, ok := idOf(handler, req)
		return named{id: id, isUpstreams: ok}, nil
	})
}

// idOf returns the id of a delivery; ok is false for a hash.
func idOf(handler contracts.WebhookHandler, req *contracts.WebhookRequest) (id string, ok bool) {
	_ = panics.Try("the provider", func() error {
		id, ok = handler.WebhookDeliveryID(req)
		return nil
	})
	if ok && id != "" {
		return printable(id), true
	}
	return "sha256:" + hex.EncodeToString(hashOf(handler, req)), false
}

// hashOf covers all that tells two deliveries with the same body apart: the method, the address, the type, and the headers that say what it is
// about. Other headers differ between copies of one delivery, such as times, signatures and what proxies add.
func hashOf(handler contracts.WebhookHandler, req *contracts.WebhookRequest) []byte {
	var event string
	_ = panics.Try("the provider", func() error {
		event, _ = handler.ResolveWebhookEvent(req)
		return nil
	})
	h := sha256.New()
	// Each part has its length before it, so that no two lists of parts are written alike.
	part := func(text string) { _, _ = fmt.Fprintf(h, "%d:%s\n", len(text), text) }
	for _, text := range []string{req.Method, req.Path, req.Query, event} {
		part(text)
	}
	for _, name := range slices.Sorted(maps.Keys(req.Header)) {
		if isAbout(name) {
			part(http.CanonicalHeaderKey(name))
			part(strings.Join(req.Header[name], "\n"))
		}
	}
	h.Write(req.Body)
	return h.Sum(nil)
}

// isAbout reports whether a header says what a delivery is about, such as X-Shopify-Topic.
func isAbout(name string) bool {
	for word := range strings.SplitSeq(strings.ToLower(name), "-") {
		switch word {
		case "event", "events", "topic", "type", "kind", "action", "resource", "object":
			return true
		}
	}
	return false
}

// printable stands for an id in headers and in columns: itself, or its hash when it is long or has characters that these don't take.
func printable(id string) string {
	const most = 200
	fit := len(id) <= most
	for i := 0; i < len(id) && fit; i++ {
		fit = id[i] > ' ' && id[i] < 0x7f
	}
	if fit {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return "id-sha256:" + hex.EncodeToString(sum[:])
}
