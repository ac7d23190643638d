package scenarios

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/upcommerce/backout/tests/sandbox"
	"github.com/upcommerce/backout/tests/stage"
)

// What the README tells people to apply is enough: backout runs in a pod, with
// its service account, with no right outside of the release's namespace, and the
// whole story works.
func TestTheQuickStartOfTheReadme(t *testing.T) {
	t.Parallel()
	st := open(t)
	ctx := limited(t)
	const namespace = "backout"
	if _, err := st.Client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "backout-token"}, StringData: map[string]string{"token": stage.Token + "\n"}}
	if _, err := st.Client.CoreV1().Secrets(namespace).Create(ctx, secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, object := range quickStart(t) {
		if err := create(t, st, object); err != nil {
			t.Fatalf("README.md: %T: %v", object, err)
		}
	}
	available(t, st, namespace, "backout")
	service, err := st.Client.CoreV1().Services(namespace).Get(ctx, "backout", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	tokenFile := filepath.Join(st.Sandbox.Dir(), "token")
	if err := os.WriteFile(tokenFile, []byte(stage.Token), 0o600); err != nil {
		t.Fatal(err)
	}
	am, err := st.Sandbox.Alertmanager(ctx, sandbox.AlertmanagerOptions{
		// There is no DNS inside; people name the Service.
		WebhookURL: "http://" + service.Spec.ClusterIP + ":8080/api/v1/alerts", TokenFile: tokenFile,
	})
	if err != nil {
		t.Fatal(err)
	}
	timeline := watch(t, st)
	if err := am.Fire(ctx, sandbox.Alert{Labels: labels(nil)}); err != nil {
		t.Fatal(err)
	}
	for _, wanted := range []struct {
		kind  stage.Kind
		value string
	}{{stage.SawWeight, "0"}, {stage.SawRevision, "3 deployed"}, {stage.SawWeight, "20"}} {
		if _, err := timeline.Await(ctx, wanted.kind, wanted.value); err != nil {
			t.Fatal(err)
		}
	}
}

// quickStart returns the Kubernetes objects of the README, with the mode that
// people switch to once they trust it.
func quickStart(t *testing.T) []runtime.Object {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	decoder := scheme.Codecs.UniversalDeserializer()
	var objects []runtime.Object
	for _, block := range strings.Split(string(text), "```yaml\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		for document := range strings.SplitSeq(block, "\n---\n") {
			if !strings.Contains(document, "apiVersion: ") {
				continue
			}
			document = strings.Replace(document, "BACKOUT_MODE, value: observe", "BACKOUT_MODE, value: act", 1)
			object, _, err := decoder.Decode([]byte(document), nil, nil)
			if err != nil && !errors.Is(err, io.EOF) {
				t.Fatalf("README.md: %v\n%s", err, document)
			}
			objects = append(objects, object)
		}
	}
	if len(objects) < 5 {
		t.Fatalf("README.md has %d objects in its quick start, want Role, RoleBinding, ServiceAccount, Deployment and Service", len(objects))
	}
	return objects
}

func create(t *testing.T, st *stage.Stage, object runtime.Object) error {
	t.Helper()
	ctx, options := limited(t), metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict}
	var err error
	switch o := object.(type) {
	case *rbacv1.Role:
		_, err = st.Client.RbacV1().Roles(o.Namespace).Create(ctx, o, options)
	case *rbacv1.RoleBinding:
		_, err = st.Client.RbacV1().RoleBindings(o.Namespace).Create(ctx, o, options)
	case *corev1.ServiceAccount:
		_, err = st.Client.CoreV1().ServiceAccounts(o.Namespace).Create(ctx, o, options)
	case *corev1.Service:
		_, err = st.Client.CoreV1().Services(o.Namespace).Create(ctx, o, options)
	case *appsv1.Deployment:
		_, err = st.Client.AppsV1().Deployments(o.Namespace).Create(ctx, o, options)
	default:
		err = errors.New("this kind is new in the README; create it here")
	}
	return err
}

// available waits for a Deployment's pods.
func available(t *testing.T, st *stage.Stage, namespace, name string) {
	t.Helper()
	ctx := limited(t)
	for {
		d, err := st.Client.AppsV1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
		if err == nil && d.Status.AvailableReplicas > 0 {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("Deployment %s is not available: %v", name, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
