package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// longFrom is how many items make a run a long one. The slow handler has none: a million items say nothing there that a hundred thousand don't.
const longFrom = 100_001

// wideFactor is how many more items the broker alone and Postgres alone get than River, which takes that much longer; narrowFactor how many fewer River gets with
// its default settings.
const (
	wideFactor   = 5
	narrowFactor = 10
)

// The peers.
const (
	peerBroker  = "broker alone, a message for each item (a)"
	peerRiver   = "River, a job for each item (b)"
	peerUsual   = "River with its default settings"
	peerUpserts = "Postgres alone, upserts of 1000 (c)"
)

// measurement is a case and what its rounds took.
type measurement struct {
	name   string
	items  int
	run    func(context.Context) (usage, error)
	rounds []usage
}

// measureThroughput runs every case once in each round, so that what else the machine does meets them all alike.
func measureThroughput(ctx context.Context, s *servers, t *tributary, opts options) ([]*measurement, error) {
	cases := throughputCases(s, t, opts)
	// The first use of anything is slower than all later ones.
	for _, kind := range []string{kindQuick, kindStored} {
		if _, err := t.measure(ctx, kind, 10_000); err != nil {
			return nil, fmt.Errorf("warm up: %w", err)
		}
	}
	for round := range opts.rounds {
		for _, m := range cases {
			if m.items >= longFrom && round >= opts.longRounds {
				continue
			}
			used, err := m.run(ctx)
			if err != nil {
				return nil, fmt.Errorf("%s, %s items: %w", m.name, formatSize(m.items), err)
			}
			m.rounds = append(m.rounds, used)
			fmt.Fprintf(os.Stderr, "round %d  %-45s %6s items  %8.0f /s\n", round+1, m.name, formatSize(m.items), float64(m.items)/used.Took.Seconds())
		}
	}
	return cases, nil
}

func throughputCases(s *servers, t *tributary, opts options) []*measurement {
	wide, narrow := opts.peers*wideFactor, max(opts.peers/narrowFactor, 1)
	cases := []*measurement{
		{name: peerBroker, items: wide, run: func(ctx context.Context) (usage, error) { return measureBroker(ctx, s, wide) }},
		{name: peerRiver, items: opts.peers, run: func(ctx context.Context) (usage, error) { return measureRiver(ctx, s, opts.peers, riverFast()) }},
		{name: peerUsual, items: narrow, run: func(ctx context.Context) (usage, error) { return measureRiver(ctx, s, narrow, riverUsual()) }},
		{name: peerUpserts, items: wide, run: func(ctx context.Context) (usage, error) { return measureUpserts(ctx, s, wide) }},
	}
	for _, kind := range []string{kindQuick, kindTyped, kindStored, kindSlow} {
		for _, items := range opts.sizes {
			if kind == kindSlow && items >= longFrom {
				continue
			}
			cases = append(cases, &measurement{
				name: productCase(kind), items: items,
				run: func(ctx context.Context) (usage, error) { return t.measure(ctx, kind, items) },
			})
		}
	}
	return slices.DeleteFunc(cases, func(m *measurement) bool { return !strings.Contains(m.name, opts.only) })
}

func productCase(kind string) string {
	return map[string]string{
		kindQuick: "Tributary, no-op handler", kindTyped: "Tributary, no-op typed handler, decoding", kindStored: "Tributary, built-in sink",
		kindSlow: "Tributary, 1 ms handler",
	}[kind]
}

// rate is the median of items a second.
func (m *measurement) rate() float64 {
	return float64(m.items) / m.median(func(u usage) float64 { return u.Took.Seconds() })
}

// cost is the median of CPU time per item: of this process with the broker, and of Postgres.
func (m *measurement) cost() (own, database time.Duration) {
	own = time.Duration(m.median(func(u usage) float64 { return float64(u.Own) }) / float64(m.items))
	database = time.Duration(m.median(func(u usage) float64 { return float64(u.Database) }) / float64(m.items))
	return own, database
}

func (m *measurement) peak() int64 {
	return int64(m.median(func(u usage) float64 { return float64(u.Peak) }))
}

// rateBeside is the median of how many times as fast as another case this one was in the same round: what slows a round down slows both.
func (m *measurement) rateBeside(other *measurement) float64 {
	ratios := make([]float64, 0, len(m.rounds))
	for i := range min(len(m.rounds), len(other.rounds)) {
		mine := float64(m.items) / m.rounds[i].Took.Seconds()
		theirs := float64(other.items) / other.rounds[i].Took.Seconds()
		ratios = append(ratios, mine/theirs)
	}
	return median(ratios)
}

func (m *measurement) median(of func(usage) float64) float64 {
	values := make([]float64, 0, len(m.rounds))
	for _, u := range m.rounds {
		values = append(values, of(u))
	}
	return median(values)
}

func median(values []float64) float64 {
	slices.Sort(values)
	if n := len(values); n%2 == 0 {
		return (values[n/2-1] + values[n/2]) / 2
	}
	return values[len(values)/2]
}
