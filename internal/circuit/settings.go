package circuit

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Strategy is how a circuit judges an upstream.
type Strategy string

// The strategies.
const (
	// ByRate opens when too large a share of the recent requests fails.
	ByRate Strategy = "rate"
	// ByCount opens after failures in a row.
	ByCount Strategy = "count"
)

// Settings are the numbers that a circuit goes by; [DefaultSettings] has the original's. Only failures of class
// upstream count as such.
type Settings struct {
	Strategy Strategy
	// Window is the time over which the rate is measured. The circuit opens when at least Floor requests were sent in
	// it and Percent of them failed.
	Window  time.Duration
	Floor   int
	Percent int
	// Count is how many failures in a row open the circuit, by count.
	Count int
	// Cooldown is how long an open circuit lets nothing through.
	Cooldown time.Duration
	// ProbeLease is after how long another request may probe, if the probe has no outcome.
	ProbeLease time.Duration
}

// DefaultSettings is half of at least 10 requests in 60 s, then 60 s of rest.
func DefaultSettings() Settings {
	return Settings{
		Strategy: ByRate, Window: time.Minute, Floor: 10, Percent: 50, Count: 5, Cooldown: time.Minute,
		ProbeLease: 2 * time.Minute,
	}
}

// Parse reads how a circuit judges: "count:5" opens after so many failures in a row, "rate:50" when so many percent
// fail of at least 10 requests in a minute. The other settings are those of [DefaultSettings].
func Parse(text string) (Settings, error) {
	settings := DefaultSettings()
	strategy, number, _ := strings.Cut(text, ":")
	n, err := strconv.Atoi(number)
	switch {
	case err == nil && strategy == string(ByCount) && n >= 1:
		settings.Strategy, settings.Count = ByCount, n
	case err == nil && strategy == string(ByRate) && n >= 1 && n <= 100:
		settings.Strategy, settings.Percent = ByRate, n
	default:
		const help = "write count:5 for failures on end, or rate:50 for percent"
		return Settings{}, fmt.Errorf(`%q is no way to judge a circuit: %s`, text, help)
	}
	return settings, nil
}
