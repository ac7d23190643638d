package guide

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// block is a block of commands on the page.
type block struct {
	// line is the line on which its commands begin, section the heading above them.
	line    int
	section string
	// commands are for bash.
	commands string
	// why says why the test does not run it; "": it does.
	why string
	// prints are lines of its output, in this order; "..." matches anything.
	prints []string
}

// The marks are comments, which the rendered page does not show.
var mark = regexp.MustCompile(`^<!-- (run|prints|not run here: (.+)) -->$`)

const (
	listBegin = "<!-- what is not run -->"
	listEnd   = "<!-- /what is not run -->"
	indent    = "    "
)

// readBlocks returns the blocks of a page, or all errors, joined. Blocks are indented by four spaces; each has a mark before it, with only blank lines between
// them. The output of a block is a block of its own, right after it.
func readBlocks(page string) ([]block, error) {
	var r reader
	lines := strings.Split(page, "\n")
	for i := 0; i < len(lines); i++ {
		line, code := lines[i], isCode(lines[i]) && (i == 0 || lines[i-1] == "")
		if line == "" {
			continue
		}
		if found := mark.FindStringSubmatch(line); found != nil {
			r.marked(i+1, found)
			continue
		}
		if code {
			from := i
			for i+1 < len(lines) && (isCode(lines[i+1]) || lines[i+1] == "") {
				i++
			}
			r.block(from+1, lines[from:i+1])
			continue
		}
		r.text(i+1, line)
	}
	r.text(len(lines), "")
	return r.blocks, errors.Join(r.errs...)
}

func isCode(line string) bool { return strings.HasPrefix(line, indent) }

// reader reads a page from its top.
type reader struct {
	section string
	pending []string // the last mark, until its block comes
	blocks  []block
	errs    []error
}

func (r *reader) fail(line int, text string) {
	r.errs = append(r.errs, fmt.Errorf("line %d: %s", line, text))
}

func (r *reader) marked(line int, found []string) {
	if r.pending != nil {
		r.fail(line, "a mark after a mark without a block")
	}
	r.pending = found
}

// text reads a line that is neither a mark nor in a block.
func (r *reader) text(line int, text string) {
	if r.pending != nil {
		r.fail(line, "the mark before it has no block")
	}
	r.pending = nil
	if strings.HasPrefix(text, "#") {
		r.section = strings.TrimLeft(text, "# ")
	}
	if strings.HasPrefix(text, "```") {
		r.fail(line, "a fence; blocks are indented by four spaces, as in all documents here")
	}
}

func (r *reader) block(line int, lines []string) {
	var text []string
	for _, l := range lines {
		text = append(text, strings.TrimPrefix(l, indent))
	}
	commands := strings.TrimRight(strings.Join(text, "\n"), "\n")
	found := r.pending
	r.pending = nil
	switch last := len(r.blocks) - 1; {
	case found == nil:
		r.fail(line, "a block without a mark: <!-- run -->, <!-- prints --> or <!-- not run here: why -->")
	case found[1] != "prints":
		r.blocks = append(r.blocks, block{line: line, section: r.section, commands: commands, why: found[2]})
	case last < 0 || r.blocks[last].why != "" || r.blocks[last].prints != nil:
		r.fail(line, "the block before this output is not run")
	default:
		r.blocks[last].prints = strings.Split(commands, "\n")
	}
}

// list returns a table of the blocks that are not run, by their first lines.
func list(blocks []block) string {
	var text strings.Builder
	text.WriteString("| section | begins with | because |\n|---|---|---|\n")
	for _, b := range blocks {
		if b.why != "" {
			first, _, _ := strings.Cut(b.commands, "\n")
			fmt.Fprintf(&text, "| %s | `%s` | %s |\n", b.section, strings.TrimSuffix(first, ` \`), b.why)
		}
	}
	return text.String()
}

// withList returns the page with the list of its blocks.
func withList(page string, blocks []block) (string, error) {
	before, rest, ok := strings.Cut(page, listBegin+"\n")
	_, after, ended := strings.Cut(rest, listEnd)
	if !ok || !ended {
		return "", fmt.Errorf("the page has no %s and %s", listBegin, listEnd)
	}
	return before + listBegin + "\n\n" + list(blocks) + "\n" + listEnd + after, nil
}

// missing returns the first of the wanted lines that does not follow the ones before it in the output; "": all do.
func missing(output string, wanted []string) string {
	lines := strings.Split(output, "\n")
	for _, w := range wanted {
		words := strings.Fields(w)
		for i := range words {
			words[i] = strings.ReplaceAll(regexp.QuoteMeta(words[i]), `\.\.\.`, `.*`)
		}
		pattern := regexp.MustCompile(`^\s*` + strings.Join(words, `\s*`) + `\s*$`)
		for len(lines) > 0 && !pattern.MatchString(lines[0]) {
			lines = lines[1:]
		}
		if len(lines) == 0 {
			return w
		}
		lines = lines[1:]
	}
	return ""
}
