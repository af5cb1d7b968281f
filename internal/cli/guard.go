package cli

import (
	"strconv"
	"time"

	"github.com/tributaryhq/tributary/internal/api"
)

// RateLimitCommand is the group of commands on request budgets.
type RateLimitCommand struct {
	Status RateLimitStatusCommand `cmd:"" help:"Show the budget that counts and what is left of it."`
	Set    RateLimitSetCommand    `cmd:"" help:"Put a budget in the place of the provider's."`
	Clear  RateLimitClearCommand  `cmd:"" help:"Have the provider's budget count again."`
}

// RateLimitStatusCommand shows a budget.
type RateLimitStatusCommand struct {
	Output
	Integration string `arg:"" help:"Its id or name."`
}

// Run shows a budget.
func (c *RateLimitStatusCommand) Run(env *Env) error {
	client, err := env.Client()
	if err != nil {
		return err
	}
	status, err := client.RateLimit(env.Context, c.Integration)
	if err != nil {
		return err
	}
	return c.showRateLimit(env, status)
}

// RateLimitSetCommand overrides a budget.
type RateLimitSetCommand struct {
	Output
	Integration string        `arg:"" help:"Its id or name."`
	Limit       int           `help:"Requests in a window." required:""`
	Window      time.Duration `help:"Length of a window." required:"" placeholder:"1h"`
	Sliding     bool          `help:"Weigh the previous window in."`
	Until       string        `help:"When the provider's budget counts again: a time (RFC 3339), or a duration from now." placeholder:"TIME"`
	By          string        `help:"Who you are, for the events." env:"USER"`
}

// Run overrides a budget.
func (c *RateLimitSetCommand) Run(env *Env) error {
	if c.Limit < 1 {
		return usagef("--limit must be at least 1")
	}
	if c.Window <= 0 {
		return usagef("--window must be longer than nothing, such as 1h")
	}
	until, err := untilOf(env, c.Until)
	if err != nil {
		return err
	}
	client, err := env.Client()
	if err != nil {
		return err
	}
	status, err := client.SetRateLimit(env.Context, api.SetRateLimit{
		Integration: c.Integration, Limit: c.Limit, Window: c.Window.String(), Sliding: c.Sliding, Until: until, By: c.By,
	})
	if err != nil {
		return err
	}
	return c.showRateLimit(env, status)
}

// RateLimitClearCommand ends the override of a budget.
type RateLimitClearCommand struct {
	Output
	Integration string `arg:"" help:"Its id or name."`
	By          string `help:"Who you are, for the events." env:"USER"`
}

// Run ends the override of a budget.
func (c *RateLimitClearCommand) Run(env *Env) error {
	client, err := env.Client()
	if err != nil {
		return err
	}
	status, err := client.ClearRateLimit(env.Context, api.ClearRateLimit{Integration: c.Integration, By: c.By})
	if err != nil {
		return err
	}
	return c.showRateLimit(env, status)
}

func (o Output) showRateLimit(env *Env, s api.RateLimitStatus) error {
	return o.print(env, s, func() error {
		pairs := []pair{
			{"integration", s.Integration},
			{"budget", budgetText(s.Limit)},
			{"comes from", s.Source},
			{"until", stamp(s.Until)},
		}
		if s.Source == "override" {
			pairs = append(pairs, pair{"the provider's", budgetText(s.Provider)})
		}
		if s.Limit != nil {
			pairs = append(pairs, pair{"used", number(s.Used)}, pair{"free", number(s.Free)}, pair{"window ends", stamp(s.WindowEnds)})
		}
		if s.UpstreamLeft != nil {
			pairs = append(pairs, pair{"upstream allows", number(*s.UpstreamLeft)}, pair{"until then", stamp(s.UpstreamUntil)})
		}
		return sheet(env, append(pairs, pair{"left alone until", stamp(s.LeftAloneUntil)}))
	})
}

func budgetText(b *api.Budget) string {
	if b == nil {
		return "unlimited"
	}
	text := strconv.Itoa(b.Limit) + " requests in " + intervalOf(b.Window)
	if b.Sliding {
		text += ", sliding"
	}
	return text
}

// CircuitCommand is the group of commands on circuits.
type CircuitCommand struct {
	Status  CircuitStatusCommand   `cmd:"" help:"Show how a circuit stands."`
	Open    CircuitOpenCommand     `cmd:"" help:"Let no request through."`
	Close   CircuitCloseCommand    `cmd:"" help:"Let every request through, and go on counting."`
	Disable CircuitDisableCommand  `cmd:"" help:"Let every request through and count none."`
	Auto    CircuitAutomateCommand `cmd:"" help:"Leave the circuit to itself, closed."`
}

// CircuitStatusCommand shows a circuit.
type CircuitStatusCommand struct {
	Output
	Integration string `arg:"" help:"Its id or name."`
}

// Run shows a circuit.
func (c *CircuitStatusCommand) Run(env *Env) error {
	client, err := env.Client()
	if err != nil {
		return err
	}
	status, err := client.Circuit(env.Context, c.Integration)
	if err != nil {
		return err
	}
	return c.showCircuit(env, status)
}

// override is what the commands that take a circuit in hand have in common.
type override struct {
	Output
	Integration string `arg:"" help:"Its id or name."`
	Until       string `help:"When the circuit is left to itself again: a time (RFC 3339), or a duration from now." placeholder:"TIME"`
	Reason      string `help:"Why."`
	By          string `help:"Who you are, for the events." env:"USER"`
}

func (o *override) send(env *Env, to string) error {
	until, err := untilOf(env, o.Until)
	if err != nil {
		return err
	}
	client, err := env.Client()
	if err != nil {
		return err
	}
	status, err := client.OverrideCircuit(env.Context, api.OverrideCircuit{
		Integration: o.Integration, Override: to, Until: until, Reason: o.Reason, By: o.By,
	})
	if err != nil {
		return err
	}
	return o.showCircuit(env, status)
}

type (
	// CircuitOpenCommand forces a circuit open.
	CircuitOpenCommand struct{ override }
	// CircuitCloseCommand forces a circuit closed.
	CircuitCloseCommand struct{ override }
	// CircuitDisableCommand takes a circuit away.
	CircuitDisableCommand struct{ override }
	// CircuitAutomateCommand leaves a circuit to itself.
	CircuitAutomateCommand struct {
		Output
		Integration string `arg:"" help:"Its id or name."`
		Reason      string `help:"Why."`
		By          string `help:"Who you are, for the events." env:"USER"`
	}
)

// Run forces the circuit open.
func (c *CircuitOpenCommand) Run(env *Env) error { return c.send(env, "forced-open") }

// Run forces the circuit closed.
func (c *CircuitCloseCommand) Run(env *Env) error { return c.send(env, "forced-closed") }

// Run takes the circuit away.
func (c *CircuitDisableCommand) Run(env *Env) error { return c.send(env, "disabled") }

// Run leaves the circuit to itself.
func (c *CircuitAutomateCommand) Run(env *Env) error {
	all := override{Output: c.Output, Integration: c.Integration, Reason: c.Reason, By: c.By}
	return all.send(env, "")
}

func (o Output) showCircuit(env *Env, s api.CircuitStatus) error {
	return o.print(env, s, func() error {
		return sheet(env, []pair{
			{"integration", s.Integration},
			{"state", s.State},
			{"since", stamp(s.Since)},
			{"because", s.Reason},
			{"until", stamp(s.Until)},
			{"override", s.Override},
			{"override until", stamp(s.OverrideUntil)},
		})
	})
}

// untilOf reads a time, or a duration from now; nil for an empty text.
func untilOf(env *Env, text string) (*time.Time, error) {
	if text == "" {
		return nil, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		after, durationErr := time.ParseDuration(text)
		if durationErr != nil {
			return nil, usagef("--until is %q, it must be a time such as 2026-01-31T12:00:00Z, or a duration such as 2h", text)
		}
		at = env.Now().Add(after)
	}
	if !at.After(env.Now()) {
		return nil, usagef("--until is %s, which is past", at.Format(time.RFC3339))
	}
	return &at, nil
}
