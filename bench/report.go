package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// report is what a whole run of the benchmark found.
type report struct {
	opts       options
	about      string
	load       string
	throughput []*measurement
	latencies  *latencies
}

// aim is a ratio that the product is to keep.
type aim struct {
	name  string
	value float64
	want  string
	met   bool
}

func (r *report) write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s Medians of %d rounds; load average %s at the start and %s at the end.\n\n", r.about, r.opts.rounds, r.load, loadAverage())
	b.WriteString("| case | items | items/s | CPU µs per item | of which Postgres | peak memory, MB |\n")
	b.WriteString("| --- | ---: | ---: | ---: | ---: | ---: |\n")
	for _, m := range r.throughput {
		own, database := m.cost()
		fmt.Fprintf(&b, "| %s | %s | %.0f | %.1f | %.1f | %d |\n", m.name, formatSize(m.items), m.rate(), micros(own+database), micros(database), m.peak()>>20)
	}
	if l := r.latencies; l != nil {
		fmt.Fprintf(&b, "\n| a run of %d items, from command to moved cursor | runs | p50, ms | p99, ms |\n| --- | ---: | ---: | ---: |\n", smallRun)
		writeLatency(&b, "idle", l.idle)
		writeLatency(&b, "beside a run of "+formatSize(r.opts.backlog), l.beside)
	}
	b.WriteString("\n| ratio | measured | aim | |\n| --- | ---: | ---: | --- |\n")
	for _, a := range r.aims() {
		verdict := "missed"
		if a.met {
			verdict = "met"
		}
		fmt.Fprintf(&b, "| %s | %.2f | %s | %s |\n", a.name, a.value, a.want, verdict)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeLatency(b *strings.Builder, name string, values []time.Duration) {
	fmt.Fprintf(b, "| %s | %d | %.0f | %.0f |\n", name, len(values), millis(quantile(values, 0.5)), millis(quantile(values, 0.99)))
}

// aims compares the largest run of each kind with the peers, and the largest with the smallest.
func (r *report) aims() []aim {
	smallest, largest := r.opts.sizes[0], r.opts.sizes[len(r.opts.sizes)-1]
	quick, stored := r.find(productCase(kindQuick), largest), r.find(productCase(kindStored), largest)
	atLeast := func(name string, value, want float64) aim {
		return aim{name: name, value: value, want: fmt.Sprintf("≥ %g", want), met: value >= want}
	}
	aims := []aim{
		atLeast("no-op handler / (a), items/s", quick.rate()/r.find(peerBroker, 0).rate(), 4),
		atLeast("no-op handler / (b), items/s", quick.rate()/r.find(peerRiver, 0).rate(), 30),
		atLeast("sink / (c), items/s", stored.rate()/r.find(peerUpserts, 0).rate(), 0.6),
	}
	for _, kind := range []string{kindQuick, kindStored} {
		growth := micros(total(r.find(productCase(kind), largest))) / micros(total(r.find(productCase(kind), smallest)))
		aims = append(aims, aim{
			name: fmt.Sprintf("%s: CPU per item at %s / at %s", productCase(kind), formatSize(largest), formatSize(smallest)), value: growth, want: "≤ 1.1", met: growth <= 1.1,
		})
	}
	return aims
}

// find returns a case by name and size; the peers have one size each.
func (r *report) find(name string, items int) *measurement {
	for _, m := range r.throughput {
		if m.name == name && (items == 0 || m.items == items) {
			return m
		}
	}
	panic("there is no case " + name)
}

func total(m *measurement) time.Duration {
	own, database := m.cost()
	return own + database
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
