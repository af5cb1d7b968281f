package requestlog_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/internal/requestlog"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

func TestBodiesAreDroppedBeforeRows(t *testing.T) {
	t.Parallel()
	settings := requestlog.DefaultSettings()
	settings.BodyBytes = 10
	l := newLogged(t, settings, plainProvider{}, trip(func(*http.Request) (*http.Response, error) {
		return answer(http.StatusOK, "0123456789+"), nil
	}))
	l.get(t, "https://x/")
	rows := l.written()
	if len(rows) != 1 || !rows[0].BodiesDropped || rows[0].ResponseBody != "" || rows[0].ResponseBytes != 11 {
		t.Errorf("the rows are %+v", rows)
	}
	dropped, _ := l.log.Counted()
	if bytes, _ := l.log.Held(); dropped != 1 || bytes != 0 {
		t.Errorf("%v drops are counted, %d bytes are taken", dropped, bytes)
	}
}

// While the database is away requests go on as long as there is room for their rows, then they are deferred; afterwards
// every row is there.
func TestLogThroughAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		settings := requestlog.DefaultSettings()
		settings.Rows = 5
		asked := 0
		l := newLogged(t, settings, plainProvider{}, trip(func(*http.Request) (*http.Response, error) {
			asked++
			return answer(http.StatusOK, "fine"), nil
		}))
		l.store.failWith(func([]requestlog.Row) error { return errors.New("no database") })
		for range settings.Rows {
			if got := l.get(t, "https://x/"); got != "fine" {
				t.Fatalf("the caller gets %q", got)
			}
		}
		started := time.Now()
		_, err := l.chain.RoundTrip(request(t, http.MethodGet, "https://x/", nil))
		if deferral, ok := contracts.AsDeferral(err); !ok || deferral.Delay != settings.Deferral ||
			!errors.Is(err, requestlog.ErrLogFull) {
			t.Errorf("a request without room for its row gets %v", err)
		}
		if waited := time.Since(started); waited != settings.Patience || asked != settings.Rows {
			t.Errorf("it waited for %s; the upstream was asked %d times", waited, asked)
		}
		// One that is waiting goes on when the database is back.
		l.store.failWith(nil)
		if got := l.get(t, "https://x/"); got != "fine" {
			t.Errorf("the caller gets %q", got)
		}
		if rows := l.written(); len(rows) != settings.Rows+1 {
			t.Errorf("%d rows, want %d", len(rows), settings.Rows+1)
		}
	})
}

func TestLogGivesUpAtTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		settings := requestlog.DefaultSettings()
		l := newLogged(t, settings, plainProvider{}, trip(func(*http.Request) (*http.Response, error) {
			return answer(http.StatusOK, "fine"), nil
		}))
		l.store.failWith(func([]requestlog.Row) error { return errors.New("no database") })
		l.get(t, "https://x/")
		started := time.Now()
		l.stop()
		if took := time.Since(started); took != settings.Grace {
			t.Errorf("stopping took %s", took)
		}
		if _, n := l.log.Counted(); n != 1 ||
			!strings.Contains(l.output.String(), "rows of the request log were lost") {
			t.Errorf("%v rows are counted as lost; the log says %s", n, l.output.String())
		}
	})
}

// One bad row takes neither the others down nor all of itself.
func TestRefusedRow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLogged(t, requestlog.DefaultSettings(), plainProvider{},
			trip(func(req *http.Request) (*http.Response, error) {
				return answer(http.StatusOK, req.URL.Path), nil
			}))
		l.store.failWith(func(rows []requestlog.Row) error {
			for _, row := range rows {
				if row.ResponseBody == "/5" || row.Host == "never" {
					return requestlog.ErrRowRefused
				}
			}
			return nil
		})
		for _, address := range []string{
			"https://x/1", "https://x/5", "https://x/2", "https://never/3",
			"https://x/4",
		} {
			l.get(t, address)
		}
		var bodies []string
		for _, row := range l.written() {
			bodies = append(bodies, row.ResponseBody.String())
		}
		if diff := cmp.Diff([]string{"/1", "", "/2", "/4"}, bodies); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if _, n := l.log.Counted(); n != 1 {
			t.Errorf("%v rows are counted as lost, want 1", n)
		}
	})
}
