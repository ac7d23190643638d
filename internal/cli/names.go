package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/ledger"
)

// parseKey reads NAMESPACE/RELEASE.
func parseKey(text string) (rollback.Key, error) {
	namespace, release, _ := strings.Cut(text, "/")
	k := rollback.Key{Namespace: namespace, Release: release}
	if !k.IsValid() {
		return rollback.Key{}, fmt.Errorf("%q: want NAMESPACE/RELEASE, such as canary-demo/canary-demo", text)
	}
	return k, nil
}

// parseRevision reads NAMESPACE/RELEASE[/REVISION]; the revision is 0 if it is absent.
func parseRevision(text string) (rollback.Key, int, error) {
	name, number := text, ""
	if parts := strings.Split(text, "/"); len(parts) == 3 {
		name, number = parts[0]+"/"+parts[1], parts[2]
	}
	k, err := parseKey(name)
	if err != nil || number == "" {
		return k, 0, err
	}
	revision, err := strconv.Atoi(number)
	if err != nil || revision < 1 {
		return k, 0, fmt.Errorf("%q: the revision is a whole number from 1, as in canary-demo/canary-demo/2", text)
	}
	return k, revision, nil
}

// parseScope reads [NAMESPACE[/RELEASE]], which pause and resume take.
func parseScope(args []string) (ledger.Scope, error) {
	if len(args) == 0 {
		return ledger.Scope{}, nil
	}
	if !strings.Contains(args[0], "/") {
		return ledger.Scope{Namespace: args[0]}, nil // the API server refuses other names
	}
	k, err := parseKey(args[0])
	return ledger.Scope(k), err
}
