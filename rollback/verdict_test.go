package rollback_test

import (
	"slices"
	"testing"

	"github.com/upcommerce/backout/rollback"
)

func TestOnlyActAndNoStableAllowARollback(t *testing.T) {
	if got := rollback.Verdict("made up").Effect(); got != (rollback.Effect{}) {
		t.Errorf("an unknown verdict allows nothing: got %+v", got)
	}
	verdicts := rollback.Verdicts()
	if unique := slices.Compact(slices.Sorted(slices.Values(verdicts))); len(unique) != len(verdicts) {
		t.Errorf("every verdict is listed once: got %v", verdicts)
	}
	for _, v := range verdicts {
		if e := v.Effect(); e.Rollback && v != rollback.Act && v != rollback.NoStable {
			t.Errorf("only act and no-stable allow a rollback: %s does", v)
		}
	}
}
