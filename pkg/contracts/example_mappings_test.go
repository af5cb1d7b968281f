package contracts_test

import (
	"context"
	"fmt"

	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/providertest"
)

// A handler that keeps contacts in a table of its own finds the row that a record belongs to, however often and in however many places it runs.
func ExampleMappings() {
	type contact struct{ ID, Name string }
	rows, made := map[string]string{}, 0
	handle := func(ctx context.Context, in *contracts.Integration, c contact) error {
		made++
		id, isNew, err := in.Mappings().Ensure(ctx, "contact", c.ID, fmt.Sprint("row-", made))
		if err != nil {
			return err
		}
		// insert into contacts … on conflict (id) do update …
		rows[id] = c.Name
		fmt.Println(id, isNew, rows[id])
		return nil
	}

	in := contracts.NewIntegration(contracts.IntegrationFields{Name: "shop", Mappings: providertest.NewMappings()})
	for _, c := range []contact{{"7", "Ada"}, {"8", "Grace"}, {"7", "Ada Lovelace"}} {
		if err := handle(context.Background(), in, c); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println(in.Mappings().Claim(context.Background(), "contact", "7", "row-2"))
	// Output:
	// row-1 true Ada
	// row-2 true Grace
	// row-1 false Ada Lovelace
	// contact "7" is mapped to "row-1" already, not to "row-2"
}
