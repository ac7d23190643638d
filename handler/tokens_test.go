package handler_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/upcommerce/backout/handler"
	"github.com/upcommerce/backout/rollback"
)

// An entry of BACKOUT_TOKENS says where backout asks about the alerts of its sender.
func TestATokenSaysWhereItsAlertsAreConfirmed(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/plain", "the plain token, and long")
	write(t, dir+"/grafana", "the Grafana token, and long")
	write(t, dir+"/believed", "the believed token, and long")
	write(t, dir+"/copy", "the Grafana token, and long")
	write(t, dir+"/strict", "the strict token, and long")
	write(t, dir+"/silent", "the strict token, and long")
	write(t, dir+"/a:colon", "the token with a colon")
	var tokens handler.Tokens
	if err := tokens.EnvDecode("shop:" + dir + "/plain, shop:" + dir + "/grafana:grafana,*:" + dir + "/grafana:grafana,shop:" + dir + "/believed:none,shop:" +
		dir + "/copy:none,shop:" + dir + "/a:colon,shop:" + dir + "/silent,shop:" + dir + "/strict:prometheus"); err != nil {
		t.Fatal(err)
	}
	s, in := newServer(t, func(o *handler.Options) { o.Config.Auth, o.Config.Tokens = handler.AuthBearer, tokens })
	for token, want := range map[string]rollback.Sender{
		"the plain token, and long":    {Name: "token of shop", Confirm: ""},
		"the Grafana token, and long":  {Name: "confirmed by grafana", Confirm: rollback.ConfirmByGrafana},       // the stricter of two files
		"the strict token, and long":   {Name: "confirmed by prometheus", Confirm: rollback.ConfirmByPrometheus}, // not what Grafana's payload says
		"the believed token, and long": {Name: "confirmed by none", Confirm: rollback.ConfirmByNone},
		"the token with a colon":       {Name: "token of shop", Confirm: ""},
	} {
		before := len(in.batches())
		if w := post(s.Handler(), payload(), "Authorization", "Bearer "+token); w.Code != http.StatusOK {
			t.Errorf("%s: got %d %s", token, w.Code, w.Body)
			continue
		}
		if got := in.batches()[before][0].Sender; got.Confirm != want.Confirm || !strings.Contains(got.Name, want.Name) {
			t.Errorf("%s: the sender is %+v, want one that is confirmed by %q, and named so", token, got, want.Confirm)
		}
	}
}

func TestATokenIsConfirmedInOneWay(t *testing.T) {
	for entries, want := range map[string]string{
		"shop:/run/a:grafana,other:/run/a:grafana": "",
		"shop:/run/a:grafana,other:/run/a:none":    "/run/a is confirmed in two ways",
		"shop:/run/a,other:/run/a:none":            "/run/a is confirmed in two ways",
		"shop::grafana":                            "want NAMESPACE:FILE",
	} {
		c := openConfig()
		c.Auth = handler.AuthBearer
		if err := c.Tokens.EnvDecode(entries); err != nil {
			t.Fatal(err)
		}
		if err := c.Validate(); (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", entries, err, want)
		}
	}
}
