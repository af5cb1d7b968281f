package cli

import (
	"cmp"
	"slices"
	"strings"

	"github.com/tributaryhq/tributary/internal/api"
)

// IncidentsCommand is the group of commands on incidents.
type IncidentsCommand struct {
	List    IncidentsListCommand    `cmd:"" help:"List incidents, newest first."`
	Show    IncidentsShowCommand    `cmd:"" help:"Show one with its timeline."`
	Resolve IncidentsResolveCommand `cmd:"" help:"Close one of the whole installation; those of integrations close by themselves."`
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
			rows = append(rows, []string{i.ID, about(i), i.PeakSeverity, i.Source, ago(env.Now(), &i.OpenedAt), closed, i.Reason})
		}
		return table(env, []string{"INCIDENT", "INTEGRATION", "PEAK", "SOURCE", "OPENED", "CLOSED", "REASON"}, rows)
	})
}

// about is the integration of an incident, or a dash for the whole installation.
func about(i api.Incident) string { return cmp.Or(i.Integration, "-") }

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
			{"integration", about(i)},
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

// IncidentsResolveCommand closes an incident of the whole installation.
type IncidentsResolveCommand struct {
	Output
	Incident string `arg:"" help:"Its id."`
	Reason   text   `required:"" help:"What was done about it."`
	By       string `required:"" help:"Who resolves it." env:"USER"`
}

// Run resolves an incident.
func (c *IncidentsResolveCommand) Run(env *Env) error {
	client, err := env.Client()
	if err != nil {
		return err
	}
	i, err := client.ResolveIncident(env.Context, api.ResolveIncident{ID: c.Incident, Reason: string(c.Reason), By: c.By})
	if err != nil {
		return err
	}
	return c.print(env, i, func() error { return say(env, "resolved") })
}
