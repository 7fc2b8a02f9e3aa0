// Package argument reads what the text of an argument means: a host, a path, a
// statement, a list of addresses.
//
// An agent chooses the text and a server reads it with a parser nobody here
// knows. So every function MUST answer only where all common readers agree, in
// one canonical form, and otherwise return an error that names the rule and
// never the text. Its time MUST stay linear in the text. It decides nothing and
// touches neither network nor file system: what a name resolves to, where a link
// leads and what a view does when it is read are out of its reach.
package argument

import "errors"

// MaxText bounds the text that is read, in bytes. URLs, paths, statements and
// lists of addresses people write are far shorter.
const MaxText = 1 << 16

var errLong = errors.New("it is longer than 65536 bytes")

// control reports whether s holds a control character: a byte below space, DEL,
// or one of C1.
func control(s string) bool {
	for _, r := range s {
		if r < 0x20 || r >= 0x7f && r < 0xa0 {
			return true
		}
	}
	return false
}

func isAlpha(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isHex(c byte) bool { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' }
