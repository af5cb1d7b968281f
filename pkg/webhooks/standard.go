package webhooks

import (
	"cmp"
	"crypto/hmac"
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// Standard is the scheme of Standard Webhooks (https://www.standardwebhooks.com, version 1, symmetric) and of Svix, on which it is built:
// webhook-id, webhook-timestamp and webhook-signature, or the same with svix-. The signature covers the id, so that a delivery can't be sent again under another one. Secrets
// are base64, with or without "whsec_" before them.
type Standard struct {
	// Tolerance is [Tolerance] by default.
	Tolerance time.Duration
}

// Verify checks a delivery.
func (s Standard) Verify(req *contracts.WebhookRequest, secrets ...string) error {
	secrets, err := usable(secrets)
	if err != nil {
		return err
	}
	id, timestamp, signatures, err := parseStandard(req)
	if err != nil {
		return err
	}
	at, err := parseUnix(timestamp)
	if err != nil {
		return err
	}
	scheme := HMAC{Encoding: Base64, Prefix: "v1,", TimestampHeader: "webhook-timestamp", Before: id + ".", After: "."}
	matches := false
	for _, secret := range secrets {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
		if err != nil || len(key) == 0 {
			return ErrNoSecret
		}
		want := []byte(scheme.sign(string(key), timestamp, req.Body))
		for _, signature := range signatures {
			matches = hmac.Equal(want, []byte(signature)) || matches
		}
	}
	switch {
	case !matches:
		return ErrMismatch
	case !isFresh(at, req, cmp.Or(s.Tolerance, Tolerance)):
		return ErrStale
	}
	return nil
}

// DeliveryID is the id that the signature covers, for WebhookDeliveryID.
func (Standard) DeliveryID(req *contracts.WebhookRequest) (string, bool) {
	for _, family := range families() {
		if id, ok := only(req, family+"id"); ok {
			return id, true
		}
	}
	return "", false
}

// families are the beginnings of the headers' names. A delivery has all of one family.
func families() []string { return []string{"webhook-", "svix-"} }

// parseStandard takes the headers apart.
func parseStandard(req *contracts.WebhookRequest) (id, timestamp string, signatures []string, err error) {
	for _, family := range families() {
		var list string
		var found [3]bool
		id, found[0] = only(req, family+"id")
		timestamp, found[1] = only(req, family+"timestamp")
		list, found[2] = only(req, family+"signature")
		if found != [3]bool{true, true, true} {
			continue
		}
		if signatures = strings.Split(list, " "); len(signatures) > maxSignatures || slices.Contains(signatures, "") {
			return "", "", nil, ErrMissing
		}
		return id, timestamp, signatures, nil
	}
	return "", "", nil, ErrMissing
}

var _ Verifier = Standard{}
