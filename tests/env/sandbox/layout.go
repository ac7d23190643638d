package sandbox

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
)

// The network inside. Every sandbox has one of its own, so that the addresses are the same in all.
const (
	// InnerAddress is the address of everything inside that is not a pod.
	InnerAddress = "10.244.0.1"
	// BridgeAddress is InnerAddress with the mask of the pod network.
	BridgeAddress = InnerAddress + "/16"
	// ServiceCIDR is the range of ClusterIPs; its first address is the API server's own Service.
	ServiceCIDR = "10.96.0.0/16"
	// APIServerPort is the API server's port at InnerAddress.
	APIServerPort = 6443

	// APIServerServiceIP is the ClusterIP of the API server's own Service, default/kubernetes.
	APIServerServiceIP = "10.96.0.1"
	// NodeName is the name of the only Node.
	NodeName = "sandbox"
)

// Layout names the files in a sandbox's directory, for the outer program that writes them and the program inside that reads them.
type Layout struct {
	// Dir is the sandbox's directory.
	Dir string
}

// maxSocketPath is the longest path that fits into the kernel's sockaddr_un, without the byte that ends it.
const maxSocketPath = 107

// newLayout makes a sandbox's directory among the temporary files.
func newLayout() (Layout, error) {
	dir, err := os.MkdirTemp("", "sbx-")
	if err != nil {
		return Layout{}, fmt.Errorf("make the sandbox's directory: %w", err)
	}
	l := Layout{Dir: dir}
	if len(l.Socket()) > maxSocketPath {
		return Layout{}, errors.Join(os.Remove(dir),
			fmt.Errorf("make the sandbox's directory: the path %s is too long for a unix socket; set TMPDIR=/tmp", dir))
	}
	if err := os.Mkdir(l.Children(), 0o700); err != nil {
		return Layout{}, errors.Join(fmt.Errorf("make the sandbox's directory: %w", err), os.RemoveAll(dir))
	}
	return l, nil
}

// Socket is the unix socket of package control.
func (l Layout) Socket() string { return filepath.Join(l.Dir, "control") }

// ServingCert is the API server's certificate, which is also the CA that verifies it.
func (l Layout) ServingCert() string { return filepath.Join(l.Dir, "apiserver.crt") }

// ServingKey is the key of ServingCert.
func (l Layout) ServingKey() string { return filepath.Join(l.Dir, "apiserver.key") }

// ServiceAccountKey signs service account tokens.
func (l Layout) ServiceAccountKey() string { return filepath.Join(l.Dir, "service-accounts.key") }

// Tokens is the file of static tokens.
func (l Layout) Tokens() string { return filepath.Join(l.Dir, "tokens.csv") }

// AuditPolicy is the file that says what is written to AuditLog.
func (l Layout) AuditPolicy() string { return filepath.Join(l.Dir, "audit-policy.yaml") }

// AuditLog has a line for every request of a service account.
func (l Layout) AuditLog() string { return filepath.Join(l.Dir, "audit.log") }

// InnerKubeconfig is the admin's kubeconfig for programs inside.
func (l Layout) InnerKubeconfig() string { return filepath.Join(l.Dir, "kubeconfig-inner") }

// Kubeconfig is the admin's kubeconfig for programs on the host.
func (l Layout) Kubeconfig() string { return filepath.Join(l.Dir, "kubeconfig") }

// ControlPlaneLog is the control plane's log unless Options name another one.
func (l Layout) ControlPlaneLog() string { return filepath.Join(l.Dir, "control-plane.log") }

func (l Layout) settings() string { return filepath.Join(l.Dir, "settings.json") }

// PodLogs holds a directory for each pod, NAMESPACE_NAME, with the log of each container, CONTAINER.log.
func (l Layout) PodLogs() string { return filepath.Join(l.Dir, "pods") }

// Children holds a directory for each program that is run inside.
func (l Layout) Children() string { return filepath.Join(l.Dir, "run") }

func innerAPIServer() string { return net.JoinHostPort(InnerAddress, strconv.Itoa(APIServerPort)) }
