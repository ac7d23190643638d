package helm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
	"helm.sh/helm/v3/pkg/release"
)

// Bounds of the manifest and the hooks of a revision together: the decoders take up to
// two hundred bytes for a node of YAML, which can be two bytes long.
const (
	// maxDocuments bounds the documents. Charts declare some hundred objects.
	maxDocuments = 10_000
	// maxDocument bounds one document with its aliases resolved, in bytes. The API server
	// stores objects of up to 1.5 MB.
	maxDocument = 4 << 20
	// maxDocumentNodes bounds the nodes of one document with its aliases resolved.
	maxDocumentNodes = 300_000
	// maxNodes bounds the characters of all documents that may begin a node.
	maxNodes = 500_000
	// maxRealNodes bounds the nodes of all documents. A rollback of two revisions with so many
	// takes some 70 MiB: it decodes and builds both, and reads the live objects. Dashboards and
	// scripts have many more characters that may begin one, in long texts.
	maxRealNodes = 80_000
	// maxManifests bounds the text of the manifest and the hooks, in bytes.
	maxManifests = 8 << 20
	// maxHooks bounds the hooks.
	maxHooks = 1000
)

// checkManifests returns errTooLarge if the manifest and the hooks of a revision exceed a
// bound, and another error if Helm would panic on them. It decodes a document only if there
// may be too many nodes, one at a time over all releases.
func checkManifests(ctx context.Context, stored *release.Release, d decoding) error {
	if len(stored.Hooks) > maxHooks {
		return fmt.Errorf("%w: it has more than %d hooks", errTooLarge, maxHooks)
	}
	var size manifestSize
	text := len(stored.Manifest)
	if err := size.add(stored.Manifest, checkDocument); err != nil {
		return fmt.Errorf("its manifest: %w", err)
	}
	for _, hook := range stored.Hooks {
		if hook == nil {
			return errors.New("one of its hooks is empty")
		}
		text += len(hook.Manifest)
		if err := size.add(hook.Manifest, checkDocument); err != nil {
			return fmt.Errorf("its hooks: %w", err)
		}
	}
	switch {
	case text > maxManifests:
		return fmt.Errorf("%w: its manifest and hooks have more than %d MiB", errTooLarge, maxManifests>>20)
	case size.nodes > maxRealNodes:
		return countNodes(ctx, stored, d)
	}
	return nil
}

// countNodes returns errTooLarge if the manifest and the hooks have too many nodes.
func countNodes(ctx context.Context, stored *release.Release, d decoding) error {
	end, err := d.begin(ctx, maxDecoding)
	if err != nil {
		return err
	}
	defer end()
	texts := []string{stored.Manifest}
	for _, hook := range stored.Hooks {
		texts = append(texts, hook.Manifest)
	}
	var size manifestSize
	for _, text := range texts {
		if err := size.add(text, realNodesOf); err != nil {
			return err
		}
		if size.nodes > maxRealNodes {
			return fmt.Errorf("%w: it has more than %d nodes", errTooLarge, maxRealNodes)
		}
	}
	return nil
}

// realNodesOf returns the nodes of one document with its aliases resolved, or more.
func realNodesOf(document string) (int, error) {
	most := maxNodesOf(document)
	if most < fewNodes && !mayHaveAliases(document) {
		return most, nil
	}
	return resolve(document)
}

// fewNodes are so few that they are not counted exactly.
const fewNodes = 100

// manifestSize is the number of documents and nodes in some manifests.
type manifestSize struct{ documents, nodes int }

// add adds those of a manifest, which it splits as the decoder does and counts by the
// function. It returns errTooLarge if that exceeds a bound.
func (m *manifestSize) add(manifest string, count func(document string) (int, error)) error {
	for rest := manifest; rest != ""; {
		document := rest
		if end := strings.Index(rest, "\n---"); end >= 0 {
			document = rest[:end+1]
		}
		rest = rest[len(document):]
		m.documents++
		nodes, err := count(document)
		if err != nil {
			return err
		}
		m.nodes += nodes
		switch {
		case m.documents > maxDocuments:
			return fmt.Errorf("%w: it has more than %d documents", errTooLarge, maxDocuments)
		case m.nodes > maxNodes:
			return fmt.Errorf("%w: it has more than %d nodes", errTooLarge, maxNodes)
		}
	}
	return nil
}

// checkDocument returns the nodes of one document, or more, or errTooLarge.
func checkDocument(document string) (int, error) {
	if len(document) > maxDocument {
		return 0, fmt.Errorf("%w: a document has more than %d MiB", errTooLarge, maxDocument>>20)
	}
	nodes := maxNodesOf(document)
	if nodes > maxDocumentNodes {
		return 0, fmt.Errorf("%w: a document has more than %d nodes", errTooLarge, maxDocumentNodes)
	}
	if !mayHaveAliases(document) {
		return nodes, nil
	}
	resolved, err := resolve(document)
	return max(nodes, resolved), err
}

// maxNodesOf returns the characters of a document that may begin a node of YAML or JSON. A
// long text in it may have many of them, too.
func maxNodesOf(document string) int {
	nodes := 1
	for i := range len(document) {
		switch document[i] {
		case '{', '[', ',', ':':
			nodes++
		case '-', '?':
			if i+1 == len(document) || document[i+1] == ' ' || document[i+1] == '\t' || document[i+1] == '\n' || document[i+1] == '\r' {
				nodes++
			}
		}
	}
	return nodes
}

// mayHaveAliases reports whether an alias in the document may refer to an anchor in it.
// Scripts have & and * too, but rarely in front of the same name.
func mayHaveAliases(document string) bool {
	anchors := names(document, '&')
	if len(anchors) == 0 {
		return false
	}
	for alias := range names(document, '*') {
		if anchors[alias] {
			return true
		}
	}
	return false
}

// names returns the names in a document that follow the mark.
func names(document string, mark byte) map[string]bool {
	found := make(map[string]bool)
	for rest := document; ; {
		i := strings.IndexByte(rest, mark)
		if i < 0 {
			return found
		}
		rest = rest[i+1:]
		if end := nameEnd(rest); end > 0 {
			found[rest[:end]] = true
		}
	}
}

// nameEnd returns the length of the anchor's name with which the text begins.
func nameEnd(text string) int {
	end := strings.IndexFunc(text, func(r rune) bool {
		return r != '_' && r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
	if end < 0 {
		return len(text)
	}
	return end
}

// resolve returns how many nodes a document has with its aliases resolved, or errTooLarge.
// go-yaml bounds that to four million, and does not bound the text.
func resolve(document string) (int, error) {
	var root yaml.Node
	err := yaml.NewDecoder(strings.NewReader(document)).Decode(&root)
	if errors.Is(err, io.EOF) {
		return 0, nil // nothing but comments
	}
	if err != nil {
		return 0, fmt.Errorf("decode its YAML: %w", err)
	}
	size, err := (resolver{}).size(&root)
	if err != nil {
		return 0, err
	}
	return size.nodes, nil
}

// resolver has the sizes of the nodes to which aliases refer; nil for one that is being
// measured.
type resolver map[*yaml.Node]*nodeSize

// nodeSize is the size of a node with its aliases resolved; bytes are those of its text.
type nodeSize struct{ nodes, bytes int }

func (r resolver) size(n *yaml.Node) (nodeSize, error) {
	if n.Kind == yaml.AliasNode {
		return r.target(n.Alias)
	}
	size := nodeSize{nodes: 1, bytes: len(n.Value)}
	for _, child := range n.Content {
		s, err := r.size(child)
		if err != nil {
			return size, err
		}
		size.nodes += s.nodes
		size.bytes += s.bytes
		if size.nodes > maxDocumentNodes || size.bytes > maxDocument {
			return size, fmt.Errorf("%w: its YAML aliases resolve to more than %d nodes or %d MiB", errTooLarge, maxDocumentNodes, maxDocument>>20)
		}
	}
	return size, nil
}

// target returns the size of a node to which an alias refers.
func (r resolver) target(n *yaml.Node) (nodeSize, error) {
	known, found := r[n]
	switch {
	case known != nil:
		return *known, nil
	case found:
		return nodeSize{}, errors.New("a YAML alias refers to itself")
	}
	r[n] = nil
	size, err := r.size(n)
	r[n] = &size
	return size, err
}
