package handler

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/upcommerce/backout/rollback"
)

// Tokens are the files of bearer tokens, by the namespace that they are for;
// rollback.AllNamespaces is every one. A namespace with several files has several senders. Each is
// FILE, or FILE:CONFIRM with a rollback.ConfirmBy.
type Tokens map[string][]string

// cutConfirm returns the file of an entry, and where backout asks about the alerts that are
// posted with the token in it; "" if the entry does not say.
func cutConfirm(entry string) (file string, by rollback.ConfirmBy) {
	if i := strings.LastIndex(entry, ":"); i >= 0 && slices.Contains(rollback.ConfirmBys(), rollback.ConfirmBy(entry[i+1:])) {
		return entry[:i], rollback.ConfirmBy(entry[i+1:])
	}
	return entry, ""
}

// ConfirmedBy reports whether a token says that backout asks those servers about its alerts.
func (t Tokens) ConfirmedBy(by rollback.ConfirmBy) bool {
	for _, entries := range t {
		if slices.ContainsFunc(entries, func(entry string) bool {
			_, said := cutConfirm(entry)
			return said == by
		}) {
			return true
		}
	}
	return false
}

// EnvDecode reads tokens as NAMESPACE:FILE or NAMESPACE:FILE:CONFIRM, separated by commas.
// go-envconfig calls it.
func (t *Tokens) EnvDecode(value string) error {
	*t = nil
	for entry := range strings.SplitSeq(value, ",") {
		if entry = strings.TrimSpace(entry); entry != "" {
			namespace, file, _ := strings.Cut(entry, ":")
			t.add(strings.TrimSpace(namespace), strings.TrimSpace(file))
		}
	}
	return nil
}

func (t *Tokens) add(namespace, file string) {
	if *t == nil {
		*t = make(Tokens)
	}
	if !slices.Contains((*t)[namespace], file) {
		(*t)[namespace] = append((*t)[namespace], file)
	}
}

// validate returns an error for each entry that is not NAMESPACE:FILE or NAMESPACE:FILE:CONFIRM, and
// for each file of which two entries say something else.
func (t Tokens) validate() error {
	var errs []error
	confirm := make(map[string]rollback.ConfirmBy)
	for _, namespace := range slices.Sorted(maps.Keys(t)) {
		for _, entry := range t[namespace] {
			file, by := cutConfirm(entry)
			if known, seen := confirm[file]; seen && known != by {
				errs = append(errs, fmt.Errorf("BACKOUT_TOKENS: %s is confirmed in two ways: write %v, or nothing, after each of its entries", file, rollback.ConfirmBys()))
			}
			confirm[file] = by
			if namespace != rollback.AllNamespaces && !rollback.IsNamespace(namespace) || file == "" {
				errs = append(errs, fmt.Errorf("BACKOUT_TOKENS: %q: want NAMESPACE:FILE, or *:FILE for all namespaces", namespace+":"+entry))
			}
		}
	}
	return errors.Join(errs...)
}
