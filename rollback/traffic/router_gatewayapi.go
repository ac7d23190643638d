package traffic

// gatewayAPI is every router that reads routes of the Gateway API: each rule of a route has
// a list of backends. A backend without a weight has 1.
// https://gateway-api.sigs.k8s.io/reference/spec/#backendref
func gatewayAPI() weighted {
	return weighted{
		lists:  []listPath{{path: "spec.rules.*.backendRefs", label: "rule"}},
		absent: 1,
		max:    1_000_000,
		read:   backendByReference,
	}
}
