package postgres_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/internal/postgres"
)

// TestNobodyIsGivenAnAnswerFromBefore has many ask at all times what the time is, of somebody who takes a second to say when he was asked.
func TestNobodyIsGivenAnAnswerFromBefore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var shared postgres.Shared
		var queries atomic.Int64
		query := func(ctx context.Context, _ string) (int, error) {
			queries.Add(1)
			asked := int(time.Since(began))
			<-time.After(time.Second)
			return asked, ctx.Err()
		}
		var askers sync.WaitGroup
		for i := range 1000 {
			askers.Go(func() {
				<-time.After(time.Duration(i) * 7 * time.Millisecond)
				put := int(time.Since(began))
				answer, err := shared.Ask(t.Context(), "run", query)
				if err != nil || answer < put {
					t.Errorf("asked at %d, told what was asked at %d, %v", put, answer, err)
				}
			})
		}
		askers.Wait()
		synctest.Wait()
		if n := queries.Load(); n > 10 || shared.Open() != 0 {
			t.Errorf("%d queries in 8 s of a second each, %d questions open", n, shared.Open())
		}
	})
}

// TestAnAskerWhoGivesUpTakesNobodyAlong ends the context of the one who puts the question for all.
func TestAnAskerWhoGivesUpTakesNobodyAlong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var shared postgres.Shared
		query := func(ctx context.Context, _ string) (int, error) {
			select {
			case <-ctx.Done():
				return 0, ctx.Err()
			case <-time.After(time.Second):
				return 7, nil
			}
		}
		ask := func(after, patience time.Duration, wantErr error) func() {
			return func() {
				<-time.After(after)
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				answer, err := shared.Ask(ctx, "run", query)
				if !errors.Is(err, wantErr) || err == nil && answer != 7 {
					t.Errorf("asked after %s: %d, %v", after, answer, err)
				}
			}
		}
		var askers sync.WaitGroup
		askers.Go(ask(0, time.Hour, nil))
		askers.Go(ask(time.Millisecond, 1500*time.Millisecond, context.DeadlineExceeded)) // puts the second question
		askers.Go(ask(2*time.Millisecond, time.Hour, nil))
		askers.Go(ask(3*time.Millisecond, time.Second, context.DeadlineExceeded))
		askers.Wait()
		if shared.Open() != 0 {
			t.Errorf("%d questions open", shared.Open())
		}
	})
}

// TestAskersWaitForOthersAfterAnAnswer has ten ask one after the other, faster than answers may follow on one another.
func TestAskersWaitForOthersAfterAnAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var shared postgres.Shared
		shared.SetRest(50 * time.Millisecond)
		var queries []time.Duration
		began := time.Now()
		query := func(ctx context.Context, _ string) (int, error) {
			queries = append(queries, time.Since(began))
			<-time.After(time.Millisecond)
			return 7, ctx.Err()
		}
		var askers sync.WaitGroup
		for i := range 10 {
			askers.Go(func() {
				<-time.After(time.Duration(i) * 10 * time.Millisecond)
				if answer, err := shared.Ask(t.Context(), "run", query); err != nil || answer != 7 {
					t.Errorf("told %d, %v", answer, err)
				}
			})
		}
		askers.Wait()
		// The first does not wait; those at 10 to 50 ms share a question, those at 60 to 90 ms the next.
		want := []time.Duration{0, 51 * time.Millisecond, 102 * time.Millisecond}
		if diff := cmp.Diff(want, queries); diff != "" {
			t.Errorf("questions were put at (-want +got):\n%s", diff)
		}
		<-time.After(time.Second)
		if shared.Open() != 0 {
			t.Errorf("%d questions are kept", shared.Open())
		}
	})
}
