package webhooks_test

import (
	"crypto/sha1" //nolint:gosec // what the example's upstream signs with
	"fmt"
	"hash"
	"net/http"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/webhooks"
)

func ExampleGitHub() {
	req := &contracts.WebhookRequest{
		Body:   []byte("Hello, World!"),
		Header: http.Header{"X-Hub-Signature-256": {"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}},
	}
	secrets := webhooks.Secrets{WebhookSecret: "the new one", WebhookSecretPrevious: "It's a Secret to Everybody"}
	fmt.Println(webhooks.GitHub().Verify(req, secrets.WebhookSecrets()...))
	fmt.Println(webhooks.GitHub().Verify(req, "the new one"))
	// Output:
	// <nil>
	// the signature does not match
}

// An upstream with a scheme of its own needs no code.
func ExampleHMAC() {
	scheme := webhooks.HMAC{
		Header: "X-Acme-Signature", Hash: func() hash.Hash { return sha1.New() }, //nolint:gosec // as above
		TimestampHeader: "X-Acme-Time", After: "\n", Tolerance: time.Minute,
	}
	req := &contracts.WebhookRequest{
		Body: []byte(`{"order":1}`), ReceivedAt: time.Unix(1709280100, 0),
		Header: http.Header{"X-Acme-Time": {"1709280000"}, "X-Acme-Signature": {"54f2fbc8209aec0c8cac4b036abd5c379c2f6b45"}},
	}
	fmt.Println(scheme.Verify(req, "shared secret"))
	req.ReceivedAt = time.Unix(1709280030, 0)
	fmt.Println(scheme.Verify(req, "shared secret"))
	// Output:
	// the timestamp is too old or too new
	// <nil>
}
