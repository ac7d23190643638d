package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// goProse returns comments and string literals. A comment may begin with the name that it is
// about, whatever that is.
func goProse(t *testing.T, f file) []prose {
	t.Helper()
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, f.name, strings.Join(f.lines, "\n")+"\n", parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Errorf("%s is not read: %v", f.name, err)
		return nil
	}
	line := func(p token.Pos) int { return set.Position(p).Line }
	named, tags := make(map[*ast.CommentGroup]string), make(map[*ast.BasicLit]bool)
	var blocks []prose
	ast.Inspect(parsed, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.Field:
			if len(n.Names) > 0 {
				named[n.Doc] = n.Names[0].Name
			}
			if n.Tag != nil {
				blocks = append(blocks, tagProse(n.Tag.Value, line(n.Tag.Pos()))...)
				tags[n.Tag] = true
			}
		case *ast.FuncDecl:
			named[n.Doc] = n.Name.Name
		case *ast.TypeSpec:
			named[n.Doc] = n.Name.Name
		case *ast.ValueSpec:
			named[n.Doc] = n.Names[0].Name
		case *ast.BasicLit:
			if n.Kind == token.STRING && !tags[n] {
				blocks = append(blocks, literalProse(n.Value, line(n.Pos()))...)
			}
		}
		return true
	})
	for _, group := range parsed.Comments {
		blocks = append(blocks, goComment(group, line(group.Pos()), named[group])...)
	}
	return blocks
}

var tagValue = regexp.MustCompile(`(\w+):"((?:[^"\\]|\\.)*)"`)

func tagProse(tag string, line int) []prose {
	var blocks []prose
	for _, value := range tagValue.FindAllStringSubmatch(tag, -1) {
		blocks = append(blocks, prose{text: value[2], starts: []int{0}, lines: []int{line}})
	}
	return blocks
}

// literalProse returns the text of a string literal. Of one with several lines each is read by
// itself, for most are templates, YAML or tables.
func literalProse(literal string, line int) []prose {
	text, err := strconv.Unquote(literal)
	if err != nil {
		return nil
	}
	if literal[0] == '"' {
		return []prose{{text: strings.Join(strings.Fields(text), " "), starts: []int{0}, lines: []int{line}}}
	}
	var blocks []prose
	for i, part := range strings.Split(text, "\n") {
		blocks = append(blocks, prose{text: part, starts: []int{0}, lines: []int{line + i}, part: i > 0})
	}
	return blocks
}

var directive = regexp.MustCompile(`^//(?:go:\S.*|nolint:\S+\s*(?://)?|words:api.*)`)

func goComment(group *ast.CommentGroup, line int, name string) []prose {
	var lines []string
	for _, c := range group.List {
		text := directive.ReplaceAllString(c.Text, "//")
		text = strings.TrimSuffix(strings.TrimPrefix(text, "/*"), "*/")
		for part := range strings.SplitSeq(text, "\n") {
			lines = append(lines, strings.TrimPrefix(part, "//"))
		}
	}
	blocks := grouped(lines, func(line string) (paragraph, text string) {
		text = strings.TrimSpace(line)
		if strings.HasPrefix(line, "\t") || strings.HasPrefix(line, "  ") {
			return "", text
		}
		if text == "" {
			return "", ""
		}
		return "text", text
	})
	for i := range blocks {
		blocks[i].named = i == 0 && name != "" && strings.HasPrefix(blocks[i].text, name+" ")
		for n := range blocks[i].lines {
			blocks[i].lines[n] += line - 1
		}
	}
	return blocks
}
