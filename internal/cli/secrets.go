package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/schollz/progressbar/v3"

	"github.com/tributaryhq/tributary/internal/api"
)

// SecretsCommand is the group of commands on what is sealed.
type SecretsCommand struct {
	Status SecretsStatusCommand `cmd:"" help:"Show which keys seal how much."`
	Rotate SecretsRotateCommand `cmd:"" help:"Seal everything with the first key of the ring. Can be stopped and run again."`
	Audit  SecretsAuditCommand  `cmd:"" help:"Show who has read and written credentials, and why."`
}

// SecretsStatusCommand shows the keys.
type SecretsStatusCommand struct{ Output }

// Run shows how much each key has sealed.
func (c *SecretsStatusCommand) Run(env *Env) error {
	client, err := env.Client()
	if err != nil {
		return err
	}
	report, err := client.Secrets(env.Context)
	if err != nil {
		return err
	}
	return c.print(env, report, func() error {
		rows := make([][]string, 0, len(report.Keys))
		for _, key := range report.Keys {
			use := "opens"
			switch {
			case !key.InRing:
				use = "missing"
			case key.ID == report.Primary:
				use = "seals"
			}
			rows = append(rows, []string{key.ID, use, strconv.FormatInt(key.Sealed, 10)})
		}
		if err := table(env, []string{"KEY", "USE", "SEALED"}, rows); err != nil {
			return err
		}
		return say(env, fmt.Sprintf("%d left to seal with %s", report.Left, report.Primary))
	})
}

// SecretsRotateCommand seals everything anew.
type SecretsRotateCommand struct {
	Output
	By string `help:"Who you are, for the audit." env:"USER"`
}

// rotation is what --json prints of a rotation.
type rotation struct {
	Sealed int         `json:"sealed"`
	Stuck  []uuid.UUID `json:"stuck"`
	Left   int64       `json:"left"`
}

// Run seals in steps, each of which stays. It ends with 1 while something is left.
func (c *SecretsRotateCommand) Run(env *Env) error {
	client, err := env.Client()
	if err != nil {
		return err
	}
	report, err := client.Secrets(env.Context)
	if err != nil {
		return err
	}
	bar := progressbar.NewOptions64(report.Left, progressbar.OptionSetWriter(env.Err), progressbar.OptionShowCount(),
		progressbar.OptionSetDescription("sealing with "+report.Primary), progressbar.OptionSetVisibility(!c.JSON && env.Prompt != nil))
	total := rotation{Stuck: []uuid.UUID{}, Left: report.Left}
	for after := (*uuid.UUID)(nil); ; {
		step, err := client.RotateSecrets(env.Context, api.RotateSecrets{After: after, Limit: api.MaxPage, By: c.By})
		if err != nil {
			return err
		}
		total.Sealed, total.Stuck, total.Left = total.Sealed+step.Sealed, append(total.Stuck, step.Stuck...), step.Left
		_ = bar.Add(step.Sealed)
		if after = step.Next; after == nil {
			break
		}
	}
	_ = bar.Exit()
	err = c.print(env, total, func() error {
		return say(env, fmt.Sprintf("%d sealed anew with %s, %d left", total.Sealed, report.Primary, total.Left))
	})
	switch {
	case err != nil:
		return err
	case len(total.Stuck) > 0:
		return &api.Error{Code: api.Refused, Message: "something of these integrations or webhooks can't be opened: credentials, the kept answer of an idempotency key, or a webhook's request. Put the missing key back into the ring (see: tributary secrets status), or give the credentials again: " + names(total.Stuck)}
	case total.Left > 0:
		return &api.Error{Code: api.Refused, Message: "something is left: authorizations under way, which end by themselves within minutes, or what was written meanwhile; run it again"}
	}
	return nil
}

func names(ids []uuid.UUID) string {
	texts := make([]string, 0, len(ids))
	for _, id := range ids {
		texts = append(texts, id.String())
	}
	return strings.Join(texts, ", ")
}

// SecretsAuditCommand shows the audit.
type SecretsAuditCommand struct {
	Output
	Integration string `help:"Only of one integration, by id or name." placeholder:"NAME"`
	Limit       int    `help:"How many entries to show." default:"100"`
}

// Run shows the newest entries.
func (c *SecretsAuditCommand) Run(env *Env) error {
	if c.Limit < 1 {
		return usagef("--limit must be at least 1")
	}
	client, err := env.Client()
	if err != nil {
		return err
	}
	all := []api.AuditEntry{}
	for before := ""; len(all) < c.Limit; {
		page, err := client.Audit(env.Context, api.ListAudit{Integration: c.Integration, Before: before, Limit: min(c.Limit-len(all), api.MaxPage)})
		if err != nil {
			return err
		}
		all = append(all, page.Entries...)
		if before = page.Next; before == "" {
			break
		}
	}
	return c.print(env, all, func() error {
		rows := make([][]string, 0, len(all))
		for _, e := range all {
			name := e.Integration
			if name == "" {
				name = e.IntegrationID
			}
			rows = append(rows, []string{stamp(&e.At), name, e.Action, e.Who, e.Why, strconv.FormatInt(e.Version, 10), e.Key})
		}
		return table(env, []string{"AT", "INTEGRATION", "ACTION", "WHO", "WHY", "VERSION", "KEY"}, rows)
	})
}
