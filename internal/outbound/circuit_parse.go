package outbound

import (
	"fmt"
	"strconv"
	"strings"
)

// ParseCircuit reads how a circuit judges: "count:5" opens after so many failures on end, "rate:50" when so many percent fail of at least 10 requests in a
// minute. The rest is that of [DefaultCircuit].
func ParseCircuit(text string) (CircuitSettings, error) {
	settings := DefaultCircuit()
	strategy, number, _ := strings.Cut(text, ":")
	n, err := strconv.Atoi(number)
	switch {
	case err == nil && strategy == string(CircuitByCount) && n >= 1:
		settings.Strategy, settings.Count = CircuitByCount, n
	case err == nil && strategy == string(CircuitByRate) && n >= 1 && n <= 100:
		settings.Strategy, settings.Percent = CircuitByRate, n
	default:
		return CircuitSettings{}, fmt.Errorf(`%q is no way to judge a circuit: write count:5 for failures on end, or rate:50 for percent`, text)
	}
	return settings, nil
}
