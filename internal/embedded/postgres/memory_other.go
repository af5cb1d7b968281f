//go:build !linux

package pgserver

// roomyMemory is empty: only Linux has a folder in memory without further ado.
func roomyMemory() string { return "" }
