// Package providers lists the providers that are compiled into the stock binary.
package providers

import (
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/providers/github"
)

// All returns them by key.
func All() map[string]contracts.Provider {
	return map[string]contracts.Provider{"github": github.New()}
}
