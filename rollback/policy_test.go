package rollback_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

func defaultPolicy() rollback.Policy {
	p := rollbacktest.Policy()
	p.Releases = []string{"shop/*"}
	return p
}

func TestPolicyAllows(t *testing.T) {
	for _, c := range []struct {
		releases []string
		key      string
		want     bool
		rule     string
	}{
		{nil, "shop/shop", false, "an empty list allows none"},
		{[]string{}, "shop/shop", false, "an empty list allows none"},
		{[]string{"shop/shop"}, "shop/shop", true, "a named release is allowed"},
		{[]string{"shop/shop"}, "shop/shop-canary", false, "a name is not a prefix"},
		{[]string{"shop/shop"}, "shop/my-shop", false, "a name is not a suffix"},
		{[]string{"shop/shop"}, "other/shop", false, "a release belongs to its namespace"},
		{[]string{"shop/*"}, "shop/anything", true, "a glob allows every release of its namespace"},
		{[]string{"shop/*"}, "shop/with.dots", true, "a glob allows every release of its namespace"},
		{[]string{"shop/*"}, "shopping/shop", false, "a glob never crosses a namespace"},
		{[]string{"shop/*"}, "my-shop/shop", false, "a glob never crosses a namespace"},
		{[]string{"shop/*"}, "other/shop", false, "a glob never crosses a namespace"},
		{[]string{"shop/*"}, "shop/a/b", false, "a glob never crosses a slash"},
		{[]string{"shop/*-canary"}, "shop/web-canary", true, "a glob may be at the beginning"},
		{[]string{"shop/*-canary"}, "shop/web", false, "the rest of a glob is literal"},
		{[]string{"shop/web-?"}, "shop/web-1", true, "a question mark is one character"},
		{[]string{"shop/web-?"}, "shop/web-12", false, "a question mark is one character"},
		{[]string{"a/x", "b/*"}, "b/y", true, "any entry may allow"},
		{[]string{"a/x", "b/*"}, "a/y", false, "entries do not mix"},
		{[]string{"*/*"}, "shop/shop", false, "a namespace is never a glob, even unvalidated"},
		{[]string{"*"}, "shop/shop", false, "an entry without a namespace allows nothing, even unvalidated"},
		{[]string{"shop/[a-"}, "shop/[a-", false, "a broken glob allows nothing, even unvalidated"},
	} {
		namespace, release, _ := strings.Cut(c.key, "/")
		policy := rollback.Policy{Releases: c.releases}
		if got := policy.Allows(rollback.Key{Namespace: namespace, Release: release}); got != c.want {
			t.Errorf("%s: BACKOUT_RELEASES=%q allows %s: got %t", c.rule, c.releases, c.key, got)
		}
	}
}

func TestPolicySameCluster(t *testing.T) {
	for _, c := range []struct {
		configured, label string
		want              bool
		rule              string
	}{
		{"", "", true, "neither names a cluster"},
		{"blue", "blue", true, "the alert comes from this cluster"},
		{"blue", "green", false, "the alert comes from another cluster"},
		{"blue", "", false, "where a cluster is configured, an alert has to name it"},
		{"", "blue", false, "where none is configured, an alert that names one may come from another cluster"},
		{"blue", "Blue", false, "names are compared exactly"},
		{"blue", "blue ", false, "names are compared exactly"},
		{"blue", "*", false, "a label is not a pattern"},
	} {
		if got := (rollback.Policy{Cluster: c.configured}).SameCluster(c.label); got != c.want {
			t.Errorf("%s: BACKOUT_CLUSTER=%q, label %q: got %t", c.rule, c.configured, c.label, got)
		}
	}
}

func TestPolicyNamespaces(t *testing.T) {
	policy := rollback.Policy{Releases: []string{"b/*", "a/x", "b/y", "a/*"}}
	if got, want := policy.Namespaces(), []string{"a", "b"}; !slices.Equal(got, want) {
		t.Errorf("each namespace appears once, sorted: got %q, want %q", got, want)
	}
	if got := (rollback.Policy{}).Namespaces(); len(got) != 0 {
		t.Errorf("without releases there are no namespaces: got %q", got)
	}
}

func TestPolicyValidate(t *testing.T) {
	if err := defaultPolicy().Validate(); err != nil {
		t.Errorf("the defaults are valid: %v", err)
	}
	for _, c := range []struct {
		change func(*rollback.Policy)
		want   string
	}{
		{func(p *rollback.Policy) { p.Mode = "dry-run" }, `BACKOUT_MODE="dry-run"`},
		{func(p *rollback.Policy) { p.Mode = "" }, `BACKOUT_MODE=""`},
		{func(p *rollback.Policy) { p.Settle = 0 }, "BACKOUT_SETTLE=0s"},
		{func(p *rollback.Policy) { p.Windows = map[string]time.Duration{"Slow": 0} }, "BACKOUT_WINDOWS=Slow:0s"},
		{func(p *rollback.Policy) { p.Cooldown = -1 }, "BACKOUT_COOLDOWN=-1ns"},
		{func(p *rollback.Policy) { p.Bake = 0 }, "BACKOUT_BAKE=0s"},
		{func(p *rollback.Policy) { p.OperationLimit = 0 }, "BACKOUT_OPERATION_LIMIT=0s"},
		{func(p *rollback.Policy) { p.RollbackTimeout = 0 }, "BACKOUT_ROLLBACK_TIMEOUT=0s"},
		{func(p *rollback.Policy) { p.ConfirmLimit = 0 }, "BACKOUT_CONFIRM_LIMIT=0s"},
		{func(p *rollback.Policy) { p.StormReleases = 1 }, "BACKOUT_STORM_RELEASES=1: want at least 2"},
		{func(p *rollback.Policy) { p.MaxLoad = 0.5 }, "BACKOUT_MAX_LOAD=0.5: want at least 1"},
		{func(p *rollback.Policy) { p.MaxLoad = math.NaN() }, "BACKOUT_MAX_LOAD=NaN"},
		{func(p *rollback.Policy) { p.TrafficFloor = -1 }, "BACKOUT_TRAFFIC_FLOOR=-1"},
		{func(p *rollback.Policy) { p.KeepRecords = 0 }, "BACKOUT_KEEP_RECORDS=0"},
		{func(p *rollback.Policy) { p.Allow = []rollback.DangerKind{"everything"} }, `BACKOUT_ALLOW: "everything"`},
		{func(p *rollback.Policy) { p.Allow = []rollback.DangerKind{rollback.DangerImmutable} }, `BACKOUT_ALLOW: "immutable"`},
		{func(p *rollback.Policy) { p.Verify = p.VerifyLimit }, "BACKOUT_VERIFY=10m0s is not shorter than BACKOUT_VERIFY_LIMIT=10m0s"},
		{func(p *rollback.Policy) { p.ConfirmLimit = p.Bake }, "BACKOUT_CONFIRM_LIMIT=24h0m0s is not shorter than BACKOUT_BAKE=24h0m0s"},
		{func(p *rollback.Policy) { p.KeepRecordsFor = p.Cooldown }, "BACKOUT_COOLDOWN=10m0s is not shorter than BACKOUT_KEEP_RECORDS_FOR=10m0s"},
		{func(p *rollback.Policy) { p.Settle = p.Bake }, "no revision would ever be rolled back"},
	} {
		policy := defaultPolicy()
		c.change(&policy)
		if err := policy.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("a mistake is reported by its variable: got %v, want %q in it", err, c.want)
		}
	}
}

func TestPolicyValidateReleases(t *testing.T) {
	for _, entry := range []string{"shop/shop", "shop/*", "shop/*-canary", "shop/web-[ab]", "team-1/a.b"} {
		policy := defaultPolicy()
		policy.Releases = []string{entry}
		if err := policy.Validate(); err != nil {
			t.Errorf("BACKOUT_RELEASES=%q is valid: %v", entry, err)
		}
	}
	for _, entry := range []string{
		"", "*", "*/*", "*/shop", "sh*p/shop", "shop", "shop/", "/shop", "shop/a/b", "shop/[a-", "Shop/x",
		"../x", "shop\n/x", "shop /x", "shop.eu/x",
	} {
		policy := defaultPolicy()
		policy.Releases = []string{"shop/*", entry}
		err := policy.Validate()
		if err == nil {
			t.Errorf("BACKOUT_RELEASES=%q is refused", entry)
			continue
		}
		if text := err.Error(); !strings.HasPrefix(text, "BACKOUT_RELEASES: "+fmt.Sprintf("%q", entry)) || !strings.Contains(text, "such as canary-demo/*") {
			t.Errorf("the error shows the entry and a valid one: got %q", text)
		}
	}
}

func TestPolicyValidateReportsEveryMistake(t *testing.T) {
	err := rollback.Policy{Releases: []string{"*", "x"}}.Validate()
	if err == nil {
		t.Fatal("an empty policy is refused")
	}
	for _, want := range []string{`"*"`, `"x"`, "MODE", "SETTLE", "COOLDOWN", "BAKE", "OPERATION_LIMIT", "ROLLBACK_TIMEOUT"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lists every mistake: %s is missing in\n%v", want, err)
		}
	}
}
