package checks

import (
	"context"
	"time"

	appsv1 "k8s.io/api/apps/v1"
)

const (
	drainVariable = "TRIBUTARY_DRAIN_DELAY"
	// longestGrace is how long a service takes at most to finish what it holds, and margin what its start of the stop and its exit take.
	longestGrace = 25 * time.Second
	margin       = 5 * time.Second
)

// drains compares how long services serve on after SIGTERM with the time in which readiness is noticed, and with the time that they are given.
func drains(ctx context.Context, root Root) []Problem {
	project, err := compose(ctx, root, composeSecrets)
	if err != nil {
		return failure(composeFile, err)
	}
	objects, err := cluster(root)
	if err != nil {
		return failure(kustomizeFile, err)
	}
	var found report
	for _, service := range ours(root, project) {
		delay := time.Duration(0)
		if value := service.Environment[drainVariable]; value != nil {
			if delay, err = time.ParseDuration(*value); err != nil {
				found.add(composeFile, "service %s: %s: %v", service.Name, drainVariable, err)
			}
		}
		if most := delay + longestGrace + margin; service.StopGracePeriod == nil || time.Duration(*service.StopGracePeriod) < most {
			found.add(composeFile, "service %s has less than %s to stop", service.Name, most)
		}
	}
	value, _ := configured(objects, drainVariable)
	delay, err := time.ParseDuration(value)
	if err != nil {
		found.add(kustomizeFile, "%s: %v", drainVariable, err)
		return found
	}
	for _, object := range objects {
		if deployment, ok := object.(*appsv1.Deployment); ok {
			drainsPod(&found, deployment, delay)
		}
	}
	return found
}

func drainsPod(found *report, deployment *appsv1.Deployment, delay time.Duration) {
	pod := deployment.Spec.Template.Spec
	most := delay + longestGrace + margin
	if given := pod.TerminationGracePeriodSeconds; given == nil || time.Duration(*given)*time.Second < most {
		found.add(kustomizeDir, "Deployment %s has less than %s to stop", deployment.Name, most)
	}
	for _, container := range pod.Containers {
		probe := container.ReadinessProbe
		if probe == nil {
			continue // The check of ports reports it.
		}
		if noticed := time.Duration(probe.PeriodSeconds*probe.FailureThreshold) * time.Second; noticed == 0 || noticed > delay {
			found.add(kustomizeDir, "Deployment %s serves for %s when it stops, and its readiness probe takes %s to notice", deployment.Name, delay, noticed)
		}
	}
}
