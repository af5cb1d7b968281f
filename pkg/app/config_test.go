package app_test

import (
	"strings"
	"testing"

	"github.com/tributaryhq/tributary/pkg/app"
)

// TestNumbersOutOfRange are refused with the range: some would overflow and delete all history, or wrap to another number.
func TestNumbersOutOfRange(t *testing.T) {
	t.Parallel()
	for flag, want := range map[string]string{
		"--keep-requests=999999":                    "it can be 1 to 36500",
		"--keep-keys=36501":                         "it can be 1 to 36500",
		"--keep-items=999999":                       "it can be 1 to 36500",
		"--keep-webhooks=9223372036854775807":       "it can be 1 to 36500",
		"--keep-operations=106752":                  "it can be 1 to 36500",
		"--keep-incidents=0":                        "it can be 1 to 36500",
		"--connections=4294967301":                  "it can be 5 to 10000",
		"--connections=4":                           "it can be 5 to 10000",
		"--runs=2000000000":                         "it can be 1 to 10000",
		"--concurrency=9223372036854775807":         "it can be 1 to 10000",
		"--webhook-backlog=17592186044416":          "it can be 1 to 1048576",
		"--webhook-body-budget=8796093022208":       "it can be 1 to 1048576",
		"--webhook-connections=9223372036854775807": "it can be 1 to 1000000",
		"--drain-delay=2000000h":                    "it can be 0s to 1h",
		"--database-lag-bound=6m":                   "it can be 0s to 5m",
		"--keep-operations=9223372036854775808":     "expected a valid 64 bit int",
		"--max-response-bytes=-1":                   "must not be negative",
	} {
		err := app.Parse([]string{"dev", flag})
		name, _, _ := strings.Cut(flag, "=")
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, want %q", flag, err, want)
		}
	}
	for _, flag := range []string{"--keep-requests=36500", "--connections=10000", "--runs=10000", "--webhook-backlog=1048576", "--drain-delay=1h"} {
		if err := app.Parse([]string{"dev", flag}); err != nil {
			t.Errorf("%s: %v", flag, err)
		}
	}
}
