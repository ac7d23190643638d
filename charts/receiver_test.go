package charts_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	monitoringv1alpha1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1alpha1"
	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/lint/support"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

const watched = "targets[0].namespace=canary-demo,targets[0].releases={canary-demo}"

// ciFiles are the values files that the chart has to render after every change.
func ciFiles(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob("backout/ci/*-values.yaml")
	if err != nil || len(paths) < 5 {
		t.Fatalf("found the values files %v: %v", paths, err)
	}
	files := []string{""}
	for _, path := range paths {
		files = append(files, strings.TrimPrefix(filepath.ToSlash(path), "backout/"))
	}
	return files
}

func TestReceiverRendersWithEveryValuesFile(t *testing.T) {
	for _, file := range ciFiles(t) {
		for _, upgrade := range []bool{false, true} {
			plain := receiver{file: file, upgrade: upgrade}.render(t)
			operated := receiver{file: file, upgrade: upgrade}.operated().render(t)
			for _, key := range plain.keys("") {
				if _, ok := operated.objects[key]; !ok {
					t.Errorf("%s: %s is missing with the operator", file, key)
				}
				if strings.HasPrefix(key, "Cluster") {
					t.Errorf("%s: %s: a namespace admin could not install it", file, key)
				}
			}
			for _, kind := range []string{"ServiceMonitor", "PrometheusRule", "AlertmanagerConfig"} {
				if found := plain.keys(kind + " "); len(found) > 0 {
					t.Errorf("%s: %q on a cluster that does not serve the kind", file, found)
				}
			}
		}
	}
}

func TestReceiverIsLintClean(t *testing.T) {
	for _, file := range ciFiles(t) {
		values := map[string]any{}
		if file != "" {
			read, err := chartutil.ReadValuesFile(filepath.Join("backout", file))
			if err != nil {
				t.Fatal(err)
			}
			values = read
		}
		lint := action.NewLint()
		lint.Strict = true
		lint.KubeVersion = &chartutil.KubeVersion{Version: "v1.37.2", Major: "1", Minor: "37"}
		result := lint.Run([]string{"backout"}, values)
		if result.TotalChartsLinted != 1 {
			t.Fatalf("helm lint finds no chart: %v", result.Errors)
		}
		for _, message := range result.Messages {
			if message.Severity > support.InfoSev {
				t.Errorf("helm lint --strict with %s: %s", file, message)
			}
		}
	}
}

// Every switch removes its own objects, and no others.
func TestReceiverSwitches(t *testing.T) {
	dashboard := []*chart.File{{Name: "files/dashboards/canary-health.json", Data: []byte(`{"title":"{{ legend }}"}`)}}
	all := receiver{set: watched, files: dashboard}.operated().render(t)
	for _, tt := range []struct {
		set  string
		gone []string
	}{
		{"serviceMonitor.enabled=false", []string{"ServiceMonitor backout/backout"}},
		{"alertmanagerConfig.enabled=false", []string{"AlertmanagerConfig canary-demo/backout", "Secret canary-demo/backout-token"}},
		{"rules.enabled=false", []string{"PrometheusRule backout/backout"}},
		{"dashboards.enabled=false", []string{"ConfigMap backout/backout-backout-operations", "ConfigMap backout/backout-canary-health"}},
		{"networkPolicy.enabled=false", []string{"NetworkPolicy backout/backout"}},
		{"podDisruptionBudget.enabled=false", []string{"PodDisruptionBudget backout/backout"}},
		{"tests.enabled=false", []string{"Pod backout/backout-check"}},
		{"serviceAccount.create=false", []string{"ServiceAccount backout/backout"}},
		{"auth.type=none", []string{"Secret backout/backout-token", "Secret canary-demo/backout-token"}},
		{"auth.existingSecret=mine", []string{"Secret backout/backout-token", "Secret canary-demo/backout-token"}},
		{"targets[0].rollback=false", []string{"Role canary-demo/backout-rollback", "RoleBinding canary-demo/backout-rollback"}},
		{"rbac.create=false", []string{
			"Role backout/backout", "Role canary-demo/backout-rollback", "Role canary-demo/backout-shed",
			"RoleBinding backout/backout", "RoleBinding canary-demo/backout-rollback", "RoleBinding canary-demo/backout-shed",
			"ServiceAccount backout/backout-target-canary-demo",
		}},
	} {
		left := receiver{set: watched + "," + tt.set, files: dashboard}.operated().render(t)
		var gone []string
		for _, key := range all.keys("") {
			if _, ok := left.objects[key]; !ok {
				gone = append(gone, key)
			}
		}
		if !slices.Equal(gone, tt.gone) || len(left.objects)+len(gone) != len(all.objects) {
			t.Errorf("--set %s removes %q, want %q and nothing new", tt.set, gone, tt.gone)
		}
	}
	config := one[*corev1.ConfigMap](t, all, "ConfigMap backout/backout-canary-health")
	if config.Labels["grafana_dashboard"] != "1" || strings.TrimSpace(config.Data["canary-health.json"]) != `{"title":"{{ legend }}"}` {
		t.Errorf("the dashboard is rendered as %v, with the labels %v", config.Data, config.Labels)
	}
}

// variables are those of the table in docs/configuration.md, which is generated from backout's configuration.
func variables(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "<!-- configuration -->")
	table, _, _ = strings.Cut(table, "<!-- /configuration -->")
	var names []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(BACKOUT_[A-Z_]+)`").FindAllStringSubmatch(table, -1) {
		names = append(names, row[1])
	}
	if len(names) < 30 {
		t.Fatalf("found the variables %q in docs/configuration.md", names)
	}
	return names
}

func environmentOf(t *testing.T, r rendered) map[string]string {
	t.Helper()
	env := map[string]string{}
	for key := range r.objects {
		if d, ok := r.objects[key].(*appsv1.Deployment); ok {
			for _, variable := range d.Spec.Template.Spec.Containers[0].Env {
				if _, twice := env[variable.Name]; twice {
					t.Errorf("%s is set twice", variable.Name)
				}
				env[variable.Name] = variable.Value
			}
		}
	}
	return env
}

// Every key of config has to be a variable of the program; env sets the variables that are not keys.
func TestReceiverConfigIsThatOfTheProgram(t *testing.T) {
	known := variables(t)
	values, err := chartutil.ReadValuesFile("backout/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	set := []string{watched}
	for key, value := range values["config"].(map[string]any) {
		if value == nil || value == "" {
			set = append(set, "config."+key+"="+map[string]string{
				"trafficFloor": "0.5", "stormReleases": "7", "maxLoad": "2.5", "keepRecords": "20", "maxBodyBytes": "2097152",
				"events": "true", "opsAuth": "kubernetes", "webhookUrl": "http://a", "dashboardUrl": "http://a", "trackLabel": `role=canary\,preview`,
			}[key])
			if strings.HasSuffix(set[len(set)-1], "=") {
				set[len(set)-1] += "1h"
			}
		}
	}
	set = append(set, "config.prometheusUrls={http://a:9090,http://b:9090}", "config.alertmanagerUrls={http://a:9093}", "config.allow={hook,pvc}",
		"tls.secretName=a,tls.clientCA.secretName=b", "env.BACKOUT_LATER=later")
	env := environmentOf(t, receiver{set: strings.Join(set, ",")}.render(t))
	for name := range env {
		if !slices.Contains(append(known, goMemoryLimit()...), name) && name != "BACKOUT_LATER" {
			t.Errorf("the chart sets %s, which backout does not read", name)
		}
	}
	for name, want := range map[string]string{
		"BACKOUT_RELEASES": "canary-demo/canary-demo", "BACKOUT_PROMETHEUS_URLS": "http://a:9090,http://b:9090", "BACKOUT_ALLOW": "hook,pvc",
		"BACKOUT_MAX_BODY_BYTES": "2097152", "BACKOUT_MAX_LOAD": "2.5", "BACKOUT_OPERATION_LIMIT": "1h", "BACKOUT_MODE": "observe", "BACKOUT_TRACK_LABEL": "role=canary,preview",
		"BACKOUT_LATER": "later", "BACKOUT_TLS_CLIENT_CA_FILE": "/etc/backout/client-ca/ca.crt",
	} {
		if env[name] != want {
			t.Errorf("%s=%q, want %q", name, env[name], want)
		}
	}
	// These have no value of their own: the chart mounts the files and sets the ports.
	for _, name := range known {
		if _, ok := env[name]; ok || slices.Contains([]string{"BACKOUT_AUTH", "BACKOUT_LISTEN", "BACKOUT_OPS_LISTEN", "BACKOUT_NAMESPACE"}, name) {
			continue
		}
		if got := environmentOf(t, receiver{set: "env." + name + "=x"}.render(t))[name]; got != "x" {
			t.Errorf("neither config nor env can set %s: %q", name, got)
		}
	}
	// Unset values keep the program's defaults.
	if env := environmentOf(t, receiver{}.render(t)); len(env) != 7+len(goMemoryLimit()) {
		t.Errorf("without values the environment is %v; want RELEASES, MODE, ROLLBACK_TIMEOUT, GRACE, LOG_LEVEL, LOG_FORMAT, TOKENS and the memory limit", env)
	}
}

// Work in progress may take as long as a hook: the kubelet must not kill the pod before.
func TestReceiverEndsInOrder(t *testing.T) {
	for _, tt := range []struct {
		set                string
		hook, grace, kills int64
	}{
		{"", 300, 330, 360},
		{"config.rollbackTimeout=1h10m5s", 4205, 4235, 4265},
		{"config.rollbackTimeout=90s,config.grace=2m", 90, 120, 150},
		{"terminationGracePeriodSeconds=600", 300, 330, 600},
	} {
		r := receiver{set: tt.set}.render(t)
		grace, err := strconv.ParseInt(strings.TrimSuffix(environmentOf(t, r)["BACKOUT_GRACE"], "s"), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		pod := one[*appsv1.Deployment](t, r, "Deployment backout/backout").Spec.Template.Spec
		if grace != tt.grace || *pod.TerminationGracePeriodSeconds != tt.kills || grace <= tt.hook || tt.kills <= grace {
			t.Errorf("--set %s: grace %d, killed after %d; want %d > %d > %d", tt.set, grace, *pod.TerminationGracePeriodSeconds, tt.kills, tt.grace, tt.hook)
		}
	}
}

func TestReceiverPodsAreFoundAndSpread(t *testing.T) {
	for _, file := range ciFiles(t) {
		r := receiver{file: file}.operated().render(t)
		for _, key := range r.keys("Deployment ") {
			pod := one[*appsv1.Deployment](t, r, key).Spec.Template
			for _, key := range r.keys("Service ") {
				service := one[*corev1.Service](t, r, key)
				if !covers(pod.Labels, service.Spec.Selector) {
					t.Errorf("%s: %s does not select the pods %v", file, key, pod.Labels)
				}
				for _, port := range service.Spec.Ports {
					if !slices.ContainsFunc(pod.Spec.Containers[0].Ports, func(p corev1.ContainerPort) bool { return p.Name == port.TargetPort.StrVal }) {
						t.Errorf("%s: %s has the target port %s, which the pods do not have", file, key, port.TargetPort.StrVal)
					}
				}
			}
			for _, spread := range pod.Spec.TopologySpreadConstraints {
				if !covers(pod.Labels, spread.LabelSelector.MatchLabels) || len(spread.LabelSelector.MatchLabels) == 0 {
					t.Errorf("%s: the spread over %s counts other pods: %v", file, spread.TopologyKey, spread.LabelSelector)
				}
			}
			for _, key := range r.keys("PodDisruptionBudget ") {
				if budget := one[*policyv1.PodDisruptionBudget](t, r, key); !covers(pod.Labels, budget.Spec.Selector.MatchLabels) {
					t.Errorf("%s: %s does not select the pods", file, key)
				}
			}
			for _, key := range r.keys("Pod ") {
				if test := one[*corev1.Pod](t, r, key); covers(test.Labels, one[*corev1.Service](t, r, r.keys("Service ")[0]).Spec.Selector) {
					t.Errorf("%s: the pod of helm test would receive alerts", file)
				}
			}
		}
	}
}

func TestReceiverNetworkPolicyAdmitsOnlyTheGivenPeers(t *testing.T) {
	for set, want := range map[string]int{
		"":                           2,
		"networkPolicy.opsFrom=null": 2, // the pod of helm test
		"networkPolicy.opsFrom=null,networkPolicy.webhookFrom=null,tests.enabled=false": 0,
		"tests.enabled=false": 2,
	} {
		policy := one[*networkingv1.NetworkPolicy](t, receiver{set: set}.render(t), "NetworkPolicy backout/backout")
		if len(policy.Spec.Ingress) != want {
			t.Errorf("--set %s: %d rules, want %d", set, len(policy.Spec.Ingress), want)
		}
		for _, rule := range policy.Spec.Ingress {
			if len(rule.From) == 0 || len(rule.Ports) == 0 {
				t.Errorf("--set %s: a rule admits all traffic, or to every port: %v", set, rule)
			}
		}
	}
}

// Each AlertmanagerConfig presents a token for its own targets; backout reads them from files.
func TestReceiverTokensNameTheirNamespaces(t *testing.T) {
	two := watched + ",targets[1].namespace=other,targets[1].releases={*}"
	for _, tt := range []struct {
		set, want string
		apis      bool
		secrets   map[string]string // of the AlertmanagerConfigs, by namespace
	}{
		{two, "*:/etc/backout/token/token", false, nil},
		{
			two, "*:/etc/backout/token/token,canary-demo:/etc/backout/token/token.canary-demo,other:/etc/backout/token/token.other", true,
			map[string]string{"canary-demo": "backout-token", "other": "backout-token"},
		},
		{
			two + ",auth.existingSecrets.other=theirs",
			"*:/etc/backout/token/token,canary-demo:/etc/backout/token/token.canary-demo,other:/etc/backout/token-other/token", true,
			map[string]string{"canary-demo": "backout-token", "other": "theirs"},
		},
		{
			two + ",auth.existingSecret=mine,auth.existingSecrets.other=theirs", "*:/etc/backout/token/token,other:/etc/backout/token-other/token", true,
			map[string]string{"canary-demo": "mine", "other": "theirs"},
		},
		{
			two + ",alertmanagerConfig.namespace=monitoring",
			"*:/etc/backout/token/token,canary-demo:/etc/backout/token/token.monitoring,other:/etc/backout/token/token.monitoring", true,
			map[string]string{"monitoring": "backout-token"},
		},
		{two + ",auth.existingSecrets.other=theirs", "*:/etc/backout/token/token,other:/etc/backout/token-other/token", false, nil},
		{two + ",auth.existingSecrets=null", "*:/etc/backout/token/token", false, nil},
		{two + ",auth.senders=null", "*:/etc/backout/token/token", false, nil},
		{
			two + ",auth.senders[0].secret=grafana,auth.senders[0].confirm=grafana,auth.senders[1].secret=theirs,auth.senders[1].confirm=none,auth.senders[1].namespaces={other,canary-demo}",
			"*:/etc/backout/token/token,*:/etc/backout/sender-0/token:grafana,other:/etc/backout/sender-1/token:none,canary-demo:/etc/backout/sender-1/token:none", false, nil,
		},
		{two + ",auth.senders[0].secret=grafana", "*:/etc/backout/token/token,*:/etc/backout/sender-0/token", false, nil},
		{two + ",alertmanagerConfig.namespace=backout", "*:/etc/backout/token/token", true, map[string]string{"backout": "backout-token"}},
	} {
		receive := receiver{set: tt.set}
		if tt.apis {
			receive = receive.operated()
		}
		r := receive.render(t)
		if got := environmentOf(t, r)["BACKOUT_TOKENS"]; got != tt.want {
			t.Errorf("--set %s: BACKOUT_TOKENS is %s, want %s", tt.set, got, tt.want)
		}
		pod := one[*appsv1.Deployment](t, r, "Deployment backout/backout").Spec.Template.Spec
		for entry := range strings.SplitSeq(tt.want, ",") {
			directory := filepath.Dir(strings.Split(entry, ":")[1])
			i := slices.IndexFunc(pod.Containers[0].VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == directory && m.ReadOnly })
			if i < 0 || !slices.ContainsFunc(pod.Volumes, func(v corev1.Volume) bool {
				return v.Name == pod.Containers[0].VolumeMounts[i].Name && v.Secret != nil
			}) {
				t.Errorf("--set %s: no Secret is mounted at %s", tt.set, directory)
			}
		}
		presented := map[string]string{}
		for key, o := range r.objects {
			if config, ok := o.(*monitoringv1alpha1.AlertmanagerConfig); ok {
				presented[config.Namespace] = config.Spec.Receivers[0].WebhookConfigs[0].HTTPConfig.Authorization.Credentials.Name
			}
			if secret, ok := o.(*corev1.Secret); ok && secret.Namespace != "backout" && len(secret.Data) != 1 {
				t.Errorf("--set %s: %s has more than its own token", tt.set, key)
			}
		}
		if len(presented)+len(tt.secrets) > 0 && !maps.Equal(presented, tt.secrets) {
			t.Errorf("--set %s: the AlertmanagerConfigs present %v, want %v", tt.set, presented, tt.secrets)
		}
	}
}

// The operator adds namespace=<its own> to a route, so each target's namespace needs a route for its releases.
func TestReceiverRoutesAreWhereTheOperatorReadsThem(t *testing.T) {
	two := watched + ",targets[1].namespace=other,targets[1].releases={*}"
	r := receiver{set: two}.operated().render(t)
	var tokens []string
	for _, namespace := range []string{"canary-demo", "other"} {
		config := one[*monitoringv1alpha1.AlertmanagerConfig](t, r, "AlertmanagerConfig "+namespace+"/backout")
		hook := config.Spec.Receivers[0].WebhookConfigs[0]
		if *hook.URL != "http://backout.backout.svc:8080/api/v1/alerts" {
			t.Errorf("Alertmanager posts to %s", *hook.URL)
		}
		credentials := hook.HTTPConfig.Authorization.Credentials
		secret := one[*corev1.Secret](t, r, "Secret "+namespace+"/"+credentials.Name)
		tokens = append(tokens, string(secret.Data[credentials.Key]))
		want := shippedRoute(t, config)
		for _, spec := range []*monitoringv1alpha1.AlertmanagerConfigSpec{&want, &config.Spec} {
			// Defaults, which may be explicit or not.
			receiver := &spec.Receivers[0].WebhookConfigs[0]
			receiver.HTTPConfig.Authorization.Type = "Bearer"
			if receiver.SendResolved == nil {
				receiver.SendResolved = new(true)
			}
		}
		if diff := cmp.Diff(want, config.Spec); diff != "" {
			t.Errorf("the route differs from rules/alertmanagerconfig.yml (-rules +chart):\n%s", diff)
		}
		route := config.Spec.Route
		if *route.GroupWait != "0s" || len(route.Matchers) != 1 || route.Matchers[0].MatchType != "!=" || route.Matchers[0].Value != "" {
			t.Errorf("the route is %+v; want every alert with a backout label, at once", route)
		}
	}
	own := one[*corev1.Secret](t, r, "Secret backout/backout-token")
	if string(own.Data["token.canary-demo"]) != tokens[0] || string(own.Data["token.other"]) != tokens[1] {
		t.Errorf("backout's Secret has %q, the routes have %q", slices.Collect(maps.Keys(own.Data)), tokens)
	}
	tokens = append(tokens, string(own.Data["token"]))
	if slices.Sort(tokens); len(slices.Compact(tokens)) != 3 || len(tokens[0]) < 32 {
		t.Errorf("the tokens are %q; want three that differ, long enough", tokens)
	}
	single := receiver{set: two + ",alertmanagerConfig.namespace=monitoring,tls.secretName=cert"}.operated().render(t)
	if keys := single.keys("AlertmanagerConfig "); !slices.Equal(keys, []string{"AlertmanagerConfig monitoring/backout"}) {
		t.Errorf("with a namespace there is %q", keys)
	}
	hook := one[*monitoringv1alpha1.AlertmanagerConfig](t, single, "AlertmanagerConfig monitoring/backout").Spec.Receivers[0].WebhookConfigs[0]
	if !strings.HasPrefix(string(*hook.URL), "https://") {
		t.Errorf("with TLS Alertmanager posts to %s", *hook.URL)
	}
}

// shippedRoute is the route in rules/, for installations without the chart.
func shippedRoute(t *testing.T, like *monitoringv1alpha1.AlertmanagerConfig) monitoringv1alpha1.AlertmanagerConfigSpec {
	t.Helper()
	text, err := os.ReadFile("../rules/alertmanagerconfig.yml")
	if err != nil {
		t.Fatal(err)
	}
	want := like.DeepCopy()
	want.Spec = monitoringv1alpha1.AlertmanagerConfigSpec{}
	if err := yaml.Unmarshal(text, want); err != nil {
		t.Fatal(err)
	}
	return want.Spec
}

func TestReceiverCheckNamesAReleaseThatIsOptedIn(t *testing.T) {
	for set, want := range map[string]string{
		watched: "canary-demo/canary-demo",
		"targets[0].namespace=a,targets[0].releases={shop-*},targets[1].namespace=b,targets[1].releases={x*,web}": "b/web",
		"targets[0].namespace=a,targets[0].releases={*}":                                                          "",
		"": "",
		"targets[0].namespace=a,targets[0].releases={*},tests.release=a/shop": "a/shop",
	} {
		args := one[*corev1.Pod](t, receiver{set: set}.render(t), "Pod backout/backout-check").Spec.Containers[0].Args
		got := ""
		if !strings.HasPrefix(args[1], "--") {
			got = args[1]
		}
		if args[0] != "check" || got != want {
			t.Errorf("--set %s: helm test runs %q, want the release %q", set, args, want)
		}
	}
}

// With config.opsAuth, the pod of helm test presents a token of its own account: never that of backout.
func TestReceiverCheckPresentsATokenToTheOpsListener(t *testing.T) {
	for set, account := range map[string]string{
		watched:                                "",
		watched + ",config.opsAuth=kubernetes": "",
		watched + ",config.opsAuth=kubernetes,tests.serviceAccountName=readers": "readers",
	} {
		pod := one[*corev1.Pod](t, receiver{set: set}.render(t), "Pod backout/backout-check").Spec
		i := slices.IndexFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == "ops-token" })
		mounted := slices.ContainsFunc(pod.Containers[0].VolumeMounts, func(m corev1.VolumeMount) bool {
			return m.Name == "ops-token" && m.MountPath == "/etc/backout/ops-token" && m.ReadOnly
		})
		args := slices.Contains(pod.Containers[0].Args, "--ops-token-file=/etc/backout/ops-token/token")
		if wanted := strings.Contains(set, "opsAuth"); wanted != (i >= 0) || wanted != mounted || wanted != args {
			t.Errorf("--set %s: volume %d, mounted %t, argument %t", set, i, mounted, args)
		} else if wanted && (len(pod.Volumes[i].Projected.Sources) != 1 || pod.Volumes[i].Projected.Sources[0].ServiceAccountToken.Path != "token") {
			t.Errorf("--set %s: the volume is %+v, want a token of the account", set, pod.Volumes[i].Projected)
		}
		if pod.ServiceAccountName != account || *pod.AutomountServiceAccountToken {
			t.Errorf("--set %s: the pod runs as %q, with its token mounted %t", set, pod.ServiceAccountName, *pod.AutomountServiceAccountToken)
		}
	}
}

func TestReceiverRefusesBadValues(t *testing.T) {
	for _, tt := range []struct{ set, want string }{
		{"replicas=3", "'replicas' not allowed"},
		{"config.mod=act", "'mod' not allowed"},
		{"config.mode=dry-run", "/config/mode"},
		{"config.settle=7", "/config/settle"},
		{"config.trackLabel=role", "/config/trackLabel"},
		{"config.rollbackTimeout=", "/config/rollbackTimeout"},
		{"config.rollbackTimeout=500ms", "/config/rollbackTimeout"},
		{"config.allow={everything}", "/config/allow/0"},
		{"targets[0].namespace=*,targets[0].releases={*}", "/targets/0/namespace"},
		{"targets[0].namespace=a", "'releases'"},
		{"targets[0].namespace=a,targets[0].releases={b/c}", "/targets/0/releases/0"},
		{"targets[0].namespace=a,targets[0].releases={*},targets[0].rollbacks=true", "'rollbacks' not allowed"},
		{"targets[0].namespace=a,targets[0].releases={*},targets[1].namespace=a,targets[1].releases={*}", "namespace a occurs twice"},
		{"routers={haproxy}", "/routers/0"},
		{"rbac.kinds[0].resources={pods}", "'apiGroups'"},
		{"env.BACKOUT_RELEASES=a/b", "BACKOUT_RELEASES"},
		{"env.HTTPS_PROXY=x", "HTTPS_PROXY"},
		{"env.BACKOUT_X=1", "/env/BACKOUT_X"},
		{"auth.type=basic", "/auth/type"},
		{"auth.existingSecrets.shpo=theirs", "existingSecrets names namespace shpo"},
		{watched + ",auth.senders[0].secret=theirs,auth.senders[0].namespaces={shpo}", "auth.senders names namespace shpo"},
		{"auth.senders[0].confirm=none", "'secret'"},
		{"auth.senders[0].secret=theirs,auth.senders[0].confirm=none", "needs namespaces"},
		{"auth.senders[0].secret=theirs,auth.senders[0].confirm=anything", "/auth/senders/0/confirm"},
		{"tls.clientCA.secretName=a", "/tls/secretName"},
		{"image.digest=abc", "/image/digest"},
		{"rules.preset=haproxy", "/rules/preset"},
		{"rules.thresholds.z=high", "/rules/thresholds/z"},
		{"rules.thresholds.zed=4", "there is no threshold zed"},
		{"rules.runbookBaseURL=https://a/", "/rules/runbookBaseURL"},
		{"networkPolicy.opsFrom[0].namespace=a", "'namespace' not allowed"},
		{"serviceMonitor.interval=15", "/serviceMonitor/interval"},
		{"replicaCount=0", "/replicaCount"},
	} {
		_, err := receiver{set: tt.set}.operated().manifests(t)
		if err == nil {
			t.Errorf("the chart accepts --set %s", tt.set)
		} else if !strings.Contains(err.Error(), tt.want) {
			t.Errorf("--set %s: the error does not say %q: %v", tt.set, tt.want, err)
		}
	}
}

func TestReceiverNotesSayWhatComesNext(t *testing.T) {
	for _, tt := range []struct {
		name    string
		receive receiver
		want    []string
		none    []string
	}{
		{"nothing opted in", receiver{}, []string{"no release is opted in", "targets[0].namespace=<namespace>", "/api/v1/alerts", "get secret backout-token"}, []string{"config.mode=act", "kube-prometheus-stack"}},
		{"observes", receiver{set: watched}, []string{"changes nothing", "canary-demo: canary-demo\n", "-n canary-demo get configmaps", "--set config.mode=act", "test backout"}, nil},
		{"acts", receiver{release: "guard", set: watched + ",config.mode=act,targets[0].rollback=false"}, []string{"backout acts", "does not roll back", "deployment/guard-backout", "http://guard-backout.backout.svc:8080"}, []string{"--set config.mode=act"}},
		{"operator", receiver{set: watched}.operated(), []string{"monitoringLabels.release=<release of kube-prometheus-stack>", "prometheus-operated"}, []string{"no Prometheus Operator"}},
		{"operator, labelled", receiver{set: watched + ",monitoringLabels.release=kps,config.prometheusUrls={http://a:9090},alertmanagerConfig.namespace=monitoring"}.operated(), []string{"namespace=monitoring there"}, []string{"selects only", "does not confirm alerts"}},
		{"no tests", receiver{set: "tests.enabled=false"}, nil, []string{"helm -n backout test"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			notes := tt.receive.render(t).notes
			for _, want := range tt.want {
				if !strings.Contains(notes, want) {
					t.Errorf("the notes lack %q:\n%s", want, notes)
				}
			}
			for _, none := range tt.none {
				if strings.Contains(notes, none) {
					t.Errorf("the notes contain %q:\n%s", none, notes)
				}
			}
		})
	}
}

// An alert that had to wait counts only if Alertmanager repeats it in time.
func TestReceiverKnowsHowOftenAlertmanagerRepeats(t *testing.T) {
	for set, want := range map[string]string{
		watched: "",
		watched + ",alertmanagerConfig.repeatInterval=1h,alertmanagerConfig.groupInterval=1m":                            "3720s",
		watched + ",alertmanagerConfig.repeatInterval=1h,config.repeat=2h":                                               "2h",
		watched + ",alertmanagerConfig.repeatInterval=1h,alertmanagerConfig.enabled=false,alertmanagerConfig.labels.a=b": "",
	} {
		if got := environmentOf(t, receiver{set: set}.render(t))["BACKOUT_REPEAT"]; got != want {
			t.Errorf("with %s: BACKOUT_REPEAT=%q, want %q", set, got, want)
		}
	}
}
