package platform_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
)

// dated has the times of its items as checkpoints.
type dated struct {
	contracts.NoCredentials
	contracts.NoMetadata
	contracts.MaxTime
	times []string
}

func (dated) Name() string                           { return "Dated" }
func (dated) DefaultSyncInterval() time.Duration     { return time.Hour }
func (dated) DefaultRateLimit() *contracts.RateLimit { return nil }

func (p dated) Sync(ctx context.Context, _ *contracts.Integration, session contracts.SyncSession) error {
	for n, at := range p.times {
		if err := session.Dispatch(ctx, number{n}, at, fmt.Sprint("n", n)); err != nil {
			return err
		}
	}
	return nil
}

// TestOddCheckpointsDoNotCount has some items bring checkpoints that no cursor may become: those of the others count, and the run and an incident name the first.
func TestOddCheckpointsDoNotCount(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		times        []string
		cursor, says string
	}{
		"a year like infinity": {[]string{"2026-01-02T00:00:00Z", "9999-12-31T00:00:00Z", "2026-01-03T00:00:00Z"}, `"2026-01-03T00:00:00Z"`, `platform_test.number "n1": ` + "`\"9999-12-31T00:00:00Z\"` is more than"},
		"a date":               {[]string{"9999-12-31", "2026-01-03T00:00:00Z", "2026-01-01"}, `"2026-01-03T00:00:00Z"`, `checkpoints of 2 items do not count towards the cursor, the first of platform_test.number "n0"`},
		"nothing else":         {[]string{"2026"}, "", `"n0"`},
		"none":                 {[]string{"2026-01-02T00:00:00Z"}, `"2026-01-02T00:00:00Z"`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := platform.Defaults()
			config.Providers = map[string]contracts.Provider{"dated": dated{times: tt.times}}
			config.NATS = natstest.New(t).Connect()
			incidents := subscribe(t, config.NATS, events.IncidentOpened)
			p, id := inHouse(t, &config)
			run := awaitClosed(t, p, dbsqlc.RunListParams{IntegrationID: &id, Most: 1})
			if run.State != "succeeded" || run.Done != int64(len(tt.times)) || !strings.Contains(run.Error.String(), tt.says) || (run.Error == "") != (tt.says == "") {
				t.Errorf("the run is %s with %d done: %q, want all done and %q", run.State, run.Done, run.Error, tt.says)
			}
			row, err := p.Store.IntegrationGet(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			cursor := ""
			if row.SyncCursor != nil {
				cursor = *row.SyncCursor
			}
			if cursor != tt.cursor {
				t.Errorf("the cursor is %s, want %s", cursor, tt.cursor)
			}
			if tt.says == "" {
				return
			}
			if _, err := incidents.NextMsg(time.Minute); err != nil {
				t.Errorf("no incident was opened: %v", err)
			}
		})
	}
}
