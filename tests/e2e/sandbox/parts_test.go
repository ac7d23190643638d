package sandbox_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/upcommerce/backout/tests/env/programs"
	"github.com/upcommerce/backout/tests/env/sandbox"
)

// docs/sandbox.md has the list that the program prints. UPDATE=1 rewrites it.
func TestTheListOfParts(t *testing.T) {
	t.Setenv("KUBEBUILDER_ASSETS", "") // the list is that of the sandbox's own API server
	program, err := programs.Build(t.Context(), programs.Sandbox(), nil)
	if err != nil {
		t.Fatal(err)
	}
	parts, err := exec.CommandContext(t.Context(), program, "parts").Output()
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- parts -->\n", "<!-- /parts -->"
	path := filepath.Join("..", "..", "..", "docs", "sandbox.md")
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), begin)
	old, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s lacks %s … %s", path, strings.TrimSpace(begin), end)
	}
	want := "\n" + string(parts) + "\n"
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(before+begin+want+end+after), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if old != want {
		t.Errorf("docs/sandbox.md has another list of parts than the program; UPDATE=1 rewrites it:\n%s\nwant\n%s", old, want)
	}
}

// The parts that the tests rely on are Kubernetes' own: each does what only it does.
func TestPartsOfKubernetesWork(t *testing.T) {
	t.Parallel()
	s := sandbox.Start(t)
	p := &parts{client: clientFor(t, s.RESTConfig()), config: s.RESTConfig()}
	for name, test := range map[string]func(*testing.T, *parts, string){
		"a StatefulSet makes pods in order":             statefulSetMakesPods,
		"a DaemonSet runs on the node":                  daemonSetMakesPod,
		"a Job makes pods":                              jobMakesPod,
		"a CronJob makes Jobs":                          cronJobMakesJob,
		"an HPA says why it does not scale":             autoscalerReports,
		"a PodDisruptionBudget protects pods":           budgetProtects,
		"a ResourceQuota counts and refuses":            quotaRefuses,
		"a LimitRange sets defaults":                    limitRangeSetsDefaults,
		"PodSecurity refuses privileged pods":           podSecurityRefuses,
		"a validating webhook that is gone refuses":     webhookRefuses,
		"a ValidatingAdmissionPolicy refuses":           policyRefuses,
		"an impersonated user has only its own rights":  impersonation,
		"aggregated ClusterRoles have rules":            aggregatedRoles,
		"server-side apply knows owners of fields":      serverSideApply,
		"a CustomResourceDefinition is served":          customResource,
		"an aggregated API without a server is missing": aggregatedAPI,
		"a token Secret gets its token":                 tokenSecret,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // the CronJob waits for the next minute
			test(t, p, p.namespace(t))
		})
	}
}

// parts is what the tests of parts share.
type parts struct {
	client *kubernetes.Clientset
	config *rest.Config
	spaces atomic.Int32
}

// namespace makes a namespace of its own for a test.
func (p *parts) namespace(t *testing.T, labels ...string) string {
	t.Helper()
	n := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("part-%d", p.spaces.Add(1)), Labels: map[string]string{}}}
	for _, label := range labels {
		key, value, _ := strings.Cut(label, "=")
		n.Labels[key] = value
	}
	must(t)(p.client.CoreV1().Namespaces().Create(t.Context(), n, metav1.CreateOptions{}))
	eventually(t, func() error {
		_, err := p.client.CoreV1().ServiceAccounts(n.Name).Get(t.Context(), "default", metav1.GetOptions{})
		return err
	})
	return n.Name
}

func must(t *testing.T) func(any, error) {
	return func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
}

func podTemplate() (*metav1.LabelSelector, corev1.PodTemplateSpec) {
	labels := map[string]string{"app": "part"}
	return &metav1.LabelSelector{MatchLabels: labels}, corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "part", Image: "example/part:v1"}}},
	}
}

// havePods waits for exactly these pods, each on the node.
func (p *parts) havePods(t *testing.T, namespace string, n int, prefix string) {
	t.Helper()
	eventually(t, func() error {
		list, err := p.client.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		if len(list.Items) != n {
			return fmt.Errorf("%d pods, want %d", len(list.Items), n)
		}
		for _, pod := range list.Items {
			if pod.Spec.NodeName != sandbox.NodeName || !strings.HasPrefix(pod.Name, prefix) {
				return fmt.Errorf("pod %s is on the node %q", pod.Name, pod.Spec.NodeName)
			}
		}
		return nil
	})
}

func statefulSetMakesPods(t *testing.T, p *parts, namespace string) {
	selector, template := podTemplate()
	replicas := int32(2)
	must(t)(p.client.AppsV1().StatefulSets(namespace).Create(t.Context(), &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: "db"}, Spec: appsv1.StatefulSetSpec{Replicas: &replicas, Selector: selector, Template: template},
	}, metav1.CreateOptions{}))
	p.havePods(t, namespace, 1, "db-0") // the second waits until the first is ready
}

func daemonSetMakesPod(t *testing.T, p *parts, namespace string) {
	selector, template := podTemplate()
	must(t)(p.client.AppsV1().DaemonSets(namespace).Create(t.Context(), &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Name: "agent"}, Spec: appsv1.DaemonSetSpec{Selector: selector, Template: template},
	}, metav1.CreateOptions{}))
	p.havePods(t, namespace, 1, "agent-")
}

func jobMakesPod(t *testing.T, p *parts, namespace string) {
	_, template := podTemplate()
	template.Spec.RestartPolicy = corev1.RestartPolicyNever
	must(t)(p.client.BatchV1().Jobs(namespace).Create(t.Context(),
		&batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "once"}, Spec: batchv1.JobSpec{Template: template}}, metav1.CreateOptions{}))
	p.havePods(t, namespace, 1, "once-")
}

func cronJobMakesJob(t *testing.T, p *parts, namespace string) {
	_, template := podTemplate()
	template.Spec.RestartPolicy = corev1.RestartPolicyNever
	must(t)(p.client.BatchV1().CronJobs(namespace).Create(t.Context(), &batchv1.CronJob{
		ObjectMeta: metav1.ObjectMeta{Name: "often"},
		Spec:       batchv1.CronJobSpec{Schedule: "* * * * *", JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: template}}},
	}, metav1.CreateOptions{}))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	jobs, err := p.client.BatchV1().Jobs(namespace).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer jobs.Stop()
	if e, ok := <-jobs.ResultChan(); !ok || e.Type != watch.Added {
		t.Errorf("no Job within two minutes: %v", e)
	}
}

func autoscalerReports(t *testing.T, p *parts, namespace string) {
	selector, template := podTemplate()
	must(t)(p.client.AppsV1().Deployments(namespace).Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "shop"}, Spec: appsv1.DeploymentSpec{Selector: selector, Template: template},
	}, metav1.CreateOptions{}))
	half := int32(50)
	autoscalers := p.client.AutoscalingV2().HorizontalPodAutoscalers(namespace)
	must(t)(autoscalers.Create(t.Context(), &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Name: "shop"},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "shop"},
			MaxReplicas:    3,
			Metrics: []autoscalingv2.MetricSpec{{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
				Name: corev1.ResourceCPU, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: &half},
			}}},
		},
	}, metav1.CreateOptions{}))
	eventually(t, func() error {
		hpa, err := autoscalers.Get(t.Context(), "shop", metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range hpa.Status.Conditions {
			if c.Type == autoscalingv2.ScalingActive && c.Reason == "FailedGetResourceMetric" {
				return nil
			}
		}
		return fmt.Errorf("conditions %v", hpa.Status.Conditions)
	})
}

func budgetProtects(t *testing.T, p *parts, namespace string) {
	selector, template := podTemplate()
	must(t)(p.client.AppsV1().Deployments(namespace).Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "shop"}, Spec: appsv1.DeploymentSpec{Selector: selector, Template: template},
	}, metav1.CreateOptions{}))
	one := intstr.FromInt32(1)
	budgets := p.client.PolicyV1().PodDisruptionBudgets(namespace)
	must(t)(budgets.Create(t.Context(), &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: "shop"}, Spec: policyv1.PodDisruptionBudgetSpec{Selector: selector, MinAvailable: &one},
	}, metav1.CreateOptions{}))
	eventually(t, func() error {
		b, err := budgets.Get(t.Context(), "shop", metav1.GetOptions{})
		if err == nil && b.Status.ExpectedPods != 1 {
			err = fmt.Errorf("it expects %d pods, want 1", b.Status.ExpectedPods)
		}
		return err
	})
}

func quotaRefuses(t *testing.T, p *parts, namespace string) {
	quotas := p.client.CoreV1().ResourceQuotas(namespace)
	must(t)(quotas.Create(t.Context(), &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "few"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"count/secrets": resource.MustParse("0"), "configmaps": resource.MustParse("9")}},
	}, metav1.CreateOptions{}))
	eventually(t, func() error { // it counts kube-root-ca.crt
		q, err := quotas.Get(t.Context(), "few", metav1.GetOptions{})
		if used := q.Status.Used["configmaps"]; err == nil && used.Value() != 1 {
			err = fmt.Errorf("%s ConfigMaps are counted, want 1", used.String())
		}
		return err
	})
	_, err := p.client.CoreV1().Secrets(namespace).Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "one"}}, metav1.CreateOptions{})
	refused(t, err, "exceeded quota")
}

// errAccepted is in place of a refusal that did not come.
var errAccepted = errors.New("no error")

func refused(t *testing.T, err error, why string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), why) {
		t.Errorf("got %v, want a refusal because of %q", err, why)
	}
}

func limitRangeSetsDefaults(t *testing.T, p *parts, namespace string) {
	must(t)(p.client.CoreV1().LimitRanges(namespace).Create(t.Context(), &corev1.LimitRange{
		ObjectMeta: metav1.ObjectMeta{Name: "defaults"},
		Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{{
			Type: corev1.LimitTypeContainer, DefaultRequest: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("7m")},
		}}},
	}, metav1.CreateOptions{}))
	_, template := podTemplate()
	eventually(t, func() error { // the plugin gets the LimitRange by a watch
		pod, err := p.client.CoreV1().Pods(namespace).Create(t.Context(),
			&corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "part-"}, Spec: template.Spec}, metav1.CreateOptions{})
		if err == nil && pod.Spec.Containers[0].Resources.Requests.Cpu().String() != "7m" {
			err = fmt.Errorf("the pod requests %v", pod.Spec.Containers[0].Resources.Requests)
		}
		return err
	})
}

func podSecurityRefuses(t *testing.T, p *parts, _ string) {
	namespace := p.namespace(t, "pod-security.kubernetes.io/enforce=restricted")
	_, template := podTemplate()
	_, err := p.client.CoreV1().Pods(namespace).Create(t.Context(),
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "part"}, Spec: template.Spec}, metav1.CreateOptions{})
	refused(t, err, `violates PodSecurity "restricted:latest"`)
}

// refusedSoon waits until ConfigMaps of the namespace are refused for that reason.
func (p *parts) refusedSoon(t *testing.T, namespace, why string) {
	t.Helper()
	eventually(t, func() error {
		_, err := p.client.CoreV1().ConfigMaps(namespace).Create(t.Context(),
			&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "part-"}}, metav1.CreateOptions{})
		if err == nil || !strings.Contains(err.Error(), why) {
			return fmt.Errorf("want a refusal because of %q, got %w", why, cmp.Or(err, errAccepted))
		}
		return nil
	})
}

func webhookRefuses(t *testing.T, p *parts, namespace string) {
	where, none, fail := "https://127.0.0.1:1", admissionregistrationv1.SideEffectClassNone, admissionregistrationv1.Fail
	must(t)(p.client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(t.Context(), &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "gone"},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name: "gone.example.com", ClientConfig: admissionregistrationv1.WebhookClientConfig{URL: &where},
			SideEffects: &none, FailurePolicy: &fail, AdmissionReviewVersions: []string{"v1"},
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: namespace}},
			Rules:             []admissionregistrationv1.RuleWithOperations{configMaps()},
		}},
	}, metav1.CreateOptions{}))
	p.refusedSoon(t, namespace, `failed calling webhook "gone.example.com"`)
}

func configMaps() admissionregistrationv1.RuleWithOperations {
	return admissionregistrationv1.RuleWithOperations{
		Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
		Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
	}
}

func policyRefuses(t *testing.T, p *parts, namespace string) {
	policies := p.client.AdmissionregistrationV1()
	must(t)(policies.ValidatingAdmissionPolicies().Create(t.Context(), &admissionregistrationv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "never"},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionregistrationv1.MatchResources{
				NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: namespace}},
				ResourceRules:     []admissionregistrationv1.NamedRuleWithOperations{{RuleWithOperations: configMaps()}},
			},
			Validations: []admissionregistrationv1.Validation{{Expression: "false", Message: "never here"}},
		},
	}, metav1.CreateOptions{}))
	must(t)(policies.ValidatingAdmissionPolicyBindings().Create(t.Context(), &admissionregistrationv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "never"},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: "never", ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
		},
	}, metav1.CreateOptions{}))
	p.refusedSoon(t, namespace, "never here")
}

func impersonation(t *testing.T, p *parts, namespace string) {
	must(t)(p.client.RbacV1().RoleBindings(namespace).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "reader"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "reader"}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
	}, metav1.CreateOptions{}))
	config := rest.CopyConfig(p.config)
	config.Impersonate = rest.ImpersonationConfig{UserName: "reader"}
	reader := clientFor(t, config)
	eventually(t, func() error {
		_, err := reader.CoreV1().ConfigMaps(namespace).List(t.Context(), metav1.ListOptions{})
		return err
	})
	if _, err := reader.CoreV1().ConfigMaps("default").List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("in another namespace: %v, want forbidden", err)
	}
}

func aggregatedRoles(t *testing.T, p *parts, _ string) {
	eventually(t, func() error {
		admin, err := p.client.RbacV1().ClusterRoles().Get(t.Context(), "admin", metav1.GetOptions{})
		if err == nil && len(admin.Rules) < 10 {
			err = fmt.Errorf("the role admin has %d rules", len(admin.Rules))
		}
		return err
	})
}

func serverSideApply(t *testing.T, p *parts, namespace string) {
	apply := func(manager, data string) error {
		_, err := p.client.CoreV1().ConfigMaps(namespace).Patch(t.Context(), "shared", types.ApplyPatchType,
			[]byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"shared"},"data":{"owner":"`+data+`"}}`), metav1.PatchOptions{FieldManager: manager})
		return err
	}
	if err := apply("first", "first"); err != nil {
		t.Fatal(err)
	}
	if err := apply("second", "second"); !apierrors.IsConflict(err) {
		t.Errorf("another manager's value: %v, want a conflict", err)
	}
}

func customResource(t *testing.T, p *parts, namespace string) {
	objects, err := dynamic.NewForConfig(p.config)
	if err != nil {
		t.Fatal(err)
	}
	definition := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": "parts.example.com"},
		"spec": map[string]any{
			"group": "example.com", "scope": "Namespaced", "names": map[string]any{"plural": "parts", "kind": "Part"},
			"versions": []any{map[string]any{"name": "v1", "served": true, "storage": true, "schema": map[string]any{
				"openAPIV3Schema": map[string]any{"type": "object", "properties": map[string]any{
					"spec": map[string]any{"type": "object", "required": []any{"size"}, "properties": map[string]any{"size": map[string]any{"type": "integer"}}},
				}},
			}}},
		},
	}}
	must(t)(objects.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}).
		Create(t.Context(), definition, metav1.CreateOptions{}))
	create := func(size any) error {
		_, err := objects.Resource(schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "parts"}).Namespace(namespace).
			Create(context.WithoutCancel(t.Context()), &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "example.com/v1", "kind": "Part", "metadata": map[string]any{"generateName": "part-"}, "spec": map[string]any{"size": size},
			}}, metav1.CreateOptions{})
		return err
	}
	eventually(t, func() error { return create(int64(1)) })
	if err := create("large"); !apierrors.IsInvalid(err) {
		t.Errorf("a value of the wrong type: %v, want invalid", err)
	}
	eventually(t, func() error { return p.discovers("example.com/v1") })
}

func (p *parts) discovers(version string) error {
	_, err := p.client.Discovery().ServerResourcesForGroupVersion(version)
	return err
}

func aggregatedAPI(t *testing.T, p *parts, namespace string) {
	objects, err := dynamic.NewForConfig(p.config)
	if err != nil {
		t.Fatal(err)
	}
	must(t)(objects.Resource(schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"}).
		Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": map[string]any{"name": "v1.gone.example.com"},
			"spec": map[string]any{
				"group": "gone.example.com", "version": "v1", "groupPriorityMinimum": int64(100), "versionPriority": int64(100),
				"insecureSkipTLSVerify": true, "service": map[string]any{"namespace": namespace, "name": "gone"},
			},
		}}, metav1.CreateOptions{}))
	eventually(t, func() error {
		err := p.discovers("gone.example.com/v1")
		if !apierrors.IsServiceUnavailable(err) {
			return fmt.Errorf("want that the service is unavailable, got %w", cmp.Or(err, errAccepted))
		}
		return nil
	})
}

func tokenSecret(t *testing.T, p *parts, namespace string) {
	secrets := p.client.CoreV1().Secrets(namespace)
	must(t)(secrets.Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "token", Annotations: map[string]string{corev1.ServiceAccountNameKey: "default"}},
		Type:       corev1.SecretTypeServiceAccountToken,
	}, metav1.CreateOptions{}))
	eventually(t, func() error {
		s, err := secrets.Get(t.Context(), "token", metav1.GetOptions{})
		if err == nil && len(s.Data[corev1.ServiceAccountTokenKey]) == 0 {
			err = errors.New("it has no token")
		}
		return err
	})
}
