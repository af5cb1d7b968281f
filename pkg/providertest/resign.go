package providertest

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // senders use it
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"strings"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// resigned is a delivery signed with another secret, if its signature is an HMAC of its body in one of the usual ways: alone, or behind other headers and a separator.
func resigned(req *contracts.WebhookRequest, secret, other string) (forged *contracts.WebhookRequest, ok bool) {
	forged = cloned(req)
	for _, hashed := range []func() hash.Hash{sha256.New, sha1.New, sha512.New} {
		for _, before := range signedBefore(req) {
			right, wrong := sums(hashed, secret, before, req.Body), sums(hashed, other, before, req.Body)
			for name := range req.Header {
				value := req.Header.Get(name)
				for i := range right {
					if strings.Contains(value, right[i]) {
						forged.Header.Set(name, strings.ReplaceAll(value, right[i], wrong[i]))
						ok = true
					}
				}
			}
		}
	}
	return forged, ok
}

// sums are an HMAC in the ways in which it is written.
func sums(hashed func() hash.Hash, secret, before string, body []byte) []string {
	mac := hmac.New(hashed, []byte(secret))
	mac.Write([]byte(before))
	mac.Write(body)
	sum := mac.Sum(nil)
	return []string{hex.EncodeToString(sum), base64.StdEncoding.EncodeToString(sum), base64.RawURLEncoding.EncodeToString(sum)}
}

// signedBefore are the texts that may be signed before the body: none, a time, an id and a time.
func signedBefore(req *contracts.WebhookRequest) []string {
	before := []string{"", "."}
	for name := range req.Header {
		value := req.Header.Get(name)
		stamps := append(unixTime.FindAllString(value, -1), value)
		for _, stamp := range stamps {
			before = append(before, stamp, stamp+".", stamp+":", "v0:"+stamp+":")
			for id := range req.Header {
				before = append(before, req.Header.Get(id)+"."+stamp+".")
			}
		}
	}
	return before
}
