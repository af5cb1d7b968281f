package platform

import "runtime/debug"

// gcPercent lets the heap grow to three times what is kept before garbage is collected, where Go's default is twice. Services keep some ten megabytes and make
// hundreds a second of garbage when they are busy: half of the collections are a tenth of the CPU, for ten to twenty megabytes.
const gcPercent = 200

// TuneGC sets how much garbage the process may pile up, unless GOGC in its environment does. A process calls it once.
func TuneGC(getenv func(string) string) {
	if getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}

// LimitMemory has garbage collected in time for the process to need no more than so many bytes, unless GOMEMLIMIT in its environment says
// otherwise. A process calls it once.
func LimitMemory(getenv func(string) string, bytes int64) {
	if getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(bytes)
	}
}
