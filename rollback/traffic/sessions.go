package traffic

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/upcommerce/backout/rollback"
)

// Annotations of OpenShift's router, which keeps clients on a pod by a cookie unless they are off.
// https://docs.openshift.com/container-platform/latest/networking/routes/route-configuration.html
const (
	noCookies  = "haproxy.router.openshift.io/disable_cookies"
	cookieName = "router.openshift.io/cookie_name"
)

// kept says which clients a shed of the routes leaves with the canary, because they have a session
// there: a sentence for each route, with how long they stay and the setting that moves them.
func kept(routes []observedRoute) []string {
	var all []string
	for _, o := range routes {
		var said string
		switch o.route.kind.name {
		case "HTTPRoute", "GRPCRoute":
			said = keptByRule(o)
		case "Route":
			said = keptByHAProxy(o.live)
		}
		if said != "" {
			all = append(all, o.route.kind.name+"/"+o.live.GetName()+": "+said)
		}
	}
	return all
}

// keptByRule is about sessionPersistence of the rules of a route. Some implementations of the
// Gateway API keep a client on its pod whatever the weights are.
// https://gateway-api.sigs.k8s.io/geps/gep-1619/
func keptByRule(o observedRoute) string {
	list, _, _ := unstructured.NestedFieldNoCopy(o.live.Object, "spec", "rules")
	rules, _ := list.([]any)
	for _, rule := range rules {
		fields, _ := rule.(map[string]any)
		session, ok := fields["sessionPersistence"].(map[string]any)
		if !ok {
			continue
		}
		part := o.live.DeepCopy()
		if unstructured.SetNestedSlice(part.Object, []any{rule}, "spec", "rules") != nil {
			continue
		}
		if leads, err := o.route.kind.router.leads(part, o.route.canary.on(part)); err != nil || !leads {
			continue
		}
		name, _ := session["sessionName"].(string)
		edit := rollback.Key{Namespace: o.live.GetNamespace()}.EditRouteCommand(o.route.kind.name + "." + o.route.resource.Group + "/" + o.live.GetName())
		return fmt.Sprintf("some implementations leave clients with a session%s on the canary, %s; remove sessionPersistence from its rules to move them: %s",
			quoted(name), sessionEnd(session), edit)
	}
	return ""
}

// keptByHAProxy is about the cookie by which OpenShift's router keeps clients on a pod.
func keptByHAProxy(live *unstructured.Unstructured) string {
	off, err := strconv.ParseBool(live.GetAnnotations()[noCookies])
	termination, _, _ := unstructured.NestedString(live.Object, "spec", "tls", "termination")
	if err == nil && off || strings.EqualFold(termination, "passthrough") {
		return ""
	}
	return fmt.Sprintf("the router leaves clients with its cookie%s on the canary's pods until they close the browser; set the annotation %s=true on it to move them",
		quoted(live.GetAnnotations()[cookieName]), noCookies)
}

// quoted returns a name to be read after a word; nothing for none.
func quoted(name string) string {
	if name == "" {
		return ""
	}
	return " " + strconv.Quote(name)
}

// sessionEnd says when a session of the Gateway API ends. Its cookie ends with the browser, unless it
// is permanent.
func sessionEnd(session map[string]any) string {
	var ends []string
	kind, _ := session["type"].(string)
	lifetime, _, _ := unstructured.NestedString(session, "cookieConfig", "lifetimeType")
	if kind != "Header" && lifetime != "Permanent" {
		ends = append(ends, "until they close the browser")
	}
	if idle, _ := session["idleTimeout"].(string); idle != "" {
		ends = append(ends, "until it is idle for "+idle)
	}
	if age, _ := session["absoluteTimeout"].(string); age != "" {
		ends = append(ends, "for up to "+age)
	}
	return cmp.Or(strings.Join(ends, " or "), "for as long as they send it")
}
