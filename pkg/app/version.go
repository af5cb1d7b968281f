package app

import (
	"cmp"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
)

// ownModule is Tributary's module. A program of one's own has it among its dependencies.
const ownModule = "github.com/tributaryhq/tributary"

type versionCommand struct{}

// Run prints what Go has noted in the binary.
func (versionCommand) Run(p *program) error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return errors.New("this binary was built without modules and knows no version of itself")
	}
	_, err := fmt.Fprintln(p.streams.Out, versionOf(info))
	return err
}

// versionOf is the version of the program, of Tributary where that is another module, of Go, and the commit.
func versionOf(info *debug.BuildInfo) string {
	modules := []debug.Module{info.Main}
	for _, dependency := range info.Deps {
		if dependency.Path == ownModule {
			modules = append(modules, *dependency)
		}
	}
	lines := make([]string, 0, len(modules)+2)
	for _, module := range modules {
		version := cmp.Or(module.Version, "(devel)")
		if module.Replace != nil {
			version += " => " + strings.TrimSpace(module.Replace.Path+" "+module.Replace.Version)
		}
		lines = append(lines, module.Path+" "+version)
	}
	lines = append(lines, "go "+strings.TrimPrefix(info.GoVersion, "go"))
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			lines = append(lines, "commit "+setting.Value)
		}
	}
	return strings.Join(lines, "\n")
}
