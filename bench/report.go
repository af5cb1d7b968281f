package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// maxGrowth is what still counts as a flat cost: rounds differ by as much.
const maxGrowth = 1.1

// report is what a whole run of the benchmark found.
type report struct {
	opts       options
	about      string
	load       string
	throughput []*measurement
	latencies  *latencies
	memory     []memory
}

// aim is a ratio, and what it is to be.
type aim struct {
	name    string
	value   float64
	want    string
	verdict string
}

func (r *report) write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s; load average %s at the start and %s at the end.\n\n", r.about, r.rounds(), r.load, loadAverage())
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
	r.writeMemory(&b)
	b.WriteString("\n| ratio | measured | aim | |\n| --- | ---: | ---: | --- |\n")
	for _, a := range r.aims() {
		fmt.Fprintf(&b, "| %s | %.2f | %s | %s |\n", a.name, a.value, a.want, a.verdict)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *report) rounds() string {
	text := fmt.Sprintf("Medians of %d rounds", r.opts.rounds)
	if r.opts.longRounds != r.opts.rounds {
		text += fmt.Sprintf(", of %d for runs of more than 100 k items", r.opts.longRounds)
	}
	return text
}

func writeLatency(b *strings.Builder, name string, values []time.Duration) {
	fmt.Fprintf(b, "| %s | %d | %.0f | %.0f |\n", name, len(values), millis(quantile(values, 0.5)), millis(quantile(values, 0.99)))
}

// aims compares the largest runs that were in every round with the peers, and the largest with the smallest. What was not measured has no aim.
func (r *report) aims() []aim {
	smallest, largest := r.opts.sizes[0], r.opts.sizes[len(r.opts.sizes)-1]
	compared := smallest
	for _, size := range r.opts.sizes {
		if size < longFrom || r.opts.longRounds == r.opts.rounds {
			compared = size
		}
	}
	quick, stored := r.find(productCase(kindQuick), compared), r.find(productCase(kindStored), compared)
	aims := slices.Concat(
		compareRates("no-op handler, "+formatSize(compared)+" / (a)", quick, r.find(peerBroker, 0), 4),
		compareRates("no-op handler, "+formatSize(compared)+" / (b)", quick, r.find(peerRiver, 0), 30),
		compareRates("no-op handler, "+formatSize(compared)+" / River with its default settings", quick, r.find(peerUsual, 0), 30),
		compareRates("sink, "+formatSize(compared)+" / (c)", stored, r.find(peerUpserts, 0), 0.6),
	)
	for _, kind := range []string{kindQuick, kindStored} {
		few, many := r.find(productCase(kind), smallest), r.find(productCase(kind), largest)
		if few == nil || few == many {
			continue
		}
		growth := micros(total(many)) / micros(total(few))
		aims = append(aims, aim{
			name:  fmt.Sprintf("%s: CPU per item at %s / at %s", productCase(kind), formatSize(largest), formatSize(smallest)),
			value: growth, want: fmt.Sprintf("≤ %g", maxGrowth), verdict: verdict(growth <= maxGrowth),
		})
	}
	return append(aims, r.memoryAims()...)
}

// compareRates compares items a second in the same round, for which there is an aim, and CPU per item, which other programs on the machine
// disturb less.
func compareRates(name string, ours, theirs *measurement, want float64) []aim {
	if ours == nil || theirs == nil {
		return nil
	}
	rate := ours.rateBeside(theirs)
	return []aim{
		{name: name + ", items/s", value: rate, want: fmt.Sprintf("≥ %g", want), verdict: verdict(rate >= want)},
		{name: name + ", items per CPU second", value: micros(total(theirs)) / micros(total(ours)), want: "—"},
	}
}

func verdict(met bool) string {
	if met {
		return "met"
	}
	return "missed"
}

// find returns a case by name and size, nil if it was not measured; the peers have one size each.
func (r *report) find(name string, items int) *measurement {
	for _, m := range r.throughput {
		if m.name == name && (items == 0 || m.items == items) {
			return m
		}
	}
	return nil
}

func total(m *measurement) time.Duration {
	own, database := m.cost()
	return own + database
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
