package docs_test

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// root is the repository's, seen from this package.
const root = ".."

// file is a text file of the repository.
type file struct {
	// name is the path in the repository, with slashes.
	name  string
	lines []string
}

// files returns the text files of the repository for which wanted returns true, in the order of
// their names.
func files(t *testing.T, wanted func(name string) bool) []file {
	t.Helper()
	var all []file
	err := filepath.WalkDir(root, func(where string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, where)
		name = filepath.ToSlash(name)
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains([]string{".git", "bin", ".bin", "vendor"}, entry.Name()):
			return filepath.SkipDir
		case !entry.Type().IsRegular() || !wanted(name):
			return nil
		}
		text, err := os.ReadFile(where)
		all = append(all, file{name: name, lines: strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func isMarkdown(name string) bool { return path.Ext(name) == ".md" }

var (
	fence    = regexp.MustCompile("^\\s*(```+|~~~+)")
	listItem = regexp.MustCompile(`^(\s*)([-*+]|\d+[.)])(\s+)\S`)
	heading  = regexp.MustCompile(`^#{1,6}\s+(.*?)\s*#*$`)
)

// markdown returns the lines of a Markdown file with every line of a code block, fenced or
// indented, replaced by an empty one.
func markdown(lines []string) []string {
	prose := make([]string, len(lines))
	fenced := ""
	// content is where the text of the innermost list item begins; code is four columns further.
	content, blank, inCode := 0, true, false
	for i, line := range lines {
		if mark := fence.FindStringSubmatch(line); mark != nil && (fenced == "" || strings.HasPrefix(mark[1], fenced)) {
			if fenced == "" {
				fenced = mark[1]
			} else {
				fenced = ""
			}
			continue
		}
		if fenced != "" {
			continue
		}
		if strings.TrimSpace(line) == "" {
			blank = true
			continue
		}
		indent := len(line) - len(strings.TrimLeft(line, " "))
		inCode = indent >= content+4 && (blank || inCode)
		blank = false
		if inCode {
			continue
		}
		prose[i] = line
		if item := listItem.FindStringSubmatch(line); item != nil {
			content = len(item[1]) + len(item[2]) + len(item[3])
		} else if indent < content {
			content = 0
		}
	}
	return prose
}

var backticks = regexp.MustCompile("`+")

// blankCode replaces code spans, which may begin on one line and end on another, by the letter X,
// as many as there are bytes.
func blankCode(lines []string) []string {
	text := strings.Join(lines, "\n")
	for from := 0; ; {
		open := backticks.FindStringIndex(text[from:])
		if open == nil {
			return strings.Split(text, "\n")
		}
		begin, end := from+open[0], from+open[1]
		paragraph, _, _ := strings.Cut(text[end:], "\n\n")
		from = end // without its like the mark is text
		for _, shut := range backticks.FindAllStringIndex(paragraph, -1) {
			if shut[1]-shut[0] == end-begin {
				from = end + shut[1]
				text = text[:begin] + blank(text[begin:from], "X") + text[from:]
				break
			}
		}
	}
}

// blank replaces a text by as many bytes of another one, and leaves lines as long as they are.
func blank(text, by string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.Repeat(by, len(line))
	}
	return strings.Join(lines, "\n")
}

var (
	// linkTarget is what follows the text of a link, which may begin on an earlier line.
	linkTarget  = regexp.MustCompile(`\]\(\s*<?([^()\s<>]*(?:\([^()\s]*\))?[^()\s<>]*)>?(?:\s+"[^"]*")?\s*\)`)
	htmlTag     = regexp.MustCompile(`</?[A-Za-z][^>]*>`)
	punctuation = regexp.MustCompile(`[^\p{L}\p{M}\p{N}\p{Pc}\- ]`)
)

// anchors returns the anchors of a Markdown file as GitHub makes them: the text of a heading
// in lower case, without punctuation, with hyphens for spaces; the second of the same name ends
// in -1. Names of HTML elements are anchors as they are.
// https://docs.github.com/en/get-started/writing-on-github/getting-started-with-writing-and-formatting-on-github/basic-writing-and-formatting-syntax#section-links
func anchors(lines []string) map[string]bool {
	found, seen := make(map[string]bool), make(map[string]int)
	for _, line := range markdown(lines) {
		for _, id := range regexp.MustCompile(`<[^>]*\b(?:id|name)="([^"]+)"`).FindAllStringSubmatch(line, -1) {
			found[id[1]] = true
		}
		text := heading.FindStringSubmatch(line)
		if text == nil {
			continue
		}
		title := linkTarget.ReplaceAllString(text[1], "")
		title = strings.ToLower(htmlTag.ReplaceAllString(title, ""))
		title = strings.ReplaceAll(punctuation.ReplaceAllString(title, ""), " ", "-")
		anchor := title
		if n := seen[title]; n > 0 {
			anchor += "-" + strconv.Itoa(n)
		}
		seen[title]++
		found[anchor] = true
	}
	return found
}
