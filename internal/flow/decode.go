package flow

import (
	"encoding/base64"
	"encoding/hex"
	"html"
	"net/url"
	"strings"
	"unicode/utf8"
)

// maxInner bounds how much of one text is decoded.
const maxInner = 64 << 10

// decoded returns what is written in text as base64, base64url, hexadecimal, in percent
// signs or in entities, if it is text itself.
func decoded(text []byte) (out [][]byte) {
	left := maxInner
	keep := func(b []byte, err error) {
		if err == nil && len(b) > 3 && len(b) <= left && printable(b) {
			out = append(out, b)
			left -= len(b)
		}
	}
	percent, entity := false, false
	for i := 0; i < len(text); {
		if !inAlphabet(text[i]) {
			percent = percent || text[i] == '%'
			entity = entity || text[i] == '&'
			i++
			continue
		}
		from := i
		for i < len(text) && inAlphabet(text[i]) {
			i++
		}
		run := text[from:i]
		if len(run) < 16 || !mixed16(run) {
			continue
		}
		if len(run)%2 == 0 {
			b := make([]byte, len(run)/2)
			_, err := hex.Decode(b, run)
			keep(b, err)
			if err == nil {
				continue
			}
		}
		keep(base64.RawStdEncoding.DecodeString(string(run[:len(run)-len(run)%4+remain(len(run))])))
		keep(base64.RawURLEncoding.DecodeString(string(run[:len(run)-len(run)%4+remain(len(run))])))
	}
	if percent && len(text) <= maxInner {
		if s, err := url.PathUnescape(string(text)); err == nil && s != string(text) {
			keep([]byte(s), nil)
		} else if err != nil {
			keep(percents(text), nil)
		}
	}
	if entity && len(text) <= maxInner {
		if s := html.UnescapeString(string(text)); s != string(text) && strings.Contains(string(text), "&#") {
			keep([]byte(s), nil)
		}
	}
	return out
}

// remain is how much of the last group of base64 means something.
func remain(n int) int {
	if n%4 == 1 {
		return 0
	}
	return n % 4
}

// percents undoes the percent signs that can be, and leaves the others.
func percents(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+2 < len(text) {
			var b [1]byte
			if _, err := hex.Decode(b[:], text[i+1:i+3]); err == nil {
				out = append(out, b[0])
				i += 2
				continue
			}
		}
		out = append(out, text[i])
	}
	return out
}

func inAlphabet(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || isDigit(b) || b == '+' || b == '/' || b == '-' || b == '_'
}

// mixed16 reports whether a run has digits or both cases: a long word is no code.
func mixed16(run []byte) bool {
	var lower, upper, digit bool
	for _, b := range run {
		lower = lower || b >= 'a' && b <= 'z'
		upper = upper || b >= 'A' && b <= 'Z'
		digit = digit || isDigit(b)
	}
	return digit && (lower || upper) || lower && upper
}

func printable(b []byte) bool {
	if !utf8.Valid(b) {
		return false
	}
	odd := 0
	for _, c := range b {
		if c < ' ' && c != '\n' && c != '\t' && c != '\r' || c == 0x7f {
			odd++
		}
	}
	return odd*20 <= len(b)
}
