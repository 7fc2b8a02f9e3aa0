package console

import (
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"rutile/internal/admin"
)

// What agents and servers wrote is shown so that it is what it looks like: a
// character nobody sees, or one that could be taken for another, is spelled out
// as \u{…}, and whatever is not spelled out so is in the text. Text of one script
// stays readable; the looks of a letter deceive where it stands among others.

// block is text of several lines.
func block(s string) string { return ends(spellAll(s)) }

func spellAll(s string) string {
	var b strings.Builder
	lines := strings.Split(admin.Visible(s), "\n")
	for i, l := range lines {
		if i > 0 {
			b.WriteByte('\n')
		}
		spell(&b, l)
	}
	return b.String()
}

// spelled is block for text that admin.Visible has been over: what is spelled out in it
// is not spelled out twice.
func spelled(s string) string { return ends(part(s)) }

// part is a piece of such a text; blanks at its ends stand between words.
func part(s string) string { return strings.ReplaceAll(spellAll(s), `\u{5c}u{`, `\u{`) }

// line is text as one line.
func line(s string) string {
	return strings.NewReplacer("\n", `\u{a}`, "\t", `\u{9}`).Replace(block(s))
}

// maxShort is how much of a text a row of a list shows, in characters; the page of what
// it is about, or the command line, has the rest.
const maxShort = 200

// short is the beginning of a text as one line.
func short(s string) string {
	n := 0
	for i := range s {
		if n++; n > maxShort {
			return line(s[:i]) + " …"
		}
	}
	return line(s)
}

// ends spells out the blanks at both ends, which nobody sees.
func ends(s string) string {
	body := strings.TrimLeft(s, " ")
	head := len(s) - len(body)
	rest := strings.TrimRight(body, " ")
	return strings.Repeat(`\u{20}`, head) + rest + strings.Repeat(`\u{20}`, len(body)-len(rest))
}

// spell writes one line of visible text. Words are what stands between blanks.
func spell(b *strings.Builder, l string) {
	if ascii(l) {
		b.WriteString(l)
		return
	}
	mixed := strings.ContainsFunc(l, latin)
	for l != "" {
		n := strings.IndexAny(l, " \t")
		switch {
		case n == 0:
			b.WriteByte(l[0])
			l = l[1:]
			continue
		case n < 0:
			n = len(l)
		}
		word := l[:n]
		w := surroundings{ascii: strings.ContainsFunc(word, latin), rightToLeft: mixed, twins: allTwins(word)}
		for _, r := range word {
			if r >= 0x80 && w.deceives(r) {
				fmt.Fprintf(b, `\u{%x}`, r)
			} else {
				b.WriteRune(r)
			}
		}
		l = l[n:]
	}
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// latin reports whether r is an ASCII letter or digit.
func latin(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

// surroundings are what a character stands among.
type surroundings struct {
	ascii       bool // its word has ASCII letters or digits
	rightToLeft bool // its line has, so letters written from right to left reorder it
	twins       bool // every letter of its word looks like an ASCII one
}

// deceives reports whether a character beyond ASCII could be taken for another.
func (w surroundings) deceives(r rune) bool {
	switch {
	case !unicode.IsGraphic(r) || unicode.In(r, unicode.Inherited):
		return true // unassigned, or put on top of the letter before
	case unicode.In(r, unicode.Hangul, unicode.Han, unicode.Hiragana, unicode.Katakana) && unicode.IsLetter(r) && !halfwidth(r):
		return false
	case strings.ContainsRune(punctuationTwins, r) || ascii(norm.NFKC.String(string(r))):
		return true
	case unicode.In(r, unicode.Latin):
		return !commonLatin(r)
	case w.twins:
		return true
	case w.rightToLeft && unicode.In(r, unicode.Hebrew, unicode.Arabic, unicode.Syriac, unicode.Thaana, unicode.Nko, unicode.Samaritan, unicode.Mandaic, unicode.Adlam, unicode.Hanifi_Rohingya, unicode.Mende_Kikakui, unicode.Cypriot, unicode.Phoenician):
		return true
	default:
		return w.ascii && !unicode.In(r, unicode.So, unicode.Sc)
	}
}

// halfwidth reports whether r is a half-width form of another character.
func halfwidth(r rune) bool { return 0xFF61 <= r && r <= 0xFFDC }

// commonLatin reports whether r is a letter of a living European language or of
// Vietnamese that looks like no other.
func commonLatin(r rune) bool {
	switch r {
	case 'ı', 'ĸ', 'ſ':
		return false
	case 'ơ', 'Ơ', 'ư', 'Ư':
		return true
	}
	return 0xC0 <= r && r <= 0x17F || 0x1E00 <= r && r <= 0x1EFF
}

const (
	// punctuationTwins look like ASCII punctuation wherever they stand.
	punctuationTwins = "‐‑‒―−⁃․∕⁄⧸∖⧵꞉∶ǃ∣⁎∗‚‛′‵ʹʼʽˈ‹›⟨⟩˂˃ˆ˜∼⁓՝׀"
	// letterTwins look like ASCII letters or digits.
	letterTwins = "асԁеһіјӏорԛѕԝхуъьҽгѵѡвкмнтзАВЕЅІЈКМНОРСТХУҮԜЗЬӀ" + "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧαγικνορτυχωϲϳ" + "օոսհցզք"
)

// allTwins reports whether every letter of a word beyond ASCII has a twin in it.
func allTwins(word string) bool {
	found := false
	for _, r := range word {
		switch {
		case strings.ContainsRune(letterTwins, r):
			found = true
		case r >= 0x80 && unicode.IsLetter(r):
			return false
		}
	}
	return found
}
