package registry_test

import (
	"fmt"
	"strings"

	"github.com/tributaryhq/tributary/internal/registry"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// A method with a wrong signature would silently not count; the registry refuses it.
func ExampleNew() {
	_, err := registry.New(map[string]contracts.Provider{"flusher": flusher{}})
	fmt.Println(strings.ReplaceAll(err.Error(), "; ", ";\n"))
	// Output:
	// provider "flusher": method Sync of ScheduledSync has the wrong signature: found Sync() error, want Sync(context.Context, *contracts.Integration, contracts.SyncSession) error;
	// if it means something else, rename it, or don't embed the type it comes from
}

func ExampleRegistry_Provider() {
	providers, err := registry.New(map[string]contracts.Provider{"notes": named{}})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = providers.Provider("nots")
	fmt.Println(err)
	// Output: unknown provider "nots": did you mean "notes"? this binary has notes
}
