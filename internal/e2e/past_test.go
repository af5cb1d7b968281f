package e2e_test

import "testing"

// snapshot is how NATS goes back.
const snapshot loss = "a snapshot of NATS is put back"

// past is a world of which one store goes back.
type past struct {
	*world
	// keep makes the copy that the store goes back to. lose ends the store, and goBack has the copy take its place.
	keep, lose, goBack func()
}

// newPast is a world that loses Postgres or NATS as how says.
func newPast(t *testing.T, how loss) *past {
	t.Helper()
	if how == snapshot {
		s := newSnapshots(t)
		return &past{world: s.world, keep: s.keep, lose: func() { s.broker.kill() }, goBack: s.putBack}
	}
	f := newFailover(t)
	var copied *node
	return &past{
		world: f.world, keep: func() { copied = f.copyNow(how == promotion) }, lose: f.cluster.lose,
		goBack: func() { f.takeOver(copied) },
	}
}
