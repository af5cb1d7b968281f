package circuit

import "time"

// slots is in how many parts a window is counted. The oldest part is dropped as a whole.
const slots = 10

// tally counts what became of this process's requests while a circuit is closed. Its zero value has counted nothing.
type tally struct {
	parts  [slots]part
	onEnd  int
	closed int64
}

// part is what happened in the n-th part of a window since 1970.
type part struct {
	n             int64
	total, failed int
}

// add counts an outcome in the circuit's closed time of that number, and reports whether the circuit must open. Only a
// failure can open it.
func (t *tally) add(settings Settings, closed int64, failed bool, now time.Time) bool {
	if t.closed != closed {
		*t = tally{closed: closed}
	}
	if !failed {
		t.onEnd = 0
	} else {
		t.onEnd++
	}
	n := now.UnixNano() / max(int64(settings.Window)/slots, 1)
	p := &t.parts[n%slots]
	if p.n != n {
		*p = part{n: n}
	}
	p.total++
	if failed {
		p.failed++
	}
	if !failed || settings.Strategy == ByCount {
		return failed && t.onEnd >= settings.Count
	}
	total, failures := 0, 0
	for _, p := range t.parts {
		if n-p.n < slots {
			total, failures = total+p.total, failures+p.failed
		}
	}
	return total >= settings.Floor && failures*100 >= settings.Percent*total
}
