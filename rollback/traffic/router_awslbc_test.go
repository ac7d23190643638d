package traffic

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/upcommerce/backout/rollback"
)

const splitAction = "alb.ingress.kubernetes.io/actions.split"

// An action is written as a whole and keeps its other fields; the record says that the weight
// takes effect later, and who stays.
func TestActionIsWrittenAsAWhole(t *testing.T) {
	groups := targetGroup("shop", "80") + "," + targetGroup("shop-canary", "20")
	text := awsIngress(groups, `,"targetGroupStickinessConfig":{"enabled":true,"durationSeconds":600}`)
	m := manifest(t, canaryService, text)
	client := cluster(t, text)
	r := routerOn(client)
	changed, err := r.Shed(t.Context(), shop(), m, nil, nil)
	if err != nil || len(changed) != 1 || changed[0].From != "20" || changed[0].To != "0" {
		t.Fatalf("the shed returned %v, %v", changed, err)
	}
	for _, want := range []string{"takes effect when the AWS Load Balancer Controller has applied it", "clients with its cookie may stay for 600 s"} {
		if !strings.Contains(changed[0].Name, want) {
			t.Errorf("the weight's name %q does not say that it %s", changed[0].Name, want)
		}
	}
	if changed[0].Route() != "Ingress/shop" {
		t.Errorf("the route is %s", changed[0].Route())
	}
	live := liveObject(t, client, object(t, text))
	if got := live.GetAnnotations()[splitAction]; !strings.Contains(got, `"durationSeconds":600`) || !strings.Contains(got, `"servicePort":80`) {
		t.Errorf("the action has lost fields: %s", got)
	}
	again, err := r.Shed(t.Context(), shop(), m, nil, nil)
	if err != nil || len(again) != 1 || again[0] != changed[0] {
		t.Errorf("a second shed returned %v, %v; want %v", again, err, changed)
	}
	if _, err := r.Restore(t.Context(), shop(), m, nil); err != nil {
		t.Fatal(err)
	}
	declared := &unstructured.Unstructured{Object: object(t, text)}
	if got, want := liveObject(t, client, object(t, text)).GetAnnotations()[splitAction], declared.GetAnnotations()[splitAction]; got != want {
		t.Errorf("the restored action is %s, want the declared text %s", got, want)
	}
}

// A canary whose action belongs to another release gets back what the shed found, although no
// annotation changes the generation of the Ingress.
func TestActionOfAnotherRelease(t *testing.T) {
	text := awsIngress(targetGroup("shop", "900")+","+targetGroup("shop-canary", "100"), "")
	client := cluster(t, text)
	ingresses := schema.GroupVersionResource{Group: "networking.k8s.io", Version: "v1", Resource: "ingresses"}
	if _, err := client.Resource(ingresses).Namespace("shop").Patch(t.Context(), "shop", types.MergePatchType, []byte(`{"metadata":{"generation":3}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	r := routerOn(client)
	own := manifest(t, canaryService)
	if changed, err := r.Shed(t.Context(), shop(), own, nil, nil); err != nil || len(changed) != 1 {
		t.Fatalf("the shed must find the Ingress: %v, %v", changed, err)
	}
	if got := listWeights(liveObject(t, client, object(t, text)).Object); got != "900 0" {
		t.Errorf("after the shed: %s", got)
	}
	if _, err := r.Restore(t.Context(), shop(), own, nil); err != nil {
		t.Fatal(err)
	}
	if got := listWeights(liveObject(t, client, object(t, text)).Object); got != "900 100" {
		t.Errorf("after the restore: %s", got)
	}
}

// An action that the controller cannot read either is named, if it mentions the canary; one that
// no backend refers to counts for nothing.
func TestActionThatCannotBeRead(t *testing.T) {
	broken := strings.Replace(awsIngress(targetGroup("shop-canary", "20"), ""), `"type":"forward",`, `"type":`, 1)
	_, err := routerOn(cluster(t, broken)).Shed(t.Context(), shop(), manifest(t, canaryService, broken), nil, nil)
	if err == nil || !strings.Contains(err.Error(), "Ingress shop/shop") || !strings.Contains(err.Error(), splitAction) {
		t.Errorf("the error names the Ingress and the annotation: got %v", err)
	}
	foreign := strings.ReplaceAll(broken, "shop-canary", "blog")
	if changed, err := routerOn(cluster(t, foreign)).Shed(t.Context(), shop(), manifest(t, canaryService), nil, nil); err != nil || len(changed) > 0 {
		t.Errorf("an action of others: got %v, %v", changed, err)
	}
	unused := strings.Replace(awsIngress(targetGroup("shop", "80")+","+targetGroup("shop-canary", "20"), ""), "use-annotation", "http", 1)
	if changed, err := routerOn(cluster(t, unused)).Shed(t.Context(), shop(), manifest(t, canaryService, unused), nil, nil); err != nil || len(changed) > 0 {
		t.Errorf("an action without a backend: got %v, %v", changed, err)
	}
}

// An action with a condition on a header is reached by some users alone: it decides for no other.
func TestActionForAHeaderDoesNotDecide(t *testing.T) {
	text := `{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: shop, annotations: {
		alb.ingress.kubernetes.io/actions.header: '{"type":"forward","forwardConfig":{"targetGroups":[` + targetGroup("shop", "5") + "," + targetGroup("shop-canary", "95") + `]}}',
		alb.ingress.kubernetes.io/conditions.header: '[{"field":"http-header","httpHeaderConfig":{"httpHeaderName":"x","values":["y"]}}]',
		alb.ingress.kubernetes.io/actions.split: '{"type":"forward","forwardConfig":{"targetGroups":[` + targetGroup("shop", "80") + "," + targetGroup("shop-canary", "20") + `]}}'}},
		spec: {rules: [{http: {paths: [{path: /, backend: {service: {name: header, port: {name: use-annotation}}}}, {path: /, backend: {service: {name: split, port: {name: use-annotation}}}}]}}]}}`
	client := cluster(t, text, endpoints("shop", ready))
	r := routerOn(client)
	m := manifest(t, canaryService, text)
	routing, err := r.Observe(t.Context(), shop(), m, rollback.Stored)
	if err != nil || routing.NoStable != "" || routing.Load != 1.25 {
		t.Errorf("the rule for all users decides: got %+v, %v", routing, err)
	}
	if _, err := r.Shed(t.Context(), shop(), m, routing.Observation, nil); err != nil {
		t.Fatal(err)
	}
	if got := listWeights(liveObject(t, client, object(t, text)).Object); got != "100 0 | 100 0" {
		t.Errorf("after the shed: %s", got)
	}
}
