package controlplane

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/upcommerce/backout/tests/env/sandbox/control"
)

// Starter starts programs in the sandbox: process 1 collects all of them.
type Starter interface {
	Start(p control.Program) (int, <-chan control.Exit, error)
}

// ReadyMade returns an API server that is the program kube-apiserver at that path, configured as this control plane's own. Its log
// is kube-apiserver.log in the sandbox's directory.
func ReadyMade(program string, starter Starter) Component {
	return func(ctx context.Context, o Options) error {
		log := filepath.Join(o.Dir, "kube-apiserver.log")
		_, exit, err := starter.Start(control.Program{Path: program, Log: log, Dir: o.Dir, Args: []string{
			"--etcd-servers=" + EtcdURL,
			"--bind-address=" + o.Address,
			"--advertise-address=" + o.Address,
			"--secure-port=" + strconv.Itoa(o.Port),
			"--tls-cert-file=" + o.ServingCert,
			"--tls-private-key-file=" + o.ServingKey,
			"--service-cluster-ip-range=" + o.ServiceCIDR,
			"--service-account-issuer=" + Issuer,
			"--service-account-key-file=" + o.ServiceAccountKey,
			"--service-account-signing-key-file=" + o.ServiceAccountKey,
			"--token-auth-file=" + o.Tokens,
			"--authorization-mode=RBAC",
			"--audit-policy-file=" + o.AuditPolicy,
			"--audit-log-path=" + o.AuditLog,
			"--allow-privileged=true",
			// Package services writes the endpoints of the Service kubernetes.
			"--endpoint-reconciler-type=none",
			"--enable-priority-and-fairness=false",
			// It taints new nodes until a controller that is not here has seen that they are ready.
			"--disable-admission-plugins=TaintNodesByCondition",
		}})
		if err != nil {
			return fmt.Errorf("start %s: %w", program, err)
		}
		select {
		case <-ctx.Done():
			return nil
		case e := <-exit:
			return fmt.Errorf("%s ended: exit code %d %s; its log is %s", program, e.Code, e.Signal, log)
		}
	}
}
