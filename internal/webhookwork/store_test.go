package webhookwork_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/delivery"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/handling"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/registry"
	"github.com/tributaryhq/tributary/internal/webhookwork"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

type plain struct {
	contracts.NoCredentials
	contracts.NoMetadata
}

func (plain) Name() string { return "Plain" }

// intake stores webhooks at a time that the test sets.
type intake struct {
	t           *testing.T
	pool        *pgxpool.Pool
	take        func(context.Context, *bus.Delivery) error
	now         time.Time
	integration uuid.UUID
	crashes     []string
	// stored is called when a webhook was stored, before it is decided about its message.
	stored func()
}

func newIntake(t *testing.T, bound time.Duration) *intake {
	t.Helper()
	return newIntakeOf(t, bound, plain{}, 10*time.Second, pgtest.DB(t))
}

// newIntakeOf stores the webhooks of a provider.
func newIntakeOf(t *testing.T, bound time.Duration, provider contracts.Provider, askTimeout time.Duration,
	pool *pgxpool.Pool,
) *intake {
	t.Helper()
	timing := wire.DefaultTiming()
	timing.LagBound = bound
	b, err := bus.New(natstest.New(t).Connect(), bus.Options{Timing: timing})
	if err != nil {
		t.Fatal(err)
	}
	registry, err := registry.New(map[string]contracts.Provider{"plain": provider})
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := webhookwork.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	in := &intake{t: t, pool: pool, now: time.Now(), integration: postgres.NewID()}
	store := postgres.New(in.pool, nil)
	_, err = store.IntegrationInsert(t.Context(), dbsqlc.IntegrationInsertParams{
		ID: in.integration, Provider: "plain",
		Name: "one", Metadata: []byte("{}"), Now: in.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	in.take = webhookwork.NewTake(t.Context(), webhookwork.Config{
		Bus: b, Store: store, Registry: registry, Deliveries: delivery.NewCodec(nil),
		Log: slog.New(slog.DiscardHandler), Metrics: metrics,
		Handlers: handling.New(handling.Config{Settings: handling.Settings{AskTimeout: askTimeout}}),
		Now:      func() time.Time { return in.now }, Crash: in.crash, Settings: webhookwork.DefaultSettings(),
	})
	return in
}

func (in *intake) crash(point string) {
	in.crashes = append(in.crashes, point)
	if point == "item-worker: webhook stored" && in.stored != nil {
		in.stored()
	}
}

// deliver hands a webhook over for the n-th time, and returns for how long it is handed back; 0 when it is
// acknowledged.
func (in *intake) deliver(id uuid.UUID, n uint64) time.Duration {
	in.t.Helper()
	body, err := proto.Marshal(&eventsv1.WebhookReceived{
		Id: id.String(), IntegrationId: in.integration.String(), Provider: "plain", DeliveryId: "d1", Method: "POST",
		ReceivedAt: timestamppb.New(in.now),
	})
	if err != nil {
		in.t.Fatal(err)
	}
	err = in.take(in.t.Context(), &bus.Delivery{Body: body, Count: n, Sequence: 1})
	if handBack, ok := errors.AsType[*bus.HandBack](err); ok {
		return handBack.Delay
	}
	if err != nil {
		in.t.Fatal(err)
	}
	return 0
}

// wantOneRow wants one row in the table.
func (in *intake) wantOneRow() {
	in.t.Helper()
	var rows int
	if err := in.pool.QueryRow(in.t.Context(), "select count(*) from webhooks").Scan(&rows); err != nil {
		in.t.Fatal(err)
	}
	if rows != 1 {
		in.t.Errorf("%d rows, want one", rows)
	}
}

// TestLateLookAtWebhooks acknowledges a webhook only when its row is there and older than the bound, and stores it
// again where Postgres has lost it.
func TestLateLookAtWebhooks(t *testing.T) {
	t.Parallel()
	const bound = time.Minute
	in := newIntake(t, bound)
	id := postgres.NewID()
	waits := func(what string, got time.Duration, after time.Duration) {
		t.Helper()
		if least := bound - after; got < least || got > least+time.Second {
			t.Errorf("%s: handed back for %s, want %s", what, got, least)
		}
	}
	waits("stored", in.deliver(id, 1), 0)
	in.now = in.now.Add(20 * time.Second)
	waits("delivered too early", in.deliver(id, 2), 20*time.Second)
	waits("delivered as if for the first time", in.deliver(id, 1), 20*time.Second)
	in.wantOneRow()
	if wait := in.deliver(postgres.NewID(), 1); wait != 0 {
		t.Errorf("a copy waits for %s", wait)
	}
	if _, err := in.pool.Exec(t.Context(), "delete from webhooks"); err != nil {
		t.Fatal(err)
	}
	in.now = in.now.Add(bound)
	waits("lost and stored again", in.deliver(id, 3), 0)
	in.wantOneRow()
	in.now = in.now.Add(bound)
	if wait := in.deliver(id, 4); wait != 0 || in.crashes[len(in.crashes)-1] != "item-worker: webhook found late" {
		t.Errorf("after the bound it waits for %s, points %v", wait, in.crashes)
	}
	in.wantOneRow()
}

// TestRowThatVanishes keeps a webhook in NATS whose row was there when it was delivered again, and is gone when its
// message is decided about: Postgres went back then.
func TestRowThatVanishes(t *testing.T) {
	t.Parallel()
	in := newIntake(t, time.Minute)
	id := postgres.NewID()
	in.deliver(id, 1)
	in.stored = func() {
		if _, err := in.pool.Exec(t.Context(), "delete from webhooks"); err != nil {
			t.Fatal(err)
		}
	}
	if wait := in.deliver(id, 1); wait == 0 {
		t.Error("it is acknowledged, and nobody has it any more")
	}
	in.stored = nil
	in.deliver(id, 2)
	in.wantOneRow()
}

// TestWithoutLateLook acknowledges a webhook as soon as it is stored.
func TestWithoutLateLook(t *testing.T) {
	t.Parallel()
	in := newIntake(t, 0)
	if wait := in.deliver(postgres.NewID(), 1); wait != 0 {
		t.Errorf("it waits for %s", wait)
	}
	in.wantOneRow()
}

// TestWebhookThatNoStandbyHas keeps a webhook in NATS while a synchronous standby may lack its row: because the wait
// for it was cancelled, when it is stored and when it is found stored.
func TestWebhookThatNoStandbyHas(t *testing.T) {
	t.Parallel()
	server := pgtest.Alone(t)
	pool, err := postgres.Connect(t.Context(), server.Config(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	in := newIntakeOf(t, 0, plain{}, 10*time.Second, pool)
	id := postgres.NewID()
	server.AwaitStandby(true)
	for n := range uint64(2) {
		done := server.CancelWait()
		if wait := in.deliver(id, n+1); wait == 0 {
			t.Errorf("delivery %d is acknowledged, though no standby has the row", n+1)
		}
		done()
		in.wantOneRow()
	}
	server.AwaitStandby(false)
	if wait := in.deliver(id, 3); wait != 0 {
		t.Errorf("with all that is needed it waits for %s", wait)
	}
	in.wantOneRow()
}

// A webhook of which the provider does not say what it is is stored all the same.
func TestWebhookThatIsNotDescribed(t *testing.T) {
	t.Parallel()
	held := make(chan struct{})
	t.Cleanup(func() { close(held) })
	in := newIntakeOf(t, 0, undescribed{held: held}, 10*time.Millisecond, pgtest.DB(t))
	if wait := in.deliver(postgres.NewID(), 1); wait != 0 {
		t.Errorf("it was handed back for %s", wait)
	}
	in.wantOneRow()
}

// undescribed takes webhooks, and hangs whatever it is asked of one.
type undescribed struct {
	plain
	contracts.WebhookDefaults
	held chan struct{}
}

func (undescribed) HandleWebhook(context.Context, *contracts.Integration, *contracts.WebhookRequest) (any, error) {
	return nil, nil
}

func (undescribed) VerifyWebhookSignature(context.Context, *contracts.Integration, *contracts.WebhookRequest) error {
	return nil
}

func (u undescribed) ResolveWebhookEvent(*contracts.WebhookRequest) (string, bool) {
	<-u.held
	return "", false
}
