package checks

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
)

func lintDockerfiles(ctx context.Context, root Root) []Problem {
	files, err := dockerfiles(root)
	if err != nil {
		return failure("deploy", err)
	}
	var found report
	for _, file := range files {
		text, err := root.read(file)
		if err != nil {
			found.add(file, "%v", err)
			continue
		}
		results, err := dockerfile2llb.DockerfileLint(ctx, text, convertOptions(file, text))
		if err != nil {
			found.add(file, "%v", err)
			continue
		}
		for _, warning := range results.Warnings {
			found.add(file, "%s: %s", warning.RuleName, warning.Detail)
		}
		if results.Error != nil {
			found.add(file, "%s", results.Error.Message)
		}
	}
	return found
}

// dockerfiles are the files named Dockerfile in deploy/.
func dockerfiles(root Root) ([]string, error) {
	var files []string
	err := filepath.WalkDir(root.Path("deploy"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || entry.Name() != "Dockerfile" {
			return err
		}
		file, err := filepath.Rel(string(root), path)
		files = append(files, filepath.ToSlash(file))
		return err
	})
	if err == nil && len(files) == 0 {
		err = errors.New("has no Dockerfile")
	}
	return files, err
}

// image is what a container of the Dockerfile starts with.
func image(ctx context.Context, root Root, file string) (*dockerspec.DockerOCIImage, error) {
	text, err := root.read(file)
	if err != nil {
		return nil, err
	}
	result, err := dockerfile2llb.Dockerfile2LLB(ctx, text, convertOptions(file, text))
	if err != nil {
		return nil, err
	}
	return result.Image, nil
}

func convertOptions(file string, text []byte) dockerfile2llb.ConvertOpt {
	return dockerfile2llb.ConvertOpt{
		MetaResolver: noRegistry{},
		// Without a definition, even an empty one, the linter panics.
		SourceMap: &llb.SourceMap{Filename: file, Data: text, Definition: &llb.Definition{}},
	}
}

// noRegistry answers for every base image that its configuration is empty, because no registry is asked.
type noRegistry struct{}

func (noRegistry) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	return ref, "", []byte("{}"), nil
}
