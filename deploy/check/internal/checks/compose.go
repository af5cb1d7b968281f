package checks

import (
	"context"
	"os"
	"path/filepath"
	"slices"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// composeSecrets are the variables that compose.yaml must ask for.
var composeSecrets = []string{"POSTGRES_PASSWORD", "TRIBUTARY_KEYS"}

func loadCompose(ctx context.Context, root Root) []Problem {
	project, err := compose(ctx, root, composeSecrets)
	if err != nil {
		return failure(composeFile, err)
	}
	var found report
	for _, name := range project.ServiceNames() {
		service := project.Services[name]
		if service.HealthCheck == nil {
			found.add(composeFile, "service %s has no healthcheck", name)
		}
		for _, volume := range service.Volumes {
			if volume.Type != types.VolumeTypeBind {
				continue
			}
			if _, err := os.Stat(volume.Source); err != nil {
				found.add(composeFile, "service %s mounts a file that is not there: %v", name, err)
			}
		}
		for other, dependency := range service.DependsOn {
			target := project.Services[other]
			unchecked := target.HealthCheck == nil || target.HealthCheck.Disable
			if dependency.Condition == types.ServiceConditionHealthy && unchecked {
				found.add(composeFile, "service %s waits until %s is healthy, which has no healthcheck", name, other)
			}
		}
	}
	return found
}

// compose reads compose.yaml with a value for each of the variables that are set, and without the reader's own .env.
func compose(ctx context.Context, root Root, set []string) (*types.Project, error) {
	path, err := filepath.Abs(root.Path(composeFile))
	if err != nil {
		return nil, err
	}
	env := make([]string, len(set))
	for i, name := range set {
		env[i] = name + "=value"
	}
	options, err := cli.NewProjectOptions([]string{path}, cli.WithDiscardEnvFile, cli.WithEnv(env))
	if err != nil {
		return nil, err
	}
	return options.LoadProject(ctx)
}

// ours are the services of compose.yaml that run the tributary binary, in alphabetical order.
func ours(root Root, project *types.Project) []types.ServiceConfig {
	var services []types.ServiceConfig
	for _, name := range project.ServiceNames() {
		service := project.Services[name]
		if service.Build == nil {
			continue
		}
		file, err := filepath.Rel(absolute(root), filepath.Join(service.Build.Context, service.Build.Dockerfile))
		if err == nil && filepath.ToSlash(file) == dockerFile {
			services = append(services, service)
		}
	}
	return services
}

func absolute(root Root) string {
	path, err := filepath.Abs(string(root))
	if err != nil {
		return string(root)
	}
	return path
}

// without is names less one of them.
func without(names []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(other string) bool { return other == name })
}
