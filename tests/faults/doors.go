package faults

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/upcommerce/backout/tests/stage"
)

// openDoors makes the proxy, and for each replica its door, kubeconfig and
// environment.
func (r *Run) openDoors(ctx context.Context, port int) (err error) {
	if r.proxy, err = NewProxy(r.stage.Sandbox.RESTConfig()); err != nil {
		return err
	}
	token := filepath.Join(r.dir, "token")
	if err := os.WriteFile(token, []byte(stage.Token+"\n"), 0o600); err != nil {
		return fmt.Errorf("write the token: %w", err)
	}
	for i := range max(1, r.Replicas) {
		door, err := r.proxy.Open(ctx, i)
		if err != nil {
			return err
		}
		kubeconfig := filepath.Join(r.dir, fmt.Sprintf("kubeconfig-%d", i))
		if err := os.WriteFile(kubeconfig, []byte(kubeconfigFor(door.URL())), 0o600); err != nil {
			return fmt.Errorf("write the kubeconfig: %w", err)
		}
		replica := &Replica{
			Webhook: fmt.Sprintf("127.0.0.1:%d", port+2*i), Ops: fmt.Sprintf("127.0.0.1:%d", port+2*i+1),
			program: r.program(), log: filepath.Join(r.dir, fmt.Sprintf("backout-%d.log", i)),
			pod: fmt.Sprintf("backout-%d", i), replaced: r.Replaced,
		}
		namespace := r.shop.Namespace
		env := map[string]string{
			"KUBECONFIG": kubeconfig, "KUBERNETES_SERVICE_HOST": "the door", // as in a pod
			"BACKOUT_NAMESPACE": namespace, "BACKOUT_RELEASES": namespace + "/*",
			"BACKOUT_TOKEN_FILE": token, "BACKOUT_LISTEN": replica.Webhook, "BACKOUT_OPS_LISTEN": replica.Ops,
			"BACKOUT_LOG_FORMAT": "text", "BACKOUT_SETTLE": "4s", "BACKOUT_VERIFY": "1s", "BACKOUT_VERIFY_LIMIT": "3s",
		}
		for _, name := range slices.Sorted(maps.Keys(env)) {
			replica.env = append(replica.env, name+"="+env[name])
		}
		r.doors, r.replicas = append(r.doors, door), append(r.replicas, replica)
	}
	return nil
}

// kubeconfigFor leads to a door; the proxy has the admin's rights.
func kubeconfigFor(server string) string {
	return `apiVersion: v1
kind: Config
clusters: [{name: door, cluster: {server: "` + server + `"}}]
contexts: [{name: door, context: {cluster: door, user: nobody}}]
users: [{name: nobody, user: {}}]
current-context: door
`
}

// program is backout, or another build of it that FAULTS_BACKOUT names.
func (r *Run) program() string {
	if other := os.Getenv("FAULTS_BACKOUT"); other != "" {
		return other
	}
	return r.stage.BackoutPath()
}
