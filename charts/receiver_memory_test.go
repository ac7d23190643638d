package charts_test

import (
	"math"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// goMemoryLimit are the variables of Go's own memory limit.
func goMemoryLimit() []string { return []string{"MEMORY_LIMIT_MIB", "GOMEMLIMIT"} }

// Go's memory limit is below the container's, whatever the values say, so that the garbage collector comes before the kernel.
func TestReceiverMemoryLimitIsBelowThatOfTheContainer(t *testing.T) {
	for _, tt := range []struct {
		set  string
		want bool
	}{
		{"", true},
		{"resources.limits.memory=64Mi", true},
		{"resources.limits.memory=300M", true},
		{"resources.limits.memory=1Gi", true},
		{"resources.limits=null", false},
		{"resources.limits.memory=null", false},
		{"resources=null", false},
		{"extraEnv[0].name=GOMEMLIMIT,extraEnv[0].value=100MiB", false},
	} {
		container := one[*appsv1.Deployment](t, receiver{set: tt.set}.render(t), "Deployment backout/backout").Spec.Template.Spec.Containers[0]
		i := slices.IndexFunc(container.Env, func(v corev1.EnvVar) bool { return v.Name == "MEMORY_LIMIT_MIB" })
		if (i >= 0) != tt.want {
			t.Errorf("--set %s: the chart sets Go's memory limit: %t, want %t", tt.set, i >= 0, tt.want)
		}
		if i < 0 {
			continue
		}
		ref, limit := container.Env[i].ValueFrom.ResourceFieldRef, container.Env[i+1]
		if ref.Resource != "limits.memory" || !ref.Divisor.Equal(resource.MustParse("1Mi")) || limit.Name != "GOMEMLIMIT" {
			t.Fatalf("--set %s: the variables are %+v", tt.set, container.Env[i:i+2])
		}
		memory := container.Resources.Limits.Memory().Value()
		units := strconv.FormatFloat(math.Ceil(float64(memory)/(1<<20)), 'f', 0, 64) // as the kubelet computes it
		text := strings.ReplaceAll(limit.Value, "$(MEMORY_LIMIT_MIB)", units)
		bytes, err := strconv.ParseInt(strings.TrimSuffix(text, "B"), 10, 64)
		if err != nil || float64(bytes) > 0.97*float64(memory) || float64(bytes) < 0.9*float64(memory) {
			t.Errorf("--set %s: GOMEMLIMIT=%s is not some 95%% of %d: %v", tt.set, text, memory, err)
		}
		// The runtime refuses to start with a limit that it cannot read.
		program := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
		program.Env = []string{"GOMEMLIMIT=" + text, "HOME=" + t.TempDir()}
		if out, err := program.CombinedOutput(); err != nil {
			t.Errorf("--set %s: Go does not read GOMEMLIMIT=%s: %v: %s", tt.set, text, err, out)
		}
	}
}
