package docs_test

import (
	"path"
	"regexp"
	"strings"
	"testing"
)

var (
	yamlKey     = regexp.MustCompile(`^\s*(?:-\s+)*(?:["']?[\w./$-]+["']?:(?:\s+[|>][+-]?\s*$|\s+|$))?`)
	yamlComment = regexp.MustCompile(`(?:^|\s)#+\s?(.*)$`)
	yamlQuoted  = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|'[^']*'`)
)

// yamlProse returns comments and values. Keys are names, not prose.
func yamlProse(_ *testing.T, f file) []prose {
	blocks := grouped(f.lines, func(line string) (paragraph, text string) {
		trimmed := strings.TrimSpace(line)
		if strings.HasPrefix(trimmed, "#") {
			if text = strings.TrimLeft(trimmed, "# "); text == "" || strings.HasPrefix(text, "-- ") || strings.HasPrefix(text, "@") {
				return "", strings.TrimPrefix(text, "-- ")
			}
			return "comment", text
		}
		key := yamlKey.FindString(line)
		if value := line[len(key):]; strings.TrimSpace(key) == "" && value != "" {
			return "value", withoutComment(value)
		}
		return "", withoutComment(line[len(key):])
	})
	for i, line := range f.lines {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		bare := yamlQuoted.ReplaceAllStringFunc(line, func(s string) string { return strings.Repeat("x", len(s)) })
		if at := yamlComment.FindStringSubmatchIndex(bare); at != nil {
			blocks = append(blocks, prose{text: line[at[2]:at[3]], starts: []int{0}, lines: []int{i + 1}})
		}
	}
	return blocks
}

func withoutComment(value string) string {
	bare := yamlQuoted.ReplaceAllStringFunc(value, func(s string) string { return strings.Repeat("x", len(s)) })
	if at := yamlComment.FindStringIndex(bare); at != nil {
		value = value[:at[0]]
	}
	return strings.TrimSpace(value)
}

var (
	action        = regexp.MustCompile(`(?s)\{\{.*?\}\}`)
	actionComment = regexp.MustCompile(`(?s)^\{\{-?\s*/\*(.*)\*/\s*-?\}\}$`)
	attribute     = regexp.MustCompile(`\b(?:title|alt|aria-label|placeholder|content)="([^"]*)"`)
	markup        = regexp.MustCompile(`(?s)<[^>]*>`)
	styleSheet    = regexp.MustCompile(`(?s)<style>.*?</style>`)
	markupComment = regexp.MustCompile(`(?s)<!--(.*?)-->`)
	inner         = regexp.MustCompile("\"((?:[^\"\\\\]|\\\\.)*)\"|`([^`]*)`")
)

// templateProse returns the comments and strings of a template, and the text around its actions.
func templateProse(t *testing.T, f file) []prose {
	text := strings.Join(f.lines, "\n")
	var blocks []prose
	note := func(offset int, piece string) {
		first := 1 + strings.Count(text[:offset], "\n")
		var p prose
		for i, part := range strings.Split(piece, "\n") {
			p.add(strings.TrimSpace(part), first+i)
		}
		blocks = append(blocks, p)
	}
	without := func(pattern *regexp.Regexp, text string) string {
		return pattern.ReplaceAllStringFunc(text, func(s string) string { return blank(s, " ") })
	}
	for _, at := range action.FindAllStringIndex(text, -1) {
		whole := text[at[0]:at[1]]
		if c := actionComment.FindStringSubmatch(whole); c != nil {
			note(at[0], c[1])
			continue
		}
		for _, s := range inner.FindAllStringSubmatchIndex(whole, -1) {
			note(at[0]+s[0], strings.Trim(whole[s[0]:s[1]], "\"`"))
		}
	}
	// An action is read as one word, unless it is a comment.
	rest := action.ReplaceAllStringFunc(text, func(s string) string {
		if actionComment.MatchString(s) || strings.Contains(s, "\n") {
			return strings.Repeat("\n", strings.Count(s, "\n"))
		}
		return "X"
	})
	plain := file{name: f.name, lines: strings.Split(rest, "\n")}
	if ext := path.Ext(f.name); ext == ".yaml" || ext == ".tpl" {
		return append(blocks, yamlProse(t, plain)...)
	}
	for _, pattern := range []*regexp.Regexp{attribute, markupComment} {
		for _, at := range pattern.FindAllStringSubmatchIndex(rest, -1) {
			first := 1 + strings.Count(rest[:at[2]], "\n")
			blocks = append(blocks, prose{
				text: strings.Join(strings.Fields(rest[at[2]:at[3]]), " "), starts: []int{0}, lines: []int{first},
			})
		}
	}
	rest = without(markupComment, without(styleSheet, rest))
	// Elements divide the text.
	line := 1
	for _, piece := range strings.SplitAfter(markup.ReplaceAllStringFunc(rest, func(s string) string {
		return strings.Repeat("\n", strings.Count(s, "\n")) + "\x00"
	}), "\x00") {
		var p prose
		for i, part := range strings.Split(strings.TrimSuffix(piece, "\x00"), "\n") {
			if part = strings.TrimSpace(part); part != "" {
				p.add(part, line+i)
			}
		}
		line += strings.Count(piece, "\n")
		if p.text != "" {
			blocks = append(blocks, p)
		}
	}
	return blocks
}
