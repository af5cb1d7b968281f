package e2e_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/events"
)

// TestChaos runs two of every service, three integrations whose upstreams misbehave and change, and kills processes. In make test it is ten
// kills at named points with a fixed seed; in make chaos it is kills at random, of NATS too, for CHAOS_FOR. Then everything is left in peace,
// and the history of what was enumerated, handled and committed is checked. With CHAOS_BESIDE, a test binary of an earlier commit, one process of each pair is
// of that one, as while an upgrade goes on.
func TestChaos(t *testing.T) {
	seed := uint64(1)
	lasting, _ := time.ParseDuration(os.Getenv("CHAOS_FOR"))
	if lasting > 0 {
		seed = uint64(time.Now().UnixNano())
	}
	if given, err := strconv.ParseUint(os.Getenv("CHAOS_SEED"), 10, 64); err == nil {
		seed = given
	}
	t.Logf("seed %d (CHAOS_SEED)", seed)
	c := newChaos(t, seed)
	if lasting > 0 {
		c.killAtRandom(lasting)
	} else {
		c.killAtPoints(10)
	}
	c.calm()
	c.check()
}

// chaos is a world under attack.
type chaos struct {
	*world
	random    *rand.Rand
	natsDir   string
	natsPort  string
	broker    *process
	names     []string
	ids       map[string]uuid.UUID
	upstreams map[string]*upstream

	mu    sync.Mutex
	wild  bool
	kills map[string]int
	slots []*slot
}

// slot is a place for a process that is started again whenever it dies.
type slot struct {
	world   *world
	service string
	process *process
}

func (s *slot) start(env ...string) { s.process = s.world.start(s.service, env...) }

func newChaos(t *testing.T, seed uint64) *chaos {
	t.Helper()
	t.Parallel()
	c := &chaos{
		random: rand.New(rand.NewPCG(seed, seed)), natsDir: t.TempDir(), natsPort: freePort(t), ids: map[string]uuid.UUID{},
		upstreams: map[string]*upstream{}, kills: map[string]int{}, wild: true, names: []string{"alpha", "beta", "gamma"},
	}
	url := "nats://127.0.0.1:" + c.natsPort
	c.broker = startBroker(t, c.natsDir, c.natsPort)
	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond), nats.RetryOnFailedConnect(true))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	c.world = newWorldOn(t, url, nc)
	for i, name := range c.names {
		u := newUpstream(t)
		u.fill(200 + 150*i)
		u.setJudge(c.judge)
		u.setOnPage(c.page)
		c.upstreams[name] = u
	}
	other := *c.world
	other.program = os.Getenv("CHAOS_BESIDE")
	for _, w := range []*world{c.world, &other} {
		for _, service := range []string{"scheduler", "syncer", "item-worker"} {
			s := &slot{world: w, service: service}
			s.start()
			c.slots = append(c.slots, s)
		}
	}
	for i, name := range c.names {
		c.ids[name] = c.createAt(c.upstreams[name], name, []string{"feed", "feed", "list"}[i])
		interval := 2 * silence
		_, err := c.store.IntegrationUpdate(t.Context(), dbsqlc.IntegrationUpdateParams{ID: c.ids[name], SyncInterval: &interval, Now: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// startBroker starts a nats-server of its own process, to be killed or starved. cluster is as in runNATS.
func startBroker(t *testing.T, dir, port string, cluster ...string) *process {
	t.Helper()
	p := &process{name: "nats", output: &lockedBuffer{}, ended: make(chan struct{})}
	p.cmd = exec.Command(os.Args[0], append([]string{dir, port}, cluster...)...)
	p.cmd.Env = append(os.Environ(), roleVariable+"="+natsRole)
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("--- %s\n%s", p.name, p.output.tail())
		}
	})
	return p
}

// roll draws under the lock: handlers and pages ask at the same time.
func (c *chaos) roll() (wild bool, drawn float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wild, c.random.Float64()
}

func (c *chaos) judge(handled) verdict {
	wild, drawn := c.roll()
	switch {
	case !wild || drawn > 0.04:
		return verdict{}
	case drawn > 0.02:
		return verdict{Do: "fail"}
	case drawn > 0.008:
		return verdict{Do: "defer", Delay: 100 * time.Millisecond}
	case drawn > 0.006:
		return verdict{Do: "panic"}
	case drawn > 0.003:
		return verdict{Do: "permanent"}
	case drawn > 0.0027:
		return verdict{Do: "die"}
	}
	return verdict{Do: "skip"}
}

func (c *chaos) page(int64, int) int {
	wild, drawn := c.roll()
	switch {
	case !wild || drawn > 0.06:
		return 0
	case drawn > 0.03:
		return http.StatusInternalServerError
	case drawn > 0.01:
		return http.StatusTooManyRequests
	}
	return http.StatusTeapot
}

// stir changes records and asks for syncs.
func (c *chaos) stir() {
	name := c.names[c.draw(len(c.names))]
	u := c.upstreams[name]
	for range c.draw(20) {
		u.put(fmt.Sprintf("r%d", 1+c.draw(400)), "edited")
	}
	js, err := c.nc.JetStream(nats.MaxWait(time.Second))
	if err == nil {
		body := []string{"", "", `{"mode":"full"}`}[c.draw(3)]
		_, _ = js.Publish(events.CommandSubject(events.VerbSync, name), []byte(body))
		if c.draw(4) == 0 {
			_, _ = js.Publish(events.CommandSubject(events.VerbRetry, name), []byte(`{"all":true}`))
		}
	}
}

func (c *chaos) draw(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.random.IntN(n)
}

// revive starts what has died, by our hand or a handler's.
func (c *chaos) revive(env ...string) {
	for _, s := range c.slots {
		select {
		case <-s.process.ended:
			s.start(env...)
		default:
		}
	}
	select {
	case <-c.broker.ended:
		c.broker = startBroker(c.t, c.natsDir, c.natsPort)
	default:
	}
}

// killAtPoints arms one process after another with a crash point, and waits for its death.
func (c *chaos) killAtPoints(kills int) {
	// Points that are reached again and again: with syncs asked for all the time, runs are opened as follow-ups and never by their schedule.
	points := []string{
		"scheduler: outbox message published", "scheduler: before close", "scheduler: run closed",
		"scheduler: command carried out", "syncer: attempt started", "syncer: batch published", "syncer: before total", "syncer: total written",
		"item-worker: hop published", "item-worker: before entry", "item-worker: entry written",
	}
	for range kills {
		victim := c.slots[c.draw(len(c.slots))]
		var point string
		for point == "" || serviceOf(point) != victim.service {
			point = points[c.draw(len(points))]
		}
		victim.process.kill()
		victim.start("TRIBUTARY_CRASH_AT=" + point)
		c.await("a crash at "+point, func() bool {
			c.stir()
			select {
			case <-victim.process.ended:
				return true
			case <-time.After(50 * time.Millisecond):
			}
			for _, s := range c.slots {
				if s == victim {
					continue
				}
				select {
				case <-s.process.ended:
					s.start()
				default:
				}
			}
			return false
		})
		c.kills[point]++
		c.revive()
	}
}

// killAtRandom kills anything at any time.
func (c *chaos) killAtRandom(lasting time.Duration) {
	for end := time.Now().Add(lasting); time.Now().Before(end); {
		time.Sleep(time.Duration(100+c.draw(1500)) * time.Millisecond) //nolint:forbidigo // the point of it: a random moment
		c.stir()
		switch n := c.draw(12); {
		case n < 6:
			c.slots[n].process.kill()
			c.kills[c.slots[n].service]++
		case n == 6:
			c.broker.kill()
			c.kills["nats"]++
		case n == 7:
			victim := c.slots[c.draw(6)].process
			victim.signal(syscall.SIGSTOP)
			time.AfterFunc(3*silence, func() { victim.signal(syscall.SIGCONT) })
			c.kills["frozen"]++
		}
		c.revive()
	}
}

// calm ends all faults and has everything that is dead retried, until every integration is where its upstream is.
func (c *chaos) calm() {
	c.mu.Lock()
	c.wild = false
	c.mu.Unlock()
	c.t.Logf("kills %v; %s", c.kills, c.describe())
	for _, name := range c.names {
		want := strconv.FormatInt(c.upstreams[name].newest(), 10)
		asked := time.Time{}
		c.await(name+" to settle at "+want, func() bool {
			c.revive()
			if c.settled(name, want) {
				return true
			}
			if time.Since(asked) > 5*silence {
				asked = time.Now()
				c.command(events.VerbRetry, name, `{"all":true}`)
				c.command(events.VerbSync, name, "")
			}
			return false
		})
	}
}

func (c *chaos) settled(name, want string) bool {
	id := c.ids[name]
	if c.cursor(id) != want {
		return false
	}
	for _, run := range c.runs(id) {
		if run.ClosedAt == nil {
			return false
		}
	}
	open, err := c.store.DeadList(c.t.Context(), dbsqlc.DeadListParams{IntegrationID: &id, Most: 1})
	return err == nil && len(open) == 0
}

// check holds the invariants against the history.
func (c *chaos) check() {
	byID := map[string]*upstream{}
	for name, id := range c.ids {
		byID[id.String()] = c.upstreams[name]
	}
	c.wantHistoryOf(func(integration string) *upstream { return byID[integration] })
	// I3: every record was handled in the version that the cursor covers.
	handlings, repeats := 0, 0
	for name, u := range c.upstreams {
		ok := map[string]bool{}
		for _, h := range u.handlings("") {
			handlings++
			if h.Do != "ok" && h.Do != "skip" {
				continue
			}
			if ok[h.Item] {
				repeats++
			}
			ok[h.Item] = true
			ok[fmt.Sprint(h.Entry.Seq)] = true
		}
		for _, e := range u.entries {
			if !ok[fmt.Sprint(e.Seq)] {
				c.t.Errorf("%s: record %s (%d) was never handled", name, e.ID, e.Seq)
			}
		}
	}
	c.checkEvents()
	runs := 0
	for _, id := range c.ids {
		runs += len(c.runs(id))
	}
	c.t.Logf("%d runs, %d handlings, of which %d were repeated after success", runs, handlings, repeats)
}

// checkEvents holds I6: every closed run has told its end.
func (c *chaos) checkEvents() {
	c.await("every run's event", func() bool {
		told := map[string]bool{}
		for _, name := range []events.Name{events.RunCompleted, events.RunPartial, events.RunFailed} {
			for _, body := range c.world.history(name) {
				var e struct {
					Run struct {
						ID string `json:"run_id"`
					} `json:"run"`
				}
				if json.Unmarshal(body, &e) == nil {
					told[e.Run.ID] = true
				}
			}
		}
		for _, id := range c.ids {
			for _, run := range c.runs(id) {
				if !told[run.ID.String()] {
					return false
				}
			}
		}
		return true
	})
}

// freePort finds a port for a server that is killed and started again.
func freePort(t *testing.T) string {
	t.Helper()
	return strconv.Itoa(natstest.FreePort(t))
}
