package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"

	"github.com/upcommerce/backout/tests/env/sandbox"
)

const (
	shopImage  = "example/shop"
	unpullable = shopImage + ":never-pushed"
)

// TestPods runs pods in one sandbox, each case in a namespace of its own.
func TestPods(t *testing.T) {
	t.Parallel()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := sandbox.StartWith(t, sandbox.Options{Images: map[string]string{shopImage: program}, Unpullable: []string{unpullable}})
	client := clientFor(t, s.RESTConfig())
	for _, c := range []struct {
		name string
		run  func(*testing.T, mall)
	}{
		{"a Deployment becomes available and is reached through its Service", deploymentServes},
		{"a rolling update leaves no gap", rollsWithoutGap},
		{"a pod that is not ready gets no traffic", readinessGates},
		{"a program that ends is restarted, with back-off", crashLoops},
		{"a missing image has a kubelet's reasons", imageIsMissing},
		{"a pod waits for its ConfigMap, and sees it change", configMapIsSeen},
		{"Secret, fields, emptyDir and arguments", specIsSeen},
		{"a service account token works at the API server's Service", tokenWorks},
		{"a pod ends in its grace period or is killed after it, and leaves nothing", endsWithGrace},
		{"a container that fails its liveness probe is restarted", livenessRestarts},
		{"a pod with restart policy Never runs once, after its init containers", runsOnce},
		{"a pod's writes stay in the pod", filesAreItsOwn},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, newMall(t, s, client))
		})
	}
}

// mall is a namespace with a client.
type mall struct {
	*kubernetes.Clientset
	s         *sandbox.Sandbox
	namespace string
	http      *http.Client // connects to addresses inside
}

func newMall(t *testing.T, s *sandbox.Sandbox, client *kubernetes.Clientset) mall {
	t.Helper()
	n, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "mall-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m := mall{Clientset: client, s: s, namespace: n.Name, http: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, address string) (net.Conn, error) { return s.Dial(ctx, address) },
	}}}
	eventually(t, func() error {
		_, err := client.CoreV1().ServiceAccounts(n.Name).Get(t.Context(), "default", metav1.GetOptions{})
		return err
	})
	return m
}

// shopContainer returns a container with the tests' program and an environment, NAME=value.
func shopContainer(env ...string) corev1.Container {
	c := corev1.Container{
		Name: "shop", Image: shopImage + ":v1",
		Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: shopPort}},
		Env:   []corev1.EnvVar{{Name: role, Value: "shop"}},
		ReadinessProbe: &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{
			HTTPGet: &corev1.HTTPGetAction{Path: "/ready", Port: intstr.FromString("http")},
		}},
	}
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		c.Env = append(c.Env, corev1.EnvVar{Name: name, Value: value})
	}
	return c
}

func (m mall) deploy(t *testing.T, replicas int32, c corev1.Container) *appsv1.Deployment {
	t.Helper()
	labels, zero, one := map[string]string{"app": "shop"}, intstr.FromInt32(0), intstr.FromInt32(1)
	d, err := m.AppsV1().Deployments(m.namespace).Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "shop"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Strategy: appsv1.DeploymentStrategy{RollingUpdate: &appsv1.RollingUpdateDeployment{MaxUnavailable: &zero, MaxSurge: &one}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{c}},
			},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// awaitRollout returns when the Deployment is rolled out, by the rules of kubectl rollout status.
func (m mall) awaitRollout(t *testing.T) {
	t.Helper()
	eventually(t, func() error {
		d, err := m.AppsV1().Deployments(m.namespace).Get(t.Context(), "shop", metav1.GetOptions{})
		if err != nil {
			return err
		}
		s := d.Status
		if s.ObservedGeneration < d.Generation || s.UpdatedReplicas != *d.Spec.Replicas || s.Replicas != s.UpdatedReplicas || s.AvailableReplicas != s.UpdatedReplicas {
			return fmt.Errorf("the Deployment is not rolled out: %+v", s)
		}
		return nil
	})
}

// expose makes a Service for the pods of the Deployment and returns its address.
func (m mall) expose(t *testing.T) string {
	t.Helper()
	service, err := m.CoreV1().Services(m.namespace).Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "shop"},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": "shop"},
			Ports:    []corev1.ServicePort{{Name: "web", Port: 80, TargetPort: intstr.FromString("http")}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort(service.Spec.ClusterIP, "80")
}

func (m mall) runPod(t *testing.T, change func(*corev1.Pod)) {
	t.Helper()
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: map[string]string{"app": "shop"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{shopContainer()}},
	}
	change(p)
	if _, err := m.CoreV1().Pods(m.namespace).Create(t.Context(), p, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// awaitPod returns the pod shop when it is as wanted; want returns an error until then.
func (m mall) awaitPod(t *testing.T, want func(*corev1.Pod) error) *corev1.Pod {
	t.Helper()
	var p *corev1.Pod
	eventually(t, func() (err error) {
		if p, err = m.CoreV1().Pods(m.namespace).Get(t.Context(), "shop", metav1.GetOptions{}); err != nil {
			return err
		}
		if err := want(p); err != nil {
			return fmt.Errorf("%w: %+v", err, p.Status)
		}
		return nil
	})
	return p
}

// readyPod returns the pod shop and its address when it is ready.
func (m mall) readyPod(t *testing.T) (*corev1.Pod, string) {
	t.Helper()
	p := m.awaitPod(t, isReady)
	return p, net.JoinHostPort(p.Status.PodIP, fmt.Sprint(shopPort))
}

func isReady(p *corev1.Pod) error {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
			return nil
		}
	}
	return errors.New("the pod is not ready")
}

// get returns the answer of the program in a pod.
func (m mall) get(t *testing.T, address, path string) string {
	t.Helper()
	text, err := fetch(t.Context(), m.http, "http://"+address+path)
	if err != nil {
		t.Error(err)
	}
	return text
}

// answers reports whether the address answers soon; a pod that is gone does not refuse connections.
func (m mall) answers(t *testing.T, address string) bool {
	t.Helper()
	impatient := mall{http: &http.Client{Timeout: 300 * time.Millisecond, Transport: m.http.Transport}}
	return impatient.reach(t, address) == nil
}

// reach returns nil if the address answers.
func (m mall) reach(t *testing.T, address string) error {
	t.Helper()
	_, err := fetch(t.Context(), m.http, "http://"+address)
	return err
}

func (m mall) post(t *testing.T, address, path string) {
	t.Helper()
	if _, err := request(t.Context(), m.http, http.MethodPost, "http://"+address+path); err != nil {
		t.Error(err)
	}
}

func deploymentServes(t *testing.T, m mall) {
	address, start := m.expose(t), time.Now()
	m.deploy(t, 2, shopContainer("VERSION=v1"))
	m.awaitRollout(t)
	t.Logf("applied and rolled out, 2 pods: %.2fs", time.Since(start).Seconds())
	eventually(t, func() error { return m.reach(t, address) })
	if got := m.get(t, address, ""); got != "v1" {
		t.Errorf("the Service answers %q, want v1", got)
	}
	eventually(t, func() error { // endpoints follow a moment after the pods are ready
		seen := map[string]int{}
		for range 4 {
			seen[m.get(t, address, "/hostname")]++
		}
		if len(seen) != 2 {
			return fmt.Errorf("connections through the Service do not reach both pods: %v", seen)
		}
		return nil
	})
	// From a pod, and from the host.
	if got := m.get(t, address, "/get?url=http://"+address); got != "v1" {
		t.Errorf("a pod must reach the Service: %q", got)
	}
	host, err := m.s.Forward(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := fetch(t.Context(), http.DefaultClient, "http://"+host); err != nil || got != "v1" {
		t.Errorf("a forward must reach the Service: %q, %v", got, err)
	}
}

func rollsWithoutGap(t *testing.T, m mall) {
	address := m.expose(t)
	m.deploy(t, 2, shopContainer("VERSION=v1", "DRAIN=1s"))
	m.awaitRollout(t)
	eventually(t, func() error { return m.reach(t, address) })
	ctx, stop := context.WithCancel(t.Context())
	seen, failed := map[string]int{}, []error{}
	shopper := make(chan struct{})
	go func() {
		defer close(shopper)
		for ctx.Err() == nil {
			version, err := fetch(context.WithoutCancel(ctx), m.http, "http://"+address)
			seen[version]++
			if err != nil {
				failed = append(failed, err)
			}
			time.Sleep(2 * time.Millisecond)
		}
	}()
	start := time.Now()
	patch := `{"spec":{"template":{"spec":{"containers":[{"name":"shop","env":[{"name":"VERSION","value":"v2"}]}]}}}}`
	_, err := m.AppsV1().Deployments(m.namespace).Patch(t.Context(), "shop", types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m.awaitRollout(t)
	took := time.Since(start)
	// Until the last old pod has drained and is gone.
	eventually(t, func() error {
		pods, err := m.CoreV1().Pods(m.namespace).List(t.Context(), metav1.ListOptions{})
		if err == nil && len(pods.Items) > 2 {
			err = fmt.Errorf("%d pods are left", len(pods.Items))
		}
		return err
	})
	stop()
	<-shopper
	t.Logf("rolling update of 2 pods: %.2fs; requests by version: %v", took.Seconds(), seen)
	if len(failed) > 0 || seen["v1"] == 0 || seen["v2"] == 0 {
		t.Errorf("v1, then v2 must answer, and no request may fail; %d failed: %v", len(failed), errors.Join(failed...))
	}
}

func readinessGates(t *testing.T, m mall) {
	service := m.expose(t)
	m.runPod(t, func(p *corev1.Pod) { p.Spec.Containers[0] = shopContainer("UNREADY=yes") })
	p := m.awaitPod(t, func(p *corev1.Pod) error {
		if p.Status.Phase != corev1.PodRunning {
			return errors.New("the pod does not run")
		}
		return nil
	})
	address := net.JoinHostPort(p.Status.PodIP, fmt.Sprint(shopPort))
	readyIn := func(want bool) func() error {
		return func() error {
			slices, err := m.DiscoveryV1().EndpointSlices(m.namespace).List(t.Context(), metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=shop"})
			if err != nil {
				return err
			}
			for _, slice := range slices.Items {
				for _, e := range slice.Endpoints {
					if *e.Conditions.Ready == want {
						return nil
					}
				}
			}
			return fmt.Errorf("no endpoint with ready=%v: %+v", want, slices.Items)
		}
	}
	eventually(t, readyIn(false))
	eventually(t, func() error { return m.reach(t, address) }) // it runs, and listens a moment later
	if _, err := fetch(t.Context(), m.http, "http://"+service); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("a Service without a ready pod must refuse connections: %v", err)
	}
	m.post(t, address, "/ready?ready=yes")
	m.awaitPod(t, isReady)
	eventually(t, readyIn(true))
	eventually(t, func() error { return m.reach(t, service) })
	m.post(t, address, "/ready?ready=no")
	eventually(t, readyIn(false))
	if p := m.awaitPod(t, func(*corev1.Pod) error { return nil }); p.Status.ContainerStatuses[0].RestartCount != 0 {
		t.Error("a pod that is not ready must not be restarted")
	}
}

func crashLoops(t *testing.T, m mall) {
	m.runPod(t, func(p *corev1.Pod) { p.Spec.Containers[0] = shopContainer("EXIT=3") })
	p := m.awaitPod(t, func(p *corev1.Pod) error {
		for _, c := range p.Status.ContainerStatuses {
			if c.State.Waiting != nil && c.State.Waiting.Reason == "CrashLoopBackOff" && c.RestartCount >= 2 {
				return nil
			}
		}
		return errors.New("the container is not in back-off after two restarts")
	})
	c := p.Status.ContainerStatuses[0]
	last := c.LastTerminationState.Terminated
	if last == nil || last.ExitCode != 3 || last.Reason != "Error" || !strings.HasPrefix(c.State.Waiting.Message, "back-off ") {
		t.Errorf("the status must contain the last termination, with its code: %+v", c)
	}
	if p.Status.Phase != corev1.PodRunning || c.Ready || isReady(p) == nil {
		t.Errorf("a pod in a crash loop must be Running, and not ready: %+v", p.Status)
	}
	log, err := os.ReadFile(filepath.Join(m.s.Dir(), "pods", m.namespace+"_shop", "shop.log"))
	if err != nil || strings.Count(string(log), "it ends at once with 3") < 3 {
		t.Errorf("the log must contain the output of all three runs: %q, %v", log, err)
	}
}

func imageIsMissing(t *testing.T, m mall) {
	for name, image := range map[string]string{"unknown": "example/unknown:v1", "unpullable": unpullable} {
		m.runPod(t, func(p *corev1.Pod) { p.Name, p.Spec.Containers[0].Image = name, image })
	}
	for _, name := range []string{"unknown", "unpullable"} {
		seen := map[string]string{}
		eventually(t, func() error {
			p, err := m.CoreV1().Pods(m.namespace).Get(t.Context(), name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			for _, c := range p.Status.ContainerStatuses {
				if w := c.State.Waiting; w != nil {
					seen[w.Reason] = w.Message
				}
			}
			if seen["ErrImagePull"] == "" || seen["ImagePullBackOff"] == "" || p.Status.Phase != corev1.PodPending {
				return fmt.Errorf("the reasons so far are %v", seen)
			}
			return nil
		})
		if !strings.Contains(seen["ErrImagePull"], "not found") || !strings.HasPrefix(seen["ImagePullBackOff"], "Back-off pulling image ") {
			t.Errorf("the messages must be a kubelet's: %v", seen)
		}
	}
}

func configMapIsSeen(t *testing.T, m mall) {
	from := func(name string) *corev1.ConfigMapKeySelector {
		return &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: name}, Key: "fruit"}
	}
	m.runPod(t, func(p *corev1.Pod) {
		c := &p.Spec.Containers[0]
		c.Env = append(c.Env, corev1.EnvVar{Name: "FRUIT", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: from("basket")}})
		c.VolumeMounts = []corev1.VolumeMount{{Name: "basket", MountPath: "/etc/shop/basket"}}
		p.Spec.Volumes = []corev1.Volume{{Name: "basket", VolumeSource: corev1.VolumeSource{
			ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "basket"}},
		}}}
	})
	m.awaitPod(t, func(p *corev1.Pod) error {
		if len(p.Status.ContainerStatuses) == 0 || p.Status.ContainerStatuses[0].State.Waiting == nil || p.Status.PodIP == "" {
			return errors.New("the container does not wait")
		}
		return nil
	})
	basket := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "basket"}, Data: map[string]string{"fruit": "plum"}}
	if _, err := m.CoreV1().ConfigMaps(m.namespace).Create(t.Context(), basket, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	_, address := m.readyPod(t)
	if env, file := m.get(t, address, "/env?name=FRUIT"), m.get(t, address, "/file?path=/etc/shop/basket/fruit"); env != "plum" || file != "plum" {
		t.Errorf("variable and file are %q and %q, want plum", env, file)
	}
	basket.Data = map[string]string{"fruit": "pear", "vegetable": "leek"}
	if _, err := m.CoreV1().ConfigMaps(m.namespace).Update(t.Context(), basket, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		fruit, err := fetch(t.Context(), m.http, "http://"+address+"/file?path=/etc/shop/basket/fruit")
		if err != nil || fruit != "pear" {
			return fmt.Errorf("the file is %q, want pear: %w", fruit, err)
		}
		return nil
	})
	if got := m.get(t, address, "/file?path=/etc/shop/basket/vegetable"); got != "leek" {
		t.Errorf("a new entry must appear, too: %q", got)
	}
	if got := m.get(t, address, "/env?name=FRUIT"); got != "plum" {
		t.Errorf("the environment of a running program cannot change: %q", got)
	}
	if _, err := request(t.Context(), m.http, http.MethodPost, "http://"+address+"/file?path=/etc/shop/basket/fruit"); err == nil {
		t.Error("a ConfigMap's volume must be read-only")
	}
}

func specIsSeen(t *testing.T, m mall) {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "safe"}, Data: map[string][]byte{"CODE": []byte("1234")}}
	if _, err := m.CoreV1().Secrets(m.namespace).Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	m.runPod(t, func(p *corev1.Pod) {
		p.Labels["aisle"] = "seven"
		c := &p.Spec.Containers[0]
		field := func(name, path string) corev1.EnvVar {
			return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}}
		}
		c.EnvFrom = []corev1.EnvFromSource{{Prefix: "SAFE_", SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "safe"}}}}
		c.Env = append(c.Env, field("NAME", "metadata.name"), field("IP", "status.podIP"), field("NODE", "spec.nodeName"),
			field("AISLE", "metadata.labels['aisle']"), corev1.EnvVar{Name: "ALL", Value: "$(NAME) in $(AISLE), $(UNKNOWN), $$(NAME)"})
		mode := int32(0o400)
		c.VolumeMounts = []corev1.VolumeMount{
			{Name: "safe", MountPath: "/var/lib/shop/safe", ReadOnly: true},
			{Name: "safe", MountPath: "/shop/code.txt", SubPath: "CODE"},
			{Name: "shelf", MountPath: "/shelf"},
		}
		p.Spec.Volumes = []corev1.Volume{
			{Name: "safe", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "safe", DefaultMode: &mode}}},
			{Name: "shelf", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		}
		p.Spec.InitContainers = []corev1.Container{{
			Name: "stock", Image: shopImage, Command: []string{"sh", "-c", "echo -n $0 > /shelf/$FRUIT", "$(FRUIT)s"},
			Env: []corev1.EnvVar{{Name: "FRUIT", Value: "plum"}}, VolumeMounts: []corev1.VolumeMount{{Name: "shelf", MountPath: "/shelf"}},
		}}
	})
	p, address := m.readyPod(t)
	for path, want := range map[string]string{
		"/env?name=SAFE_CODE":                "1234",
		"/env?name=IP":                       p.Status.PodIP,
		"/env?name=NODE":                     sandbox.NodeName,
		"/env?name=ALL":                      "shop in seven, $(UNKNOWN), $(NAME)",
		"/file?path=/var/lib/shop/safe/CODE": "1234",
		"/file?path=/shop/code.txt":          "1234",
		"/file?path=/shelf/plum":             "plums",
		"/hostname":                          "shop",
	} {
		if got := m.get(t, address, path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
}

func tokenWorks(t *testing.T, m mall) {
	_, err := m.RbacV1().RoleBindings(m.namespace).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "view"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: m.namespace, Name: "default"}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m.runPod(t, func(*corev1.Pod) {})
	_, address := m.readyPod(t)
	if got := m.get(t, address, "/env?name=KUBERNETES_SERVICE_HOST"); got != sandbox.APIServerServiceIP {
		t.Errorf("a pod must have the address of the API server's Service in its environment: %q", got)
	}
	eventually(t, func() error { // the authorizer gets the binding by a watch
		_, err := fetch(t.Context(), m.http, "http://"+address+"/configmaps?namespace="+m.namespace)
		return err
	})
	if got := m.get(t, address, "/configmaps?namespace="+m.namespace); got != "kube-root-ca.crt" {
		t.Errorf("the namespace's ConfigMaps are %q, want kube-root-ca.crt", got)
	}
	if _, err := fetch(t.Context(), m.http, "http://"+address+"/configmaps?namespace=kube-system"); err == nil || !strings.Contains(err.Error(), "forbidden") {
		t.Errorf("the account must have no other rights: %v", err)
	}
}

func endsWithGrace(t *testing.T, m mall) {
	for _, c := range []struct {
		name, drain string
		grace       int64
		least, most time.Duration
	}{
		{"within its grace", "3s", 60, 3 * time.Second, 50 * time.Second},
		{"killed after its grace", "1h", 3, 3 * time.Second, 50 * time.Second},
	} {
		m.runPod(t, func(p *corev1.Pod) {
			p.Spec.Containers[0], p.Spec.TerminationGracePeriodSeconds = shopContainer("DRAIN="+c.drain), &c.grace
		})
		p, address := m.readyPod(t)
		if n := len(podProcesses(t, m.s, p)); n != 1 {
			t.Errorf("%s: the pod has %d processes, want one", c.name, n)
		}
		start := time.Now()
		if err := m.CoreV1().Pods(m.namespace).Delete(t.Context(), "shop", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		if got := m.get(t, address, "/hostname"); got != "shop" {
			t.Errorf("%s: the pod must answer while it terminates", c.name)
		}
		eventually(t, func() error {
			_, err := m.CoreV1().Pods(m.namespace).Get(t.Context(), "shop", metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return nil
			}
			return errors.Join(errors.New("the pod is still there"), err)
		})
		if took := time.Since(start); took < c.least || took > c.most {
			t.Errorf("%s: it took %s", c.name, took)
		}
		if left := podProcesses(t, m.s, p); len(left) > 0 {
			t.Errorf("%s: these processes are left: %q", c.name, left)
		}
		if _, err := os.Stat(filepath.Join(m.s.Dir(), "volumes", string(p.UID))); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: its volumes are left: %v", c.name, err)
		}
		if m.answers(t, address) {
			t.Errorf("%s: its address still answers", c.name)
		}
	}
}

// podProcesses lists the pod's processes in the sandbox, by the pod's IP in their /etc/hosts.
func podProcesses(t *testing.T, s *sandbox.Sandbox, p *corev1.Pod) []string {
	t.Helper()
	var found []string
	for _, line := range processesIn(t, namespaceOf(t, s.Dir())) {
		pid, _, _ := strings.Cut(line, " ")
		hosts, err := os.ReadFile(filepath.Join("/proc", pid, "root", "etc", "hosts"))
		if err == nil && strings.Contains(string(hosts), p.Status.PodIP+"\t") {
			found = append(found, line)
		}
	}
	return found
}

func livenessRestarts(t *testing.T, m mall) {
	m.runPod(t, func(p *corev1.Pod) {
		c := &p.Spec.Containers[0]
		// The test writes the file; after a restart it is gone.
		c.StartupProbe = &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(shopPort)}}}
		c.LivenessProbe = &corev1.Probe{PeriodSeconds: 1, FailureThreshold: 1, ProbeHandler: corev1.ProbeHandler{
			Exec: &corev1.ExecAction{Command: []string{"sh", "-c", "test ! -e /sick"}},
		}}
	})
	p, address := m.readyPod(t)
	if started := p.Status.ContainerStatuses[0].Started; started == nil || !*started {
		t.Error("after its startup probe a container must be started")
	}
	m.post(t, address, "/file?path=/sick")
	p = m.awaitPod(t, func(p *corev1.Pod) error {
		if p.Status.ContainerStatuses[0].RestartCount == 0 {
			return errors.New("the container is not restarted")
		}
		return isReady(p)
	})
	if p.Status.ContainerStatuses[0].LastTerminationState.Terminated == nil {
		t.Errorf("the status must contain the last termination: %+v", p.Status.ContainerStatuses)
	}
	m.post(t, address, "/exit?code=0") // same address: the network belongs to the pod
	m.awaitPod(t, func(p *corev1.Pod) error {
		if last := p.Status.ContainerStatuses[0].LastTerminationState.Terminated; p.Status.ContainerStatuses[0].RestartCount < 2 || last == nil || last.Reason != "Completed" {
			return errors.New("the container is not restarted after it completed")
		}
		return nil
	})
}

func runsOnce(t *testing.T, m mall) {
	m.runPod(t, func(p *corev1.Pod) {
		p.Spec.RestartPolicy = corev1.RestartPolicyNever
		p.Spec.InitContainers = []corev1.Container{{Name: "first", Image: shopImage, Command: []string{"true"}}}
		p.Spec.Containers[0] = shopContainer("EXIT=0")
	})
	p := m.awaitPod(t, func(p *corev1.Pod) error {
		if p.Status.Phase != corev1.PodSucceeded {
			return errors.New("the pod has not succeeded")
		}
		return nil
	})
	if s := p.Status.InitContainerStatuses[0].State.Terminated; s == nil || s.Reason != "Completed" {
		t.Errorf("the init container must have completed: %+v", p.Status.InitContainerStatuses)
	}
	m.runPod(t, func(p *corev1.Pod) {
		p.Name, p.Spec.RestartPolicy = "no-such-program", corev1.RestartPolicyNever
		p.Spec.Containers[0].Command = []string{"no-such-program"}
	})
	eventually(t, func() error {
		p, err := m.CoreV1().Pods(m.namespace).Get(t.Context(), "no-such-program", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if p.Status.Phase != corev1.PodFailed || p.Status.ContainerStatuses[0].State.Terminated.Reason != "StartError" {
			return fmt.Errorf("the pod has not failed because of its program: %+v", p.Status)
		}
		return nil
	})
}

func filesAreItsOwn(t *testing.T, m mall) {
	locked := true
	m.runPod(t, func(*corev1.Pod) {})
	_, address := m.readyPod(t)
	for _, path := range []string{"/tmp/mine", "/etc/mine", "/var/mine", "/mine"} {
		m.post(t, address, "/file?path="+path)
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s was written on the machine: %v", path, err)
		}
	}
	if err := m.CoreV1().Pods(m.namespace).Delete(t.Context(), "shop", *metav1.NewDeleteOptions(0)); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if m.answers(t, address) {
			return errors.New("a pod whose object is deleted still answers")
		}
		return nil
	})
	m.runPod(t, func(p *corev1.Pod) {
		p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{ReadOnlyRootFilesystem: &locked}
	})
	_, address = m.readyPod(t)
	for _, path := range []string{"/tmp/mine", "/etc/mine", "/mine"} {
		if _, err := request(t.Context(), m.http, http.MethodPost, "http://"+address+"/file?path="+path); err == nil {
			t.Errorf("%s was written in a read-only root", path)
		}
	}
}
