package platform

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/foreign"
)

// answerGrace is how long an answer about this process may take once it was told to stop.
const answerGrace = time.Second

// serveProcess answers how this process is, until ctx ends.
func (p *Platform) serveProcess(ctx context.Context, services []string) error {
	host, _ := os.Hostname()
	name := fmt.Sprintf("%s/%d", cmp.Or(host, "?"), os.Getpid())
	services = slices.Compact(slices.Sorted(slices.Values(services)))
	server := api.Server{
		Conn: p.Bus.Conn(), Log: p.config.Log, Grace: answerGrace,
		Explain: func(_ api.Endpoint, err error) *api.Error {
			return &api.Error{Code: api.Internal, Message: foreign.Of(err).String()}
		},
	}
	answer := api.Takes(func(context.Context, struct{}) (api.Process, error) {
		process := api.Process{Name: name, Services: services, ClockAheadMS: -p.clock.Skew().Milliseconds()}
		for _, r := range p.Readiness.Results() {
			check := api.ProcessCheck{Name: r.Name, Ready: r.Err == nil, Since: r.Since}
			if r.Err != nil {
				check.Error = foreign.Of(r.Err).String()
			}
			process.Checks = append(process.Checks, check)
		}
		return process, nil
	})
	return server.Serve(ctx, "How each process of Tributary is", []api.Route{{Endpoint: api.ProcessesList, Answer: answer, Everybody: true}})
}
