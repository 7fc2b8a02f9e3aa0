package inspect

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// givenNames are common first names of many countries that are no other word where
// they begin with a capital: neither months, towns nor programming languages.
const givenNames = " Aaron Adam Adriana Agnes Ahmed Aisha Alan Albert Alejandro Alex Alexander Alexandra Alfred Alice Alicia Alison Amanda Amir Amy Ana Anders Andrea Andreas Andrew Andrzej Angela Anita Anja Ann Anna Anne Annette Anthony Antoine Antonio Arthur Astrid Barbara Beatrice Ben Benjamin Bernard Bernd Birgit Björn Bob Brian Bruce Camille Carl Carla Carlos Carmen Caroline Catherine Charles Chris Christian Christina Christine Christopher Claire Claudia Cynthia Dan Daniel Daniela Dave David Deborah Denis Dennis Diana Diego Dieter Dmitri Dominik Donald Dorothy Douglas Edith Eduardo Edward Eleanor Elena Elias Elisabeth Elizabeth Ellen Emily Emma Eric Erik Erika Ernst Esther Eva Fatima Felix Fernando Francesca Francesco Francis Francisco Frank Frederick Friedrich Gabriel Gary Geoffrey George Gerald Gerard Gertrude Giovanni Giulia Giuseppe Gonzalo Greg Gregory Guillaume Gunnar Gustav Hannah Hans Harold Harry Hassan Heather Heinrich Helen Helena Henri Henry Hiroshi Holger Howard Ian Ibrahim Igor Inge Ingrid Irene Isaac Isabel Isabella Ivan Jack Jacob Jacques Jake James Jan Jane Janet Jason Javier Jean Jeff Jeffrey Jennifer Jens Jeremy Jerry Jessica Jim Joan Joanna Joe Johan Johann Johannes John Jonas Jonathan Jorge Joseph Josephine Joshua Joyce Juan Judith Jürgen Justin Karen Karin Karl Kate Katherine Kathleen Kathryn Katrin Keith Kelly Ken Kenneth Kevin Kim Klaus Kristina Larry Lars Laura Lauren Laurent Leon Leonard Linda Lisa Louis Louise Lucas Lucia Lucy Luigi Luis Lukas Magdalena Manfred Manuel Marcel Marco Marcus Margaret Maria Marie Marina Mario Marion Marta Martha Martin Martina Mary Mateo Matthew Matthias Maureen Maurice Megan Mehmet Melanie Melissa Michael Michel Michelle Miguel Mike Mohamed Mohammed Monica Monika Muhammad Nancy Natalie Natasha Neil Nicholas Nicole Niklas Nikolai Nils Nina Noah Nora Olaf Oleg Olga Oliver Olivia Omar Oscar Otto Pablo Pamela Patricia Patrick Paul Paula Pedro Peter Petra Philip Philippe Phillip Pierre Pieter Rachel Rafael Rainer Ralph Raymond Rebecca Renate Ricardo Richard Rita Robert Roberto Roger Roland Ronald Rosa Rudolf Russell Ruth Ryan Sabine Sally Samuel Sandra Sanjay Sara Sarah Scott Sean Sebastian Sergei Sergey Sharon Shirley Silvia Simon Sofia Sonja Sophie Stefan Stefanie Stephanie Stephen Steve Steven Susan Susanne Sven Takashi Tanya Tatiana Teresa Theresa Thomas Tim Timothy Tobias Todd Tom Tomasz Tony Tracy Ulrich Ursula Uwe Valentina Vera Veronica Victor Victoria Vincent Vladimir Walter Wanda Wayne Werner Wilhelm William Wolfgang Xavier Yolanda Yuki Yusuf Yvonne "

// compileNames makes the set of first names.
func (e *Engine) compileNames() {
	e.given = map[string]bool{}
	for name := range strings.FieldsSeq(givenNames) {
		e.given[name] = true
	}
}

// withNames adds the full names of text to what was found in it, in the order all
// stand. They are looked for everywhere: nothing round a name stands out.
func (e *Engine) withNames(found []Datum, text []byte) []Datum {
	had := len(found)
	e.names(text, func(start, end int) {
		if !overlaps(found[:had], start, end) {
			found = append(found, Datum{Label: Personal, Kind: "name", Start: start, End: end})
		}
	})
	if len(found) > had {
		slices.SortFunc(found, func(a, b Datum) int { return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.End, b.End)) })
	}
	return found
}

// names calls do for every full name: a common first name, perhaps more names or an
// initial, and a last one, each with a capital and with one blank between them.
func (e *Engine) names(s []byte, do func(start, end int)) {
	for i := 0; i < len(s); {
		if s[i] < 'A' || s[i] > 'Z' || i > 0 && (wordByte(s[i-1]) || bytes.IndexByte([]byte("./@-"), s[i-1]) >= 0) {
			i++
			continue
		}
		first := nameEnd(s, i)
		if !e.given[string(s[i:first])] {
			i = first
			continue
		}
		end, parts := first, 1
		for parts < 4 && end < len(s) && s[end] == ' ' {
			next := nameEnd(s, end+1)
			if next == end+2 && next < len(s) && s[next] == '.' { // an initial
				next++
			} else if next < end+3 {
				break
			}
			end, parts = next, parts+1
		}
		if parts > 1 && s[end-1] != '.' && (end == len(s) || !wordByte(s[end])) {
			do(i, end)
		}
		i = end
	}
}

// nameEnd returns where a word ends that begins at i with a capital and goes on
// with small letters (an apostrophe or hyphen may bring another capital), i if none
// begins there.
func nameEnd(s []byte, i int) int {
	r, n := utf8.DecodeRune(s[i:])
	if !unicode.IsUpper(r) {
		return i
	}
	end, fresh := i+n, false
	for end < len(s) {
		r, n = utf8.DecodeRune(s[end:])
		switch {
		case unicode.IsLower(r):
			fresh = false
		case (r == '-' || r == '\'') && !fresh && end+1 < len(s) && s[end+1] >= 'A' && s[end+1] <= 'Z':
			fresh = true
		case fresh && unicode.IsUpper(r):
			fresh = false
		default:
			return end
		}
		end += n
	}
	return end
}
