package scenarios

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/tests/stage"
)

// The Role that the README tells people to create is enough for the whole story,
// with a service account's token and no right outside of the namespace.
func TestTheRoleInTheReadmeIsEnough(t *testing.T) {
	t.Parallel()
	st := open(t)
	role, binding := rolesOfReadme(t)
	ctx := limited(t)
	owner := binding.Subjects[0]
	if _, err := st.Client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: owner.Namespace}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: owner.Name, Namespace: owner.Namespace}}
	if _, err := st.Client.CoreV1().ServiceAccounts(owner.Namespace).Create(ctx, account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := st.Client.RbacV1().Roles(stage.Namespace).Create(ctx, &role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := st.Client.RbacV1().RoleBindings(stage.Namespace).Create(ctx, &binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	token, err := st.Client.CoreV1().ServiceAccounts(owner.Namespace).CreateToken(ctx, owner.Name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b := backout(t, st, 0, map[string]string{"KUBECONFIG": kubeconfig(t, st, token.Status.Token)})
	if code, text := post(t, b, stage.Token, payload(t, labels(nil))); code != 200 {
		t.Fatalf("answered %d: %s", code, text)
	}
	if r := record(t, b, 2, rolledBack); !r.Shed.Succeeded() {
		t.Errorf("the shed failed: %s", r.Summary())
	}
}

// rolesOfReadme returns the Role and the RoleBinding of the README's quick start.
func rolesOfReadme(t *testing.T) (role rbacv1.Role, binding rbacv1.RoleBinding) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range strings.Split(string(text), "```yaml\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		for document := range strings.SplitSeq(block, "\n---\n") {
			switch {
			case strings.Contains(document, "\nkind: Role\n"):
				err = yaml.UnmarshalStrict([]byte(document), &role)
			case strings.Contains(document, "\nkind: RoleBinding\n"):
				err = yaml.UnmarshalStrict([]byte(document), &binding)
			}
			if err != nil {
				t.Fatalf("README.md: %v", err)
			}
		}
	}
	if len(role.Rules) == 0 || len(binding.Subjects) != 1 {
		t.Fatal("README.md has no Role with its RoleBinding any more")
	}
	return role, binding
}

// kubeconfig writes one for programs inside, with that token alone.
func kubeconfig(t *testing.T, st *stage.Stage, token string) string {
	t.Helper()
	config, err := clientcmd.LoadFromFile(st.Sandbox.InnerKubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range config.AuthInfos {
		user.Token, user.TokenFile = token, ""
	}
	path := filepath.Join(st.Sandbox.Dir(), "kubeconfig-role")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		t.Fatal(err)
	}
	return path
}
