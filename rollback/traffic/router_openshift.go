package traffic

// openshift is OpenShift's Route, which has one list of backends: the one that it is to, and
// up to three alternate ones. A backend without a weight has 100, and none has more than 256.
// https://github.com/openshift/api/blob/master/route/v1/types.go (RouteTargetReference)
func openshift() weighted {
	return weighted{
		lists:  []listPath{{path: "spec.alternateBackends", first: "spec.to", label: "backends"}},
		absent: 100,
		max:    256,
		read:   backendByReference,
	}
}
