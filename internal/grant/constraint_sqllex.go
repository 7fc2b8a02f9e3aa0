package grant

import "bytes"

type sqlKind int

const (
	sqlEnd       sqlKind = iota
	sqlWord              // not quoted, in lower case
	sqlQuoted            // a string, or a quoted name: dialects differ which
	sqlNumber            // also $1
	sqlPunct             // one character
	sqlUncertain         // dialects would read on differently
)

type sqlToken struct {
	kind sqlKind
	word string
	char byte
}

// sqlReader splits a statement into tokens and keeps what judging the next one
// needs.
type sqlReader struct {
	src          []byte
	at           int
	count        int
	last, before sqlToken
	ended        bool // after the semicolon
	target       bool // after INSERT INTO, until its parenthesis
	update       bool // after UPDATE, until its SET
	conflict     bool // after ON CONFLICT
}

// next returns the next token. Whatever common dialects split differently is
// sqlUncertain: comments (they nest or not, or are executed), backslashes,
// dollar quotes, brackets, control characters, characters beyond ASCII outside
// of quotes, and prefixes of quotes.
func (r *sqlReader) next() sqlToken {
	for r.at < len(r.src) && bytes.IndexByte([]byte(" \t\r\n"), r.src[r.at]) >= 0 {
		r.at++
	}
	if r.at == len(r.src) {
		return sqlToken{}
	}
	c := r.src[r.at]
	switch {
	case sqlLetter(c):
		return r.name()
	case c >= '0' && c <= '9':
		return r.number()
	case c == '\'' || c == '"' || c == '`':
		return r.quoted(c)
	case c == '$':
		return r.parameter()
	case c < ' ' || c >= 0x7f || bytes.IndexByte([]byte(`\#[]@{}`), c) >= 0:
		return sqlToken{kind: sqlUncertain}
	}
	if two := r.peek(); two == "--" || two == "/*" || two == "*/" || two == ":=" {
		return sqlToken{kind: sqlUncertain}
	}
	r.at++
	return sqlToken{kind: sqlPunct, char: c}
}

func (r *sqlReader) peek() string {
	return string(r.src[r.at:min(r.at+2, len(r.src))])
}

func sqlLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' }

func sqlLetterOrDigit(c byte) bool { return sqlLetter(c) || c >= '0' && c <= '9' }

func (r *sqlReader) run() []byte {
	start := r.at
	for r.at < len(r.src) && sqlLetterOrDigit(r.src[r.at]) {
		r.at++
	}
	return r.src[start:r.at]
}

// touches reports whether the token that ends here is followed by something that
// some dialect reads as part of it: a quote, a dollar sign, a character beyond
// ASCII.
func (r *sqlReader) touches() bool {
	if r.at == len(r.src) {
		return false
	}
	c := r.src[r.at]
	return c == '\'' || c == '"' || c == '`' || c == '$' || c >= 0x7f
}

func (r *sqlReader) name() sqlToken {
	word := r.run()
	if r.touches() {
		return sqlToken{kind: sqlUncertain}
	}
	return sqlToken{kind: sqlWord, word: string(bytes.ToLower(word))}
}

// number accepts digits and the letter of an exponent: some dialects begin a new
// word within "1DROP".
func (r *sqlReader) number() sqlToken {
	digits := r.run()
	for _, c := range digits {
		if (c < '0' || c > '9') && c|0x20 != 'e' {
			return sqlToken{kind: sqlUncertain}
		}
	}
	if bytes.Count(bytes.ToLower(digits), []byte("e")) > 1 || r.touches() {
		return sqlToken{kind: sqlUncertain}
	}
	return sqlToken{kind: sqlNumber}
}

// quoted skips to the closing quote; a doubled one stands for itself. Three at
// the beginning open another kind of string in some dialects.
func (r *sqlReader) quoted(quote byte) sqlToken {
	if bytes.HasPrefix(r.src[r.at:], []byte{quote, quote, quote}) {
		return sqlToken{kind: sqlUncertain}
	}
	for r.at++; r.at < len(r.src); r.at++ {
		switch c := r.src[r.at]; {
		case c == '\\' || c == 0:
			return sqlToken{kind: sqlUncertain}
		case quote == '`' && c != quote && !sqlLetterOrDigit(c): // an operator in PostgreSQL
			return sqlToken{kind: sqlUncertain}
		case c == quote && r.at+1 < len(r.src) && r.src[r.at+1] == quote:
			if quote == '`' {
				return sqlToken{kind: sqlUncertain}
			}
			r.at++
		case c == quote:
			r.at++
			if r.at < len(r.src) && sqlLetterOrDigit(r.src[r.at]) || r.touches() {
				return sqlToken{kind: sqlUncertain}
			}
			return sqlToken{kind: sqlQuoted}
		}
	}
	return sqlToken{kind: sqlUncertain}
}

// parameter accepts $1 and nothing that could begin a dollar quote.
func (r *sqlReader) parameter() sqlToken {
	r.at++
	digits := r.run()
	if len(digits) == 0 || r.touches() {
		return sqlToken{kind: sqlUncertain}
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return sqlToken{kind: sqlUncertain}
		}
	}
	return sqlToken{kind: sqlNumber}
}
