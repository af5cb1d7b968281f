package github_test

import (
	"testing"

	"github.com/tributaryhq/tributary/pkg/providertest"
	"github.com/tributaryhq/tributary/pkg/providertest/upstream"
	"github.com/tributaryhq/tributary/providers/github"
)

// BenchmarkSync enumerates 2000 issues from the upstream, which runs in the same process.
func BenchmarkSync(b *testing.B) {
	u := upstream.New(upstream.Options{Issues: 2000, Seed: 1})
	if err := u.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	defer u.Close()
	in := providertest.Integration(b, github.Provider{}, github.Credentials{Token: u.Token()}, metadata(u), nil)
	items := 0
	for b.Loop() {
		session := &providertest.Session{OnDispatch: func(providertest.Item) error { items++; return nil }}
		if err := (github.Provider{}).Sync(b.Context(), in, session); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(items)/b.Elapsed().Seconds(), "items/s")
}
