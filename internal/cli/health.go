package cli

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/tributaryhq/tributary/internal/api"
)

// testsAtATime is how many upstreams are asked at once.
const testsAtATime = 8

// HealthCommand shows how integrations fare.
type HealthCommand struct {
	Output
	Integration string `arg:"" optional:"" help:"Its id or name; all if not given."`
	Provider    string `help:"Only those of one provider." placeholder:"KEY"`
}

// Run lists the health of integrations, or shows that of one with its identity.
func (c *HealthCommand) Run(env *Env) error {
	client, err := env.Client()
	if err != nil {
		return err
	}
	if c.Integration != "" {
		health, err := client.Health(env.Context, c.Integration, "")
		if err != nil {
			return err
		}
		return c.print(env, health, func() error { return showHealth(env, health) })
	}
	all, err := everyPage(c.Provider, func(list api.ListIntegrations) ([]api.Health, string, error) {
		page, err := client.Healths(env.Context, list)
		return page.Integrations, page.Next, err
	})
	if err != nil {
		return err
	}
	return c.print(env, all, func() error {
		rows := make([][]string, 0, len(all))
		for _, h := range all {
			rows = append(rows, []string{
				h.Integration, h.Provider, h.Status, h.Health, sinceText(env, h), strconv.Itoa(int(h.ConsecutiveFailures)), ago(env.Now(), h.LastErrorAt), h.Reason,
			})
		}
		return table(env, []string{"NAME", "PROVIDER", "STATUS", "HEALTH", "SINCE", "FAILURES", "LAST ERROR", "REASON"}, rows)
	})
}

func sinceText(env *Env, h api.Health) string {
	if h.Since == nil {
		return "-"
	}
	return ago(env.Now(), h.Since)
}

func showHealth(env *Env, h api.Health) error {
	identity := h.IdentityProblem
	if identity != "" {
		identity = "unknown: " + identity
	}
	if h.Identity != nil {
		identity = identityOf(h.Identity)
	}
	stale := ""
	if h.StaleSince != nil {
		stale = "no clean sync for too long, " + ago(env.Now(), h.StaleSince)
	}
	rate := ""
	if h.FailureRateSince != nil {
		rate = "a large share of the requests fails, " + ago(env.Now(), h.FailureRateSince)
	}
	return sheet(env, []pair{
		{"name", h.Integration},
		{"provider", h.Provider},
		{"status", h.Status},
		{"health", h.Health},
		{"because", h.Reason},
		{"since", sinceText(env, h)},
		{"failures", strconv.Itoa(int(h.ConsecutiveFailures))},
		{"refusals", strconv.Itoa(int(h.ConsecutiveRefusals))},
		{"last error", h.LastError},
		{"last error at", stamp(h.LastErrorAt)},
		{"next probe", ago(env.Now(), h.NextProbeAt)},
		{"last sync", ago(env.Now(), h.LastSyncedAt)},
		{"stale", stale},
		{"failure rate", rate},
		{"incident", h.Incident},
		{"identity", identity},
	})
}

// identityOf is what is known of an identity, the telling first.
func identityOf(identity *api.Identity) string {
	if identity == nil {
		return ""
	}
	all := []string{identity.Name, identity.Username, identity.Email, identity.ID}
	return strings.Join(slices.DeleteFunc(all, func(s string) bool { return s == "" }), ", ")
}

// TestCommand asks upstreams how they are.
type TestCommand struct {
	Output
	Integrations []string `arg:"" optional:"" name:"integration" help:"Their ids or names."`
	All          bool     `help:"All active integrations."`
	Provider     string   `help:"With --all, only those of one provider." placeholder:"KEY"`
}

// Run ends with 1 if any upstream fails.
func (c *TestCommand) Run(env *Env) error {
	if c.All == (len(c.Integrations) > 0) {
		return usagef("give integrations, or --all")
	}
	client, err := env.Client()
	if err != nil {
		return err
	}
	targets := make([]api.Health, 0, len(c.Integrations))
	for _, name := range c.Integrations {
		targets = append(targets, api.Health{Integration: name})
	}
	if c.All {
		targets, err = everyPage(c.Provider, func(list api.ListIntegrations) ([]api.Health, string, error) {
			page, err := client.Healths(env.Context, list)
			return page.Integrations, page.Next, err
		})
		if err != nil {
			return err
		}
		targets = slices.DeleteFunc(targets, func(h api.Health) bool { return h.Status != "active" })
	}
	results := make([]api.TestResult, len(targets))
	group, ctx := errgroup.WithContext(env.Context)
	group.SetLimit(testsAtATime)
	for i, target := range targets {
		group.Go(func() (err error) {
			results[i], err = client.TestHealth(ctx, target.Integration, target.Provider)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := c.print(env, results, func() error { return showTests(env, results) }); err != nil {
		return err
	}
	if failed := len(slices.DeleteFunc(slices.Clone(results), func(r api.TestResult) bool { return r.Result != "failed" })); failed > 0 {
		return errors.New(plural(failed, "integration fails", "integrations fail"))
	}
	return nil
}

func showTests(env *Env, results []api.TestResult) error {
	rows := make([][]string, 0, len(results))
	for _, r := range results {
		rows = append(rows, []string{r.Integration, r.Provider, r.Result, fmt.Sprintf("%dms", r.TookMS), r.Error})
	}
	return table(env, []string{"NAME", "PROVIDER", "RESULT", "TOOK", "ERROR"}, rows)
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// everyPage gathers all pages of integrations.
func everyPage[Row any](provider string, page func(api.ListIntegrations) (rows []Row, next string, err error)) ([]Row, error) {
	all := []Row{}
	for after := ""; ; {
		rows, next, err := page(api.ListIntegrations{Provider: provider, After: after, Limit: api.MaxPage})
		if err != nil {
			return nil, err
		}
		all = append(all, rows...)
		if after = next; after == "" {
			return all, nil
		}
	}
}
