package upstream_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/tributaryhq/tributary/pkg/providertest/upstream"
)

// Example makes an upstream of a thousand issues that answers the second request with 502.
func Example() {
	u := upstream.New(upstream.Options{Issues: 1000, Seed: 7})
	if err := u.Start(context.Background()); err != nil {
		fmt.Println(err)
		return
	}
	defer u.Close()
	u.After(1, upstream.ServerError(http.StatusBadGateway))

	for range 2 {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, u.URL()+"/repos/demo/issues/issues?since=2024-06-30T00:00:00Z", nil)
		if err != nil {
			fmt.Println(err)
			return
		}
		req.Header.Set("Authorization", "Bearer "+u.Token())
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(res.Status)
		res.Body.Close()
	}
	fmt.Println(u.Stats().Faults)
	// Output:
	// 200 OK
	// 502 Bad Gateway
	// map[server-error:1]
}
