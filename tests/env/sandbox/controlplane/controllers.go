package controlplane

import (
	"context"
	"fmt"

	manager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	manageroptions "k8s.io/kubernetes/cmd/kube-controller-manager/app/options"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	scheduleroptions "k8s.io/kubernetes/cmd/kube-scheduler/app/options"
)

// newControllerManager prepares kube-controller-manager with all controllers that are on by default.
func newControllerManager(o Options) (component, error) {
	s, err := manageroptions.NewKubeControllerManagerOptions()
	if err != nil {
		return component{}, fmt.Errorf("make the options of kube-controller-manager: %w", err)
	}
	controllers := func() ([]string, []string, map[string]string) {
		return manager.KnownControllers(), manager.ControllersDisabledByDefault(), manager.ControllerAliases()
	}
	flags := s.Flags(controllers())
	s.ParsedFlags = &flags
	return component{
		name:  "kube-controller-manager",
		flags: &flags,
		args: []string{
			"--kubeconfig=" + o.Kubeconfig,
			"--leader-elect=false",
			"--secure-port=0",
			"--service-account-private-key-file=" + o.ServiceAccountKey,
			"--root-ca-file=" + o.ServingCert,
			// The defaults (20 per second) are for big clusters; here they would only cause delays.
			"--kube-api-qps=200",
			"--kube-api-burst=400",
		},
		run: func(ctx context.Context) error {
			known, disabled, aliases := controllers()
			c, err := s.Config(ctx, known, disabled, aliases)
			if err != nil {
				return err
			}
			return manager.Run(ctx, c.Complete())
		},
	}, nil
}

// newScheduler prepares kube-scheduler with its default profile.
func newScheduler(o Options) component {
	s := scheduleroptions.NewOptions()
	return component{
		name:  "kube-scheduler",
		flags: s.Flags,
		args: []string{
			"--kubeconfig=" + o.Kubeconfig,
			"--leader-elect=false",
			"--secure-port=0",
		},
		run: func(ctx context.Context) error {
			config, scheduling, err := scheduler.Setup(ctx, s)
			if err != nil {
				return err
			}
			return scheduler.Run(ctx, config, scheduling)
		},
	}
}
