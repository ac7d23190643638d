package traffic

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// A list is read as the API server sends it. A list that ends too soon is an error and not a
// shorter list, which would delete series.
func TestDecodeList(t *testing.T) {
	const one = `{"kind": "ServiceList", "metadata": {"resourceVersion": "1", "continue": ""}, "items": [{"metadata": {"name": "shop", "managedFields": [{}]}, "spec": {"selector": {"app": "shop"}}, "status": {"loadBalancer": {}}}]}`
	for name, c := range map[string]struct {
		text string
		want int
		err  string
	}{
		"one object":                 {one, 1, ""},
		"items first":                {`{"items": [{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}], "kind": "ServiceList"}`, 2, ""},
		"no objects":                 {`{"items": []}`, 0, ""},
		"no objects, as null":        {`{"items": null, "metadata": {}}`, 0, ""},
		"cut off between objects":    {one[:len(one)-2], 0, "unexpected EOF"},
		"cut off after the objects":  {one[:len(one)-1], 0, "unexpected EOF"},
		"cut off within an object":   {one[:len(one)-30], 0, "unexpected EOF"},
		"nothing":                    {"", 0, "unexpected EOF"},
		"something else than a list": {`["a"]`, 0, "got [, want {"},
	} {
		t.Run(name, func(t *testing.T) {
			all := newRegistry().listed()
			k := all[slices.IndexFunc(all, func(k listedKind) bool { return k.kind == "Service" })]
			got, err := k.decode(json.NewDecoder(strings.NewReader(c.text)))
			if c.err == "" && (err != nil || len(got) != c.want) {
				t.Errorf("got %d objects, %v; want %d", len(got), err, c.want)
			}
			if c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("got error %v, want %q", err, c.err)
			}
		})
	}
}
