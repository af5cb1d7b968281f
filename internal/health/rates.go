package health

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/announce"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/setaside"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// judgeAtATime bounds the integrations that one transaction reports.
const judgeAtATime = 100

// judged is an integration whose mark was set or cleared, with what was counted.
type judged = *dbsqlc.RequestCountMarkRatesRow

// JudgeRates tells, once an episode, of which integrations too large a share of the requests fails, and of which it has
// become small again.
func (c *Checker) JudgeRates(ctx context.Context) error {
	now := c.Now()
	_, err := setaside.RunBatch(ctx, c.SetAside, setaside.Batch[judged]{
		Kind: setaside.JudgeRate, Most: judgeAtATime,
		Name: func(row judged) setaside.Element {
			return setaside.Element{
				Key: row.Integration.ID.String(), Integration: row.Integration.ID,
				About: row.Integration.Name,
			}
		},
		Claim: func(ctx context.Context, tx *postgres.Tx, most int32, without []uuid.UUID) ([]judged, error) {
			rows, err := tx.RequestCountMarkRates(ctx, dbsqlc.RequestCountMarkRatesParams{
				Since: now.Add(-c.Settings.Window), LeastRequests: int64(c.Settings.LeastRequests),
				ElevatedPercent:  int64(c.Settings.ElevatedPercent),
				RecoveredPercent: int64(c.Settings.RecoveredPercent), Now: now, Without: without, Most: most,
			})
			if err != nil {
				return nil, fmt.Errorf("judge failure rates: %w", err)
			}
			return rows, nil
		},
		Step: func(ctx context.Context, tx *postgres.Tx, rows []judged) error {
			for _, row := range rows {
				if err := c.reportRate(ctx, tx, row, now); err != nil {
					return err
				}
			}
			return nil
		},
	})
	return err
}

func (c *Checker) reportRate(ctx context.Context, tx *postgres.Tx, row judged, now time.Time) error {
	in := &row.Integration
	rate := &eventsv1.FailureRate{
		Requests: row.Requests, Failed: row.Failed, Class: most(row),
		WindowSeconds: int32(c.Settings.Window.Seconds()),
	}
	name, told := events.FailureRateRecovered,
		proto.Message(&eventsv1.FailureRateRecovered{
			Integration: announce.Ref(in), Rate: rate,
			At: timestamppb.New(now),
		})
	if in.FailureRateSince != nil {
		name, told = events.FailureRateElevated, &eventsv1.FailureRateElevated{
			Integration: announce.Ref(in),
			Rate:        rate, At: timestamppb.New(now),
		}
		c.Log.Warn("many requests fail", "integration", in.Name, "provider", in.Provider, "failed", row.Failed,
			"requests", row.Requests, "class", rate.Class)
	}
	return announce.Publish(ctx, tx, now, name, in, told)
}

// most is the class of most failures, empty when there are none.
func most(row *dbsqlc.RequestCountMarkRatesRow) string {
	class, count := "", int64(0)
	for _, c := range []struct {
		class string
		count int64
	}{{"upstream", row.Upstream}, {"throttle", row.Throttle}, {"client", row.Client}, {"unknown", row.Unknown}} {
		if cmp.Compare(c.count, count) > 0 {
			class, count = c.class, c.count
		}
	}
	return class
}
