package app

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/cli"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

const (
	// redraw is how often the progress line is renewed on a terminal; plain progress is how often a line is written elsewhere.
	redraw        = 200 * time.Millisecond
	plainProgress = 5 * time.Second
	// maxNamed is up to how many changed records are named one by one.
	maxNamed = 5
)

// narrator tells on the console what the events on NATS say, with a live progress line for each run on a terminal.
type narrator struct {
	out         io.Writer
	terminal    bool
	nc          *nats.Conn
	checkpoints *checkpoint.Store
	log         *slog.Logger

	runs map[string]*narratedRun
	// names are those of integrations that were heard of.
	names map[string]string
	drawn int
}

type narratedRun struct {
	name     string
	started  time.Time
	attempt  int32
	progress *checkpoint.Progress
	changed  int
	named    []string
	told     time.Time
}

// run tells until ctx ends; before is done first, once events are being heard.
func (n *narrator) run(ctx context.Context, before func(context.Context) error) error {
	n.runs, n.names = map[string]*narratedRun{}, map[string]string{}
	heard := make(chan *nats.Msg, 1024)
	sub, err := n.nc.ChanSubscribe(events.Root+".events.>", heard)
	if err != nil {
		return fmt.Errorf("listen to events: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	updates := make(chan checkpoint.Update, 1024)
	watching := make(chan error, 1)
	go func() {
		watching <- n.checkpoints.Watch(ctx, "", 0, func(u checkpoint.Update) {
			select {
			case updates <- u:
			case <-ctx.Done():
			}
		}, nil)
	}()
	ready := make(chan error, 1)
	go func() { ready <- before(ctx) }()
	ticker := time.NewTicker(redraw)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			n.erase()
			return <-watching
		case err := <-ready:
			if err != nil && ctx.Err() == nil {
				return err
			}
		case msg := <-heard:
			n.hear(msg)
		case u := <-updates:
			n.apply(u)
		case now := <-ticker.C:
			n.show(now)
		}
	}
}

func (n *narrator) apply(u checkpoint.Update) {
	run := n.of(u.Key.Run)
	if u.Key.Attempt < run.attempt {
		return
	}
	if u.Key.Attempt > run.attempt || run.progress == nil {
		run.attempt, run.progress = u.Key.Attempt, &checkpoint.Progress{}
	}
	run.progress.Apply(u)
}

// of returns what is known of a run, whose entries may be seen before its event is heard.
func (n *narrator) of(id string) *narratedRun {
	if n.runs[id] == nil {
		n.runs[id] = &narratedRun{started: time.Now(), told: time.Now()}
	}
	return n.runs[id]
}

func (n *narrator) hear(msg *nats.Msg) {
	name, _, _, err := events.ParseEventSubject(msg.Subject)
	if err != nil {
		return
	}
	switch name {
	case events.RunStarted:
		var e eventsv1.RunStarted
		if decode(msg, &e) {
			n.of(e.GetRunId()).name = e.GetIntegration().GetName()
			n.names[e.GetIntegration().GetIntegrationId()] = e.GetIntegration().GetName()
			n.say("run        %s: %s sync started (%s)", e.GetIntegration().GetName(), e.GetMode(), e.GetCause())
		}
	case events.RecordsChanged:
		var e eventsv1.RecordsChanged
		run := n.runs[runOf(msg, &e)]
		if e.GetWebhookId() != "" {
			n.tellWebhook(&e)
		} else if run != nil {
			run.changed += len(e.GetRecords())
			for _, record := range e.GetRecords()[:min(maxNamed, len(e.GetRecords()))] {
				run.named = append(run.named, record.GetEventType()+" "+record.GetExternalId())
			}
		}
	case events.RunWaiting:
		var e eventsv1.RunWaiting
		if decode(msg, &e) {
			n.say("waiting    %s: until %s, %s", e.GetIntegration().GetName(), e.GetUntil().AsTime().Local().Format(time.TimeOnly), e.GetReason())
		}
	case events.RunCompleted, events.RunPartial, events.RunFailed:
		n.ended(msg, name)
	case events.CursorMoved:
		var e eventsv1.CursorMoved
		if decode(msg, &e) {
			n.say("cursor     %s: %s → %s", e.GetIntegration().GetName(), orNone(e.GetFrom()), orNone(e.GetTo()))
		}
	case events.ItemFailed:
		var e eventsv1.ItemFailed
		if decode(msg, &e) {
			n.say("dead       %s %s: %s (%s); see: tributary items dead", e.GetEventType(), e.GetExternalId(), e.GetError(), e.GetReason())
		}
	case events.WebhookFailed:
		var e eventsv1.WebhookFailed
		if decode(msg, &e) {
			n.say("webhook    %s: %s failed: %s (%s); see: tributary webhooks show %s", e.GetIntegration().GetName(), cmp.Or(e.GetEventType(), "one without a type"), e.GetError(), e.GetReason(), e.GetWebhookId())
		}
	case events.CommandRejected:
		var e eventsv1.CommandRejected
		if decode(msg, &e) {
			n.say("rejected   %s %s: %s", e.GetVerb(), e.GetIntegration(), e.GetReason())
		}
	case events.CommandAccepted:
		var e eventsv1.CommandAccepted
		if decode(msg, &e) {
			n.say("command    %s %s: %s", e.GetVerb(), e.GetIntegration().GetName(), e.GetResult())
		}
	default: // what integrations go through is for machines and for lists
	}
}

// tellWebhook says what a webhook has brought.
func (n *narrator) tellWebhook(e *eventsv1.RecordsChanged) {
	named := make([]string, 0, maxNamed)
	for _, record := range e.GetRecords()[:min(maxNamed, len(e.GetRecords()))] {
		named = append(named, record.GetEventType()+" "+record.GetExternalId())
	}
	n.say("webhook    %s: %s changed: %s", cmp.Or(n.names[e.GetIntegrationId()], e.GetProvider()), counted(int64(len(e.GetRecords())), "record"), strings.Join(named, ", "))
}

func (n *narrator) ended(msg *nats.Msg, name events.Name) {
	// The three events of a run's end have the same shape.
	var e eventsv1.RunCompleted
	if !decode(msg, &e) {
		return
	}
	summary := e.GetRun()
	run := n.runs[summary.GetRunId()]
	delete(n.runs, summary.GetRunId())
	took := summary.GetClosedAt().AsTime().Sub(summary.GetStartedAt().AsTime()).Round(10 * time.Millisecond)
	line := fmt.Sprintf("%s, %s in %s", summary.GetState(), counted(summary.GetItems(), "item"), took)
	if summary.GetDead() > 0 {
		line += fmt.Sprintf(", %s dead", grouped(summary.GetDead()))
	}
	if summary.GetSkipped() > 0 {
		line += fmt.Sprintf(", %s skipped", grouped(summary.GetSkipped()))
	}
	named, failure := "", ""
	if run != nil && run.changed > 0 {
		line += ", " + counted(int64(run.changed), "record") + " changed"
		if run.changed <= maxNamed {
			named = ": " + strings.Join(run.named, ", ")
		}
	}
	if name != events.RunCompleted && summary.GetError() != "" {
		failure = ": " + summary.GetError()
	}
	n.say("run        %s: %s%s%s", summary.GetIntegration().GetName(), line, named, failure)
}

// show draws the progress of the runs under way: in place on a terminal, as a line now and then elsewhere.
func (n *narrator) show(now time.Time) {
	n.erase()
	ids := make([]string, 0, len(n.runs))
	for id, run := range n.runs {
		if run.progress != nil && run.name != "" {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		run := n.runs[id]
		if !n.terminal && now.Sub(run.told) < plainProgress {
			continue
		}
		run.told = now
		finished := run.progress.Counts().Finished()
		of := ""
		if total := run.progress.Total(); total != nil {
			of = " of " + grouped(total.GetItems())
		}
		rate := float64(finished) / max(now.Sub(run.started).Seconds(), 0.001)
		_, _ = fmt.Fprintf(n.out, "progress   %s: %s%s items, %s/s, %d waiting to be tried again\n", cli.OneLine(run.name), grouped(finished), of, grouped(int64(rate)), run.progress.Retrying())
		if n.terminal {
			n.drawn++
		}
	}
}

// erase takes the progress lines away, so that what is said next scrolls above them.
func (n *narrator) erase() {
	for ; n.drawn > 0; n.drawn-- {
		_, _ = io.WriteString(n.out, "\x1b[1A\x1b[2K")
	}
}

// mostSaid is how much is said of one text that comes from elsewhere: an id, an error.
const mostSaid = 160

// say writes a line. Of long texts in it, it says the beginning.
func (n *narrator) say(format string, args ...any) {
	n.erase()
	for i, arg := range args {
		if text, ok := arg.(string); ok {
			args[i] = cli.Cut(text, mostSaid)
		}
	}
	_, _ = fmt.Fprintln(n.out, cli.OneLine(fmt.Sprintf(format, args...)))
}

func decode(msg *nats.Msg, into proto.Message) bool {
	return protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(msg.Data, into) == nil
}

func runOf(msg *nats.Msg, e *eventsv1.RecordsChanged) string {
	if !decode(msg, e) {
		return ""
	}
	return e.GetRunId()
}

func orNone(cursor string) string {
	if cursor == "" {
		return "none"
	}
	return cursor
}

// counted writes a number of things.
func counted(n int64, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return grouped(n) + " " + thing
}

// grouped writes a number with its thousands apart.
func grouped(n int64) string {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
