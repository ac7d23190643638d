package rollback_test

import (
	"strings"
	"testing"

	"github.com/upcommerce/backout/rollback"
)

// Where the running backout looks for another label, a command has to look for the same one: by the
// default label it would find no canary, or another one.
func TestACommandFindsTheCanaryByTheLabelOfTheRunningBackout(t *testing.T) {
	s := newShell(t)
	label := rollback.Track{Label: "example.com/role", Canary: []string{"canary", "preview"}}.Option()
	const flag = " --track-label 'example.com/role=canary,preview'"
	for line, has := range map[string]bool{
		"backout rollback shop/web --to 2":                                             true,
		"backout rollback shop/web --to 2 --allow 'hook,pvc'":                          true,
		"backout hold shop/web":                                                        true,
		"kubectl backout unhold shop/web":                                              true,
		"flux suspend helmrelease web -n flux && backout rollback shop/web --to 2":     true,
		"flux suspend helmrelease backout -n flux && backout rollback shop/web --to 2": true,
		"backout resume shop/web":                                                      false,
		"backout explain shop/web/3":                                                   false,
		"helm rollback web 2 -n shop":                                                  false,
		"helm history backout -n shop":                                                 false,
		"kubectl -n shop get canaries.flagger.app backout -o 'jsonpath={.spec.targetRef.kind}/{.spec.targetRef.name}' | xargs '-I{}' kubectl -n shop rollout undo -- '{}'": false,
		"": false,
	} {
		c, want := rollback.ReadCommand(line), line
		if c.String() != line {
			t.Fatalf("%q is no command", line)
		}
		if has {
			want += flag
		}
		got := c.WithTrack(label)
		if got.String() != want {
			t.Errorf("%q by the label is %q: got %q", line, want, got)
		}
		s.check(t, got)
		if got != c && got.For(rollback.Key{Namespace: "shop", Release: "web"}) != (rollback.Command{}) {
			t.Errorf("no stored decision contains %q", got)
		}
		if plain := got.PlainHelm(); plain != c.PlainHelm() {
			t.Errorf("Helm looks for no canary: got %q", plain)
		}
		if got := c.WithTrack((rollback.Track{}).Option()); got != c {
			t.Errorf("by the default label %q stays as it is: got %q", line, got)
		}
	}
}

// A record may contain any text as its label.
func TestALabelThatIsNoneReachesNoCommand(t *testing.T) {
	c := rollback.Key{Namespace: "shop", Release: "web"}.HoldCommand()
	for _, evil := range append(hostile(), "role=stable", "role", "role=a,a", "role=a; reboot", "role=$(reboot)", " role=a", "track=canary", "--all=a") {
		if got := c.WithTrack(evil); got != c {
			t.Errorf("%q is in the command %q", evil, got)
		}
	}
	long := rollback.Track{Label: "role"}
	for i := range 20 {
		long.Canary = append(long.Canary, strings.Repeat(string(rune('a'+i)), 63))
	}
	if got := c.WithTrack(long.Option()); got != c {
		t.Errorf("a command that would be too long stays without its label: got %q", got)
	}
}
