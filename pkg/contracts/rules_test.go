package contracts_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

type (
	ruledBase struct {
		Region string `json:"region" validate:"oneof=eu us"`
		Token  string `json:"token" validate:"min=1"`
	}
	ruledOwner struct {
		Email string     `json:"email" validate:"required,email"`
		Chief *ruledNode `json:"chief" validate:"required"`
	}
	ruledNode struct {
		Name string     `json:"name" validate:"required"`
		Next *ruledNode `json:"next"`
	}
	ruled struct {
		ruledBase
		*Embedded
		Named    ruledBase   `json:"named"`
		Token    string      `json:"token,omitempty" validate:"required,min=20"`
		Owner    *ruledOwner `json:"owner"`
		Plain    int         `validate:"min=1"`
		Free     string      `json:"free"`
		Off      ruledNode   `json:"off" validate:"-"`
		Unseen   string      `json:"-" validate:"required"`
		Hyphen   string      `json:"-," validate:"required"` //nolint:staticcheck // the name is "-"
		Since    time.Time   `json:"since" validate:"required"`
		Tags     []string    `json:"tags" validate:"dive,required"`
		internal string      `validate:"required"`
	}
)

// Embedded is embedded by pointer.
type Embedded struct {
	Deep string `json:"deep" validate:"url"`
}

func TestRulesFor(t *testing.T) {
	want := contracts.Rules{
		"region":           "oneof=eu us",
		"deep":             "url",
		"named.region":     "oneof=eu us",
		"named.token":      "min=1",
		"token":            "required,min=20",
		"owner":            "omitempty",
		"owner.email":      "required,email",
		"owner.chief":      "required",
		"owner.chief.name": "required",
		"Plain":            "min=1",
		"-":                "required",
		"since":            "required",
		"tags":             "dive,required",
	}
	if diff := cmp.Diff(want, contracts.RulesFor[ruled]()); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, contracts.RulesFor[*ruled]()); diff != "" {
		t.Errorf("rules of the pointer (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(contracts.Rules{}, contracts.RulesFor[map[string]any]()); diff != "" {
		t.Errorf("rules of a map (-want +got):\n%s", diff)
	}
	_ = ruled{}.internal
}

func TestTypedDataIsFresh(t *testing.T) {
	type data struct {
		Key string `json:"key" validate:"required"`
	}
	credentials, metadata := contracts.TypedCredentials[data]{}, contracts.TypedMetadata[data]{}
	if credentials.CredentialData() == credentials.CredentialData() ||
		metadata.MetadataData() == metadata.MetadataData() {
		t.Error("two calls return the same pointer")
	}
	want := contracts.Rules{"key": "required"}
	if diff := cmp.Diff([]contracts.Rules{want, want}, []contracts.Rules{
		credentials.CredentialRules(),
		metadata.MetadataRules(),
	}); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
}
