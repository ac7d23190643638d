package helm_test

import (
	"fmt"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/release"
)

// TestReadyElsewhere: a workload may name a namespace of its own.
func TestReadyElsewhere(t *testing.T) {
	c := newCluster(t)
	const side = "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: side%s}\nspec: {template: {spec: {containers: [{name: c, image: x}]}}}\nstatus: {observedGeneration: 1}\n"
	c.revision(t, 4, release.StatusDeployed, strings.Replace(side, "%s", ", namespace: other", 1))
	if ready, waiting, err := c.Ready(t.Context(), web(), 4); err != nil || ready || !strings.Contains(waiting, "Deployment other/side is not there") {
		t.Errorf("a workload that is not there is named with its namespace: got %t, %q, %v", ready, waiting, err)
	}
	c.live(t, strings.Replace(side, "%s", "", 1))
	ready, waiting, err := c.Ready(t.Context(), web(), 4)
	if err != nil || !ready {
		t.Errorf("a workload is ready wherever it is: got %t, %q, %v", ready, waiting, err)
	}
	if got := c.paths["deployments/side"]; !strings.Contains(got, "/namespaces/other/") {
		t.Errorf("a workload is looked for in its own namespace: got %s", got)
	}
}

// TestReadyByHand has workloads whose pods are replaced by hand, or in part.
func TestReadyByHand(t *testing.T) {
	const (
		stateful = "StatefulSet"
		daemon   = "DaemonSet"
		byHand   = "type: OnDelete"
		partly   = "type: RollingUpdate, rollingUpdate: {partition: 2}"
	)
	for rule, c := range map[string]struct {
		kind, name, strategy, status string
		says                         string // "" is ready
	}{
		"old pods of what is not the canary are no hindrance": {stateful, "vault", byHand, "observedGeneration: 2, readyReplicas: 3, updatedReplicas: 0", ""},
		"pods that are not ready are waited for":              {stateful, "vault", byHand, "observedGeneration: 2, readyReplicas: 2, updatedReplicas: 3", "2 of 3 pods are ready"},
		"a change that was not yet seen is waited for":        {stateful, "vault", byHand, "observedGeneration: 1, readyReplicas: 3, updatedReplicas: 3", "not observed"},
		"the canary's old pods are not the revision's":        {stateful, "vault-canary", byHand, "observedGeneration: 2, readyReplicas: 3, updatedReplicas: 2", "2 of 3 pods are of the new template; its strategy is OnDelete: delete the others"},
		"the canary's pods are new":                           {stateful, "vault-canary", byHand, "observedGeneration: 2, readyReplicas: 3, updatedReplicas: 3", ""},
		"a DaemonSet's old pods are no hindrance":             {daemon, "agent", byHand, "observedGeneration: 2, desiredNumberScheduled: 4, numberReady: 4, updatedNumberScheduled: 0", ""},
		"a DaemonSet's pods are waited for":                   {daemon, "agent", byHand, "observedGeneration: 2, desiredNumberScheduled: 4, numberReady: 3", "3 of 4 pods are ready"},
		"a DaemonSet that was never seen is waited for":       {daemon, "agent", byHand, "{}", "not observed"},
		"a partition's new pods are enough":                   {stateful, "vault", partly, "observedGeneration: 2, readyReplicas: 3, updatedReplicas: 1, currentRevision: a, updateRevision: b", ""},
		"a partition's new pods are waited for":               {stateful, "vault", partly, "observedGeneration: 2, readyReplicas: 3, updatedReplicas: 0, currentRevision: a, updateRevision: b", "0 out of 1 new pods"},
	} {
		t.Run(rule, func(t *testing.T) {
			cluster := newCluster(t)
			status := "{" + strings.Trim(c.status, "{}") + "}"
			m := fmt.Sprintf("---\napiVersion: apps/v1\nkind: %s\nmetadata: {name: %s, generation: 2}\nspec: {replicas: 3, updateStrategy: {%s}, template: {spec: {containers: [{name: c, image: x}]}}}\nstatus: %s\n",
				c.kind, c.name, c.strategy, status)
			cluster.revision(t, 4, release.StatusDeployed, m)
			cluster.live(t, m)
			ready, waiting, err := cluster.Ready(t.Context(), web(), 4)
			if err != nil || ready != (c.says == "") || !strings.Contains(waiting, c.says) {
				t.Errorf("%s: got %t, %q, %v", rule, ready, waiting, err)
			}
		})
	}
}
