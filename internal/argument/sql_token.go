package argument

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// tokenise cuts SQL into tokens, without comments. ok is false where databases
// would cut differently: then nothing is certain.
func tokenise(s string) (out []token, ok bool) {
	for i := 0; i < len(s); {
		n, t, ok := next(s[i:])
		if !ok {
			return nil, false
		}
		if t.text != "" {
			out = append(out, t)
		}
		i += n
	}
	return out, true
}

// next returns the token s begins with and its length; the text of space and
// comments is "".
func next(s string) (n int, t token, ok bool) {
	c := s[0]
	switch {
	case c == ' ' || c == '\t' || c == '\n' || c == '\r':
		return 1, token{}, true
	case strings.HasPrefix(s, "--"):
		n, ok = lineComment(s)
		return n, token{}, ok
	case strings.HasPrefix(s, "/*"):
		n, ok = blockComment(s)
		return n, token{}, ok
	case c == '\'':
		n, ok = quotedLen(s)
		return n, token{tokenString, "'"}, ok
	case c == '"':
		n, ok = quotedLen(s)
		return n, token{tokenQuoted, `"`}, ok
	case c == '`' || c == '[':
		n, ok = plainQuoted(s)
		return n, token{tokenQuoted, s[:1]}, ok
	case c == '$':
		n, ok = parameter(s)
		return n, token{tokenOther, "$"}, ok
	case strings.HasPrefix(s, ":="):
		return 2, token{tokenOther, ":="}, true
	case c == '#' || c == '\\' || c < 0x20 || c == 0x7f:
		return 0, token{}, false
	}
	if n = wordLen(s); n == 0 {
		r, size := utf8.DecodeRuneInString(s)
		return size, token{tokenOther, s[:size]}, r < utf8.RuneSelf
	}
	word := strings.ToUpper(s[:n])
	// Oracle's q'[…]' may hold quotes.
	if after := s[n:]; (word == "Q" || word == "NQ") && after != "" && after[0] == '\'' {
		return 0, token{}, false
	}
	return n, token{tokenWord, word}, n == len(s) || s[n] != '$'
}

// wordLen returns the length of the word or number s begins with.
func wordLen(s string) int {
	for i, r := range s {
		if r != '_' && !(r < utf8.RuneSelf && (isAlpha(byte(r)) || isDigit(byte(r)))) &&
			!(r >= utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r))) {
			return i
		}
	}
	return len(s)
}

// lineComment returns the length of "-- …" with its line break. MySQL takes
// "--" for a comment only before space, and ends it at "\n" only.
func lineComment(s string) (int, bool) {
	end := strings.IndexByte(s, '\n') + 1
	if end == 0 {
		end = len(s)
	}
	body := strings.TrimSuffix(strings.TrimSuffix(s[2:end], "\n"), "\r")
	if body != "" && body[0] != ' ' && body[0] != '\t' || strings.ContainsAny(body, "\r\x00\u0085\u2028\u2029") {
		return 0, false
	}
	return end, true
}

// blockComment returns the length of "/* … */". Some databases nest them, some
// run what is in "/*! … */", some take hints from "/*+ … */".
func blockComment(s string) (int, bool) {
	end := strings.Index(s[2:], "*/")
	if end < 0 {
		return 0, false
	}
	body := s[2 : 2+end]
	if strings.Contains(body, "/*") || strings.HasSuffix(body, "/") || strings.HasPrefix(body, "!") || strings.HasPrefix(body, "M!") || strings.HasPrefix(body, "+") {
		return 0, false
	}
	return end + 4, true
}

// quotedLen returns the length of a string or name in quotes, where a doubled
// quote stands for one. A backslash before a quote ends it here and not there,
// and three quotes in a row begin another kind of string in some dialects.
func quotedLen(s string) (int, bool) {
	q := s[0]
	if strings.HasPrefix(s, string([]byte{q, q, q})) {
		return 0, false
	}
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case 0:
			return 0, false
		case '\\':
			if i+1 < len(s) && (s[i+1] == q || s[i+1] == '\\') {
				return 0, false
			}
		case q:
			if i+1 < len(s) && s[i+1] == q {
				if i+2 < len(s) && s[i+2] == q {
					return 0, false
				}
				i++
				continue
			}
			return i + 1, true
		}
	}
	return 0, false
}

// plainQuoted returns the length of `name` or [name], if nothing in it could mean
// anything to a database that does not quote so.
func plainQuoted(s string) (int, bool) {
	end := byte('`')
	if s[0] == '[' {
		end = ']'
	}
	i := strings.IndexByte(s[1:], end) + 1
	if i <= 1 || i+1 < len(s) && s[i+1] == end {
		return 0, false
	}
	name := s[1:i]
	if end == '`' && !strings.Contains(name, "--") {
		name = strings.NewReplacer(".", "_", "-", "_").Replace(name) // BigQuery's project-1.set.table
	}
	words := strings.Split(name, " ")
	for _, w := range words {
		// CockroachDB runs a statement in brackets.
		if w == "" || wordLen(w) != len(w) || len(words) > 1 && (end == ']' || sqlWord(strings.ToUpper(w))) {
			return 0, false
		}
	}
	return i + 1, true
}

// parameter returns the length of "$1". Any other "$" may begin a dollar quote.
func parameter(s string) (int, bool) {
	n := 1
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return n, n > 1 && (n == len(s) || s[n] != '$' && wordLen(s[n:]) == 0)
}
