package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

const (
	// maxOverhead and maxTrips are what the chain is to cost a request at most.
	maxOverhead = 60 * time.Microsecond
	maxTrips    = 1
)

// median of what the rounds say of one thing.
func (c *outboundCase) median(of func(outboundUsage) float64) float64 {
	values := make([]float64, 0, len(c.rounds))
	for _, round := range c.rounds {
		values = append(values, of(round))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func tookOf(u outboundUsage) float64  { return micros(u.took) }
func ownOf(u outboundUsage) float64   { return micros(u.own + u.database) }
func tripsOf(u outboundUsage) float64 { return u.brokerMessages }

// writeOutbound writes a table of the cases, and beside each that goes through the chain what it costs more than the bare one of its method.
func writeOutbound(w io.Writer, about, load string, opts options, cases []*outboundCase) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s Medians of %d rounds of %s requests each, one after the other; load average %s at the start and %s at the end.\n\n",
		about, opts.rounds, formatSize(opts.requests), load, loadAverage())
	b.WriteString("| request | time, µs | CPU, µs | of which Postgres | allocations | KB allocated | messages to the broker |\n")
	b.WriteString("| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for _, c := range cases {
		fmt.Fprintf(&b, "| %s | %.1f | %.1f | %.1f | %.0f | %.1f | %.3f |\n", c.name, c.median(tookOf), c.median(ownOf),
			c.median(func(u outboundUsage) float64 { return micros(u.database) }),
			c.median(func(u outboundUsage) float64 { return u.allocations }),
			c.median(func(u outboundUsage) float64 { return u.bytes / 1024 }), c.median(tripsOf))
	}
	b.WriteString("\n| the chain beside a bare client | × time | + time, µs | + CPU, µs | + allocations | messages to the broker | aim |\n")
	b.WriteString("| --- | ---: | ---: | ---: | ---: | ---: | --- |\n")
	for _, c := range cases {
		bare := bareOf(cases, c)
		if bare == nil {
			continue
		}
		more := c.beside(bare, tookOf)
		fmt.Fprintf(&b, "| %s | %.2f | %.1f | %.1f | %.0f | %.3f | < %.0f µs and < %d message: %s |\n", c.name, c.median(tookOf)/bare.median(tookOf), more,
			c.beside(bare, ownOf), c.beside(bare, func(u outboundUsage) float64 { return u.allocations }), c.median(tripsOf),
			micros(maxOverhead), maxTrips, verdict(more < micros(maxOverhead) && c.median(tripsOf) < maxTrips))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// bareOf is the bare case that a case is compared with, nil for the bare ones themselves.
func bareOf(cases []*outboundCase, c *outboundCase) *outboundCase {
	for _, other := range cases {
		if other.method == c.method && other.client != c.client && strings.HasSuffix(other.name, ", bare") {
			return other
		}
	}
	return nil
}

// beside is the median over the rounds of the difference within one round.
func (c *outboundCase) beside(bare *outboundCase, of func(outboundUsage) float64) float64 {
	differences := make([]float64, 0, len(c.rounds))
	for i, round := range c.rounds {
		differences = append(differences, of(round)-of(bare.rounds[i]))
	}
	slices.Sort(differences)
	return differences[len(differences)/2]
}
