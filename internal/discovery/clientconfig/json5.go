package clientconfig

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// parseJSON5 reads JSON5: what it adds to JSON is written as JSON first, line for
// line, so that there is one parser.
func parseJSON5(body []byte) (*document, *syntaxError) {
	plain, err := plainJSON5(body)
	if err != nil {
		return nil, err
	}
	d, err := parseJSON(plain)
	if err != nil {
		return nil, err
	}
	d.loose = nil // comments and commas belong to JSON5
	return d, nil
}

func plainJSON5(b []byte) ([]byte, *syntaxError) {
	out := make([]byte, 0, len(b)+len(b)/8)
	for i := 0; i < len(b); {
		c := b[i]
		switch {
		case c == '"' || c == '\'':
			s, n, ok := string5(b[i:])
			if !ok {
				return nil, &syntaxError{why: "it stops being JSON5", line: lineAt(b, i)}
			}
			out = appendJSONString(out, s)
			out = append(out, strings.Repeat("\n", strings.Count(string(b[i:i+n]), "\n"))...)
			i += n
		case c == '/':
			end := min(skipComment(b, i)+1, len(b))
			out = append(out, b[i:end]...)
			i = end
		case c == '\v' || c == '\f':
			out = append(out, ' ')
			i++
		case strings.IndexByte("{}[],: \t\r\n", c) >= 0:
			out = append(out, c)
			i++
		default:
			r, size := utf8.DecodeRune(b[i:])
			if unicode.IsSpace(r) || r == '\ufeff' {
				out = append(out, ' ')
				i += size
				continue
			}
			n := i
			for n < len(b) && strings.IndexByte("{}[],:\"'/ \t\r\n\v\f", b[n]) < 0 {
				n++
			}
			out = word5(out, string(b[i:n]))
			i = n
		}
	}
	return out, nil
}

// word5 writes a number, a literal or a name without quotes.
func word5(out []byte, w string) []byte {
	switch w {
	case "true", "false", "null":
		return append(out, w...)
	case "Infinity", "+Infinity", "-Infinity", "NaN", "+NaN", "-NaN":
		return append(out, "null"...)
	}
	if strings.IndexByte("+-.0123456789", w[0]) >= 0 {
		bare := strings.TrimPrefix(w, "+")
		if n, err := strconv.ParseInt(bare, 0, 64); err == nil {
			return strconv.AppendInt(out, n, 10)
		}
		if f, err := strconv.ParseFloat(bare, 64); err == nil {
			return strconv.AppendFloat(out, f, 'g', -1, 64)
		}
	}
	return appendJSONString(out, w)
}

func appendJSONString(out []byte, s string) []byte {
	out = append(out, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			out = append(out, '\\', byte(r))
		case r < 0x20:
			out = append(out, `\u00`...)
			out = append(out, "0123456789abcdef"[r>>4], "0123456789abcdef"[r&15])
		default:
			out = utf8.AppendRune(out, r)
		}
	}
	return append(out, '"')
}

// string5 reads a string in either quotes and returns its length with them.
func string5(b []byte) (string, int, bool) {
	var s strings.Builder
	for i := 1; i < len(b); i++ {
		switch c := b[i]; {
		case c == b[0]:
			return s.String(), i + 1, true
		case c == '\n':
			return "", 0, false
		case c != '\\':
			s.WriteByte(c)
		case i+1 >= len(b):
			return "", 0, false
		default:
			i++
			n, ok := escape5(&s, b[i:])
			if !ok {
				return "", 0, false
			}
			i += n
		}
	}
	return "", 0, false
}

// escape5 reads what follows a backslash and returns how much more than one byte
// it took.
func escape5(s *strings.Builder, b []byte) (int, bool) {
	hex := func(n int) (int, bool) {
		if len(b) <= n {
			return 0, false
		}
		v, err := strconv.ParseUint(string(b[1:1+n]), 16, 32)
		if err != nil {
			return 0, false
		}
		s.WriteRune(rune(v))
		return n, true
	}
	switch b[0] {
	case 'x':
		return hex(2)
	case 'u':
		return hex(4)
	case 'n':
		s.WriteByte('\n')
	case 't':
		s.WriteByte('\t')
	case 'r':
		s.WriteByte('\r')
	case 'b':
		s.WriteByte('\b')
	case 'f':
		s.WriteByte('\f')
	case 'v':
		s.WriteByte('\v')
	case '0':
		s.WriteByte(0)
	case '\n': // the line goes on
	case '\r':
		if len(b) > 1 && b[1] == '\n' {
			return 1, true
		}
	default:
		s.WriteByte(b[0])
	}
	return 0, true
}
