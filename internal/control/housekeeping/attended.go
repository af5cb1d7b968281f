package housekeeping

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/wire"
)

// askProcesses is how long processes may take to say that they are there.
const askProcesses = 5 * time.Second

// taker is a service that takes messages, and the streams that it takes them from.
type taker struct {
	service string
	streams []string
}

func takers() []taker {
	return []taker{
		{"syncer", []string{wire.StreamSync}},
		{"item-worker", []string{wire.StreamItems, wire.StreamWebhooks}},
	}
}

// attended tells of messages that nobody takes, because no process of their service runs. Who runs can't tell of that.
type attended struct {
	*Keeper
	// missing is since when messages wait for a service of which no process answers.
	missing map[string]time.Time
}

// look asks which processes there are. It warns of a service for which messages wait, and which no process ran at the
// look before either.
func (a *attended) look(ctx context.Context) error {
	waiting := map[string]uint64{}
	var problems []error
	for _, taker := range takers() {
		for _, stream := range taker.streams {
			usage, err := a.Bus.Usage(ctx, stream)
			if err != nil {
				problems = append(problems, err)
			}
			waiting[taker.service] += usage.Messages
		}
	}
	running, err := a.running(ctx)
	if err != nil {
		// Without an answer nothing is known; readiness tells of a broker that does not answer.
		return errors.Join(append(problems, err)...)
	}
	for _, taker := range takers() {
		service, n := taker.service, waiting[taker.service]
		a.Metrics.processes.WithLabelValues(service).Set(float64(running[service]))
		if running[service] > 0 || n == 0 {
			delete(a.missing, service)
			continue
		}
		since, again := a.missing[service]
		if !again {
			a.missing[service] = time.Now()
			continue
		}
		a.Log.Warn("messages wait and no process takes them: start one of the service", "missing", service, "messages", n,
			"for", time.Since(since).Round(time.Second))
	}
	return errors.Join(problems...)
}

// running is how many processes of each service answer.
func (a *attended) running(ctx context.Context) (map[string]int, error) {
	processes, err := api.New(a.Bus.Conn(), askProcesses).Processes(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask which processes there are: %w", err)
	}
	running := map[string]int{}
	for _, process := range processes {
		for _, service := range process.Services {
			running[service]++
		}
	}
	return running, nil
}
