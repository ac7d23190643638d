package programs

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// The versions of the programs that modules of this repository pin. Each equals the requirement in its go.mod.
const (
	// Kubernetes is the version that the control plane is built from and reports.
	Kubernetes = "v1.37.2"
	// AlertmanagerVersion is the version in tests/env/alertmanager.
	AlertmanagerVersion = "0.31.1"
	// PrometheusVersion is the version in tests/env/prometheus. The Go module numbers 3.16.0 as v0.316.0.
	PrometheusVersion = "3.16.0"
)

const (
	stripped = "-s -w"
	// releaseTags are the build tags of the Makefile and the Dockerfile: they leave out gin's MessagePack, which is a twelfth of the
	// program.
	releaseTags = "nomsgpack"
	// prometheusTags leave out the service discoveries that the module in tests/env/prometheus does not require, which saves most of
	// the build time.
	prometheusTags = "remove_all_sd,enable_kubernetes_sd"
)

// Sandbox is the program that runs inside a sandbox, and the command sandbox. The linker sets the version of Kubernetes: otherwise
// it reports v0.0.0, and charts refuse it. If there is a ReadyMadeAPIServer, the program has none of its own.
func Sandbox() Binary {
	stamp := func(name, value string) string { return " -X k8s.io/component-base/version." + name + "=" + value }
	version := strings.Split(strings.TrimPrefix(Kubernetes, "v"), ".")
	b := Binary{
		Name: "sandbox", Module: "tests", Package: "./env/cmd/sandbox",
		LDFlags: stripped + stamp("gitVersion", Kubernetes) + stamp("gitMajor", version[0]) + stamp("gitMinor", version[1]),
	}
	if ReadyMadeAPIServer() != "" {
		b.Name, b.Tags = "sandbox-readymade", "readymade"
	}
	return b
}

// ReadyMadeAPIServer returns the path of the kube-apiserver in the directory KUBEBUILDER_ASSETS, where setup-envtest downloads
// control planes to, or "" if that is not set. A relative directory is in the repository's root. CheckReadyMade says whether it can be
// used.
func ReadyMadeAPIServer() string {
	directory := os.Getenv("KUBEBUILDER_ASSETS")
	if directory == "" {
		return ""
	}
	if root, err := Repository(); err == nil && !filepath.IsAbs(directory) {
		directory = filepath.Join(root, directory)
	}
	return filepath.Join(directory, "kube-apiserver")
}

// CheckReadyMade returns an error for a ReadyMadeAPIServer that cannot run, or whose minor version is not that of the controllers.
func CheckReadyMade(ctx context.Context) error {
	program := ReadyMadeAPIServer()
	if program == "" {
		return nil
	}
	out, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return fmt.Errorf("use the API server of KUBEBUILDER_ASSETS: %w; unset it to use the sandbox's own", err)
	}
	minor := Kubernetes[:strings.LastIndex(Kubernetes, ".")+1]
	if version := strings.TrimSpace(strings.TrimPrefix(string(out), "Kubernetes ")); !strings.HasPrefix(version, minor) {
		return fmt.Errorf("use the API server of KUBEBUILDER_ASSETS: it is %s, the controllers are %s; try setup-envtest use %sx",
			version, Kubernetes, strings.TrimPrefix(minor, "v"))
	}
	return nil
}

// Alertmanager reports its version only if the linker sets it.
func Alertmanager() Binary {
	return Binary{
		Name: "alertmanager", Module: "tests/env/alertmanager", Package: "github.com/prometheus/alertmanager/cmd/alertmanager",
		LDFlags: stripped + " -X github.com/prometheus/common/version.Version=" + AlertmanagerVersion,
	}
}

// Prometheus reports its version only if the linker sets it.
func Prometheus() Binary {
	return Binary{
		Name: "prometheus", Module: "tests/env/prometheus", Package: "github.com/prometheus/prometheus/cmd/prometheus",
		LDFlags: stripped + " -X github.com/prometheus/common/version.Version=" + PrometheusVersion, Tags: prometheusTags,
	}
}

// Promtool is Prometheus' own tool of the same version, which runs the unit tests of rule files.
func Promtool() Binary {
	return Binary{
		Name: "promtool", Module: "tests/env/prometheus", Package: "github.com/prometheus/prometheus/cmd/promtool",
		LDFlags: stripped, Tags: prometheusTags,
	}
}

// KubeStateMetrics is the version that the module in tests/env/kube-state-metrics pins.
func KubeStateMetrics() Binary {
	return Binary{Name: "kube-state-metrics", Module: "tests/env/kube-state-metrics", Package: "k8s.io/kube-state-metrics/v2", LDFlags: stripped}
}

// Helm is the released program, at the version that tests/go.mod pins.
func Helm() Binary {
	return Binary{Name: "helm", Module: "tests", Package: "helm.sh/helm/v3/cmd/helm", LDFlags: stripped}
}

// Kubectl is the version of the control plane.
func Kubectl() Binary {
	return Binary{Name: "kubectl", Module: "tests", Package: "k8s.io/kubernetes/cmd/kubectl", LDFlags: stripped}
}

// Backout is this repository's own program.
func Backout() Binary {
	return Binary{Name: "backout", Module: ".", Package: ".", LDFlags: stripped, Tags: releaseTags}
}

// Storefront is the UpCommerce demo shop.
func Storefront() Binary {
	return Binary{Name: "storefront", Module: ".", Package: "./app", LDFlags: stripped}
}

// Inbox receives backout's notifications in tests.
func Inbox() Binary { return Binary{Name: "inbox", Module: "tests", Package: "./env/cmd/inbox"} }

// Demo is the program of make demo.
func Demo() Binary { return Binary{Name: "demo", Module: "tests", Package: "./tools/demo"} }

// UpCommerce is the program of make upcommerce.
func UpCommerce() Binary {
	return Binary{Name: "upcommerce", Module: "tests", Package: "./tools/upcommerce"}
}

// All are all programs, in the order in which a demo needs them.
func All() []Binary {
	return []Binary{
		Demo(), Sandbox(), Storefront(), Helm(), Backout(), Alertmanager(), Prometheus(),
		KubeStateMetrics(), Promtool(), Kubectl(), Inbox(), UpCommerce(),
	}
}

// Tested are the programs that the tests run, in rounds for Compile.
func Tested() [][]Binary {
	return [][]Binary{
		{Sandbox(), Helm(), Storefront(), Backout(), Demo()},
		{Prometheus(), Alertmanager(), KubeStateMetrics(), Promtool(), Kubectl(), Inbox()},
	}
}

// Named returns the programs of these names.
func Named(names ...string) ([]Binary, error) {
	var named []Binary
	for _, name := range names {
		i := slices.IndexFunc(All(), func(b Binary) bool { return b.Name == name || name == "sandbox" && b.Package == Sandbox().Package })
		if i < 0 {
			return nil, &unknownError{name}
		}
		named = append(named, All()[i])
	}
	return named, nil
}

// unknownError is the error about a name that no program has.
type unknownError struct{ name string }

func (e *unknownError) Error() string {
	var names []string
	for _, b := range All() {
		names = append(names, b.Name)
	}
	return "there is no program " + e.name + "; there are " + strings.Join(names, ", ")
}
