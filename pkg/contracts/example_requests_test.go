package contracts_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// Shop shows every contract about requests.
type Shop struct {
	contracts.NoMetadata
	contracts.TypedCredentials[ShopCredentials]
}

// ShopCredentials are what a shop asks for.
type ShopCredentials struct {
	Key string `json:"key" validate:"required,startswith=sk_"`
}

var errSlowDown = errors.New("slow down")

func (Shop) Name() string { return "Shop" }

// Authenticate sends the key to the shop alone, wherever a redirect leads.
func (Shop) Authenticate(in *contracts.Integration, req *http.Request) error {
	credentials, err := contracts.CredentialsOf[ShopCredentials](in)
	if err != nil {
		return err
	}
	if req.URL.Host == "api.shop.example" {
		req.Header.Set("Authorization", "Bearer "+credentials.Key)
	}
	return nil
}

func (Shop) HealthCheck(ctx context.Context, in *contracts.Integration) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://api.shop.example/account", nil)
	if err != nil {
		return err
	}
	res, err := in.HTTP().Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the shop answers %s", res.Status)
	}
	return nil
}

func (Shop) SensitiveRequestFields() []string    { return []string{"card.number"} }
func (Shop) SensitiveResponseFields() []string   { return []string{"customers.*.email"} }
func (Shop) UnloggedResponseEndpoints() []string { return []string{"GET:/invoices/*/pdf"} }
func (Shop) SupportsIdempotency()                {}
func (Shop) IdempotencyHeader() string           { return "X-Shop-Key" }
func (Shop) RateLimit() *contracts.RateLimit     { return contracts.PerMinute(700).Sliding() }

func (Shop) IsRetryable(err error) contracts.Verdict {
	if errors.Is(err, errSlowDown) {
		return contracts.VerdictYes
	}
	return contracts.VerdictDefault
}

func (Shop) RetryDelay(_ error, attempt, status int) (time.Duration, bool) {
	if status == http.StatusConflict {
		return time.Duration(attempt) * 100 * time.Millisecond, true
	}
	return 0, false
}

func (Shop) ClassifyFailure(err error) (contracts.FailureClass, bool) {
	if errors.Is(err, errSlowDown) {
		return contracts.FailureThrottle, true
	}
	return "", false
}

func (Shop) ResolveIdentity(context.Context, *contracts.Integration) (contracts.Identity, error) {
	return contracts.Identity{ID: "acct_1", Name: "Corner shop"}, nil
}

func ExampleAuthenticator() {
	var auth contracts.Authenticator = Shop{}
	in := contracts.NewIntegration(contracts.IntegrationFields{Credentials: json.RawMessage(`{"key":"sk_1"}`)})
	for _, url := range []string{"https://api.shop.example/orders", "https://elsewhere.example/orders"} {
		req := httptest.NewRequest(http.MethodGet, url, nil)
		err := auth.Authenticate(in, req)
		fmt.Printf("%s %q %v\n", req.URL.Host, req.Header.Get("Authorization"), err)
	}
	// Output:
	// api.shop.example "Bearer sk_1" <nil>
	// elsewhere.example "" <nil>
}

// answer is an upstream that always gives the same status.
type answer int

func (a answer) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{
		Status: fmt.Sprint(int(a), " ", http.StatusText(int(a))), StatusCode: int(a),
		Body: http.NoBody,
	}, nil
}

func ExampleHealthChecker() {
	var checker contracts.HealthChecker = Shop{}
	for _, status := range []answer{http.StatusOK, http.StatusUnauthorized} {
		in := contracts.NewIntegration(contracts.IntegrationFields{Client: &http.Client{Transport: status}})
		fmt.Println(checker.HealthCheck(context.Background(), in))
	}
	// Output:
	// <nil>
	// the shop answers 401 Unauthorized
}

func ExampleRedactor() {
	var redactor contracts.Redactor = Shop{}
	fmt.Println(redactor.SensitiveRequestFields(), redactor.SensitiveResponseFields())
	// Output: [card.number] [customers.*.email]
}

func ExampleResponseLogLimiter() {
	var limiter contracts.ResponseLogLimiter = Shop{}
	fmt.Println(limiter.UnloggedResponseEndpoints())
	// Output: [GET:/invoices/*/pdf]
}

func ExampleIdempotencySupporter() {
	var provider contracts.Provider = Shop{}
	_, supported := provider.(contracts.IdempotencySupporter)
	_, other := contracts.Provider(Notes{}).(contracts.IdempotencySupporter)
	fmt.Println(supported, other)
	// Output: true false
}

func ExampleIdempotencyHeaderNamer() {
	header := contracts.DefaultIdempotencyHeader
	if namer, ok := contracts.Provider(Shop{}).(contracts.IdempotencyHeaderNamer); ok {
		header = namer.IdempotencyHeader()
	}
	fmt.Println(header)
	// Output: X-Shop-Key
}

func ExampleWithIdempotencyKey() {
	ctx, err := contracts.WithIdempotencyKey(context.Background(), "order-17-refund")
	if err != nil {
		fmt.Println(err)
		return
	}
	key, ok := contracts.IdempotencyKeyFrom(ctx)
	fmt.Println(key, ok)
	_, err = contracts.WithIdempotencyKey(context.Background(), strings.Repeat("k", 192))
	fmt.Println(err)
	// Output:
	// order-17-refund true
	// invalid idempotency key: it has 192 characters, at most 191 are allowed
}

func ExampleRetryCustomizer() {
	var retries contracts.RetryCustomizer = Shop{}
	fmt.Println(retries.IsRetryable(errSlowDown), retries.IsRetryable(errors.New("other")))
	fmt.Println(retries.RetryDelay(errSlowDown, 2, http.StatusConflict))
	fmt.Println(retries.RetryDelay(errSlowDown, 2, 0))
	// Output:
	// yes default
	// 200ms true
	// 0s false
}

func ExampleFailureClassifier() {
	var classifier contracts.FailureClassifier = Shop{}
	class, decided := classifier.ClassifyFailure(fmt.Errorf("list orders: %w", errSlowDown))
	fmt.Println(class, decided)
	_, decided = classifier.ClassifyFailure(errors.New("other"))
	fmt.Println(decided)
	// Output:
	// throttle true
	// false
}

func ExampleIdentityResolver() {
	var resolver contracts.IdentityResolver = Shop{}
	identity, err := resolver.ResolveIdentity(context.Background(), nil)
	fmt.Println(identity.ID, identity.Name, err)
	// Output: acct_1 Corner shop <nil>
}

func ExampleRateLimiter() {
	var limiter contracts.RateLimiter = Shop{}
	limit := limiter.RateLimit()
	fmt.Println(limit.Limit, limit.Window, limit.IsSliding)
	// Output: 700 1m0s true
}

// A search is a POST that changes nothing, so it may be sent as often as a GET.
func ExampleWithAttempts() {
	ctx := contracts.WithAttempts(context.Background(), 3)
	attempts, _ := contracts.AttemptsFrom(ctx)
	fmt.Println(attempts)
	// Output: 3
}
