package policy

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cedar-policy/cedar-go"
)

// Bounds of policy text. They keep a hostile or generated text from exhausting
// the stack of the recursive parser; people do not come near them.
const (
	maxText      = 1 << 20 // bytes of one Policy
	maxStatement = 1 << 16 // bytes of one Cedar policy
	maxNesting   = 64      // of brackets
	maxOperators = 2000    // dots, and other operators, of one Cedar policy
)

// piece is one Cedar policy as text, with where it begins in its Policy.
type piece struct {
	text      string
	line, col int // 1-based, of the first byte that is not space or comment
	nesting   int
	operators int
}

// split cuts Cedar text into its policies at each ";" that is not in a string
// or comment, so that a mistake in one does not hide the mistakes of the next.
func split(text string) []piece {
	var out []piece
	cur := piece{}
	start, line, col, depth := -1, 1, 1, 0
	flush := func(end int) {
		if start >= 0 {
			cur.text = text[start:end]
			out = append(out, cur)
		}
		cur, start, depth = piece{}, -1, 0
	}
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		if strings.HasPrefix(text[i:], "//") {
			end := strings.IndexByte(text[i:], '\n')
			if end < 0 {
				end = len(text) - i
			}
			col += utf8.RuneCountInString(text[i : i+end])
			i += end
			continue
		}
		if start < 0 && !strings.ContainsRune(" \t\r\n", r) {
			start, cur.line, cur.col = i, line, col
		}
		if r == '"' {
			n = stringLen(text[i:])
		}
		switch r {
		case '(', '[', '{':
			depth++
			cur.nesting = max(cur.nesting, depth)
		case ')', ']', '}':
			depth--
		case '.', '!', '-', '+', '*', '&', '|', '?':
			cur.operators++
		}
		for _, c := range text[i : i+n] {
			if c == '\n' {
				line, col = line+1, 1
			} else {
				col++
			}
		}
		i += n
		if r == ';' {
			flush(i)
		}
	}
	flush(len(text))
	return out
}

// stringLen returns the length of the string literal s begins with, up to the
// end of s if it is not closed.
func stringLen(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(s)
}

var position = regexp.MustCompile(`<input>:(\d+):(\d+) ?`)

// parse parses one piece. On error it returns the place in the Policy's text.
func (p piece) parse() (pol *cedar.Policy, line, col int, err error) {
	switch {
	case len(p.text) > maxStatement:
		return nil, p.line, p.col, fmt.Errorf("one policy has %d bytes, more than %d", len(p.text), maxStatement)
	case p.nesting > maxNesting:
		return nil, p.line, p.col, fmt.Errorf("brackets are nested more than %d deep", maxNesting)
	case p.operators > maxOperators:
		return nil, p.line, p.col, fmt.Errorf("one policy has more than %d operators; split it", maxOperators)
	}
	list, err := cedar.NewPolicyListFromBytes("", []byte(p.text))
	if err == nil && len(list) == 1 {
		return list[0], p.line, p.col, nil
	}
	if err == nil {
		return nil, p.line, p.col, fmt.Errorf("expected one policy, found %d", len(list))
	}
	line, col = p.line, p.col
	msg := strings.TrimPrefix(err.Error(), "parser error: ")
	if m := position.FindStringSubmatch(msg); m != nil {
		l, _ := strconv.Atoi(m[1])
		c, _ := strconv.Atoi(m[2])
		msg = strings.TrimPrefix(position.ReplaceAllString(msg, ""), "parse error at ")
		if m := expected.FindStringSubmatch(msg); m != nil {
			l, c = before(p.text, l, c, m[1])
			msg = fmt.Sprintf("expected %q, found %q", m[2], m[1])
			if m[1] == "" {
				msg = fmt.Sprintf("expected %q, found the end", m[2])
			}
		}
		line, col = p.at(l, c)
	}
	return nil, line, col, fmt.Errorf("not Cedar: %s", msg)
}

var expected = regexp.MustCompile(`^".*": exact got (.*) want (.*)$`)

// before returns the place of the last token before line and col in text: the
// parser names the place of the token after the one it means.
func before(text string, line, col int, token string) (int, int) {
	lines := strings.SplitAfter(text, "\n")
	if token == "" || line < 1 || line > len(lines) {
		return line, col
	}
	head := strings.Join(lines[:line-1], "") + string([]rune(lines[line-1])[:min(max(col, 1)-1, utf8.RuneCountInString(lines[line-1]))])
	i := strings.LastIndex(head, token)
	if i < 0 {
		return line, col
	}
	return strings.Count(head[:i], "\n") + 1, utf8.RuneCountInString(head[strings.LastIndexByte(head[:i], '\n')+1:i]) + 1
}

// at turns a place in the piece into one in the Policy's text.
func (p piece) at(line, col int) (int, int) {
	if line <= 1 {
		return p.line, p.col + max(col, 1) - 1
	}
	return p.line + line - 1, col
}

// find returns the place of the word name in the piece, of its beginning if it
// is not there.
func (p piece) find(name string) (line, col int) {
	i := wordIn(p.text, name)
	if i < 0 {
		return p.line, p.col
	}
	before := p.text[:i]
	l := strings.Count(before, "\n") + 1
	c := utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
	return p.at(l, c)
}

// wordIn returns where in text the word name begins, -1 if it is not there by itself.
func wordIn(text, name string) int {
	inWord := func(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r) }
	for from := 0; name != ""; from++ {
		i := strings.Index(text[from:], name)
		if i < 0 {
			break
		}
		from += i
		before, _ := utf8.DecodeLastRuneInString(text[:from])
		after, _ := utf8.DecodeRuneInString(text[from+len(name):])
		if !inWord(before) && !inWord(after) {
			return from
		}
	}
	return -1
}

// condition returns the place of the n-th (0-based) "when" or "unless".
func (p piece) condition(n int) (line, col int) {
	depth := 0
	for i := 0; i < len(p.text); {
		switch rest := p.text[i:]; {
		case strings.HasPrefix(rest, "//"):
			if i += strings.IndexByte(rest, '\n'); !strings.Contains(rest, "\n") {
				return p.line, p.col
			}
			continue
		case rest[0] == '"':
			i += stringLen(rest)
			continue
		case strings.ContainsRune("([{", rune(rest[0])):
			depth++
		case strings.ContainsRune(")]}", rune(rest[0])):
			depth--
		case depth == 0 && isWord(rest[0]):
			end := i
			for end < len(p.text) && isWord(p.text[end]) {
				end++
			}
			if w := p.text[i:end]; w == "when" || w == "unless" {
				if n == 0 {
					before := p.text[:i]
					return p.at(strings.Count(before, "\n")+1, utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])+1)
				}
				n--
			}
			i = end
			continue
		}
		i++
	}
	return p.line, p.col
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

// lineOf returns line n (1-based) of text, shortened to what fits a message.
func lineOf(text string, n int) string {
	if n < 1 {
		return ""
	}
	for ; n > 1; n-- {
		_, rest, ok := strings.Cut(text, "\n")
		if !ok {
			return ""
		}
		text = rest
	}
	line, _, _ := strings.Cut(text, "\n")
	s := strings.TrimRight(line, " \t\r")
	if utf8.RuneCountInString(s) > 200 {
		s = string([]rune(s)[:200]) + "…"
	}
	return s
}
