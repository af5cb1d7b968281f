package contracts_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// Changes asks only for what changed since the cursor, one hour of overlap included. Embedding Notes gives it
// everything else.
type Changes struct{ Notes }

func (Changes) SyncIncremental(ctx context.Context, _ *contracts.Integration, session contracts.SyncSession) error {
	since := time.Unix(0, 0).UTC()
	if cursor, ok := session.Cursor(); ok {
		last, err := cursor.Time()
		if err != nil {
			return contracts.Permanent(err)
		}
		since = last.Add(-time.Hour)
	}
	fmt.Println("since", since.Format(time.RFC3339))
	return session.Dispatch(ctx, Note{ID: "n3"}, since.Add(2*time.Hour), "n3")
}

func ExampleIncrementalSync() {
	var syncs contracts.IncrementalSync = Changes{}
	in := contracts.NewIntegration(contracts.IntegrationFields{Name: "kitchen"})
	for _, cursor := range []contracts.Cursor{nil, contracts.Cursor(`"2024-03-01T09:00:00Z"`)} {
		if err := syncs.SyncIncremental(context.Background(), in, &printingSession{cursor: cursor}); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// since 1970-01-01T00:00:00Z
	// contracts_test.Note n3 "1970-01-01T02:00:00Z"
	// since 2024-03-01T08:00:00Z
	// contracts_test.Note n3 "2024-03-01T10:00:00Z"
}

func ExampleScheduledSync() {
	var syncs contracts.ScheduledSync = Notes{}
	fmt.Println("every", syncs.DefaultSyncInterval())
	fmt.Println("at most", syncs.DefaultRateLimit().Limit, "requests in", syncs.DefaultRateLimit().Window)
	// The items of a run, in enumeration order; the second has no checkpoint.
	cursor, err := syncs.ReduceCheckpoints([]contracts.Checkpoint{
		contracts.Checkpoint(`"2024-03-01T10:00:00Z"`), nil, contracts.Checkpoint(`"2024-03-01T10:30:00+01:00"`),
	})
	fmt.Println("cursor", string(cursor), err)
	// Output:
	// every 5m0s
	// at most 5000 requests in 1h0m0s
	// cursor "2024-03-01T10:00:00Z" <nil>
}

// Pages walks pages whose token has no order of its own: the upstream gives a new one each time. Whatever differs is
// forward.
type Pages struct{ Notes }

func (Pages) CursorAdvances(current, candidate contracts.Cursor) bool {
	return string(current) != string(candidate)
}

func ExampleCursorAdvancer() {
	advances, err := contracts.Advances(Pages{}, contracts.Cursor(`"zz9"`), contracts.Cursor(`"aa1"`))
	fmt.Println(advances, err)
	// Output: true <nil>
}

func ExampleAdvances() {
	current := contracts.Cursor(`"2024-03-01T09:00:00Z"`)
	for _, candidate := range []string{
		`"2024-03-01T09:00:01Z"`, `"2024-03-01T10:00:00+02:00"`,
		`"2024-03-01T09:00:00Z"`,
	} {
		advances, err := contracts.Advances(contracts.MaxTime{}, current, contracts.Cursor(candidate))
		fmt.Println(candidate, advances, err)
	}
	// Output:
	// "2024-03-01T09:00:01Z" true <nil>
	// "2024-03-01T10:00:00+02:00" false <nil>
	// "2024-03-01T09:00:00Z" false <nil>
}

// The ready-made reducers may be applied to the batches of a run and then to the results.
func ExampleAssociativeReducer() {
	var reducer contracts.ScheduledSync = Notes{}
	_, associative := reducer.(contracts.AssociativeReducer)
	first, _ := reducer.ReduceCheckpoints(checkpoints(`"2024-03-01T09:00:00Z"`, `"2024-03-03T09:00:00Z"`))
	second, _ := reducer.ReduceCheckpoints(checkpoints(`"2024-03-02T09:00:00Z"`))
	whole, _ := reducer.ReduceCheckpoints([]contracts.Checkpoint{
		contracts.Checkpoint(second),
		contracts.Checkpoint(first),
	})
	fmt.Println(associative, string(whole))
	// Output: true "2024-03-03T09:00:00Z"
}

// A key tells which of two versions of one record is newer, however they are spelled.
func ExampleCheckpointOrderer() {
	var orderer contracts.CheckpointOrderer = contracts.MaxNumber{}
	older, _ := orderer.CheckpointKey(contracts.Checkpoint(`9007199254740992`))
	newer, _ := orderer.CheckpointKey(contracts.Checkpoint(`9007199254740993`))
	same, _ := orderer.CheckpointKey(contracts.Checkpoint(`9.007199254740993e15`))
	fmt.Println(older < newer, newer == same)
	// Output: true true
}

func ExampleMaxTime() {
	cursor, err := contracts.MaxTime{}.ReduceCheckpoints(checkpoints(`"2024-03-01T10:00:00+02:00"`,
		`"2024-03-01T09:00:00Z"`))
	fmt.Println(string(cursor), err)
	_, err = contracts.MaxTime{}.ReduceCheckpoints(checkpoints(`"2024-03-01T09:00:00Z"`, `"yesterday"`))
	fmt.Println(err)
	// Output:
	// "2024-03-01T09:00:00Z" <nil>
	// checkpoint 2 of 2: `"yesterday"` is not an RFC 3339 timestamp
}

func ExampleMaxString() {
	cursor, err := contracts.MaxString{}.ReduceCheckpoints(checkpoints(`"01HQ3K"`, `"01HQ4A"`))
	fmt.Println(string(cursor), err)
	// Output: "01HQ4A" <nil>
}

func ExampleMaxNumber() {
	cursor, err := contracts.MaxNumber{}.ReduceCheckpoints(checkpoints(`9`, `10`, `9.99e0`))
	fmt.Println(string(cursor), err)
	// Output: 10 <nil>
}

func ExampleEventTyper() {
	// Old items were stored as tickets.Ticket; the type has moved since.
	fmt.Println(contracts.EventType(Ticket{}), contracts.EventType(&Ticket{}), contracts.EventType(Note{}))
	// Output: tickets.Ticket tickets.Ticket contracts_test.Note
}

// Ticket keeps the name that it was stored under.
type Ticket struct{}

func (Ticket) EventType() string { return "tickets.Ticket" }

func ExampleRetryAfter() {
	err := fmt.Errorf("list notes: %w", contracts.RetryAfter(90*time.Second, errors.New("budget used up")))
	deferral, ok := contracts.AsDeferral(err)
	fmt.Println(ok, deferral.Delay, err)
	// Output: true 1m30s list notes: retry after 1m30s: budget used up
}

func ExamplePermanent() {
	err := fmt.Errorf("save note: %w", contracts.Permanent(errors.New("no such notebook")))
	fmt.Println(contracts.IsPermanent(err), err)
	// Output: true save note: no such notebook
}

func ExampleSkip() {
	skip, ok := contracts.AsSkip(contracts.Skip("a draft"))
	fmt.Println(ok, skip.Reason)
	// Output: true a draft
}

func ExampleAttemptFrom() {
	handle := func(ctx context.Context, note Note) error {
		if attempt, ok := contracts.AttemptFrom(ctx); ok && attempt.LastTry() {
			fmt.Println("note", note.ID, "will be dead if this fails")
		}
		return errors.New("the mail server is away")
	}
	ctx := contracts.WithAttempt(context.Background(), contracts.Attempt{ExternalID: "n1", Try: 5, MaxTries: 5})
	fmt.Println(handle(ctx, Note{ID: "n1"}))
	// Output:
	// note n1 will be dead if this fails
	// the mail server is away
}

func ExampleRulesFor() {
	type Credentials struct {
		Token string `json:"token" validate:"required,min=20"`
		Owner *struct {
			Email string `json:"email" validate:"required,email"`
		} `json:"owner"`
	}
	rules, _ := json.Marshal(contracts.RulesFor[Credentials]())
	fmt.Println(string(rules))
	// Output: {"owner":"omitempty","owner.email":"required,email","token":"required,min=20"}
}
