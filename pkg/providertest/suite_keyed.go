package providertest

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// The fields of webhooks.Secrets.
const (
	secretField   = "webhook_secret"
	previousField = "webhook_secret_previous"
)

// keyed checks which credentials a delivery is verified with: the integration's own, and no empty one.
func (h hook) keyed(t *testing.T, delivery *contracts.WebhookRequest) {
	var altered []string
	if !h.byMetadata(t, delivery) {
		if h.verified(t, nil, delivery) == nil {
			t.Error("a delivery is accepted by an integration without credentials")
		}
		if other := alter(decoded(t, h.Credentials), &altered); len(altered) > 0 && h.verified(t, other, delivery) == nil {
			t.Error("a delivery is accepted whatever credentials the integration has: verify it with a secret of the integration")
		}
	}
	credentials := h.fields(t)
	for field, value := range credentials {
		changed := with(credentials, field, alter(value, &altered))
		if secret, ok := value.(string); ok && h.verified(t, changed, delivery) != nil {
			h.shared(t, field, changed)
			h.unforged(t, field, secret, delivery)
		}
	}
	h.rotated(t, credentials, delivery)
}

// byMetadata reports whether deliveries are verified with something public that the metadata have, such as the sender's key.
func (h hook) byMetadata(t *testing.T, delivery *contracts.WebhookRequest) bool {
	var altered []string
	other := alter(decoded(t, h.Metadata), &altered)
	return len(altered) > 0 && h.verifiedBy(t, h.Credentials, other, delivery) != nil
}

// rotated checks that a secret still counts when it has become the previous one, where the credentials have a field for it.
func (h hook) rotated(t *testing.T, credentials map[string]any, delivery *contracts.WebhookRequest) {
	secret, _ := credentials[secretField].(string)
	data := h.Provider.CredentialData()
	if secret == "" || data == nil || json.Unmarshal([]byte(`{"`+previousField+`":"x"}`), data) != nil {
		return
	}
	if !strings.Contains(string(encode(t, data)), previousField) {
		return
	}
	var altered []string
	changed := with(with(credentials, secretField, alter(secret, &altered)), previousField, secret)
	if err := h.verified(t, changed, delivery); err != nil {
		t.Errorf("a delivery that is signed with the %s is refused: %v. While a secret is changed, senders use the old one for a time", previousField, err)
	}
}

// unforged checks that without a secret nothing is accepted, also not what is signed with an empty one, as anybody could.
func (h hook) unforged(t *testing.T, field, secret string, delivery *contracts.WebhookRequest) {
	forged, ok := emptySigned(delivery, secret)
	if !ok {
		return // the suite does not know the scheme
	}
	missing := h.fields(t)
	delete(missing, field)
	for _, without := range []map[string]any{missing, with(missing, field, "")} {
		if h.verified(t, without, forged) == nil {
			t.Errorf("an integration without a %s accepts a delivery that is signed with an empty secret, as anybody could: refuse everything then", field)
			return
		}
	}
}

// shared checks that integrations with different secrets are not taken for integrations that share them.
func (h hook) shared(t *testing.T, field string, changed map[string]any) {
	sharer, ok := h.WebhookHandler.(contracts.WebhookSharer)
	if !ok {
		return
	}
	own, others := sharer.WebhookSecrets(h.integration(t, nil)), sharer.WebhookSecrets(h.another(t, changed, h.Metadata, nil))
	if slices.Equal(own, others) {
		t.Errorf("a delivery is verified with %s, but WebhookSecrets does not return it: "+
			"integrations with other secrets would get deliveries that were not verified for them", field)
	}
}

// account checks that a delivery reaches an integration at the address of the provider. mustTell is set where the delivery is known to be about the integration.
func (h hook) account(t *testing.T, delivery *contracts.WebhookRequest, mustTell bool) {
	sharer, ok := h.WebhookHandler.(contracts.WebhookSharer)
	if !ok {
		return
	}
	in := h.integration(t, nil)
	if !slices.ContainsFunc(sharer.WebhookSecrets(in), func(secret string) bool { return secret != "" }) {
		t.Error("WebhookSecrets returns no secret of the integration: its deliveries would be refused at the address of the provider")
	}
	account, told := sharer.WebhookAccount(cloned(delivery))
	own := sharer.IntegrationAccount(in)
	switch {
	case !told && mustTell:
		t.Error("WebhookAccount does not tell what the delivery is about: it would be dropped at the address of the provider")
	case told && (account != own || own == ""):
		t.Errorf("WebhookAccount of a delivery to the integration is %q, its IntegrationAccount %q: the delivery would be dropped at the address of the provider",
			account, own)
	}
}

// fields are the fixture's credentials.
func (k *kit) fields(t *testing.T) map[string]any {
	t.Helper()
	fields, _ := decoded(t, k.Credentials).(map[string]any)
	return fields
}

func with(fields map[string]any, name string, value any) map[string]any {
	other := maps.Clone(fields)
	other[name] = value
	return other
}
