package main

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// clockTick is the unit of CPU times in /proc; Linux has told programs 100 a second on all machines for decades.
const clockTick = 10 * time.Millisecond

// meter measures one case: time, CPU of this process and of Postgres, peak memory of this process.
type meter struct {
	database processTree
	started  time.Time
	own      time.Duration
	theirs   time.Duration
}

// usage is what a case took.
type usage struct {
	Took     time.Duration
	Own      time.Duration
	Database time.Duration
	// Peak is resident memory in bytes, of this process with the embedded broker.
	Peak int64
}

func startMeter(database processTree) *meter {
	// What earlier cases left must not count here.
	debug.FreeOSMemory()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // sets the peak back; without it the peak is that of all cases
	// Looking at all processes takes CPU itself.
	theirs := database.cpu()
	return &meter{database: database, theirs: theirs, own: ownCPU(), started: time.Now()}
}

func (m *meter) stop() usage {
	took := time.Since(m.started)
	return usage{Took: took, Own: ownCPU() - m.own, Database: m.database.cpu() - m.theirs, Peak: peakMemory("self")}
}

func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peakMemory is the most resident memory that a process had, in bytes.
func peakMemory(process string) int64 {
	status, err := os.ReadFile(filepath.Join("/proc", process, "status"))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kilobytes, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kilobytes << 10
		}
	}
	return 0
}

// processTree is a process and its children: a Postgres and its backends.
type processTree struct{ root int }

// cpu is what the tree has used, children that have ended included.
func (t processTree) cpu() time.Duration {
	ticks := int64(0)
	entries, _ := filepath.Glob("/proc/[0-9]*/stat") // fails on a bad pattern only
	for _, entry := range entries {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(entry)))
		if err != nil {
			continue
		}
		fields := statOf(pid)
		switch {
		case pid == t.root:
			ticks += sumOf(fields, 11, 15)
		case parentOf(pid) == t.root:
			ticks += sumOf(fields, 11, 13)
		}
	}
	return time.Duration(ticks) * clockTick
}

func parentOf(pid int) int {
	fields := statOf(pid)
	if len(fields) < 2 {
		return 0
	}
	parent, _ := strconv.Atoi(fields[1])
	return parent
}

// statOf returns what /proc says of a process after its name: state, parent, …, utime, stime, cutime and cstime from the eleventh on.
func statOf(pid int) []string {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return nil
	}
	// The name is in parentheses and may hold anything.
	return strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
}

func sumOf(fields []string, from, to int) (sum int64) {
	for i := from; i < to && i < len(fields); i++ {
		n, _ := strconv.ParseInt(fields[i], 10, 64)
		sum += n
	}
	return sum
}

func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], ", ")
}

func processorName() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimSpace(strings.TrimLeft(name, "\t :"))
		}
	}
	return "unknown processor"
}
