package sandbox

import (
	"errors"
	"strings"
	"syscall"
	"testing"
)

func TestRefusalNamesCauseRemedyAndAlternative(t *testing.T) {
	for _, c := range []struct {
		name     string
		settings kernelSettings
		cause    error
		want     []string
	}{
		{
			"switched off",
			kernelSettings{maxUserNamespaces: "0"},
			syscall.ENOSPC,
			[]string{"user.max_user_namespaces is 0", "sysctl -w user.max_user_namespaces=10000"},
		},
		{
			"used up",
			kernelSettings{maxUserNamespaces: "15"},
			syscall.ENOSPC,
			[]string{"as many user namespaces as user.max_user_namespaces allows (15)"},
		},
		{
			"Debian",
			kernelSettings{maxUserNamespaces: "9000", unprivilegedClone: "0"},
			syscall.EPERM,
			[]string{"for root only", "sysctl -w kernel.unprivileged_userns_clone=1"},
		},
		{
			"Ubuntu",
			kernelSettings{maxUserNamespaces: "9000", unprivilegedClone: "1", appArmorRestricts: "1"},
			syscall.EPERM,
			[]string{"AppArmor", "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"},
		},
		{
			"container",
			kernelSettings{maxUserNamespaces: "9000", inContainer: true, root: true},
			syscall.EPERM,
			[]string{"this container may not", "--privileged"},
		},
		{
			"root without rights",
			kernelSettings{maxUserNamespaces: "9000", appArmorRestricts: "1", root: true},
			syscall.EPERM,
			[]string{"CAP_SYS_ADMIN"},
		},
		{
			"old kernel",
			kernelSettings{},
			syscall.EINVAL,
			[]string{"the kernel refuses", "run as root"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.settings.explain(c.cause)
			if !errors.Is(err, ErrNamespaces) || !errors.Is(err, c.cause) {
				t.Errorf("the error must wrap ErrNamespaces and %v: %v", c.cause, err)
			}
			for _, want := range append(c.want, "minikube start, or kind create cluster") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error must contain %q: %v", want, err)
				}
			}
		})
	}
}
