package tributary

import (
	"errors"
	"time"

	"github.com/tributaryhq/tributary/internal/platform"
)

// running is what a runtime has while it runs, and after.
type running struct {
	*platform.Platform
	// ended returns an error once the context of Run has ended.
	ended func() error
}

// Check is a part of the readiness of a process, such as "Postgres".
type Check struct {
	Name string
	// Err says why the services could not do their work now; it is nil if they could.
	Err error
	// Since is when that began, if it is known.
	Since time.Time
}

// Readiness are the checks of whether the services could do their work now. They run all the time, so that asking costs
// nothing. The last, "running", fails until the services have started, and from the moment at which the context of Run
// has ended, so that load balancers see the process drain.
func (r *Runtime) Readiness() []Check {
	now := r.running.Load()
	if now == nil {
		return []Check{{Name: "running", Err: errors.New("the services have not started")}}
	}
	results := now.Platform.Readiness.Results()
	checks := make([]Check, 0, len(results)+1)
	for _, result := range results {
		checks = append(checks, Check{Name: result.Name, Err: result.Err, Since: result.Since})
	}
	return append(checks, Check{Name: "running", Err: now.ended()})
}
