// Package checks holds what must be true of the files in deploy/. A check reads the files below a root, so that a test can run it on a broken
// copy; it changes nothing and reaches no network.
package checks

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// Problem is one thing that is wrong: the file to change, relative to the root, and why.
type Problem struct{ File, Reason string }

// Check is one thing to find out. Run returns no problems when all is well.
type Check struct {
	Name string
	Run  func(ctx context.Context, root Root) []Problem
}

// All is every check, the ones that read single files first: those that compare files say little while a file can't be read.
func All() []Check {
	return []Check{
		{"Dockerfiles pass the linter of docker build", lintDockerfiles},
		{"compose.yaml loads", loadCompose},
		{"nats.conf is read by nats-server and syncs every write", readNATS},
		{"prometheus.yml has no field that Prometheus does not know", readPrometheus},
		{"manifests have no field that Kubernetes does not know", decodeManifests},
		{"the kustomize base builds", buildKustomize},
		{"nothing runs as root", nonRoot},
		{"every command exists, and every service is deployed", commands},
		{"ports and probes agree", ports},
		{"services serve on until it is noticed that they stop", drains},
		{"selectors find the pods they are for", selectors},
		{"secrets are never written down", secrets},
	}
}

// Root is the root of the repository.
type Root string

const (
	composeFile    = "deploy/compose.yaml"
	dockerFile     = "deploy/Dockerfile"
	natsFile       = "deploy/nats/nats.conf"
	prometheusFile = "deploy/prometheus/prometheus.yml"
	kustomizeFile  = "deploy/k8s/kustomization.yaml"
	kustomizeDir   = "deploy/k8s"
	servicesDir    = "services"
)

// Path is where a file of the repository is on this machine.
func (r Root) Path(file string) string { return filepath.Join(string(r), filepath.FromSlash(file)) }

func (r Root) read(file string) ([]byte, error) { return os.ReadFile(r.Path(file)) }

// services are the names of the services that the repository has, each of which is a command of the binary.
func (r Root) services() ([]string, error) {
	entries, err := os.ReadDir(r.Path(servicesDir))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		if entry.IsDir() {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

// report collects the problems of one check.
type report []Problem

func (r *report) add(file, format string, args ...any) {
	*r = append(*r, Problem{File: file, Reason: fmt.Sprintf(format, args...)})
}

func failure(file string, err error) []Problem {
	return []Problem{{File: file, Reason: err.Error()}}
}
