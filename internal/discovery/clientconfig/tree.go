package clientconfig

import (
	"bytes"
	"fmt"
	"sort"
	"strings"
	"unicode/utf8"
)

// kind is the type of a node.
type kind uint8

const (
	null kind = iota
	boolean
	number
	text
	object
	list
)

// node is a value of a foreign file. Members keep their order and are not unique:
// which of two counts is for the reader to say. Nodes hold secrets, so none
// leaves this package.
type node struct {
	kind    kind
	text    string // of a scalar
	members []member
	items   []*node
	line    int // from 1
}

type member struct {
	key   string
	value *node
	line  int
	// merged says that a YAML merge key brought it: members written out win.
	merged bool
}

// document is a parsed file.
type document struct {
	roots []*node // one, but for YAML of several documents
	// loose are things only some readers accept, such as "a comment".
	loose []string
	// doubts are things readers take differently, besides repeated keys.
	doubts []string
}

// Bounds of parsing.
const (
	maxNesting = 64
	maxValues  = 500_000
	maxAliases = 10_000 // nodes that aliases of YAML stand for
)

// syntaxError says where a file stops being what it should be. It never quotes
// the file.
type syntaxError struct {
	why  string
	line int // from 1, 0 if not known
}

func (e *syntaxError) Error() string {
	if e.line == 0 {
		return e.why
	}
	return fmt.Sprintf("%s in line %d", e.why, e.line)
}

const bom = "\xef\xbb\xbf"

// clean checks what holds for text of every format, and takes off a byte order
// mark.
func clean(raw []byte) (body []byte, marked bool, err *syntaxError) {
	body, marked = bytes.CutPrefix(raw, []byte(bom))
	if bytes.HasPrefix(raw, []byte("\xff\xfe")) || bytes.HasPrefix(raw, []byte("\xfe\xff")) {
		return nil, false, &syntaxError{why: "UTF-16, which is not read"}
	}
	if i := bytes.IndexByte(body, 0); i >= 0 {
		return nil, marked, &syntaxError{why: "a NUL byte", line: lineAt(body, i)}
	}
	if !utf8.Valid(body) {
		i := 0
		for {
			r, n := utf8.DecodeRune(body[i:])
			if r == utf8.RuneError && n <= 1 {
				break
			}
			i += n
		}
		return nil, marked, &syntaxError{why: "no valid UTF-8", line: lineAt(body, i)}
	}
	return body, marked, nil
}

func lineAt(b []byte, offset int) int { return 1 + bytes.Count(b[:min(offset, len(b))], []byte("\n")) }

// lines finds the line of an offset.
type lines []int

func linesOf(b []byte) lines {
	var at lines
	for i, c := range b {
		if c == '\n' {
			at = append(at, i)
		}
	}
	return at
}

func (l lines) of(offset int) int { return 1 + sort.SearchInts(l, offset) }

// parse reads a file in one of the formats of the table.
func parse(raw []byte, format string) (*document, *syntaxError) {
	body, marked, err := clean(raw)
	if err != nil {
		return nil, err
	}
	var d *document
	switch format {
	case "json", "jsonc":
		d, err = parseJSON(body)
	case "json5":
		d, err = parseJSON5(body)
	case "yaml":
		d, err = parseYAML(body)
	case "toml":
		d, err = parseTOML(body)
	default:
		return nil, &syntaxError{why: "a format that is not read"}
	}
	if err != nil {
		return nil, err
	}
	if marked {
		d.loose = append(d.loose, "a byte order mark")
	}
	return d, nil
}

// values returns the members called key, in order: exactly, or also in another
// case. Members that were written out come before merged ones.
func (n *node) values(key string, fold bool) []*node {
	if n == nil || n.kind != object {
		return nil
	}
	var written, merged []*node
	for _, m := range n.members {
		if m.key == key || fold && strings.EqualFold(m.key, key) {
			if m.merged {
				merged = append(merged, m.value)
			} else {
				written = append(written, m.value)
			}
		}
	}
	if len(written) > 0 {
		return written
	}
	return merged
}
