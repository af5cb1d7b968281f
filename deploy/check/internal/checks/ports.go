package checks

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

const httpVariable = "TRIBUTARY_HTTP_ADDR"

// ports holds everything that names the port of metrics and health against the address that the services are told to listen on.
func ports(ctx context.Context, root Root) []Problem {
	project, err := compose(ctx, root, composeSecrets)
	if err != nil {
		return failure(composeFile, err)
	}
	scraping, err := prometheus(root)
	if err != nil {
		return failure(prometheusFile, err)
	}
	objects, err := cluster(root)
	if err != nil {
		return failure(kustomizeFile, err)
	}
	var found report
	composePorts(&found, ours(root, project), scraping.ports())
	clusterPorts(&found, objects)
	return found
}

func composePorts(found *report, services []types.ServiceConfig, scraped map[string]int) {
	names := make([]string, len(services))
	for i, service := range services {
		names[i] = service.Name
		if service.Name == migrate {
			continue
		}
		address := ""
		if value := service.Environment[httpVariable]; value != nil {
			address = *value
		}
		port, err := portOf(address)
		if err != nil {
			found.add(composeFile, "service %s: %s: %v", service.Name, httpVariable, err)
			continue
		}
		if want := []string{strconv.Itoa(port)}; !slices.Equal(service.Expose, want) {
			found.add(composeFile, "service %s listens on %d and exposes %v", service.Name, port, []string(service.Expose))
		}
		if want := fmt.Sprintf("http://127.0.0.1:%d/readyz", port); service.HealthCheck == nil || !slices.Contains(service.HealthCheck.Test, want) {
			found.add(composeFile, "the healthcheck of service %s does not ask %s", service.Name, want)
		}
		if scraped[service.Name] != port {
			found.add(prometheusFile, "service %s listens on %d and is scraped on %d", service.Name, port, scraped[service.Name])
		}
	}
	for name := range scraped {
		if !slices.Contains(names, name) {
			found.add(prometheusFile, "%s is scraped and is no service of %s", name, composeFile)
		}
	}
}

func clusterPorts(found *report, objects []runtime.Object) {
	address, _ := configured(objects, httpVariable)
	port, err := portOf(address)
	if err != nil {
		found.add(kustomizeFile, "%s: %v", httpVariable, err)
		return
	}
	for _, work := range workloads(objects) {
		if work.service {
			podPorts(found, work, port)
		}
	}
	declared := declaredPorts(objects)
	scraped := false
	for _, object := range objects {
		switch object := object.(type) {
		case *corev1.Service:
			for _, exposed := range object.Spec.Ports {
				if !declared[exposed.TargetPort.String()] {
					found.add(kustomizeDir, "Service %s sends port %d to %s, where no pod listens", object.Name, exposed.Port, exposed.TargetPort.String())
				}
			}
		case *networkingv1.NetworkPolicy:
			for _, admitted := range admits(object) {
				if !declared[admitted] {
					found.add(kustomizeDir, "NetworkPolicy %s lets in port %s, where no pod listens", object.Name, admitted)
				}
				scraped = scraped || admitted == strconv.Itoa(port)
			}
		}
	}
	if !scraped {
		found.add(kustomizeDir, "no NetworkPolicy lets anybody in on %d", port)
	}
}

// declaredPorts are the ports of all containers, by number and by name.
func declaredPorts(objects []runtime.Object) map[string]bool {
	declared := map[string]bool{}
	for _, work := range workloads(objects) {
		for _, container := range work.pod.Spec.Containers {
			for _, port := range container.Ports {
				declared[strconv.Itoa(int(port.ContainerPort))] = true
				declared[port.Name] = true
			}
		}
	}
	return declared
}

func podPorts(found *report, work workload, port int) {
	annotations := work.pod.Annotations
	if annotations["prometheus.io/scrape"] != "true" || annotations["prometheus.io/path"] != "/metrics" ||
		annotations["prometheus.io/port"] != strconv.Itoa(port) {
		found.add(kustomizeDir, "%s is not annotated to be scraped at %d/metrics", work.name, port)
	}
	for _, container := range work.pod.Spec.Containers {
		// What a service listens on beside has a name of its own.
		if !slices.ContainsFunc(container.Ports, func(p corev1.ContainerPort) bool { return p.Name == "http" && int(p.ContainerPort) == port }) {
			found.add(kustomizeDir, "%s does not declare port %d as http", work.name, port)
		}
		for path, probe := range map[string]*corev1.Probe{"/livez": container.LivenessProbe, "/readyz": container.ReadinessProbe} {
			if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != path || probe.HTTPGet.Port != intstr.FromInt32(int32(port)) {
				found.add(kustomizeDir, "%s is not probed at %d%s", work.name, port, path)
			}
		}
	}
}

func admits(policy *networkingv1.NetworkPolicy) []string {
	var ports []string
	for _, rule := range policy.Spec.Ingress {
		for _, admitted := range rule.Ports {
			if admitted.Port != nil {
				ports = append(ports, admitted.Port.String())
			}
		}
	}
	return ports
}

// portOf is the port of an address to listen on, such as ":8080".
func portOf(address string) (int, error) {
	if strings.Contains(address, "://") {
		return 0, fmt.Errorf("%q is a URL, not an address to listen on", address)
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(port)
}
