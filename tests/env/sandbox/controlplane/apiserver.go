package controlplane

import (
	"context"
	"strconv"

	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"
)

// newAPIServer prepares kube-apiserver with RBAC and working service accounts.
func newAPIServer(o Options) component {
	s := options.NewServerRunOptions()
	flags := s.Flags()
	return component{
		name:  "kube-apiserver",
		flags: &flags,
		args: []string{
			"--etcd-servers=" + etcdURL,
			"--bind-address=" + o.Address,
			"--advertise-address=" + o.Address,
			"--secure-port=" + strconv.Itoa(o.Port),
			"--tls-cert-file=" + o.ServingCert,
			"--tls-private-key-file=" + o.ServingKey,
			"--service-cluster-ip-range=" + o.ServiceCIDR,
			"--service-account-issuer=https://kubernetes.default.svc",
			"--service-account-key-file=" + o.ServiceAccountKey,
			"--service-account-signing-key-file=" + o.ServiceAccountKey,
			"--token-auth-file=" + o.Tokens,
			"--authorization-mode=RBAC",
			"--audit-policy-file=" + o.AuditPolicy,
			"--audit-log-path=" + o.AuditLog,
			"--allow-privileged=true",
			// The reconcilers write the endpoints of the Service kubernetes for several API servers; here is one.
			"--endpoint-reconciler-type=none",
			"--enable-priority-and-fairness=false",
		},
		run: func(ctx context.Context) error {
			completed, err := s.Complete(ctx)
			if err != nil {
				return err
			}
			if errs := completed.Validate(); len(errs) > 0 {
				return utilerrors.NewAggregate(errs)
			}
			return app.Run(ctx, completed)
		},
	}
}
