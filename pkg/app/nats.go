package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tributaryhq/tributary/internal/bus"
	embeddednats "github.com/tributaryhq/tributary/internal/embedded/nats"
)

// natsURL is the address of NATS: the configured one, or that of the dev process with this data folder. There is no
// other default: another installation may listen at the usual port, and a command would change that one.
func (p *program) natsURL() (string, error) {
	if p.config.NATSURL != "" {
		return p.config.NATSURL, nil
	}
	noted, err := os.ReadFile(p.config.natsNote())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read where NATS listens: %w", err)
	}
	url, id, _ := strings.Cut(strings.TrimSpace(string(noted)), " ")
	if id != "" && p.isServer(url, id) {
		return url, nil
	}
	return "", fmt.Errorf("no NATS: TRIBUTARY_NATS_URL and --nats-url are not set, and no tributary dev runs with "+
		"the data folder %q. Run the command in the folder of the running dev, or give --data-dir, "+
		"or set the URL, such as nats://localhost:4222", p.config.DataDir)
}

// isServer reports whether the server with that id still listens there. The note of a dev process that was killed stays
// behind, and another server may have taken its port.
func (p *program) isServer(url, id string) bool {
	nc, err := bus.Connect(url, p.natsOptions()...)
	if err != nil {
		return false
	}
	defer nc.Close()
	return nc.ConnectedServerId() == id
}

// noteNATS tells the other commands where the NATS of dev listens, and which server it is.
func (c *Config) noteNATS(server *embeddednats.Server) error {
	if err := os.WriteFile(c.natsNote(), []byte(server.URL()+" "+server.ID()+"\n"), 0o600); err != nil {
		return fmt.Errorf("note where NATS listens: %w", err)
	}
	return nil
}

// natsNote is the file of the note.
func (c *Config) natsNote() string { return filepath.Join(c.DataDir, "nats.url") }
