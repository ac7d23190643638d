package helm

import (
	"bytes"
	"encoding/json"
	"testing"

	"helm.sh/helm/v3/pkg/release"

	"github.com/upcommerce/backout/rollback"
)

// FuzzRead: no Secret of a revision makes the package panic, neither through its own
// decoder nor through Helm's.
func FuzzRead(f *testing.F) {
	good := aRelease(1, release.StatusDeployed)
	good.Manifest = "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {template: {spec: {containers: [{image: web:v1}]}}}\n"
	text, err := json.Marshal(good)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	for _, text := range []string{
		`{}`, `null`, `[]`, `{"info":{},"chart":{"metadata":{}},"hooks":[null]}`, `{"info":{},"chart":{"metadata":{}},"manifest":"a: &a [*a]"}`,
		`{"info":{"last_deployed":""},"chart":{"metadata":{},"templates":[null],"values":{"a":[[[[]]]]}},"hooks":[{"events":null}]}`,
		`{"info":{},"chart":{"metadata":{}},"manifest":"kind: Deployment\nspec: {template: [], replicas: x}\n---\nitems: [1, {kind: 1, items: [{}]}]\nkind: 1\n"}`,
		`{"info":{},"chart":{"metadata":{}},"manifest":"{\"kind\": \"Ingress\", \"metadata\": 7}\n---\n? {a: b}\n: 1\n"}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		k := rollback.Key{Namespace: "shop", Release: "web"}
		for _, packed := range [][]byte{text, zip(t, bytes.NewReader(text))} {
			stored, err := read(t.Context(), store{secrets: oneSecret{packed: packed}, decoding: newDecoding()}, objectName("web", 1), newDecoding())
			if err != nil {
				continue
			}
			declared, err := decodeManifest(stored.Manifest)
			if err == nil {
				(&Client{}).described(k, rollback.Revision{}, stored, declared)
			}
		}
	})
}
