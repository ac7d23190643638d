package docs_test

import (
	"fmt"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// maxReported bounds the hits that are listed one by one.
const maxReported = 200

// rule is one entry of the list in CONTRIBUTING.md.
type rule struct {
	// entry is how the list writes it, instead is what to write.
	entry, instead string
	pattern        *regexp.Regexp
	// except cancels a match that begins at the same place; nil cancels none.
	except *regexp.Regexp
	// first says that the rule is about the beginning of a sentence that is no question.
	first bool
}

var codeSpan = regexp.MustCompile("`([^`]+)`")

// readRules reads the list between the marks <!-- words --> and <!-- /words -->: the first table.
func readRules(t *testing.T, f file) []rule {
	t.Helper()
	var rules []rule
	for i, line := range f.lines {
		if line != wordsBegin {
			continue
		}
		for _, row := range f.lines[i+4:] {
			cells := strings.Split(row, "|")
			if len(cells) != 4 {
				break
			}
			entries, exceptions, _ := strings.Cut(cells[1], ", not ")
			for _, entry := range codeSpan.FindAllStringSubmatch(entries, -1) {
				r := newRule(entry[1], strings.TrimSpace(cells[2]))
				for _, exception := range codeSpan.FindAllStringSubmatch(exceptions, -1) {
					r.except = regexp.MustCompile("^" + r.expression(exception[1]))
				}
				rules = append(rules, r)
			}
		}
	}
	if len(rules) < 50 {
		t.Fatalf("CONTRIBUTING.md has %d words between %s and %s", len(rules), wordsBegin, wordsEnd)
	}
	return rules
}

func newRule(entry, instead string) rule {
	r := rule{entry: entry, instead: instead, first: entry[0] >= 'A' && entry[0] <= 'Z'}
	r.pattern = regexp.MustCompile(r.expression(entry))
	return r
}

// expression translates an entry: * is any ending, … is one to three words, a full stop is the
// end of a clause.
func (r rule) expression(entry string) string {
	const word = `[\pL\pN'’/_-]+`
	entry, clause := strings.CutSuffix(entry, ".")
	var parts []string
	for part := range strings.FieldsSeq(entry) {
		switch {
		case part == "…":
			parts = append(parts, word+`(?:\s+`+word+`){0,2}`)
		case strings.HasPrefix(part, "*"):
			parts = append(parts, `[\pL\pN_-]+`+regexp.QuoteMeta(part[1:]))
		default:
			stem, ending := strings.CutSuffix(part, "*")
			stem = strings.ReplaceAll(regexp.QuoteMeta(stem), "'", "['’]")
			if ending {
				stem += `\w*`
			}
			parts = append(parts, stem)
		}
	}
	text := `(?i)\b` + strings.Join(parts, `\s+`) + `\b`
	if clause {
		text += `\s*(?:[.,;:!?)]|$)`
	}
	return text
}

// find returns the offsets of the rule's hits in a block of prose.
func (r rule) find(p prose) []int {
	var found []int
	for _, at := range r.pattern.FindAllStringIndex(p.text, -1) {
		begin := at[0]
		if r.except != nil && r.except.MatchString(p.text[begin:]) {
			continue
		}
		if r.first && (!p.beginsSentence(begin) || p.isQuestion(begin)) {
			continue
		}
		found = append(found, begin)
	}
	return found
}

// hit is one word that is not to be written.
type hit struct {
	file string
	line int
	word string
	rule rule
}

// checker holds the rules against prose.
type checker struct {
	rules []rule
	// any matches wherever one of the rules may.
	any *regexp.Regexp
}

func newChecker(rules []rule) checker {
	var all []string
	for _, r := range rules {
		all = append(all, r.pattern.String())
	}
	return checker{rules: rules, any: regexp.MustCompile(strings.Join(all, "|"))}
}

// foreign is how a line says that a word on it is the name of a foreign API.
var foreign = regexp.MustCompile(`words:api\s+(\S+)`)

func (c checker) check(f file, blocks []prose) []hit {
	var hits []hit
	for _, p := range blocks {
		if !c.any.MatchString(p.text) {
			continue
		}
		for _, r := range c.rules {
			for _, at := range r.find(p) {
				word := strings.Join(strings.Fields(strings.TrimRight(r.pattern.FindString(p.text[at:]), ".,;:!?)")), " ")
				line := p.line(at)
				escaped := line <= len(f.lines) && slices.ContainsFunc(foreign.FindAllStringSubmatch(f.lines[line-1], -1),
					func(m []string) bool { return strings.EqualFold(m[1], word) })
				if !escaped {
					hits = append(hits, hit{file: f.name, line: line, word: word, rule: r})
				}
			}
		}
	}
	slices.SortStableFunc(hits, func(a, b hit) int { return a.line - b.line })
	return hits
}

// TestWords holds what the repository says against the list in CONTRIBUTING.md. With WORDS=files
// it prints how many hits each file has, with WORDS=all every hit.
func TestWords(t *testing.T) {
	began := time.Now()
	list := files(t, func(name string) bool { return name == "CONTRIBUTING.md" })
	c := newChecker(readRules(t, list[0]))
	all := files(t, isProse)
	var hits []hit
	perFile := make(map[string]int)
	for _, f := range all {
		found := c.check(f, proseOf(t, f))
		perFile[f.name] = len(found)
		hits = append(hits, found...)
	}
	reportCounts(t, perFile)
	for i, h := range hits {
		if i == maxReported && os.Getenv("WORDS") != "all" {
			t.Errorf("and %d more; WORDS=all lists them", len(hits)-maxReported)
			break
		}
		t.Errorf("%s:%d: %q: write %s", h.file, h.line, h.word, h.rule.instead)
	}
	t.Logf("%d hits in %d files, read in %.1f s", len(hits), len(all), time.Since(began).Seconds())
}

func reportCounts(t *testing.T, perFile map[string]int) {
	t.Helper()
	if os.Getenv("WORDS") == "" {
		return
	}
	perFolder := make(map[string]int)
	for _, name := range slices.Sorted(maps.Keys(perFile)) {
		folder, _, inside := strings.Cut(name, "/")
		if !inside {
			folder = "."
		}
		perFolder[folder] += perFile[name]
		if n := perFile[name]; n > 0 {
			t.Logf("%4d %s", n, name)
		}
	}
	for _, folder := range slices.Sorted(maps.Keys(perFolder)) {
		t.Logf("%4d in %s", perFolder[folder], folder)
	}
}

// The examples next to the list: each sentence before is found, each after is not.
func TestWordsExamples(t *testing.T) {
	list := files(t, func(name string) bool { return name == "CONTRIBUTING.md" })
	c := newChecker(readRules(t, list[0]))
	found := 0
	for i, line := range list[0].lines {
		if line != "| before | after |" {
			continue
		}
		for _, row := range list[0].lines[i+2:] {
			cells := strings.Split(row, "|")
			if len(cells) != 4 {
				break
			}
			found++
			for n, cell := range cells[1:3] {
				sentence := strings.TrimSpace(cell)
				hits := c.check(file{}, []prose{{text: sentence}})
				if wanted := n == 0; wanted != (len(hits) > 0) {
					t.Errorf("in %q there are the hits %v", sentence, hits)
				}
			}
		}
	}
	if found != 5 {
		t.Errorf("CONTRIBUTING.md has %d examples, want 5", found)
	}
}

// Every kind of file is read as far as it is prose, and no further.
func TestWordsReadsProse(t *testing.T) {
	c := newChecker([]rule{newRule("wibble", ""), newRule("Whence …", ""), newRule("of … *'s.", "")})
	for _, tt := range []struct{ name, text, want string }{
		{"a.go", "package a\n\n// Wibble asks.\nconst wibble = \"wibble\" + `is\nwibble`\n", "3:Wibble 4:wibble 5:wibble"},
		{"a.go", "package a\n\nimport \"example.com/wibble\"\n\nvar _ = struct {\n\tF int `json:\"f\" desc:\"Whence is it.\"`\n}{}\n", "6:Whence is it"},
		{"a.go", "package a\n\ntype d struct {\n\t// Whence names the object.\n\tWhence string\n}\n", ""},
		{"a.go", "package a\n\n// It asks\n// wibble. Whence is this?\nvar _ int //words:api wibble\n", "4:wibble"},
		{"a.go", "package a\n\nvar _ = \"wibble\" //words:api wibble\n", ""},
		{"a.md", "Whence is it? Whence it is.\n\n    wibble\n\n`wibble` and [wibble](wibble)\n", "1:Whence it is 5:wibble"},
		{"a.md", "| Whence it is | x |\n|---|---|\n| a route of the release" + "'s, or | wibble |\n", "1:Whence it is 3:of the release" + "'s 3:wibble"},
		{"a.yml", "wibble: x # Wibble\nkey: wibble\n# Whence\n# is it.\n", "1:Wibble 2:wibble 3:Whence is it"},
		{"charts/x/templates/a.yaml", "{{- /* wibble */}}\nname: {{ .wibble }} {{ fail \"wibble\" }}\n", "1:wibble 2:wibble"},
		{"a.html", "<p class=\"wibble\" title=\"Wibble\">Whence it is</p>\n", "1:Wibble 1:Whence it is"},
		{"a.txtar", "-- wibble --\nreason: wibble\n", "2:wibble"},
		{"Makefile", "wibble: ## wibble\n\twibble\n", "1:wibble"},
	} {
		f := file{name: tt.name, lines: strings.Split(strings.TrimSuffix(tt.text, "\n"), "\n")}
		var found []string
		for _, h := range c.check(f, proseOf(t, f)) {
			found = append(found, fmt.Sprintf("%d:%s", h.line, h.word))
		}
		if got := strings.Join(found, " "); got != tt.want {
			t.Errorf("%s: %q: found %q, want %q", path.Ext(tt.name), tt.text, got, tt.want)
		}
	}
}
