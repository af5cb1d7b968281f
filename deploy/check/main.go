// Command check finds what is wrong with the deployment files without Docker and without a cluster: they are read by the code that Docker,
// Kubernetes, kustomize, Prometheus and NATS read them with, and held against rules of this project. It prints one line for each check, and ends with 1
// when there is a problem.
//
//	cd deploy/check && go run .
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"slices"

	"github.com/tributaryhq/tributary/deploy/check/internal/checks"
)

func main() {
	root := flag.String("root", "../..", "the root of the repository")
	flag.Parse()
	failed := false
	for _, check := range checks.All() {
		problems := check.Run(context.Background(), checks.Root(*root))
		if len(problems) == 0 {
			fmt.Printf("ok    %s\n", check.Name)
			continue
		}
		failed = true
		fmt.Printf("FAIL  %s\n", check.Name)
		slices.SortFunc(problems, func(a, b checks.Problem) int {
			return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Reason, b.Reason))
		})
		for _, problem := range problems {
			fmt.Printf("      %s: %s\n", problem.File, problem.Reason)
		}
	}
	if failed {
		os.Exit(1)
	}
}
