package traffic

// traefik is Traefik's own kinds: a TraefikService has one list of weighted services, and
// each route of an IngressRoute may have one. A service without a weight has 1, so that a
// zero has to be written.
// https://doc.traefik.io/traefik/reference/routing-configuration/kubernetes/crd/http/traefikservice/
func traefik(path, label string) weighted {
	return weighted{
		lists:  []listPath{{path: path, label: label}},
		absent: 1,
		read:   backendByReference,
	}
}
