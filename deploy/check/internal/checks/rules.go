package checks

import (
	"context"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// migrate is the command that is no service.
const migrate = "migrate"

func nonRoot(ctx context.Context, root Root) []Problem {
	project, err := compose(ctx, root, composeSecrets)
	if err != nil {
		return failure(composeFile, err)
	}
	objects, err := cluster(root)
	if err != nil {
		return failure(kustomizeFile, err)
	}
	files, err := dockerfiles(root)
	if err != nil {
		return failure("deploy", err)
	}
	var found report
	for _, name := range project.ServiceNames() {
		if user := project.Services[name].User; isRoot(user) {
			found.add(composeFile, "service %s runs as user %q", name, user)
		}
	}
	for _, work := range workloads(objects) {
		rootless(&found, work)
	}
	for _, file := range files {
		image, err := image(ctx, root, file)
		if err != nil {
			found.add(file, "%v", err)
		} else if isRoot(image.Config.User) {
			found.add(file, "the image runs as user %q", image.Config.User)
		}
	}
	return found
}

// isRoot tells whether a user, by name or number and with or without a group, is root, or is left to an image that may say root.
func isRoot(user string) bool {
	name, _, _ := strings.Cut(user, ":")
	return name == "" || name == "0" || name == "root"
}

func rootless(found *report, work workload) {
	pod := work.pod.Spec.SecurityContext
	if pod == nil || pod.RunAsNonRoot == nil || !*pod.RunAsNonRoot || pod.RunAsUser == nil || *pod.RunAsUser == 0 {
		found.add(kustomizeDir, "%s does not run as a user other than root", work.name)
	}
	for _, container := range work.pod.Spec.Containers {
		context := container.SecurityContext
		if context == nil {
			found.add(kustomizeDir, "%s has no security context in container %s", work.name, container.Name)
			continue
		}
		if (context.RunAsUser != nil && *context.RunAsUser == 0) || (context.RunAsNonRoot != nil && !*context.RunAsNonRoot) {
			found.add(kustomizeDir, "%s runs container %s as root", work.name, container.Name)
		}
		if context.ReadOnlyRootFilesystem == nil || !*context.ReadOnlyRootFilesystem {
			found.add(kustomizeDir, "%s can write to the root file system", work.name)
		}
		if context.AllowPrivilegeEscalation == nil || *context.AllowPrivilegeEscalation {
			found.add(kustomizeDir, "%s may gain privileges", work.name)
		}
	}
}

func commands(ctx context.Context, root Root) []Problem {
	services, err := root.services()
	if err != nil {
		return failure(servicesDir, err)
	}
	project, err := compose(ctx, root, composeSecrets)
	if err != nil {
		return failure(composeFile, err)
	}
	objects, err := cluster(root)
	if err != nil {
		return failure(kustomizeFile, err)
	}
	var found report
	image, err := image(ctx, root, dockerFile)
	if err != nil {
		return failure(dockerFile, err)
	}
	if !slices.Equal(image.Config.Entrypoint, []string{"/tributary"}) || len(image.Config.Cmd) > 0 {
		found.add(dockerFile, "the image does not start /tributary but %q with %q", image.Config.Entrypoint, image.Config.Cmd)
	}
	known := append(services, migrate)
	var composed, clustered []string
	for _, service := range ours(root, project) {
		if len(service.Entrypoint) > 0 {
			found.add(composeFile, "service %s replaces the entrypoint of the image", service.Name)
		}
		composed = append(composed, command(&found, composeFile, "service "+service.Name, service.Command, known))
	}
	for _, work := range workloads(objects) {
		for _, container := range work.pod.Spec.Containers {
			if len(container.Command) > 0 {
				found.add(kustomizeDir, "%s replaces the entrypoint of the image", work.name)
			}
			clustered = append(clustered, command(&found, kustomizeDir, work.name, container.Args, known))
		}
	}
	for _, name := range known {
		if !slices.Contains(composed, name) {
			found.add(composeFile, "nothing runs tributary %s", name)
		}
		if !slices.Contains(clustered, name) {
			found.add(kustomizeDir, "nothing runs tributary %s", name)
		}
	}
	return found
}

// command is the one word that tributary is started with.
func command(found *report, file, who string, args, known []string) string {
	if len(args) != 1 || !slices.Contains(known, args[0]) {
		found.add(file, "%s runs tributary %s, and there are: %s", who, strings.Join(args, " "), strings.Join(known, ", "))
		return ""
	}
	return args[0]
}

func selectors(_ context.Context, root Root) []Problem {
	objects, err := cluster(root)
	if err != nil {
		return failure(kustomizeFile, err)
	}
	pods := workloads(objects)
	var found report
	require := func(who string, selector *metav1.LabelSelector) {
		parsed, err := metav1.LabelSelectorAsSelector(selector)
		if err != nil {
			found.add(kustomizeDir, "%s: %v", who, err)
			return
		}
		if !slices.ContainsFunc(pods, func(work workload) bool { return parsed.Matches(labels.Set(work.pod.Labels)) }) {
			found.add(kustomizeDir, "%s selects no pod", who)
		}
	}
	for _, object := range objects {
		switch object := object.(type) {
		case *appsv1.Deployment:
			selector, err := metav1.LabelSelectorAsSelector(object.Spec.Selector)
			if err != nil || !selector.Matches(labels.Set(object.Spec.Template.Labels)) {
				found.add(kustomizeDir, "Deployment %s does not select its own pods", object.Name)
			}
		case *policyv1.PodDisruptionBudget:
			require("PodDisruptionBudget "+object.Name, object.Spec.Selector)
		case *corev1.Service:
			require("Service "+object.Name, &metav1.LabelSelector{MatchLabels: object.Spec.Selector})
		case *networkingv1.NetworkPolicy:
			require("NetworkPolicy "+object.Name, &object.Spec.PodSelector)
		}
	}
	return found
}

func secrets(ctx context.Context, root Root) []Problem {
	var found report
	for _, name := range composeSecrets {
		if _, err := compose(ctx, root, without(composeSecrets, name)); err == nil || !strings.Contains(err.Error(), name) {
			found.add(composeFile, "it does not ask for %s when that is not set", name)
		}
	}
	objects, err := cluster(root)
	if err != nil {
		return append(found, failure(kustomizeFile, err)...)
	}
	for _, object := range objects {
		if secret, ok := object.(*corev1.Secret); ok {
			found.add(kustomizeDir, "Secret %s is part of the base", secret.Name)
		}
	}
	for _, work := range workloads(objects) {
		held := map[string]bool{}
		for _, container := range work.pod.Spec.Containers {
			for _, variable := range container.Env {
				held[variable.Name] = variable.ValueFrom != nil && variable.ValueFrom.SecretKeyRef != nil
			}
		}
		// The webhook ingress knows no database.
		if isSet := slices.ContainsFunc(work.pod.Spec.Containers, setsDatabase); !held["DATABASE_URL"] && (isSet || work.name != "Deployment tributary-webhook-ingress") {
			found.add(kustomizeDir, "%s does not take DATABASE_URL from a Secret", work.name)
		}
		if work.service && !held["TRIBUTARY_KEYS"] {
			found.add(kustomizeDir, "%s does not take TRIBUTARY_KEYS from a Secret", work.name)
		}
	}
	return found
}

func setsDatabase(container corev1.Container) bool {
	return slices.ContainsFunc(container.Env, func(variable corev1.EnvVar) bool { return variable.Name == "DATABASE_URL" })
}
