package api

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// Process is a process that runs services, and how it is at present.
type Process struct {
	// Name is its host and its process id.
	Name string `json:"name"`
	// Services are those that it runs.
	Services []string `json:"services"`
	// Checks are those of its readiness. It is ready while all are.
	Checks []ProcessCheck `json:"checks"`
	// ClockAheadMS is by how many milliseconds its machine's clock is ahead of the broker's, which services go by; negative when it is behind.
	ClockAheadMS int64 `json:"clock_ahead_ms"`
}

// ProcessCheck is one thing that has to be well for a process to do its work.
type ProcessCheck struct {
	Name  string `json:"name"`
	Ready bool   `json:"ready"`
	// Error says why it is not ready. It may name hosts and users.
	Error string `json:"error,omitempty"`
	// Since is since when it has been so.
	Since time.Time `json:"since"`
}

// Processes gathers how all processes are that answer, sorted by services and name. Without an answer it returns an [*Error].
func (c *Client) Processes(ctx context.Context) ([]Process, error) {
	processes, err := gather[Process](ctx, c, ProcessesList)
	slices.SortFunc(processes, func(a, b Process) int {
		return cmp.Or(slices.Compare(a.Services, b.Services), cmp.Compare(a.Name, b.Name))
	})
	return processes, err
}
