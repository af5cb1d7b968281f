package cli

import (
	"fmt"
	"strconv"

	"github.com/tributaryhq/tributary/internal/api"
)

// StatsCommand shows how requests and syncs went.
type StatsCommand struct {
	Output
	Provider string `help:"Only those of one provider." placeholder:"KEY"`
}

// Run shows the requests of a day, a week and a month, and the syncs of a week.
func (c *StatsCommand) Run(env *Env) error {
	client, err := env.Client()
	if err != nil {
		return err
	}
	all, err := everyPage(c.Provider, func(list api.ListIntegrations) ([]api.Stats, string, error) {
		page, err := client.Stats(env.Context, list)
		return page.Integrations, page.Next, err
	})
	if err != nil {
		return err
	}
	return c.print(env, all, func() error {
		rows := make([][]string, 0, len(all))
		for _, s := range all {
			syncs := s.Operations["sync"]
			rows = append(rows, []string{
				s.Integration, s.Provider, strconv.FormatInt(s.Day.Requests, 10), strconv.FormatInt(s.Week.Requests, 10), strconv.FormatInt(s.Month.Requests, 10),
				share(s.Day.Failed, s.Day.Requests), share(s.Month.Failed, s.Month.Requests), fmt.Sprintf("%.0fms", s.Day.AverageMS),
				share(s.Day.Cached, s.Day.Cached+s.Day.Requests),
				fmt.Sprintf("%d/%d/%d", syncs["succeeded"], syncs["partial"], syncs["failed"]),
			})
		}
		return table(env, []string{"NAME", "PROVIDER", "24H", "7D", "30D", "FAILED 24H", "FAILED 30D", "AVERAGE", "CACHED", "SYNCS OK/PARTIAL/FAILED 7D"}, rows)
	})
}

func share(part, of int64) string {
	if of == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f%%", 100*float64(part)/float64(of))
}
