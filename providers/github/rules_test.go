package github_test

import (
	"encoding/json"
	"testing"

	"github.com/tributaryhq/tributary/internal/validate"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/providertest/upstream"
	"github.com/tributaryhq/tributary/providers/github"
)

func TestRules(t *testing.T) {
	t.Parallel()
	if err := validate.Rules(github.Provider{}); err != nil {
		t.Fatal(err)
	}
	v := validate.New()
	for _, c := range []struct {
		what    func(contracts.Provider, json.RawMessage) error
		raw     string
		isValid bool
	}{
		{v.Credentials, `{"token":"` + upstream.DemoToken + `"}`, true},
		{v.Credentials, `{"token":"github_pat_11ABCDEFG0123456789_abcdefghijklmnopqrstuvwxyz"}`, true},
		{v.Credentials, `{"token":"short"}`, false},
		{v.Credentials, `{"token":"a token that is pasted\nover two lines"}`, false},
		{v.Credentials, `{}`, false},
		{v.Metadata, `{"owner":"octo","repo":"demo"}`, true},
		{v.Metadata, `{"owner":"octo","repo":"demo.js","base_url":"https://ghe.example/api/v3","comments":false}`, true},
		{v.Metadata, `{"owner":"octo","repo":"demo","base_url":"http://127.0.0.1:8484"}`, true},
		{v.Metadata, `{"owner":"octo","repo":"demo","base_url":"ghe.example"}`, false},
		{v.Metadata, `{"owner":"octo","repo":"demo","base_url":"ftp://ghe.example"}`, false},
		{v.Metadata, `{"owner":"octo/demo","repo":"demo"}`, false},
		{v.Metadata, `{"owner":"octo","repo":".."}`, false},
		{v.Metadata, `{"owner":"octo"}`, false},
		{v.Metadata, `{}`, false},
	} {
		if err := c.what(github.Provider{}, json.RawMessage(c.raw)); (err == nil) != c.isValid {
			t.Errorf("%s: %v, want valid: %t", c.raw, err, c.isValid)
		}
	}
}
