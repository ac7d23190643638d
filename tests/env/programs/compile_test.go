package programs

import (
	"testing"
	"time"
)

func TestWorkIsOneLine(t *testing.T) {
	for _, c := range []struct {
		work Work
		want string
	}{
		{Work{Programs: "sandbox"}, "compiling sandbox: counting packages"},
		{Work{Programs: "sandbox and helm", Packages: 3}, "compiling sandbox and helm: 0 of 3 packages"},
		{
			Work{Programs: "sandbox", Done: 1, Packages: 4, Share: 0.25, Left: 187 * time.Second},
			"compiling sandbox: 1 of 4 packages, 25%, about 3m10s left",
		},
		{Work{Programs: "sandbox", Done: 3, Packages: 4, Share: 0.96, Left: time.Second}, "compiling sandbox: 3 of 4 packages, 96%, about 5s left"},
	} {
		if got := c.work.String(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// go list prints a package's files with a slash between them: no file name has one.
func TestPackagesCountBySize(t *testing.T) {
	c := &compilation{sizes: map[string]int64{}, compiled: map[string]bool{}}
	list := "example/a . compile.go/build.go\nexample/b . missing.go\n"
	c.add(list)
	c.add(list)
	if len(c.sizes) != 2 || c.sizes["example/a"] <= perPackage || c.sizes["example/b"] != perPackage {
		t.Errorf("sizes %v; want both packages once, and the first with the size of its files", c.sizes)
	}
	c.counted = true
	c.compile("example/a")
	if w := c.work(); w.Done != 1 || w.Packages != 2 || w.Share <= 0.5 || w.Share >= 1 {
		t.Errorf("after one of two packages, the larger: %+v", w)
	}
}
