package sandbox

import (
	"os"
	"path/filepath"
	"strings"
)

// Programs are all programs that a sandbox may run: itself, Alertmanager and Prometheus. A caller that builds them first keeps
// minutes of compiling out of its time limits.
func Programs() []Binary {
	return []Binary{sandboxProgram(), alertmanagerProgram(), prometheusProgram()}
}

// sandboxProgram is the program that runs inside. The linker sets its version: otherwise Kubernetes reports v0.0.0, and charts
// refuse it.
func sandboxProgram() Binary {
	stamp := func(name, value string) string { return " -X k8s.io/component-base/version." + name + "=" + value }
	version := strings.Split(strings.TrimPrefix(KubernetesVersion, "v"), ".")
	b := Binary{
		Name:    "sandbox",
		Module:  "tests",
		Package: "./env/cmd/sandbox",
		LDFlags: "-s -w" + stamp("gitVersion", KubernetesVersion) + stamp("gitMajor", version[0]) + stamp("gitMinor", version[1]),
	}
	if ReadyMadeAPIServer() != "" {
		b.Name, b.Tags = "sandbox-readymade", "readymade" // it does not compile an API server
	}
	return b
}

// ReadyMadeAPIServer returns the path of the kube-apiserver in the directory KUBEBUILDER_ASSETS, where setup-envtest downloads
// control planes to, or "" if there is none.
func ReadyMadeAPIServer() string {
	directory := os.Getenv("KUBEBUILDER_ASSETS")
	if directory == "" {
		return ""
	}
	program, err := filepath.Abs(filepath.Join(directory, "kube-apiserver"))
	if err != nil {
		return ""
	}
	if info, err := os.Stat(program); err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
		return ""
	}
	return program
}

// AlertmanagerVersion is the version that the module in tests/env/alertmanager pins.
const AlertmanagerVersion = "0.31.1"

// alertmanagerProgram is that Alertmanager. It reports its version only if the linker sets it.
func alertmanagerProgram() Binary {
	return Binary{
		Name:    "alertmanager",
		Module:  "tests/env/alertmanager",
		Package: "github.com/prometheus/alertmanager/cmd/alertmanager",
		LDFlags: "-s -w -X github.com/prometheus/common/version.Version=" + AlertmanagerVersion,
	}
}

// prometheusTags leave out the service discoveries that the module in tests/env/prometheus does not require, which saves most of
// the build time.
const prometheusTags = "remove_all_sd,enable_kubernetes_sd"

// PrometheusVersion is the version that the module in tests/env/prometheus pins. The Go module numbers 3.16.0 as v0.316.0.
const PrometheusVersion = "3.16.0"

// prometheusProgram is that Prometheus. It reports its version only if the linker sets it.
func prometheusProgram() Binary {
	return Binary{
		Name:    "prometheus",
		Module:  "tests/env/prometheus",
		Package: "github.com/prometheus/prometheus/cmd/prometheus",
		LDFlags: "-s -w -X github.com/prometheus/common/version.Version=" + PrometheusVersion,
		Tags:    prometheusTags,
	}
}

// KubeStateMetricsProgram is the kube-state-metrics that the module in tests/env/kube-state-metrics pins. It is not among Programs:
// only the tests of the alert rules need it.
func KubeStateMetricsProgram() Binary {
	return Binary{
		Name:    "kube-state-metrics",
		Module:  "tests/env/kube-state-metrics",
		Package: "k8s.io/kube-state-metrics/v2",
		LDFlags: "-s -w",
	}
}
