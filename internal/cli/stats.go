package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

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

// IncidentsCommand is the group of commands on incidents.
type IncidentsCommand struct {
	List IncidentsListCommand `cmd:"" help:"List incidents, newest first."`
	Show IncidentsShowCommand `cmd:"" help:"Show one with its timeline."`
}

// IncidentsListCommand lists incidents.
type IncidentsListCommand struct {
	Output
	Integration string `help:"Only those of one integration." placeholder:"NAME"`
	Open        bool   `help:"Only open ones."`
	Limit       int    `help:"How many at most." default:"50"`
}

// Run lists incidents.
func (c *IncidentsListCommand) Run(env *Env) error {
	if c.Limit < 1 {
		return usagef("--limit must be at least 1")
	}
	client, err := env.Client()
	if err != nil {
		return err
	}
	all := []api.Incident{}
	for before := ""; len(all) < c.Limit; {
		page, err := client.Incidents(env.Context, api.ListIncidents{
			Integration: c.Integration, Open: c.Open, Before: before, Limit: min(c.Limit-len(all), api.MaxPage),
		})
		if err != nil {
			return err
		}
		all = append(all, page.Incidents...)
		if before = page.Next; before == "" {
			break
		}
	}
	return c.print(env, all, func() error {
		rows := make([][]string, 0, len(all))
		for _, i := range all {
			closed := "open"
			if i.ClosedAt != nil {
				closed = ago(env.Now(), i.ClosedAt)
			}
			rows = append(rows, []string{i.ID, i.Integration, i.PeakSeverity, i.Source, ago(env.Now(), &i.OpenedAt), closed, i.Reason})
		}
		return table(env, []string{"INCIDENT", "INTEGRATION", "PEAK", "SOURCE", "OPENED", "CLOSED", "REASON"}, rows)
	})
}

// IncidentsShowCommand shows one incident.
type IncidentsShowCommand struct {
	Output
	Incident string `arg:"" help:"Its id."`
}

// Run shows an incident.
func (c *IncidentsShowCommand) Run(env *Env) error {
	client, err := env.Client()
	if err != nil {
		return err
	}
	i, err := client.Incident(env.Context, c.Incident)
	if err != nil {
		return err
	}
	return c.print(env, i, func() error {
		raised := slices.Clone(i.Raised)
		slices.Sort(raised)
		err := sheet(env, []pair{
			{"incident", i.ID},
			{"integration", i.Integration},
			{"peak", i.PeakSeverity},
			{"because", i.Reason},
			{"still raised by", strings.Join(raised, ", ")},
			{"opened", stamp(&i.OpenedAt)},
			{"closed", stamp(i.ClosedAt)},
		})
		if err != nil {
			return err
		}
		rows := make([][]string, 0, len(i.Timeline))
		for _, s := range i.Timeline {
			severity := s.Severity
			if severity == "" {
				severity = "well"
			}
			rows = append(rows, []string{stamp(&s.At), s.Source, severity, s.Reason})
		}
		return table(env, []string{"AT", "SOURCE", "SEVERITY", "REASON"}, rows)
	})
}
