package docs_test

import (
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

var (
	referenceLink = regexp.MustCompile(`^\s*\[[^\]]+\]:\s*<?([^\s>]+)>?`)
	onlyLink      = regexp.MustCompile(`^!?\[[^\[\]]*\]\([^()]*\)$`)
	htmlLink      = regexp.MustCompile(`<[A-Za-z][^>]*\b(?:href|src|srcset)="([^"]+)"`)
)

// link is one link or image of a Markdown file.
type link struct {
	line   int
	target string
}

func links(lines []string) []link {
	var all []link
	for i, line := range blankCode(markdown(lines)) {
		for _, pattern := range []*regexp.Regexp{linkTarget, referenceLink, htmlLink} {
			for _, found := range pattern.FindAllStringSubmatch(line, -1) {
				all = append(all, link{i + 1, found[1]})
			}
		}
	}
	return all
}

// TestLinks follows every link, image and anchor of every Markdown file that leads to the
// repository itself. Links to elsewhere are not followed.
func TestLinks(t *testing.T) {
	all := files(t, isMarkdown)
	anchored := make(map[string]map[string]bool)
	for _, f := range all {
		anchored[f.name] = anchors(f.lines)
	}
	followed := 0
	for _, f := range all {
		for _, l := range links(f.lines) {
			u, err := url.Parse(l.target)
			if err != nil {
				t.Errorf("%s:%d: the link %q is not a URL: %v", f.name, l.line, l.target, err)
				continue
			}
			if u.Scheme != "" || u.Host != "" {
				continue
			}
			followed++
			if wrong := follow(f.name, u, anchored); wrong != "" {
				t.Errorf("%s:%d: the link %s %s", f.name, l.line, l.target, wrong)
			}
		}
	}
	if len(all) < 20 || followed < 50 {
		t.Errorf("found %d links in %d files: does the test still read the repository?", followed, len(all))
	}
}

// follow says why a link of the file leads nowhere; "" if it leads somewhere.
func follow(from string, u *url.URL, anchored map[string]map[string]bool) string {
	to := from
	if u.Path != "" {
		to = path.Join(path.Dir(from), u.Path)
	}
	if strings.HasPrefix(u.Path, "/") || to == ".." || strings.HasPrefix(to, "../") {
		return "leads out of the repository: use a relative path inside it"
	}
	if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(to))); err != nil && to != from {
		return "leads to " + to + ", which does not exist"
	}
	if u.Fragment != "" && isMarkdown(to) && !anchored[to][u.Fragment] {
		return "leads to an anchor that " + to + " does not have"
	}
	return ""
}

func TestLinksFindsBrokenOnes(t *testing.T) {
	page := strings.Split(strings.TrimSpace(`
# A page: of links
[good](#a-page-of-links), [bad on
two lines](#nowhere) and `+"`[code](#no) on\ntwo` lines"+`
[![bad](gone.png)](../README.md) <img src="missing.svg">

    [block](#no)

1. An item

       [block in an item](#no)

   [text of the item](#also-nowhere)
`+"```\n[fenced](#no)\n```"), "\n")
	anchored := map[string]map[string]bool{"docs/page.md": anchors(page)}
	var broken []string
	for _, l := range links(page) {
		u, err := url.Parse(l.target)
		if err != nil {
			t.Fatal(err)
		}
		if follow("docs/page.md", u, anchored) != "" {
			broken = append(broken, l.target)
		}
	}
	want := "#nowhere gone.png missing.svg #also-nowhere"
	if got := strings.Join(broken, " "); got != want {
		t.Errorf("broken are %s, want %s", got, want)
	}
}

// Bounds of README.md: it is read in a few minutes, on a narrow screen.
const (
	maxWords   = 1000
	maxColumns = 100
)

// TestReadmeIsShort counts words as `wc -w` does, and characters of lines. Rows of tables and
// lines that are one image or one link may be longer: Markdown cannot break them.
func TestReadmeIsShort(t *testing.T) {
	for _, f := range files(t, func(name string) bool { return name == "README.md" }) {
		if n := len(strings.Fields(strings.Join(f.lines, "\n"))); n > maxWords {
			t.Errorf("README.md has %d words, more than %d: move facts to a page in docs/", n, maxWords)
		}
		for i, line := range f.lines {
			unbreakable := strings.HasPrefix(line, "|") || onlyLink.MatchString(line)
			if n := utf8.RuneCountInString(line); n > maxColumns && !unbreakable {
				t.Errorf("README.md:%d has %d characters, more than %d: break the line", i+1, n, maxColumns)
			}
		}
	}
}
