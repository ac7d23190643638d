package helm_test

import (
	"fmt"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/release"
)

// TestReadyElsewhere: backout writes no workload of another namespace, and reads none.
func TestReadyElsewhere(t *testing.T) {
	c := newCluster(t)
	const side = "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: side, namespace: other}\nspec: {template: {spec: {containers: [{name: c, image: x}]}}}\n"
	c.revision(t, 4, release.StatusDeployed, side)
	if ready, waiting, err := c.Ready(t.Context(), web(), 4); err != nil || !ready {
		t.Errorf("a workload of another namespace is not waited for: got %t, %q, %v", ready, waiting, err)
	}
	if got, read := c.paths["deployments/side"]; read {
		t.Errorf("a workload of another namespace is not read: got %s", got)
	}
}

// TestReadyOnDelete has workloads whose pods are replaced when they are deleted, or in
// part.
func TestReadyOnDelete(t *testing.T) {
	const (
		stateful = "StatefulSet"
		daemon   = "DaemonSet"
		onDelete = "type: OnDelete"
		partly   = "type: RollingUpdate, rollingUpdate: {partition: 2}"
	)
	for rule, c := range map[string]struct {
		kind, name, strategy, status string
		says                         string // "" if it is ready
	}{
		"old pods of another workload than the canary do not count": {stateful, "vault", onDelete, "observedGeneration: 2, readyReplicas: 3, updatedReplicas: 0", ""},
		"pods that are not ready are waited for":                    {stateful, "vault", onDelete, "observedGeneration: 2, readyReplicas: 2, updatedReplicas: 3", "2 of 3 pods are ready"},
		"a change that is not observed is waited for":               {stateful, "vault", onDelete, "observedGeneration: 1, readyReplicas: 3, updatedReplicas: 3", "not observed"},
		"the canary's old pods are waited for":                      {stateful, "vault-canary", onDelete, "observedGeneration: 2, readyReplicas: 3, updatedReplicas: 2", "2 of 3 pods are of the new template; its strategy is OnDelete: delete the others"},
		"the canary's pods are new":                                 {stateful, "vault-canary", onDelete, "observedGeneration: 2, readyReplicas: 3, updatedReplicas: 3", ""},
		"a DaemonSet's old pods do not count":                       {daemon, "agent", onDelete, "observedGeneration: 2, desiredNumberScheduled: 4, numberReady: 4, updatedNumberScheduled: 0", ""},
		"a DaemonSet's pods are waited for":                         {daemon, "agent", onDelete, "observedGeneration: 2, desiredNumberScheduled: 4, numberReady: 3", "3 of 4 pods are ready"},
		"a DaemonSet without a status is waited for":                {daemon, "agent", onDelete, "{}", "not observed"},
		"a partition's new pods are enough":                         {stateful, "vault", partly, "observedGeneration: 2, readyReplicas: 3, updatedReplicas: 1, currentRevision: a, updateRevision: b", ""},
		"a partition's new pods are waited for":                     {stateful, "vault", partly, "observedGeneration: 2, readyReplicas: 3, updatedReplicas: 0, currentRevision: a, updateRevision: b", "0 out of 1 new pods"},
	} {
		t.Run(rule, func(t *testing.T) {
			cluster := newCluster(t)
			status := "{" + strings.Trim(c.status, "{}") + "}"
			m := fmt.Sprintf("---\napiVersion: apps/v1\nkind: %s\nmetadata: {name: %s, generation: 2}\nspec: {replicas: 3, updateStrategy: {%s}, template: {metadata: {labels: {track: %s}}, spec: {containers: [{name: c, image: x}]}}}\nstatus: %s\n",
				c.kind, c.name, c.strategy, strings.TrimPrefix(c.name, "vault-"), status)
			cluster.revision(t, 4, release.StatusDeployed, m)
			cluster.live(t, m)
			ready, waiting, err := cluster.Ready(t.Context(), web(), 4)
			if err != nil || ready != (c.says == "") || !strings.Contains(waiting, c.says) {
				t.Errorf("%s: got %t, %q, %v", rule, ready, waiting, err)
			}
		})
	}
}

func TestReady(t *testing.T) {
	c := newCluster(t)
	status := func(generation, observed, updated, available int64) {
		o := c.objects["deployments/web-canary"]
		o.SetGeneration(generation)
		o.Object["status"] = map[string]any{
			"observedGeneration": observed, "replicas": int64(2), "updatedReplicas": updated, "availableReplicas": available,
		}
	}
	for _, s := range []struct {
		rule                                     string
		generation, observed, updated, available int64
		ready                                    bool
	}{
		{"a change that the controller has not observed is waited for", 2, 1, 2, 2, false},
		{"pods of the older template are waited for", 2, 2, 1, 2, false},
		{"pods that are not available are waited for", 2, 2, 2, 1, false},
		{"all pods are new and available", 2, 2, 2, 2, true},
	} {
		status(s.generation, s.observed, s.updated, s.available)
		ready, waiting, err := c.Ready(t.Context(), web(), 3)
		if err != nil || ready != s.ready || (waiting == "") != s.ready {
			t.Errorf("%s: got %t, %q, %v", s.rule, ready, waiting, err)
		}
	}
	status(2, 1, 2, 2)
	if ready, waiting, err := c.ReadyStable(t.Context(), web(), 3); err != nil || !ready {
		t.Errorf("a canary that stays at zero is not waited for: got %t, %q, %v", ready, waiting, err)
	}
	delete(c.objects, "deployments/web-canary")
	if ready, waiting, err := c.Ready(t.Context(), web(), 3); err != nil || ready || !strings.Contains(waiting, "web-canary") {
		t.Errorf("a workload that does not exist is waited for: got %t, %q, %v", ready, waiting, err)
	}
}
