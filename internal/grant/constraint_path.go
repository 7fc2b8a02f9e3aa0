package grant

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"rutile/internal/rawjson"
)

// directory is a canonical path, absolute or relative to whatever the tool's
// paths are relative to.
type directory string

func (d directory) match(v rawjson.Value) bool {
	b, ok := text(v)
	return ok && canonicalPath(b) && d.holds(string(b))
}

// holds reports whether path, which is canonical, is d or under it.
func (d directory) holds(path string) bool {
	rest, ok := strings.CutPrefix(path, string(d))
	return ok && (rest == "" || rest[0] == '/' || d == "/")
}

// canonicalPath reports whether b names one place to every reader: separated by
// single slashes, without one at the end, without segments that are only dots
// and spaces (some systems drop those at the end of a name), without backslash,
// percent sign or control characters, and without characters that become dots,
// slashes or the like under compatibility normalisation. It refuses what it
// could repair: the bytes judged are the bytes the tool gets.
func canonicalPath(b []byte) bool {
	if len(b) == 0 {
		return false
	}
	ascii := true
	for _, c := range b {
		if c < ' ' || c == 0x7f || c == '\\' || c == '%' {
			return false
		}
		ascii = ascii && c < utf8.RuneSelf
	}
	if !ascii && !plainUnderNFKC(b) {
		return false
	}
	if len(b) == 1 && b[0] == '/' {
		return true
	}
	b = bytes.TrimPrefix(b, []byte("/"))
	for more := true; more; {
		var segment []byte
		segment, b, more = bytes.Cut(b, []byte("/"))
		if len(bytes.Trim(segment, ". ")) == 0 {
			return false
		}
	}
	return true
}

// plainUnderNFKC reports whether normalisation makes no character of b into one
// that means something in a path, such as FULLWIDTH SOLIDUS or TWO DOT LEADER.
func plainUnderNFKC(b []byte) bool {
	n := norm.NFKC.Bytes(b)
	return bytes.Count(n, []byte("/")) == bytes.Count(b, []byte("/")) &&
		bytes.Count(n, []byte(".")) == bytes.Count(b, []byte(".")) &&
		bytes.Count(n, []byte(" ")) == bytes.Count(b, []byte(" ")) && !bytes.ContainsAny(n, `\%`)
}
