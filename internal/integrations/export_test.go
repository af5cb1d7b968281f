package integrations

// KeepAtMost has the loader keep so many integrations.
func (l *Loader) KeepAtMost(n int) { l.most = n }
