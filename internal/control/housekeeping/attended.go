package housekeeping

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/wire"
)

// askProcesses bounds the wait for the answers of processes.
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

// attended warns of messages that wait for a service of which no process runs. Such a service can't warn by itself.
type attended struct {
	*Keeper
	// missing has the time since which messages wait for a service of which no process answers.
	missing map[string]time.Time
}

// look asks which processes run. It warns of a service for which messages wait, if no process ran it at this look and
// at the one before.
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
		// Without an answer nothing is known. Readiness reports a broker that does not answer.
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
		a.Log.Warn("messages wait and no process takes them: start one of the service",
			"missing", service, "messages", n, "for", time.Since(since).Round(time.Second))
	}
	return errors.Join(problems...)
}

// running counts the processes of each service that answer.
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
