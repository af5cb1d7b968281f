package tributary

import "github.com/prometheus/client_golang/prometheus"

// borrowed registers metrics with the program's registerer, and remembers them to unregister them.
type borrowed struct {
	prometheus.Registerer
	registered []prometheus.Collector
}

// Register registers a metric, if there is a registerer.
func (b *borrowed) Register(metric prometheus.Collector) error {
	if b.Registerer == nil {
		return nil
	}
	err := b.Registerer.Register(metric)
	if err == nil {
		b.registered = append(b.registered, metric)
	}
	return err
}

// giveBack unregisters the metrics.
func (b *borrowed) giveBack() {
	for _, metric := range b.registered {
		b.Unregister(metric)
	}
}
