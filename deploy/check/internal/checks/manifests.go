package checks

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

func decodeManifests(_ context.Context, root Root) []Problem {
	paths, err := filepath.Glob(root.Path(kustomizeDir + "/*.yaml"))
	if err != nil {
		return failure(kustomizeDir, err)
	}
	var found report
	for _, name := range paths {
		file := path.Join(kustomizeDir, filepath.Base(name))
		if file == kustomizeFile {
			continue
		}
		text, err := root.read(file)
		if err == nil {
			_, err = decode(text)
		}
		if err != nil {
			found.add(file, "%v", err)
		}
	}
	return found
}

func buildKustomize(_ context.Context, root Root) []Problem {
	if _, err := cluster(root); err != nil {
		return failure(kustomizeFile, err)
	}
	return nil
}

// cluster is what `kubectl apply -k deploy/k8s` would apply.
func cluster(root Root) ([]runtime.Object, error) {
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), root.Path(kustomizeDir))
	if err != nil {
		return nil, err
	}
	text, err := resources.AsYaml()
	if err != nil {
		return nil, err
	}
	return decode(text)
}

// decode reads YAML documents as Kubernetes does with strict validation: unknown and repeated fields are errors.
func decode(text []byte) ([]runtime.Object, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		appsv1.AddToScheme, batchv1.AddToScheme, corev1.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	var objects []runtime.Object
	for documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text))); ; {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		object, _, err := decoder.Decode(document, nil, nil)
		if err != nil {
			return nil, err
		}
		objects = append(objects, object)
	}
}

// workload is something that starts pods of ours.
type workload struct {
	name    string // of the manifest, such as "Deployment tributary-syncer"
	service bool   // stays, and serves metrics and health
	pod     corev1.PodTemplateSpec
}

func workloads(objects []runtime.Object) []workload {
	var found []workload
	for _, object := range objects {
		switch object := object.(type) {
		case *appsv1.Deployment:
			found = append(found, workload{fmt.Sprintf("Deployment %s", object.Name), true, object.Spec.Template})
		case *batchv1.Job:
			found = append(found, workload{fmt.Sprintf("Job %s", object.Name), false, object.Spec.Template})
		}
	}
	return found
}

// configured is the value of a variable in the ConfigMaps.
func configured(objects []runtime.Object, variable string) (string, bool) {
	at := slices.IndexFunc(objects, func(object runtime.Object) bool {
		config, ok := object.(*corev1.ConfigMap)
		return ok && config.Data[variable] != ""
	})
	if at < 0 {
		return "", false
	}
	return objects[at].(*corev1.ConfigMap).Data[variable], true
}
