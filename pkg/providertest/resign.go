package providertest

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // senders use it
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"net/http"
	"strings"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// emptySigned is a delivery signed with an empty secret, if its signature is an HMAC of its body in one of the usual ways: alone, or behind other headers and a separator.
func emptySigned(req *contracts.WebhookRequest, secret string) (forged *contracts.WebhookRequest, ok bool) {
	forged = cloned(req)
	for _, key := range keysOf(secret) {
		for _, hashed := range []func() hash.Hash{sha256.New, sha1.New, sha512.New} {
			for _, before := range signedBefore(req) {
				right, empty := sums(hashed, key, before, req.Body), sums(hashed, "", before, req.Body)
				ok = replaceSigned(forged.Header, right, empty) || ok
			}
		}
	}
	return forged, ok
}

// keysOf are the keys that a secret may stand for: its text, or what it is the base64 of, as in "whsec_c2VjcmV0".
func keysOf(secret string) []string {
	keys := []string{secret}
	if raw, err := base64.StdEncoding.DecodeString(secret[strings.LastIndexByte(secret, '_')+1:]); err == nil {
		keys = append(keys, string(raw))
	}
	return keys
}

// replaceSigned replaces texts in a header, each by that with its index. It reports whether there were any.
func replaceSigned(header http.Header, old, with []string) (found bool) {
	for name := range header {
		value := header.Get(name)
		for i := range old {
			if strings.Contains(value, old[i]) {
				header.Set(name, strings.ReplaceAll(value, old[i], with[i]))
				found = true
			}
		}
	}
	return found
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
