package docs_test

import (
	"path"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"
)

// The marks around the list of words in CONTRIBUTING.md, which is not held against itself.
const (
	wordsBegin = "<!-- words -->"
	wordsEnd   = "<!-- /words -->"
)

// prose is one paragraph, comment, string, heading or table cell: what may hold a sentence, on one
// line of text.
type prose struct {
	text string
	// starts are the offsets in text at which lines of the file begin, the first of them at 0.
	starts []int
	// lines are the numbers of these lines.
	lines []int
	// part says that it may begin in the middle of a sentence, named that it begins with the name
	// of the declaration that it is about.
	part, named bool
}

// add appends a line of the file.
func (p *prose) add(text string, line int) {
	if p.text != "" {
		p.text += " "
	}
	p.starts, p.lines = append(p.starts, len(p.text)), append(p.lines, line)
	p.text += text
}

// line returns the number of the line that an offset is on.
func (p *prose) line(offset int) int {
	if len(p.lines) == 0 {
		return 1
	}
	return p.lines[max(sort.SearchInts(p.starts, offset+1)-1, 0)]
}

var (
	sentenceEnd = regexp.MustCompile(`[.!?]["')\]]*\s+["'(\[]*$`)
	nextEnd     = regexp.MustCompile(`[.!?](?:["')\]]*\s|["')\]]*$)`)
)

func (p *prose) beginsSentence(offset int) bool {
	before := p.text[:offset]
	if strings.Trim(before, " \t*_\"'(") == "" {
		return !p.named && (!p.part || p.text[offset] >= 'A' && p.text[offset] <= 'Z')
	}
	return sentenceEnd.MatchString(before) && p.text[offset] >= 'A' && p.text[offset] <= 'Z'
}

func (p *prose) isQuestion(offset int) bool {
	end := nextEnd.FindStringIndex(p.text[offset:])
	return end != nil && p.text[offset+end[0]] == '?'
}

// isProse reports whether a file is held against the list.
func isProse(name string) bool {
	base := path.Base(name)
	return base != "go.sum" && readerOf(name) != nil
}

// reader returns the prose of a file.
type reader func(t *testing.T, f file) []prose

func readerOf(name string) reader {
	base, ext := path.Base(name), path.Ext(name)
	template := strings.HasPrefix(name, "charts/") && strings.Contains(name, "/templates/")
	switch {
	case ext == ".go":
		return goProse
	case ext == ".md", ext == ".gotmpl":
		return markdownProse
	case template && (ext == ".yaml" || ext == ".tpl" || ext == ".txt"), ext == ".html", ext == ".svg", ext == ".tmpl":
		return templateProse
	case ext == ".yml", ext == ".yaml":
		return yamlProse
	case ext == ".txtar", ext == ".txt":
		return textProse
	case ext == ".json":
		return stringProse
	case ext == ".js", ext == ".css":
		return scriptProse
	case base == "Makefile", base == "Dockerfile", base == "run", base == ".dockerignore", base == ".gitignore", base == ".helmignore":
		return commentProse
	}
	return nil
}

var generated = regexp.MustCompile(`(?i)\bdo not edit\b`)

// proseOf returns what the list is held against.
func proseOf(t *testing.T, f file) []prose {
	t.Helper()
	if slices.ContainsFunc(f.lines[:min(3, len(f.lines))], generated.MatchString) {
		return nil
	}
	blocks := readerOf(f.name)(t, f)
	for i := range blocks {
		blocks[i].text = blankURLs(blocks[i].text)
	}
	return blocks
}

var address = regexp.MustCompile(`\b[a-z][a-z+]*://[^\s"'<>)]+`)

// blankURLs replaces addresses by something of the same length.
func blankURLs(text string) string {
	return address.ReplaceAllStringFunc(text, func(s string) string { return strings.Repeat("x", len(s)) })
}

// grouped joins lines with the same group, which is not "", to paragraphs.
func grouped(lines []string, text func(line string) (paragraph, text string)) []prose {
	var blocks []prose
	last := ""
	for i, line := range lines {
		group, text := text(line)
		if group == "" || group != last {
			blocks = append(blocks, prose{})
		}
		if last = group; text != "" {
			blocks[len(blocks)-1].add(text, i+1)
		}
	}
	return slices.DeleteFunc(blocks, func(p prose) bool { return p.text == "" })
}

var (
	quotedBlock = regexp.MustCompile(`^\s*(?:>\s?)+`)
	tableRow    = regexp.MustCompile(`^\s*\|.*\|\s*$`)
	listMark    = regexp.MustCompile(`^\s*(?:[-*+]|\d+[.)])\s+(?:\[[ x]\]\s+)?`)
)

func markdownProse(_ *testing.T, f file) []prose {
	lines := markdown(f.lines)
	inList := false
	for i, line := range lines {
		if line == wordsBegin || line == wordsEnd {
			inList = line == wordsBegin
		}
		if inList {
			lines[i] = ""
		}
	}
	lines = blankCode(lines)
	for i, line := range lines {
		line = quotedBlock.ReplaceAllString(line, "")
		for _, pattern := range []*regexp.Regexp{linkTarget, htmlTag, action} {
			line = pattern.ReplaceAllStringFunc(line, func(s string) string { return blank(s, " ") })
		}
		lines[i] = strings.NewReplacer("![", "  ", "[", " ").Replace(line)
	}
	var blocks []prose
	open := false
	for i, line := range lines {
		title := heading.FindStringSubmatch(line)
		switch {
		case strings.TrimSpace(line) == "":
			open = false
			continue
		case tableRow.MatchString(line):
			for cell := range strings.SplitSeq(strings.Trim(strings.TrimSpace(line), "|"), "|") {
				blocks = append(blocks, prose{})
				blocks[len(blocks)-1].add(strings.TrimSpace(cell), i+1)
			}
			open = false
			continue
		case title != nil:
			line, open = title[1], false
		case listMark.MatchString(line):
			line, open = listMark.ReplaceAllString(line, ""), false
		}
		if !open {
			blocks = append(blocks, prose{})
		}
		blocks[len(blocks)-1].add(strings.TrimSpace(line), i+1)
		open = title == nil
	}
	return blocks
}

var archived = regexp.MustCompile(`^-- .* --$`)

// textProse takes every line by itself.
func textProse(_ *testing.T, f file) []prose {
	var blocks []prose
	for i, line := range f.lines {
		if !archived.MatchString(line) {
			blocks = append(blocks, prose{text: line, starts: []int{0}, lines: []int{i + 1}, part: true})
		}
	}
	return blocks
}

var jsonValue = regexp.MustCompile(`(?:^|[:\[,])\s*("(?:[^"\\]|\\.)*")\s*[,}\]]*\s*$`)

// stringProse returns the values of JSON that are strings, one a line.
func stringProse(_ *testing.T, f file) []prose {
	var blocks []prose
	for i, line := range f.lines {
		for _, value := range jsonValue.FindAllStringSubmatch(line, -1) {
			blocks = append(blocks, literalProse(value[1], i+1)...)
		}
	}
	return blocks
}

var script = regexp.MustCompile("\"(?:[^\"\\\\]|\\\\.)*\"|'(?:[^'\\\\]|\\\\.)*'|`[^`]*`|/\\*.*?\\*/|//.*$")

func scriptProse(_ *testing.T, f file) []prose {
	return grouped(f.lines, func(line string) (paragraph, text string) {
		if comment, ok := strings.CutPrefix(strings.TrimSpace(line), "//"); ok {
			return "comment", strings.TrimSpace(comment)
		}
		return "", strings.Join(script.FindAllString(line, -1), " ")
	})
}

// commentProse returns comments that begin with a number sign.
func commentProse(_ *testing.T, f file) []prose {
	return grouped(f.lines, func(line string) (paragraph, text string) {
		if comment, ok := strings.CutPrefix(line, "#"); ok {
			return "comment", strings.TrimSpace(strings.TrimLeft(comment, "#!"))
		}
		_, comment, _ := strings.Cut(line, " ##")
		return "", strings.TrimSpace(comment)
	})
}
