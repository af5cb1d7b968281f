// Command acme has the commands and services of Tributary with acme's provider and handler compiled in. It takes only acme's work, and so runs beside
// the stock binary on the same NATS and Postgres.
package main

import (
	"context"
	"errors"

	"example.com/acme"

	"github.com/tributaryhq/tributary/pkg/app"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

func main() {
	app.Main(app.Providers{"acme": acme.Provider{}}, app.OnItem(book))
}

// book is called for every order that a sync has found: at least once, so it must not mind a second time.
func book(_ context.Context, in *contracts.Integration, order acme.Order) error {
	switch {
	case order.Cents == 0:
		return contracts.Skip("nothing to book")
	case order.Cents < 0:
		return contracts.Permanent(errors.New("an order can't cost less than nothing"))
	}
	in.Log().Info("booked", "order", order.ID, "cents", order.Cents)
	return nil
}
