package wrap

import (
	"bytes"
	"strings"
)

// tomlScan walks over TOML that was parsed before; bad says that it met something
// it does not know.
type tomlScan struct {
	b   []byte
	i   int
	bad bool
}

// space goes over blanks of a line.
func (s *tomlScan) space() {
	for s.i < len(s.b) && (s.b[s.i] == ' ' || s.b[s.i] == '\t') {
		s.i++
	}
}

// blank goes over blanks, line ends and comments.
func (s *tomlScan) blank() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\r', '\n':
			s.i++
		case '#':
			s.line()
		default:
			return
		}
	}
}

// line goes behind the end of the line.
func (s *tomlScan) line() {
	if n := bytes.IndexByte(s.b[min(s.i, len(s.b)):], '\n'); n >= 0 {
		s.i += n + 1
	} else {
		s.i = len(s.b)
	}
}

// keys reads a dotted key up to what ends it; each is given with a point before it.
func (s *tomlScan) keys() []string {
	var out []string
	for {
		s.space()
		begin := s.i
		switch {
		case s.i < len(s.b) && (s.b[s.i] == '"' || s.b[s.i] == '\''):
			s.str()
			out = append(out, "."+unquotedTOML(s.b[begin:s.i]))
		default:
			for s.i < len(s.b) && strings.IndexByte(".=] \t\r\n,}", s.b[s.i]) < 0 {
				s.i++
			}
			out = append(out, "."+string(s.b[begin:s.i]))
		}
		s.space()
		if s.i >= len(s.b) || s.i == begin {
			s.bad = true
			return out
		}
		if s.b[s.i] != '.' {
			return out
		}
		s.i++
	}
}

// str goes over a string of any of the four kinds.
func (s *tomlScan) str() {
	quote := s.b[s.i]
	long := bytes.HasPrefix(s.b[s.i:], []byte{quote, quote, quote})
	s.i++
	if long {
		s.i += 2
	}
	for s.i < len(s.b) {
		switch {
		case s.b[s.i] == '\\' && quote == '"':
			s.i++
		case long && bytes.HasPrefix(s.b[s.i:], []byte{quote, quote, quote}):
			for s.i += 3; s.i < len(s.b) && s.b[s.i] == quote; s.i++ { // up to two belong to it
			}
			return
		case !long && s.b[s.i] == quote:
			s.i++
			return
		}
		s.i++
	}
	s.bad = true
}

// skip goes over a value.
func (s *tomlScan) skip() {
	depth := 0
	for s.i < len(s.b) {
		switch c := s.b[s.i]; {
		case c == '"' || c == '\'':
			s.str()
			if depth == 0 {
				return
			}
			continue
		case c == '[' || c == '{':
			depth++
		case c == ']' || c == '}':
			if depth == 0 {
				s.trim()
				return
			}
			if depth--; depth == 0 {
				s.i++
				return
			}
		case c == '#' && depth > 0:
			s.line()
			continue
		case depth == 0 && (c == '\n' || c == '\r' || c == '#' || c == ','):
			s.trim()
			return
		}
		s.i++
	}
	s.trim()
}

// trim goes back over blanks behind a value.
func (s *tomlScan) trim() {
	for s.i > 0 && (s.b[s.i-1] == ' ' || s.b[s.i-1] == '\t') {
		s.i--
	}
}

// unquotedTOML is the text of a quoted key.
func unquotedTOML(raw []byte) string {
	if raw[0] == '\'' {
		return strings.Trim(string(raw), "'")
	}
	tree := map[string]any{}
	if tomlUnmarshal(append(append([]byte("k = "), raw...), '\n'), &tree) != nil {
		return string(raw)
	}
	text, _ := tree["k"].(string)
	return text
}
