package contracts_test

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// Metered is a provider whose upstream counts the requests of a whole workspace, and tells of them in a way of its own.
type Metered struct {
	contracts.NoCredentials
	contracts.TypedMetadata[MeteredMetadata]
}

// MeteredMetadata names the workspace.
type MeteredMetadata struct {
	Workspace string `json:"workspace" validate:"required"`
}

func (Metered) Name() string { return "Metered" }

func (Metered) BudgetKey(in *contracts.Integration) string {
	metadata, err := contracts.MetadataOf[MeteredMetadata](in)
	if err != nil {
		return "" // by itself
	}
	return metadata.Workspace
}

func (Metered) ReportRate(res *http.Response) (contracts.RateReport, bool) {
	left, err := strconv.Atoi(res.Header.Get("X-Calls-Left"))
	return contracts.RateReport{Remaining: left, Reset: time.Minute}, err == nil
}

// Two connections to one workspace share a budget.
func ExampleBudgetKeyer() {
	var keyer contracts.BudgetKeyer = Metered{}
	one := contracts.NewIntegration(contracts.IntegrationFields{Name: "one", Metadata: []byte(`{"workspace":"acme"}`)})
	two := contracts.NewIntegration(contracts.IntegrationFields{Name: "two", Metadata: []byte(`{"workspace":"acme"}`)})
	fmt.Println(keyer.BudgetKey(one) == keyer.BudgetKey(two))
	// Output: true
}

func ExampleRateReporter() {
	var reporter contracts.RateReporter = Metered{}
	report,
		told := reporter.ReportRate(&http.Response{
		StatusCode: http.StatusOK,
		Header:     http.Header{"X-Calls-Left": {"3"}},
	})
	fmt.Println(report.Remaining, report.Reset, told)
	// Output: 3 1m0s true
}

// An answer of the last minute will do; while the upstream fails, so will one of the last hour.
func ExampleWithCache() {
	ctx := contracts.WithCache(context.Background(), contracts.Cache{TTL: time.Minute, StaleOnError: time.Hour})
	cache, ok := contracts.CacheFrom(ctx)
	fmt.Println(cache.TTL, cache.StaleOnError, ok)
	// Output: 1m0s 1h0m0s true
}

// A gap in what webhooks brought is closed by a sync from before it.
func ExampleCursorDater() {
	var dater contracts.CursorDater = contracts.MaxTime{}
	cursor, err := dater.CursorAt(time.Date(2024, 3, 1, 9, 0, 0, 0, time.UTC))
	fmt.Println(string(cursor), err)
	// Output: "2024-03-01T09:00:00Z" <nil>
}

// Robot gets its tokens without a user, from a server that names itself.
type Robot struct{ Granted }

func (Robot) GrantsUnattended() {}

func (Robot) OAuth2Issuer(*contracts.Integration) (string, error) { return "https://auth.example", nil }

func ExampleUnattendedGranter() {
	var provider contracts.Provider = Robot{}
	_, unattended := provider.(contracts.UnattendedGranter)
	fmt.Println(unattended)
	// Output: true
}

func ExampleOAuth2Issuer() {
	var issuer contracts.OAuth2Issuer = Robot{}
	fmt.Println(issuer.OAuth2Issuer(nil))
	// Output: https://auth.example <nil>
}
