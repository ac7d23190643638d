package chaos

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/upcommerce/backout/tests/env/stage"
)

// setUp makes everything that the trial needs besides the shop.
func (r *Run) setUp(ctx context.Context, port int) (err error) {
	if r.Order != nil {
		if r.inbox, err = openInbox(ctx); err != nil {
			return err
		}
		if err := r.setUpCommand(ctx); err != nil {
			return err
		}
	}
	return r.setUpReplicas(ctx, port)
}

// setUpReplicas makes the proxy, and a link, a kubeconfig and an environment for
// each replica.
func (r *Run) setUpReplicas(ctx context.Context, port int) (err error) {
	if r.proxy, err = NewProxy(r.stage.Sandbox.RESTConfig()); err != nil {
		return err
	}
	token := filepath.Join(r.dir, "token")
	if err := os.WriteFile(token, []byte(stage.Token+"\n"), 0o600); err != nil {
		return fmt.Errorf("write the token: %w", err)
	}
	for i := range max(1, r.Replicas) {
		link, err := r.proxy.Link(ctx, i)
		if err != nil {
			return err
		}
		kubeconfig := filepath.Join(r.dir, fmt.Sprintf("kubeconfig-%d", i))
		if err := os.WriteFile(kubeconfig, []byte(kubeconfigFor(link.URL())), 0o600); err != nil {
			return fmt.Errorf("write the kubeconfig: %w", err)
		}
		replica := &Replica{
			Webhook: fmt.Sprintf("127.0.0.1:%d", port+2*i), Ops: fmt.Sprintf("127.0.0.1:%d", port+2*i+1),
			program: r.program(), log: filepath.Join(r.dir, fmt.Sprintf("backout-%d.log", i)),
			pod: fmt.Sprintf("backout-%d", i), replaced: r.Replaced,
		}
		namespace := r.shop.Namespace
		env := map[string]string{
			"KUBECONFIG": kubeconfig, "KUBERNETES_SERVICE_HOST": "proxy", // as in a pod
			"BACKOUT_NAMESPACE": namespace, "BACKOUT_RELEASES": namespace + "/*",
			"BACKOUT_TOKENS": "*:" + token, "BACKOUT_LISTEN": replica.Webhook, "BACKOUT_OPS_LISTEN": replica.Ops,
			"BACKOUT_LOG_FORMAT": "text", "BACKOUT_SETTLE": "4s", "BACKOUT_VERIFY": "1s", "BACKOUT_VERIFY_LIMIT": "3s",
		}
		if r.inbox != nil {
			env["BACKOUT_WEBHOOK_URL"] = r.inbox.url
		}
		for _, name := range slices.Sorted(maps.Keys(env)) {
			replica.env = append(replica.env, name+"="+env[name])
		}
		r.links, r.replicas = append(r.links, link), append(r.replicas, replica)
	}
	return nil
}

// kubeconfigFor returns a kubeconfig without credentials; the proxy has the admin's rights.
func kubeconfigFor(server string) string {
	return `apiVersion: v1
kind: Config
clusters: [{name: proxy, cluster: {server: "` + server + `"}}]
contexts: [{name: proxy, context: {cluster: proxy, user: replica}}]
users: [{name: replica, user: {}}]
current-context: proxy
`
}

// program is backout, or another build of it that FAULTS_BACKOUT names.
func (r *Run) program() string {
	if other := os.Getenv("FAULTS_BACKOUT"); other != "" {
		return other
	}
	return r.stage.BackoutPath()
}
