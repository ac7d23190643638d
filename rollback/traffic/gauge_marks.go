package traffic

import (
	"strings"

	"k8s.io/apimachinery/pkg/util/sets"
)

// strayMarks returns the objects that carry the mark of a shed, by kind, group and name, but those
// that are routes of the series: no canary of an opted-in release is behind them.
func (s snapshot) strayMarks(known map[series]liveShare) []string {
	routes := sets.New[string]()
	for label := range known {
		object, _, _ := strings.Cut(label.route, " ") // without the list in it, such as rule 2
		routes.Insert(object)
	}
	stray := sets.New[string]()
	for _, k := range s.kinds {
		if !k.routes && k.kind != deploymentKind {
			continue
		}
		for i := range s.objects[k.resource.GroupResource()] {
			o := &s.objects[k.resource.GroupResource()][i]
			route := k.kind + "/" + o.GetName()
			if k.kind == scaledObjectKind {
				route = deploymentKind + "/" + keda{}.targetOf(o)
			}
			if marked(o) && !routes.Has(route) {
				stray.Insert(k.kind + "." + k.resource.Group + "/" + o.GetName())
			}
		}
	}
	return sets.List(stray)
}
