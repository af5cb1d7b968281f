package contracts_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

func TestIdempotencyKey(t *testing.T) {
	if key, ok := contracts.IdempotencyKeyFrom(t.Context()); ok {
		t.Errorf("there is a key %q that nobody set", key)
	}
	for name, key := range map[string]string{
		"short": "k", "191 bytes": strings.Repeat("k", 191),
		"191 characters of two bytes": strings.Repeat("é", 191),
	} {
		ctx, err := contracts.WithIdempotencyKey(t.Context(), key)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, ok := contracts.IdempotencyKeyFrom(ctx); !ok || got != key {
			t.Errorf("%s: got %q, %v", name, got, ok)
		}
	}
	for name, key := range map[string]string{
		"empty": "", "192 characters": strings.Repeat("k", 192),
		"a line break": "secret\r\nX: y", "not UTF-8": "secret\xff",
	} {
		ctx, err := contracts.WithIdempotencyKey(t.Context(), key)
		if !errors.Is(err, contracts.ErrInvalidIdempotencyKey) || ctx != nil {
			t.Errorf("%s: got %v, %v", name, ctx, err)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error repeats the key: %v", name, err)
		}
	}
}

func TestPKCEVerifier(t *testing.T) {
	if verifier, ok := contracts.PKCEVerifierFrom(t.Context()); ok {
		t.Errorf("there is a verifier %q that nobody set", verifier)
	}
	if _, ok := contracts.PKCEVerifierFrom(contracts.WithPKCEVerifier(t.Context(), "")); ok {
		t.Error("an empty verifier is one")
	}
	if got, ok := contracts.PKCEVerifierFrom(contracts.WithPKCEVerifier(t.Context(), "v")); !ok || got != "v" {
		t.Errorf("PKCEVerifierFrom = %q, %v", got, ok)
	}
}

func TestVerdicts(t *testing.T) {
	var zero contracts.Verdict
	got := []string{zero.String(), contracts.VerdictYes.String(), contracts.VerdictNo.String()}
	if diff := cmp.Diff([]string{"default", "yes", "no"}, got); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
}

func TestRateLimits(t *testing.T) {
	tests := []struct {
		name  string
		limit *contracts.RateLimit
		want  contracts.RateLimit
		valid bool
	}{
		{"per minute", contracts.PerMinute(700), contracts.RateLimit{Limit: 700, Window: time.Minute}, true},
		{"per hour", contracts.PerHour(5000), contracts.RateLimit{Limit: 5000, Window: time.Hour}, true},
		{"per day", contracts.PerDay(1), contracts.RateLimit{Limit: 1, Window: 24 * time.Hour}, true},
		{"sliding", contracts.Per(100, time.Second).Sliding(), contracts.RateLimit{
			Limit: 100, Window: time.Second,
			IsSliding: true,
		}, true},
		{
			"fixed again", contracts.PerMinute(1).Sliding().Fixed(),
			contracts.RateLimit{Limit: 1, Window: time.Minute},
			true,
		},
		{"no requests", contracts.PerMinute(0), contracts.RateLimit{Window: time.Minute}, false},
		{
			"a short window", contracts.Per(1, time.Second-1),
			contracts.RateLimit{Limit: 1, Window: time.Second - 1},
			false,
		},
		{"zero value", &contracts.RateLimit{}, contracts.RateLimit{}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, *test.limit); diff != "" {
				t.Errorf("limit (-want +got):\n%s", diff)
			}
			if err := test.limit.Validate(); (err == nil) != test.valid {
				t.Errorf("Validate = %v", err)
			}
		})
	}
	var unlimited *contracts.RateLimit
	if err := unlimited.Validate(); err != nil {
		t.Errorf("unlimited: %v", err)
	}
	fixed := contracts.PerMinute(1)
	if fixed.Sliding(); fixed.IsSliding {
		t.Error("Sliding changed the budget it was called on")
	}
}
