package app

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// ports are those that dev chooses. They are kept in the data folder, so that addresses which users have noted, such as
// a scrape target, stay the same from run to run.
type ports struct {
	path  string
	known map[string]int
	// free reports whether nothing listens at a port of this machine.
	free func(ctx context.Context, port int) bool
}

// keptPorts reads the ports of earlier runs. A file that can't be read is none.
func (c *Config) keptPorts() *ports {
	p := &ports{path: filepath.Join(c.DataDir, "ports.json"), free: free}
	if text, err := os.ReadFile(p.path); err != nil || json.Unmarshal(text, &p.known) != nil || p.known == nil {
		p.known = map[string]int{}
	}
	return p
}

// choose returns the port that name had before, or the usual one, or any: the first that is free.
func (p *ports) choose(ctx context.Context, name string, usual int) (int, error) {
	for _, port := range []int{p.known[name], usual} {
		if port > 0 && p.free(ctx, port) {
			return port, p.keep(name, port)
		}
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port for %s: %w", name, err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	if err := listener.Close(); err != nil {
		return 0, fmt.Errorf("find a free port for %s: %w", name, err)
	}
	return port, p.keep(name, port)
}

func (p *ports) keep(name string, port int) error {
	if p.known[name] == port {
		return nil
	}
	p.known[name] = port
	text, err := json.Marshal(p.known)
	if err == nil {
		err = os.WriteFile(p.path, append(text, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("keep the port of %s: %w", name, err)
	}
	return nil
}

// address is where dev serves: as configured, and instead of the usual address on this machine alone, at a port that is
// free.
func (p *ports) address(ctx context.Context, name, configured, usual string, port int) (string, error) {
	if configured != usual {
		return configured, nil
	}
	port, err := p.choose(ctx, name, port)
	return fmt.Sprintf("127.0.0.1:%d", port), err
}
