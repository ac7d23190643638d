package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/upcommerce/backout/tests/env/programs"
	"github.com/upcommerce/backout/tests/env/sandbox"
)

func clientFor(t *testing.T, c *rest.Config) *kubernetes.Clientset {
	t.Helper()
	client, err := kubernetes.NewForConfig(c)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestControlPlane(t *testing.T) {
	t.Parallel()
	s := sandbox.Start(t)
	client := clientFor(t, s.RESTConfig())

	t.Run("reports the version that it was built from", func(t *testing.T) {
		v, err := client.Discovery().ServerVersion()
		if err != nil {
			t.Fatal(err)
		}
		if v.GitVersion != programs.Kubernetes || v.Major+"."+v.Minor != "1.37" {
			t.Errorf("it reports %s (%s.%s), want %s", v.GitVersion, v.Major, v.Minor, programs.Kubernetes)
		}
	})
	t.Run("a Deployment gets its Pods, which get a node", func(t *testing.T) { deploymentGetsPods(t, client) })
	t.Run("a service account has only its own rights", func(t *testing.T) { accountHasRights(t, s, client) })
	t.Run("a namespace can be deleted with its objects", func(t *testing.T) { namespaceIsDeleted(t, client) })
	t.Run("kubectl works with the kubeconfig", func(t *testing.T) { kubectlWorks(t, s) })
}

func deploymentGetsPods(t *testing.T, client kubernetes.Interface) {
	ctx := t.Context()
	replicas, labels := int32(2), map[string]string{"app": "shop"}
	_, err := client.AppsV1().Deployments("default").Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "shop"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "shop", Image: "shop:v1"}}},
			},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error { return scheduled(ctx, client, 2) })

	if err := client.AppsV1().Deployments("default").Delete(ctx, "shop", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error { return scheduled(ctx, client, 0) }) // by the garbage collector
}

// scheduled returns nil when there are n pods and the scheduler has assigned a node to each.
func scheduled(ctx context.Context, client kubernetes.Interface, n int) error {
	pods, err := client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: "app=shop"})
	if err != nil {
		return err
	}
	if len(pods.Items) != n {
		return fmt.Errorf("%d pods, want %d", len(pods.Items), n)
	}
	for _, p := range pods.Items {
		if p.Spec.NodeName != sandbox.NodeName {
			return fmt.Errorf("pod %s is %s with conditions %v", p.Name, p.Status.Phase, p.Status.Conditions)
		}
	}
	return nil
}

func accountHasRights(t *testing.T, s *sandbox.Sandbox, client kubernetes.Interface) {
	ctx := t.Context()
	_, err := client.CoreV1().ServiceAccounts("default").Create(ctx,
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "backout"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.RbacV1().RoleBindings("default").Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "backout"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "default", Name: "backout"}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	token, err := client.CoreV1().ServiceAccounts("default").CreateToken(ctx, "backout", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	config := s.RESTConfig()
	config.BearerToken = token.Status.Token
	account := clientFor(t, config)
	eventually(t, func() error { // the authorizer gets the binding by a watch
		_, err := account.CoreV1().ConfigMaps("default").List(ctx, metav1.ListOptions{})
		return err
	})
	if _, err := account.CoreV1().Secrets("default").List(ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("the role view may not list Secrets; got: %v", err)
	}
}

func namespaceIsDeleted(t *testing.T, client kubernetes.Interface) {
	ctx := t.Context()
	_, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "gone"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.CoreV1().Namespaces().Delete(ctx, "gone", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		_, err := client.CoreV1().Namespaces().Get(ctx, "gone", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(errors.New("the namespace is still there"), err)
	})
}

func kubectlWorks(t *testing.T, s *sandbox.Sandbox) {
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		t.Skip("kubectl is not on the PATH")
	}
	cmd := exec.CommandContext(t.Context(), kubectl, "get", "namespaces", "--output=name")
	cmd.Env = append(os.Environ(), "KUBECONFIG="+s.Kubeconfig())
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "namespace/kube-system\n") {
		t.Errorf("kubectl get namespaces: %v\n%s", err, out)
	}
}
