package traffic

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
)

// Annotations of the AWS Load Balancer Controller, each before the name of an action. A backend of
// the Ingress is an action if its port is called usesAction.
// https://kubernetes-sigs.github.io/aws-load-balancer-controller/latest/guide/ingress/annotations/#actions
const (
	actionAnnotation     = "alb.ingress.kubernetes.io/actions."
	conditionsAnnotation = "alb.ingress.kubernetes.io/conditions."
	usesAction           = "use-annotation"
)

// awsLBC is an Ingress of the AWS Load Balancer Controller: an action forwards to target groups,
// each with a weight from 0 to 999. With several of them, each has to have one.
// https://github.com/kubernetes-sigs/aws-load-balancer-controller/blob/main/pkg/ingress/config_types.go
func awsLBC() annotated {
	return annotated{
		weighted: weighted{
			absent: 1,
			max:    999,
			read: func(_ *unstructured.Unstructured, entry map[string]any) backend {
				if service, _ := entry["serviceName"].(string); service != "" {
					return backend{name: service, service: service, key: "/serviceName", value: service}
				}
				arn, _ := entry["targetGroupARN"].(string)
				return backend{name: arn, key: "/targetGroupARN", value: arn}
			},
		},
		decode:     actionsOf,
		annotation: func(key string) string { return actionAnnotation + key },
		list: func(key string) listPath {
			return listPath{path: "spec." + key + ".targetGroups", label: "action " + key}
		},
		encode: func(value any) any { return value.(map[string]any)["action"] }, //nolint:forcetypeassert // actionsOf returns maps
		note:   appliedLater,
	}
}

// appliedLater says when a weight of zero takes effect, which no field of an Ingress shows, and
// whether clients stay in spite of it.
func appliedLater(_ *unstructured.Unstructured, actions map[string]any, _ canary) string {
	text := "takes effect when the AWS Load Balancer Controller has applied it"
	for _, key := range slices.Sorted(maps.Keys(actions)) {
		action, _ := actions[key].(map[string]any)
		stickiness, _, _ := unstructured.NestedMap(action, "action", "forwardConfig", "targetGroupStickinessConfig")
		if on, _ := stickiness["enabled"].(bool); !on {
			continue
		}
		seconds, _ := number(stickiness["durationSeconds"])
		return fmt.Sprintf("%s; action %s is sticky: clients with its cookie may stay for %d s", text, key, seconds)
	}
	return text
}

// actionsOf returns the actions that the backends of an Ingress refer to, with their target
// groups and conditions.
func actionsOf(object *unstructured.Unstructured) (map[string]any, error) {
	found := make(map[string]any)
	var unreadable error
	for _, key := range actionsUsed(object) {
		text, ok := object.GetAnnotations()[actionAnnotation+key]
		if !ok || strings.Contains(key, ".") {
			continue
		}
		var action map[string]any
		if err := json.Unmarshal([]byte(text), &action); err != nil {
			unreadable = fmt.Errorf("read the annotation %s%s: %w", actionAnnotation, key, err)
			continue
		}
		rename(action, "forwardConfig")
		config, _ := action["forwardConfig"].(map[string]any)
		rename(config, "targetGroups")
		groups, _ := config["targetGroups"].([]any)
		for _, g := range groups {
			group, _ := g.(map[string]any)
			rename(group, "serviceName", "targetGroupARN", "weight")
		}
		found[key] = map[string]any{"action": action, "targetGroups": groups, "conditions": conditionsOf(object, key)}
	}
	return found, unreadable
}

// rename writes the fields as the controller documents them: it reads them in any case, and
// earlier releases documented them in another one.
func rename(fields map[string]any, names ...string) {
	for key := range maps.Clone(fields) {
		for _, name := range names {
			if _, taken := fields[name]; !taken && strings.EqualFold(key, name) {
				fields[name] = fields[key]
				delete(fields, key)
			}
		}
	}
}

// conditionsOf returns the conditions of an action on headers and on the query, as limits reads
// them.
func conditionsOf(object *unstructured.Unstructured, key string) []any {
	var all []map[string]any
	if json.Unmarshal([]byte(object.GetAnnotations()[conditionsAnnotation+key]), &all) != nil {
		return nil
	}
	var found []any
	for _, condition := range all {
		rename(condition, "field", "httpHeaderConfig", "queryStringConfig")
		switch condition["field"] {
		case "http-header":
			found = append(found, map[string]any{"header": condition["httpHeaderConfig"]})
		case "query-string":
			found = append(found, map[string]any{"queryParams": condition["queryStringConfig"]})
		}
	}
	return found
}

// actionsUsed returns the names of the actions among the backends of an Ingress, each once.
func actionsUsed(object *unstructured.Unstructured) []string {
	var names []string
	for _, b := range ingressBackends(object) {
		if b.port == usesAction && !slices.Contains(names, b.service) {
			names = append(names, b.service)
		}
	}
	return names
}
