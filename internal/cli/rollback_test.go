package cli

import (
	"strings"
	"testing"
)

func TestRollbackRefusesWrongOptions(t *testing.T) {
	for _, c := range []struct{ option, says string }{
		{"--allow=foreign", "want some of"}, {"--to=-1", "number of a revision"}, {"--timeout=0s", "duration above zero"}, {"--hook-timeout=0s", "duration above zero"},
	} {
		_, err := runProgram(t, "", "backout", "rollback", "shop/web", c.option)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v; want an error that says %q", c.option, err, c.says)
		}
	}
}
