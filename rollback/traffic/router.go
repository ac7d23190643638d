package traffic

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/upcommerce/backout/rollback"
)

// zero is the weight of a canary that gets no traffic, as text.
const zero = "0"

// router is one kind of router: how its objects declare the canary's weight. Its methods
// send no requests, and only hold changes an object.
type router interface {
	// leads reports whether the object leads to the canary. An error says that it may, and
	// names the backends between which an operator has to choose.
	leads(object *unstructured.Unstructured, c canary) (bool, error)
	// observe returns the canary's live weights, and the load that other backends would take
	// over. The neighbours are the other objects of the kind in the namespace, if
	// kind.neighbours asks for them.
	observe(live *unstructured.Unstructured, c canary, neighbours []unstructured.Unstructured) ([]rollback.Weight, []load)
	// shares returns the weights in percent, under the same names.
	shares(live *unstructured.Unstructured, c canary, neighbours []unstructured.Unstructured) []share
	// shed returns the edit that sets the canary's weight to zero and marks the object;
	// without operations if it is zero and marked already.
	shed(live *unstructured.Unstructured, c canary) (edit, error)
	// restore returns the edit that sets the weights to the declared ones or, if declared is
	// nil, to those that a shed found.
	restore(live, declared *unstructured.Unstructured, c canary) (edit, error)
	// unmark returns the operations that remove the mark of a shed from an object on which
	// another client has given the canary a weight. It keeps what is noted about weights that
	// are still zero.
	unmark(live *unstructured.Unstructured, c canary) ([]operation, error)
	// hold sets the canary's weight to zero in an object that is not written yet, and keeps
	// other canaries at zero that are held on the live object; live may be nil. It leaves an
	// object alone if it does not lead to the canary or may lead to one of several.
	hold(object, live *unstructured.Unstructured, c canary)
}

// load is the traffic that another backend would have to take over from the canary on one
// route.
type load struct {
	// label says which part of the object has the traffic, such as "rule 2" or a host and path.
	label string
	// apart says that this part may keep its weights while those of the others go to zero.
	apart bool
	// unserved says that the router sends no request of this part to the canary, whatever the
	// weight is.
	unserved bool
	// canary and total are the traffic of the canary and of all backends together, in any
	// unit. Of a part that some users alone reach, the canary's is 0: it is no measure of the
	// load.
	canary, total float64
	// takeover is the Service that would take over the canary's traffic; "" if it is not a
	// Service whose endpoints can be read. subset are the labels of those of its pods that
	// would; nil for all.
	takeover string
	subset   map[string]string
	// noStable says why no other backend could take over, for a canary that gets all the
	// traffic.
	noStable string
}

// full reports whether the canary gets all the traffic.
func (l load) full() bool { return l.canary >= l.total }

// share is the canary's live share on one routing object, or on one of its rules.
type share struct {
	// name is that of the rollback.Weight.
	name    string
	percent float64
}

// shareOf returns the share that a part is of a total, in any unit. It is 0 where no
// backend gets traffic.
func shareOf(name string, part, total float64) share {
	if part <= 0 || total <= 0 {
		return share{name: name}
	}
	return share{name: name, percent: min(100*part/total, 100)}
}
