package router

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestHostsMatch(t *testing.T) {
	for _, c := range []struct {
		match hostMatch
		host  string
		want  bool
	}{
		{hostMatch{pattern: ""}, "shop.local", true},
		{hostMatch{pattern: "shop.local"}, "SHOP.local", true},
		{hostMatch{pattern: "shop.local"}, "a.shop.local", false},
		{hostMatch{pattern: "*.local"}, "shop.local", true},
		{hostMatch{pattern: "*.local"}, "a.shop.local", true},
		{hostMatch{pattern: "*.local", oneLabel: true}, "a.shop.local", false},
		{hostMatch{pattern: "*.local"}, ".local", false},
		{hostMatch{pattern: "*.local"}, "local", false},
	} {
		if got := c.match.matches(c.host); got != c.want {
			t.Errorf("%+v matches %s: %t, want %t", c.match, c.host, got, c.want)
		}
	}
}

func TestPathsMatchByElements(t *testing.T) {
	for _, c := range []struct {
		match pathMatch
		path  string
		want  bool
	}{
		{pathMatch{value: "/"}, "/a/b", true},
		{pathMatch{value: "/a"}, "/a", true},
		{pathMatch{value: "/a"}, "/a/b", true},
		{pathMatch{value: "/a/"}, "/a", true},
		{pathMatch{value: "/a"}, "/ab", false},
		{pathMatch{value: "/a", exact: true}, "/a", true},
		{pathMatch{value: "/a", exact: true}, "/a/b", false},
	} {
		if got := c.match.matches(c.path); got != c.want {
			t.Errorf("%+v matches %s: %t, want %t", c.match, c.path, got, c.want)
		}
	}
}

func TestASessionComesBeforeTheWeight(t *testing.T) {
	shop, canary := &backend{service: "shop"}, &backend{service: "shop-canary"}
	for _, c := range []struct {
		session *session
		cookie  string
		want    *backend
		begun   string
	}{
		{&session{cookie: "seat", canary: true}, "shop-canary", canary, "shop-canary"},
		{&session{cookie: "seat", canary: true}, "shop", shop, "shop"},
		{&session{cookie: "seat", canary: true}, "gone", shop, "shop"},
		{&session{cookie: "seat"}, "shop-canary", shop, "shop"},
		{nil, "shop-canary", shop, ""},
	} {
		r := route{backends: []*backend{shop, canary}, split: newSplit([]int{100, 0}), session: c.session}
		q := httptest.NewRequest("GET", "/", nil)
		q.AddCookie(&http.Cookie{Name: "seat", Value: c.cookie})
		got, w := r.choose(q), httptest.NewRecorder()
		r.session.begin(w, got, r.backends)
		begun := ""
		for _, cookie := range w.Result().Cookies() {
			begun = cookie.Value
		}
		if got != c.want || begun != c.begun {
			t.Errorf("%+v, cookie %s: %s with the cookie %q, want %s with %q", c.session, c.cookie, got.service, begun, c.want.service, c.begun)
		}
	}
}

func TestTheMostSpecificRouteWins(t *testing.T) {
	to := func(service, host string, path pathMatch, headers ...headerMatch) route {
		return route{
			host: hostMatch{pattern: host}, path: path, headers: headers,
			backends: []*backend{{service: service}}, split: newSplit([]int{1}),
		}
	}
	table := &table{routes: []route{
		to("any", "", pathMatch{value: "/"}),
		to("wildcard", "*.local", pathMatch{value: "/"}),
		to("name", "shop.local", pathMatch{value: "/"}),
		to("younger", "shop.local", pathMatch{value: "/"}),
		to("long", "shop.local", pathMatch{value: "/cart"}),
		to("exact", "shop.local", pathMatch{value: "/cart", exact: true}),
		to("header", "shop.local", pathMatch{value: "/"}, headerMatch{name: "x-canary", value: "yes"}),
	}}
	table.sort()
	for _, c := range []struct{ url, header, want string }{
		{"http://else.where/", "", "any"},
		{"http://other.local/", "", "wildcard"},
		{"http://shop.local/", "", "name"},
		{"http://shop.local:8080/", "", "name"},
		{"http://shop.local/cart/1", "", "long"},
		{"http://shop.local/cart", "", "exact"},
		{"http://shop.local/", "yes", "header"},
		{"http://shop.local/", "no", "name"},
	} {
		q := httptest.NewRequest("GET", c.url, nil)
		if c.header != "" {
			q.Header.Set("X-Canary", c.header)
		}
		if got := table.match(q).choose(q).service; got != c.want {
			t.Errorf("%s with header %q goes to %s, want %s", c.url, c.header, got, c.want)
		}
	}
}

func TestRingSkipsTriedAddresses(t *testing.T) {
	r := &ring{addresses: []string{"a", "b", "c"}}
	seen := map[string]int{}
	for range 30 {
		seen[r.pick(nil)]++
	}
	if seen["a"] != 10 || seen["b"] != 10 || seen["c"] != 10 {
		t.Errorf("the turns are not even: %v", seen)
	}
	for range 3 {
		if got := r.pick([]string{"a", "c"}); got != "b" {
			t.Errorf("picked %q, want b, which alone has not been tried", got)
		}
	}
	if got := r.pick([]string{"a", "b", "c"}); got != "" {
		t.Errorf("picked %q, although all have been tried", got)
	}
}
