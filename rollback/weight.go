package rollback

import (
	"fmt"
	"strings"
)

// Weight is the canary's share on one routing object, in the router's own notation.
type Weight struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	From string `json:"from"`
	To   string `json:"to"`
	// FieldManager is the one that applies the object server-side, as Helm 4 does; "" if no
	// client does. The API server refuses its next apply as a conflict as long as the
	// weight is held.
	FieldManager string `json:"fieldManager,omitempty"`
}

// ScalerKind is KEDA's kind. Its weight is no route's: without the object, no client scales the canary.
const ScalerKind = "ScaledObject"

// String returns, for example, "Ingress/shop-canary 20 -> 0".
func (w Weight) String() string {
	return fmt.Sprintf("%s/%s %s -> %s", w.Kind, w.Name, w.From, w.To)
}

// FormatWeights returns the weights on one line, separated by commas.
func FormatWeights(weights []Weight) string {
	texts := make([]string, len(weights))
	for i, w := range weights {
		texts[i] = w.String()
	}
	return strings.Join(texts, ", ")
}

// WithoutGroup returns a route of Record.StrayRoutes as Weight.Route returns it.
func WithoutGroup(route string) string {
	kind, name, _ := strings.Cut(route, "/")
	kind, _, _ = strings.Cut(kind, ".")
	return kind + "/" + name
}

// Route returns the kind and name of the routing object, such as "HTTPRoute/shop": Name may also say
// which of its lists the weight is in.
func (w Weight) Route() string {
	name, _, _ := strings.Cut(w.Name, " ")
	return w.Kind + "/" + name
}
