// Command tributary is the stock binary: all services and commands, with the providers of this repository.
package main

import (
	"github.com/tributaryhq/tributary/pkg/app"
	"github.com/tributaryhq/tributary/providers"
)

func main() {
	app.Main(providers.All())
}
