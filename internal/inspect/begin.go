package inspect

import (
	"bytes"
	"encoding/binary"
	"fmt"
	mathbits "math/bits"
	"strings"
	"unicode/utf8"
)

// begins knows where words of the lexicon can begin: those of letters where a word of
// the text does, others at the sign they begin with. It looks there only, which is far
// less than what the automaton has to look at, and finds the same.
type begins struct {
	kind [256]uint8 // of bytes
	// heads are the nodes of the automaton behind the first eight bytes of a word, or
	// behind all of its letters where these are fewer, by those bytes. seen is the
	// hashes of the keys, a bit for each.
	heads []head
	seen  [1 << headBits / 64]uint64
	// open is the first three bytes of words of which more may follow than letters of
	// theirs: the third by the other two, as codes.
	open [1 << 10]uint32
	// after is what may follow a sign that words begin with, seven bits of it.
	after [128][2]uint64
	codes [256]uint8 // what codeOf says
	depth []uint8    // of the nodes
	lined []bool     // by node: its path ends in a line break
	// wraps is the last two bytes of paths that a blank leads on from, by their classes:
	// a line break does for it.
	wraps [1 << 16 / 64]uint64
	reach int // bytes of the longest path
}

// head is a node by the bytes before it.
type head struct {
	key  uint64
	node uint16 // 0 where there is none
	// next is the codes of what may follow behind a blank, where nothing but a blank
	// leads on and no word ends; else all.
	next uint32
}

const headBits = 15

// Kinds of bytes where words are looked for.
const (
	ofWord  = 1 << iota // continues a word
	ofBegin             // a sign words begin with
	ofDigit
	ofAbove // of a rune outside ASCII
)

// setBegins reads where words can begin out of the automaton.
func (a *automaton) setBegins() error {
	h := &begins{depth: make([]uint8, len(a.output)), lined: make([]bool, len(a.output))}
	for b := range 256 {
		h.codes[b] = uint8(codeOf(byte(b)))
		switch c := byte(b); {
		case c >= 0x80:
			h.kind[b] = ofWord | ofAbove
		case c >= '0' && c <= '9':
			h.kind[b] = ofWord | ofDigit
		case wordByte(c):
			h.kind[b] = ofWord
		}
	}
	nodes := map[uint64]uint16{}
	for i := range a.words {
		if err := h.take(a, &a.words[i], nodes); err != nil {
			return err
		}
	}
	for i := range a.words {
		h.wrap(a, a.words[i].text)
	}
	size := 1
	for size < 4*len(nodes) {
		size *= 2
	}
	h.heads = make([]head, size)
	for key, node := range nodes {
		hash := hashOf(key)
		h.seen[hash>>6] |= 1 << (hash & 63)
		at := int(hash) & (size - 1)
		for h.heads[at].node != 0 {
			at = (at + 1) & (size - 1)
		}
		h.heads[at] = head{key, node, h.afterBlank(a, int(node))}
	}
	a.begins = h
	return nil
}

// leads returns the child of a node that a byte leads to, 0 if there is none.
func (h *begins) leads(a *automaton, node int, b byte) int {
	if to := int(a.next[node*a.width+int(a.class[b])]); h.depth[to] == h.depth[node]+1 {
		return to
	}
	return 0
}

// afterBlank is the codes of what leads on from behind a blank, where nothing but that
// leads on from node and no word ends there; else all.
func (h *begins) afterBlank(a *automaton, node int) (codes uint32) {
	blank := h.leads(a, node, ' ')
	if a.output[node] != 0 || blank == 0 || a.output[blank] != 0 {
		return ^uint32(0)
	}
	for b := range 256 {
		if h.leads(a, node, byte(b)) != 0 && b != ' ' && b != '\n' {
			return ^uint32(0)
		}
		if h.leads(a, blank, byte(b)) != 0 {
			codes |= 1 << h.codes[b]
		}
	}
	return codes
}

// take adds a word.
func (h *begins) take(a *automaton, w *word, nodes map[uint64]uint16) error {
	first := w.text[0]
	if at := strings.IndexByte(w.text[1:], '\n'); at > 0 || at == 0 && len(w.text) > 2 || len(w.text) > 255 {
		return fmt.Errorf("%q has a line break in its middle, or is too long", w.text)
	}
	if first < 0x80 && wordByte(first) && !w.letterStart {
		return fmt.Errorf("%q begins like a word and is none", w.text)
	}
	node, letters := 0, 0
	for letters < len(w.text) && wordByte(w.text[letters]) {
		letters++
	}
	h.reach = max(h.reach, len(w.text))
	for i := range len(w.text) {
		node = int(a.next[node*a.width+int(a.class[w.text[i]])])
		h.depth[node], h.lined[node] = uint8(i+1), w.text[i] == '\n'
		if first < 0x80 && wordByte(first) && i+1 == min(letters, 8) {
			nodes[keyOf([]byte(w.text), letters)] = uint16(node)
		}
	}
	switch {
	case first >= 0x80:
		h.kind[first] |= ofBegin
	case !wordByte(first):
		h.kind[first] |= ofBegin
		if len(w.text) == 1 {
			h.after[first] = [2]uint64{^uint64(0), ^uint64(0)}
			break
		}
		h.follow(first, w.text[1])
		if w.text[1] == ' ' {
			h.follow(first, '\n')
		}
	case letters == len(w.text) && letters < 8 && (w.prefix || !w.letterEnd):
		if letters < 3 {
			return fmt.Errorf("%q is too short to be the beginning of words", w.text)
		}
		h.open[codeOf(first)<<5|codeOf(w.text[1])] |= 1 << codeOf(w.text[2])
	}
	return nil
}

// follow notes that b may follow a sign.
func (h *begins) follow(sign, b byte) {
	h.after[sign][b>>6&1] |= 1 << (b & 63)
	if c := b | 0x20; c >= 'a' && c <= 'z' {
		h.after[sign][1] |= 1<<(c&63) | 1<<(c&^0x20&63)
	}
}

// codeOf tells letters apart, and them from what is none.
func codeOf(b byte) uint32 {
	switch c := b | 0x20; {
	case c >= 'a' && c <= 'z':
		return uint32(c - 'a')
	case b >= '0' && b <= '9':
		return 26
	case b == '_':
		return 27
	case b >= 0x80:
		return 28
	default:
		return 29
	}
}

// keyOf is the first n bytes of text in lower case, eight at most.
func keyOf(text []byte, n int) uint64 {
	var first [8]byte
	copy(first[:], text[:min(n, 8)])
	return folded(binary.LittleEndian.Uint64(first[:]))
}

// folded is eight bytes with capitals made small. Of other bytes only those change that
// continue no word, and the underscore.
func folded(x uint64) uint64 { return x | (x&0x4040404040404040&^(x>>1&0x4040404040404040))>>1 }

func hashOf(key uint64) uint64 { return key * 0x9e3779b97f4a7c15 >> (64 - headBits) }

// eachByte is a byte eight times.
const eachByte = 0x0101010101010101

// lettersOf is how many of the eight bytes of x continue a word before one that does not.
func lettersOf(x uint64) int {
	const high = 0x80 * eachByte
	low := x &^ high
	small := low | 0x20*eachByte
	letter := (small + (0x80-'a')*eachByte) &^ (small + (0x80-'z'-1)*eachByte)
	digit := (low + (0x80-'0')*eachByte) &^ (low + (0x80-'9'-1)*eachByte)
	other := (low ^ '_'*eachByte) + 0x7f*eachByte // no high bit where it is an underscore
	return mathbits.TrailingZeros64(^(letter|digit|^other|x)&high) >> 3
}

// signs reports whether a word may begin with the sign at i.
func (h *begins) signs(text []byte, i int) bool {
	if i+1 == len(text) {
		return true
	}
	b := text[i+1]
	return h.after[text[i]][b>>6&1]&(1<<(b&63)) != 0
}

// opens reports whether the three bytes x begins with may be those of a word of which
// more may follow than its letters.
func (h *begins) opens(x uint64) bool {
	return h.open[uint32(h.codes[byte(x)])<<5|uint32(h.codes[byte(x>>8)])]&(1<<h.codes[byte(x>>16)]) != 0
}

// head is that of key, nil if there is none.
func (h *begins) head(key uint64) *head {
	hash := hashOf(key)
	if h.seen[hash>>6]&(1<<(hash&63)) == 0 {
		return nil
	}
	at := int(hash) & (len(h.heads) - 1)
	for h.heads[at].node != 0 && h.heads[at].key != key {
		at = (at + 1) & (len(h.heads) - 1)
	}
	if h.heads[at].node == 0 {
		return nil
	}
	return &h.heads[at]
}

// follows reports whether text goes on at i as it must for a word with this head.
func (h *begins) follows(one *head, text []byte, i int) bool {
	return one.next == ^uint32(0) || i+1 < len(text) && (text[i] == ' ' || text[i] == '\n') && one.next&(1<<h.codes[text[i+1]]) != 0
}

// wrap notes what stands before the blanks of a word.
func (h *begins) wrap(a *automaton, word string) {
	for i := 1; i < len(word); i++ {
		if word[i] != ' ' {
			continue
		}
		for b := range a.width {
			if i > 1 && b != int(a.class[word[i-2]]) {
				continue
			}
			at := b<<8 | int(a.class[word[i-1]])
			h.wraps[at>>6] |= 1 << (at & 63)
		}
	}
}

// shape is how the words of a text are written.
type shape struct {
	coded bool // it has as many short numbers close together as a list of codes would
	// How many words of letters and digits it has, of how many bytes, and the squares of
	// their lengths; and how many are of one byte.
	words, letters, squares, short int
}

// add counts a word, in which underscores stand between others.
func (sh *shape) add(word []byte) {
	for {
		cut := bytes.IndexByte(word, '_')
		if cut < 0 {
			sh.count(len(word))
			return
		}
		sh.count(cut)
		word = word[cut+1:]
	}
}

// count counts a word of n bytes.
func (sh *shape) count(n int) {
	if n == 0 {
		return
	}
	sh.words, sh.letters, sh.squares = sh.words+1, sh.letters+n, sh.squares+n*n
	if n == 1 {
		sh.short++
	}
}

// search finds the words of text as find does where nothing is glued, in the room of
// dst, and tells how its words are written.
func (a *automaton) search(dst []token, text []byte) (found []token, sh shape) {
	h := a.begins
	dst = dst[:0]
	streak, last := 0, -8
	for i := 0; i < len(text); {
		kind := h.kind[text[i]]
		if kind&ofWord == 0 {
			if kind&ofBegin != 0 && h.signs(text, i) {
				dst = a.walk(dst, text, i, 0, 0)
			}
			i++
			continue
		}
		if kind&ofDigit != 0 {
			if i-last > 7 {
				streak = 0
			}
			if streak++; streak >= 12 {
				sh.coded = true
			}
			last = i
		}
		x := eightAt(text, i)
		n := lettersOf(x)
		end := i + n
		for n == 8 && end < len(text) && h.kind[text[end]]&ofWord != 0 {
			kind |= h.kind[text[end]]
			end++
		}
		if n < 8 {
			x &= 1<<(8*n) - 1
		}
		if n == 8 || underscored(x) {
			sh.add(text[i:end])
		} else {
			sh.count(n)
		}
		switch {
		case text[i] >= utf8.RuneSelf: // looked for below
		case n > 2 && h.opens(x):
			dst = a.walk(dst, text, i, 0, 0)
		default:
			if one := h.head(folded(x)); one != nil && h.follows(one, text, end) {
				dst = a.walk(dst, text, i, n, int(one.node))
			}
		}
		if kind&ofAbove != 0 || x&(0x80*eachByte) != 0 {
			dst = a.above(dst, text, i, end)
		}
		i = end
	}
	return dst, sh
}

// underscored reports whether one of eight bytes is an underscore.
func underscored(x uint64) bool {
	x ^= '_' * eachByte
	return (x-eachByte)&^x&(0x80*eachByte) != 0
}

// above finds the words that begin with a rune outside ASCII in the word [i, end).
func (a *automaton) above(dst []token, text []byte, i, end int) []token {
	for ; i < end; i++ {
		if a.begins.kind[text[i]]&(ofAbove|ofBegin) == ofAbove|ofBegin {
			dst = a.walk(dst, text, i, 0, 0)
		}
	}
	return dst
}

// eightAt is the eight bytes at i, zero behind the end of text.
func eightAt(text []byte, i int) uint64 {
	if i+8 <= len(text) {
		return binary.LittleEndian.Uint64(text[i:])
	}
	var last [8]byte
	copy(last[:], text[i:])
	return binary.LittleEndian.Uint64(last[:])
}

// walk appends the words that begin at i, of which the first k bytes lead to node.
func (a *automaton) walk(dst []token, text []byte, i, k, node int) []token {
	h := a.begins
	for {
		if a.output[node] != 0 {
			dst = a.put(dst, text, a.output[node]-1, i, i+k)
		}
		if i+k >= len(text) {
			return dst
		}
		b := text[i+k]
		next := int(a.next[node*a.width+int(a.class[b])])
		if b == '\n' && h.lined[next] && a.blank(text, i+k) {
			next = int(a.next[node*a.width+int(a.class[' '])])
		}
		if k++; int(h.depth[next]) != k {
			return dst
		}
		node = next
	}
}

// blank reports whether the line break at i does for a blank inside a word: it begins
// no other then.
func (a *automaton) blank(text []byte, i int) bool {
	if i == 0 {
		return false
	}
	if i > 1 {
		last := int(a.class[text[i-2]])<<8 | int(a.class[text[i-1]])
		if a.begins.wraps[last>>6]&(1<<(last&63)) == 0 {
			return false
		}
	}
	at := 0
	for _, b := range text[max(0, i-a.begins.reach):i] {
		at = int(a.next[at*a.width+int(a.class[b])])
	}
	return !a.begins.lined[a.next[at*a.width+int(a.class['\n'])]]
}

// put adds the word n at [start, end) if it may stand there, after those that end before
// it and those that end with it and are longer.
func (a *automaton) put(dst []token, text []byte, n uint16, start, end int) []token {
	w := &a.words[n]
	if !w.stands(text, start, end) {
		return dst
	}
	dst = append(dst, token{})
	at := len(dst) - 1
	for ; at > 0 && int(dst[at-1].start)+len(a.words[dst[at-1].word].text) > end; at-- {
		dst[at] = dst[at-1]
	}
	dst[at] = token{word: n, start: int32(start), end: int32(w.stop(text, end))}
	return dst
}
