package serve

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
)

// A request is sent as the account of the namespace that its path names, unless it names a
// user already; backout's own objects are its own business.
func TestRequestsAreSentAsTheTargetsAccount(t *testing.T) {
	var got string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Get("Impersonate-User") }))
	defer server.Close()
	as := accounts{own: "backout", names: map[string]string{"shop": "target-shop", "backout": "target-backout"}}
	const shop, own = "system:serviceaccount:backout:target-shop", "system:serviceaccount:backout:target-backout"
	for _, c := range []struct{ path, as, want string }{
		{"/api/v1/namespaces/shop/secrets/x", "", shop},
		{"/apis/apps/v1/namespaces/shop/deployments", "", shop},
		{"/api/v1/namespaces/shop", "", shop},
		{"/api/v1/namespaces/payments/secrets", "", ""},
		{"/api/v1/namespaces/payments/secrets", shop, shop},
		{"/api/v1/namespaces/shop/secrets", own, own},
		{"/api/v1/namespaces/shopping/secrets", "", ""},
		{"/api/v1/namespaces", "", ""},
		{"/apis/apps/v1", "", ""},
		{"/version", "", ""},
		{"/apis/coordination.k8s.io/v1/namespaces/backout/leases/backout", "", ""},
		{"/api/v1/namespaces/backout/configmaps/backout.v1", "", own},
		{"/api/v1/namespaces/backout/configmaps", "", own},
		{"/api/v1/namespaces/backout/configmaps/backout.v1.shop.v3", "", own},
	} {
		config := as.impersonate(&rest.Config{Host: server.URL, Impersonate: rest.ImpersonationConfig{UserName: c.as}})
		client, err := rest.HTTPClientFor(config)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := client.Get(server.URL + c.path)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if got != c.want {
			t.Errorf("GET %s by a client of user %q is sent as %q, want %q", c.path, c.as, got, c.want)
		}
	}
	if config := (&rest.Config{}); (accounts{}).impersonate(config) != config {
		t.Error("without accounts, requests are wrapped all the same")
	}
}

func TestEveryTargetHasAnAccountOrNone(t *testing.T) {
	for _, c := range []struct {
		names map[string]string
		want  string
	}{
		{nil, ""},
		{map[string]string{"shop": "a", "payments": "b"}, ""},
		{map[string]string{"shop": "a"}, "no service account for namespace payments"},
		{map[string]string{"shop": "a", "payments": ""}, "no service account for namespace payments"},
		{map[string]string{"shop": "a", "payments": "b", "shpo": "c"}, "names namespace shpo"},
	} {
		err := accounts{names: c.names}.validate([]string{"shop", "payments"})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: got %v, want %q", c.names, err, c.want)
		}
	}
}
