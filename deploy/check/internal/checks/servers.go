package checks

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.yaml.in/yaml/v3"
)

func readNATS(_ context.Context, root Root) []Problem {
	options, err := server.ProcessConfigFile(root.Path(natsFile))
	if err != nil {
		return failure(natsFile, err)
	}
	var found report
	if !options.JetStream {
		found.add(natsFile, "JetStream is off")
	}
	if !options.SyncAlways {
		found.add(natsFile, "sync_interval is not always: a power cut would lose what one node has acknowledged")
	}
	return found
}

// scraping is the part of Prometheus's configuration that this project uses. Prometheus's own package would bring the clients of three clouds
// along and double the build, so its rules are repeated here as far as these fields go.
type scraping struct {
	Global struct {
		ScrapeInterval time.Duration `yaml:"scrape_interval"`
		ScrapeTimeout  time.Duration `yaml:"scrape_timeout"`
	} `yaml:"global"`
	ScrapeConfigs []struct {
		JobName       string `yaml:"job_name"`
		StaticConfigs []struct {
			Targets []string `yaml:"targets"`
		} `yaml:"static_configs"`
		Lookups []struct {
			Names           []string      `yaml:"names"`
			Type            string        `yaml:"type"`
			Port            int           `yaml:"port"`
			RefreshInterval time.Duration `yaml:"refresh_interval"`
		} `yaml:"dns_sd_configs"`
	} `yaml:"scrape_configs"`
}

func readPrometheus(_ context.Context, root Root) []Problem {
	config, err := prometheus(root)
	if err != nil {
		return failure(prometheusFile, err)
	}
	var found report
	if config.Global.ScrapeTimeout > config.Global.ScrapeInterval {
		found.add(prometheusFile, "the scrape timeout %s is longer than the interval %s", config.Global.ScrapeTimeout, config.Global.ScrapeInterval)
	}
	seen := map[string]bool{}
	for _, job := range config.ScrapeConfigs {
		if job.JobName == "" || seen[job.JobName] {
			found.add(prometheusFile, "a job needs a name of its own, but there is %q", job.JobName)
		}
		seen[job.JobName] = true
		if len(job.StaticConfigs)+len(job.Lookups) == 0 {
			found.add(prometheusFile, "job %s has no targets", job.JobName)
		}
		for _, lookup := range job.Lookups {
			// Any other type of record names hosts that compose does not answer for.
			if lookup.Type != "A" || len(lookup.Names) == 0 {
				found.add(prometheusFile, "job %s looks up %q records of %q, and needs A records of a service", job.JobName, lookup.Type, lookup.Names)
			}
		}
	}
	return found
}

func prometheus(root Root) (*scraping, error) {
	text, err := root.read(prometheusFile)
	if err != nil {
		return nil, err
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	var config scraping
	if err := decoder.Decode(&config); err != nil {
		return nil, err
	}
	if len(config.ScrapeConfigs) == 0 {
		return nil, errors.New("there is nothing to scrape")
	}
	return &config, nil
}

// ports are those that Prometheus scrapes, by the name of the service.
func (s *scraping) ports() map[string]int {
	ports := map[string]int{}
	for _, job := range s.ScrapeConfigs {
		for _, lookup := range job.Lookups {
			for _, name := range lookup.Names {
				ports[name] = lookup.Port
			}
		}
	}
	return ports
}
