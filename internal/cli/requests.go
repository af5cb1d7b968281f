package cli

import (
	"fmt"
	"strconv"
	"time"

	"github.com/tributaryhq/tributary/internal/api"
)

// RequestsCommand is the group of commands on requests to third parties.
type RequestsCommand struct {
	List    RequestsListCommand    `cmd:"" help:"List attempts, newest first."`
	Show    RequestsShowCommand    `cmd:"" help:"Show one with its headers, bodies and other attempts; secrets in it are redacted."`
	Keys    RequestsKeysCommand    `cmd:"" help:"List idempotency keys of which nobody knows what came of the request."`
	Resolve RequestsResolveCommand `cmd:"" help:"Tell what came of a request with an idempotency key."`
}

// RequestsListCommand lists attempts.
type RequestsListCommand struct {
	Output
	Integration    string       `help:"Only those of one integration." placeholder:"NAME"`
	RunID          string       `name:"run" help:"Only those of one run." placeholder:"ID"`
	Item           string       `help:"Only those of one item." placeholder:"ITEM"`
	Webhook        string       `help:"Only those of one webhook." placeholder:"ID"`
	IdempotencyKey string       `help:"Only those with a key." placeholder:"KEY"`
	Status         int32        `help:"Only those with a status." placeholder:"STATUS"`
	Failed         bool         `help:"Only those that failed."`
	Class          failureClass `help:"Only failures of one class: upstream, throttle, client, unknown."`
	Since          string       `help:"Only those sent since a time: RFC 3339, or how long ago, such as 2h." placeholder:"TIME"`
	Limit          int          `help:"How many at most." default:"50"`
}

// failureClass is the flag of a class of failures.
type failureClass string

func (c failureClass) Validate() error {
	return oneOf(string(c), "upstream", "throttle", "client", "unknown")
}

// Run lists attempts.
func (c *RequestsListCommand) Run(env *Env) error {
	if c.Limit < 1 {
		return usagef("--limit must be at least 1")
	}
	since, err := instant(env, c.Since)
	if err != nil {
		return err
	}
	client, err := env.Client()
	if err != nil {
		return err
	}
	list := api.ListRequests{
		Integration: c.Integration, Run: c.RunID, Item: c.Item, Webhook: c.Webhook, IdempotencyKey: c.IdempotencyKey, Status: c.Status, Failed: c.Failed, Class: string(c.Class),
	}
	list.Since = since
	requests := []api.Request{}
	for len(requests) < c.Limit {
		list.Limit = min(c.Limit-len(requests), api.MaxPage)
		page, err := client.Requests(env.Context, list)
		if err != nil {
			return err
		}
		requests = append(requests, page.Requests...)
		if list.Before = page.Next; list.Before == "" {
			break
		}
	}
	return c.print(env, requests, func() error {
		rows := make([][]string, 0, len(requests))
		for _, r := range requests {
			rows = append(rows, []string{
				r.ID, r.Integration, r.Method, r.Host + r.Path, answered(r.Status, r.FailureClass), strconv.Itoa(int(r.Attempt)), inMilliseconds(r.DurationMS), ago(env.Now(), &r.CreatedAt), r.Error,
			})
		}
		return table(env, []string{"REQUEST", "INTEGRATION", "METHOD", "URL", "STATUS", "ATTEMPT", "TOOK", "SENT", "ERROR"}, rows)
	})
}

// RequestsShowCommand shows one attempt.
type RequestsShowCommand struct {
	Output
	ID string `arg:"" help:"The request's id."`
}

// Run shows an attempt.
func (c *RequestsShowCommand) Run(env *Env) error {
	client, err := env.Client()
	if err != nil {
		return err
	}
	request, err := client.Request(env.Context, c.ID)
	if err != nil {
		return err
	}
	return c.print(env, request, func() error { return showRequest(env, request) })
}

func showRequest(env *Env, r api.Request) error {
	details := r.Details
	if details == nil {
		details = &api.RequestDetails{}
	}
	address := r.Host + r.Path
	if r.Query != "" {
		address += "?" + r.Query
	}
	pairs := []pair{
		{"request", r.ID},
		{"integration", r.Integration},
		{"provider", r.Provider},
		{"run", r.RunID},
		{"item", r.Item},
		{"webhook", r.Webhook},
		{"idempotency key", r.IdempotencyKey},
		{"asked", r.Method + " " + address},
		{"status", answered(r.Status, r.FailureClass)},
		{"error", r.Error},
		{"upstream's id", r.UpstreamID},
		{"sent", stamp(&r.CreatedAt)},
		{"took", inMilliseconds(r.DurationMS)},
	}
	if len(details.Attempts) > 1 {
		for _, a := range details.Attempts {
			pairs = append(pairs, pair{"attempt " + strconv.Itoa(int(a.Attempt)), a.ID + "  " + answered(a.Status, a.FailureClass) + "  " + a.Error})
		}
	}
	return sheet(env, append(pairs,
		pair{"request header", string(details.RequestHeader)},
		pair{"request body", bodyText(details.RequestBody, r.RequestBytes, details.RequestCut, details.BodiesDropped)},
		pair{"response header", string(details.ResponseHeader)},
		pair{"response body", bodyText(details.ResponseBody, r.ResponseBytes, details.ResponseCut, details.BodiesDropped)},
	))
}

// bodyText is a body, and what of it is missing.
func bodyText(body string, size int64, cut, dropped bool) string {
	switch {
	case cut:
		return body + fmt.Sprintf(" … (%d bytes in all)", size)
	case body == "" && dropped && size > 0:
		return fmt.Sprintf("%d bytes, not kept", size)
	}
	return body
}

// answered is a status and what it means.
func answered(status *int32, class string) string {
	text := "no answer"
	if status != nil {
		text = strconv.Itoa(int(*status))
	}
	if class != "" {
		text += " " + class
	}
	return text
}

func inMilliseconds(milliseconds float64) string {
	return time.Duration(milliseconds * float64(time.Millisecond)).Round(time.Microsecond * 100).String()
}

// RequestsKeysCommand lists idempotency keys.
type RequestsKeysCommand struct {
	Output
	Integration string `help:"Only those of one integration." placeholder:"NAME"`
	Key         string `help:"Only this one." placeholder:"KEY"`
	All         bool   `help:"Also those of which the outcome is known."`
	Limit       int    `help:"How many at most." default:"50"`
}

// Run lists keys.
func (c *RequestsKeysCommand) Run(env *Env) error {
	if c.Limit < 1 {
		return usagef("--limit must be at least 1")
	}
	client, err := env.Client()
	if err != nil {
		return err
	}
	keys := []api.IdempotencyKey{}
	for len(keys) < c.Limit {
		most := min(c.Limit-len(keys), api.MaxPage)
		page, err := client.Keys(env.Context, api.ListKeys{Integration: c.Integration, Key: c.Key, All: c.All || c.Key != "", Skip: len(keys), Limit: most})
		if err != nil {
			return err
		}
		keys = append(keys, page.Keys...)
		if len(page.Keys) < most {
			break
		}
	}
	return c.print(env, keys, func() error {
		rows := make([][]string, 0, len(keys))
		for _, k := range keys {
			rows = append(rows, []string{k.Key, k.Integration, k.State, k.RequestID, ago(env.Now(), &k.UpdatedAt), k.ResolvedBy, k.Error})
		}
		return table(env, []string{"KEY", "INTEGRATION", "STATE", "REQUEST", "CHANGED", "RESOLVED BY", "ERROR"}, rows)
	})
}

// RequestsResolveCommand tells what came of a request.
type RequestsResolveCommand struct {
	Output
	Key         string `arg:"" help:"The idempotency key."`
	Integration string `required:"" help:"The integration." placeholder:"NAME"`
	As          string `required:"" enum:"succeeded,failed" help:"What was found: succeeded (it had its effect, and is not sent again) or failed (it had none, and may be)."`
	Note        string `help:"How it was found."`
	By          string `required:"" help:"Who found it." env:"USER"`
}

// Run resolves a key.
func (c *RequestsResolveCommand) Run(env *Env) error {
	client, err := env.Client()
	if err != nil {
		return err
	}
	if err := client.ResolveKey(env.Context, api.ResolveKey{Integration: c.Integration, Key: c.Key, As: c.As, Note: c.Note, By: c.By}); err != nil {
		return err
	}
	return c.print(env, outcome{Accepted: true, Result: "resolved as " + c.As}, func() error { return say(env, "resolved as "+c.As) })
}

// PruneCommand deletes what is old.
type PruneCommand struct {
	Output
	DryRun bool `help:"Only count what would be deleted, up to 100,000 rows of a table."`
}

// Run prunes until nothing old is left.
func (c *PruneCommand) Run(env *Env) error {
	client, err := env.Client()
	if err != nil {
		return err
	}
	total := api.Pruned{Tables: []api.PrunedTable{}}
	for more := true; more; {
		pruned, err := client.Prune(env.Context, api.Prune{DryRun: c.DryRun})
		if err != nil {
			return err
		}
		for i, t := range pruned.Tables {
			if i == len(total.Tables) {
				total.Tables = append(total.Tables, api.PrunedTable{Table: t.Table, Days: t.Days})
			}
			total.Tables[i].Rows += t.Rows
			total.Tables[i].Partitions = append(total.Tables[i].Partitions, t.Partitions...)
		}
		more = pruned.More && !c.DryRun
		total.More = pruned.More && c.DryRun
	}
	return c.print(env, total, func() error {
		rows := make([][]string, 0, len(total.Tables))
		for _, t := range total.Tables {
			deleted := number(t.Rows) + " rows"
			if t.Table == "requests" {
				deleted = strconv.Itoa(len(t.Partitions)) + " days"
			}
			rows = append(rows, []string{t.Table, strconv.Itoa(t.Days), deleted})
		}
		return table(env, []string{"TABLE", "KEPT DAYS", map[bool]string{false: "DELETED", true: "WOULD DELETE"}[c.DryRun]}, rows)
	})
}
