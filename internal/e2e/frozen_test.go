package e2e_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/embedded/cable"
)

// The connections to a store go silent in mid-run, and stay open: those that are open, or new ones too for a while. The
// run ends as if nothing had been.
func TestStoreFallsSilent(t *testing.T) {
	for name, isNATS := range map[string]bool{"Postgres": false, "NATS": true} {
		for _, all := range []bool{false, true} {
			t.Run(name+map[bool]string{false: " on open connections", true: " on all connections"}[all],
				func(t *testing.T) {
					w := newWorld(t)
					w.patience = patiently
					w.fill(600)
					w.setJudge(func(handled) verdict { <-time.After(2 * time.Millisecond); return verdict{} })
					store := &w.database
					if isNATS {
						store = &w.natsURL
					}
					line := cable.New(t, *store)
					*store = line.URL
					w.start("syncer")
					w.start("item-worker")
					address := "127.0.0.1:" + freePort(t)
					w.startServing("scheduler", address)
					id := w.create("one", "feed")
					w.await("work", func() bool { return w.count("", "ok") > 50 })
					began := time.Now()
					if !all {
						line.Freeze()
					} else {
						line.FreezeAll()
						w.await("the scheduler to say so", func() bool {
							code, body := readyz(t, address)
							return code == http.StatusServiceUnavailable && strings.Contains(body, name+": not ok")
						})
						line.Mend()
					}
					run := w.awaitClosed(id, 1)
					t.Logf("closed %s after the silence began", time.Since(began).Round(time.Second))
					w.wantRun(run, "succeeded", 600, 0)
					w.wantCursor(id, "600")
					w.wantHistory()
				})
		}
	}
}
