package inspect

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"rutile/internal/rawjson"
)

// seamBytes is how much of what came before is read again with what comes next, so
// that no order is cut where one item or message ends (inspection.md 7).
const seamBytes = 512

// maxResultLeaves bounds the strings of one message. What has more is told.
const maxResultLeaves = 200_000

// maxSpare bounds the room for one text that is kept for the next message.
const maxSpare = 4 << 20

// Part is one string of a message in which something was found.
type Part struct {
	Pointer string // of the string, or of what holds several that were read as one text
	Tier    Tier   // of its own findings together
	// Findings are in the order they stand.
	Findings []Finding
}

// Seen is everything found in one message of a server.
type Seen struct {
	Tier  Tier // the highest of the parts; Review where all together call for more than each
	Parts []Part
}

// Stream inspects what one call brings back, message by message. It carries the end
// of each into the next. It is not safe for concurrent use.
type Stream struct {
	e       *Engine
	tail    []byte
	columns map[string][]byte // what columns of the last message ended in
}

// End is what a stream ended in: the next answer of the same tool is read together with
// it. It holds text of the answer: it is kept in memory only.
type End struct {
	tail    []byte
	columns map[string][]byte
}

// After goes on after what an earlier stream ended in, as the next page does.
func (s *Stream) After(end End) { s.tail, s.columns = bytes.Clone(end.tail), end.columns }

// End is what the messages so far ended in.
func (s *Stream) End() End { return End{lastBytes(s.tail, carriedBytes), s.columns} }

// Stream begins the inspection of what one call brings back.
func (e *Engine) Stream() *Stream { return &Stream{e: e} }

// place is where a piece of the tail or of a column came from.
type place struct {
	pointer string // "" where it is of an earlier message
	from    int
	skip    int // bytes of the string before it
}

// Inspect reads every string of v, which is a result, an error or the params of a
// notification or request, with the weights of results. Pictures, sound and what
// is binary are not read. Pointers begin at v.
func (s *Stream) Inspect(v rawjson.Value) Seen {
	sc := s.e.begin(Result, len(v.Raw()))
	w := walk{scan: sc, buf: sc.spare[:0], most: maxResultLeaves, opaque: true}
	w.told = func(pointer string, text []byte) { s.seam(&w, pointer, text) }
	w.places, w.columns, w.ended = []place{{}}, map[string]*column{}, s.columns
	r := sc.guarded(func() {
		w.value("", v, 0)
		s.readColumns(&w)
		if sc.spare = nil; cap(w.buf) <= maxSpare {
			sc.spare = w.buf
		}
		if w.over {
			sc.add(layer{}, Finding{Rule: "limit.leaves", Family: "limit", Weight: .8, Why: "has more texts, or nested deeper, than are read"}, 0, 0)
		}
	})
	return partsOf(r)
}

// partsOf judges the findings of each string apart: what one item says does not
// count against another. An inspection that reached a limit calls for review.
func partsOf(r Report) Seen {
	var out Seen
	slices.SortStableFunc(r.Findings, func(a, b Finding) int { return cmp.Compare(a.Pointer, b.Pointer) })
	for i := 0; i < len(r.Findings); {
		j := i + 1
		for j < len(r.Findings) && r.Findings[j].Pointer == r.Findings[i].Pointer {
			j++
		}
		of := slices.Clone(r.Findings[i:j])
		for k := range of {
			if of[k].Family == "limit" {
				of[k].Hard = false
			}
		}
		one := Combine(of)
		out.Parts = append(out.Parts, Part{Pointer: r.Findings[i].Pointer, Tier: one.Tier, Findings: one.Findings})
		out.Tier = max(out.Tier, one.Tier)
		i = j
	}
	if r.Tier > Clean {
		out.Tier = max(out.Tier, Review)
	}
	return out
}

// seam reads the end of what came before together with the beginning of text, once
// as they are and once as two words. What is found across is found in every string
// of this message it stands in.
func (s *Stream) seam(w *walk, pointer string, text []byte) {
	if len(text) == 0 {
		return
	}
	if len(s.tail) > 0 {
		for _, between := range []string{"", " "} {
			if between != "" && (s.tail[len(s.tail)-1] == ' ' || text[0] == ' ') {
				break // they are two words as they are
			}
			joint := append(append(slices.Clone(s.tail), between...), text[:min(len(text), seamBytes)]...)
			s.across(w, pointer, joint, len(s.tail), len(between))
		}
	}
	if len(s.tail) > 0 {
		s.tail = append(s.tail, ' ')
	}
	long := max(0, len(text)-seamBytes)
	w.places = append(w.places, place{pointer: pointer, from: len(s.tail), skip: long})
	s.tail = append(s.tail, text[long:]...)
	if cut := len(s.tail) - seamBytes; cut > 0 {
		s.tail = append(s.tail[:0], s.tail[cut:]...)
		gone := 0
		for gone+1 < len(w.places) && w.places[gone+1].from <= cut {
			gone++
		}
		w.places = append(w.places[:0], w.places[gone:]...)
		for i := range w.places {
			p := &w.places[i]
			p.skip += max(0, cut-p.from)
			p.from = max(0, p.from-cut)
		}
	}
}

// across keeps what is found in joint that stands on both sides of the bytes at cut.
func (s *Stream) across(w *walk, pointer string, joint []byte, cut, between int) {
	for _, f := range w.apart(joint, [][2]int{{0, cut}, {cut + between, len(joint)}}) {
		end := f.End - cut - between
		w.keep(f, pointer, 0, end)
		for i, p := range w.places {
			until := cut
			if i+1 < len(w.places) {
				until = w.places[i+1].from - 1 // the blank
			}
			if p.pointer != "" && f.Start < until {
				w.keep(f, p.pointer, p.skip+max(0, f.Start-p.from), p.skip+until-p.from)
			}
		}
	}
}

// apart is what is found in text, of which pieces are the parts in their order, that
// stands in more than one of them. What was decoded stands in all that was decoded with
// it: it counts where none of them has it alone.
func (w *walk) apart(text []byte, pieces [][2]int) (out []Finding) {
	for _, f := range w.aside(text) {
		first, last := pieceOf(pieces, f.Start), pieceOf(pieces, f.End-1)
		if first == last {
			continue
		}
		whole := len(f.Decoded) > 0 || f.Family == "limit"
		for i := first; i <= last && whole; i++ {
			whole = !slices.ContainsFunc(w.aside(text[pieces[i][0]:pieces[i][1]]), func(g Finding) bool { return g.Rule == f.Rule })
			if !whole {
				f.Rule = ""
			}
		}
		if f.Rule != "" {
			out = append(out, f)
		}
	}
	return out
}

// aside is what is found in a text, without a trace.
func (w *walk) aside(text []byte) []Finding {
	before, budget := w.found, w.budget
	w.found = nil
	w.inspect(seamPointer, nil, text, nil)
	found := w.found
	w.found, w.budget = before, budget
	return found
}

// pieceOf is the piece byte i stands in, or behind.
func pieceOf(pieces [][2]int, i int) int {
	n := 0
	for n+1 < len(pieces) && pieces[n+1][0] <= i {
		n++
	}
	return n
}

// seamPointer marks findings that are being sorted out; no string has it.
const seamPointer = "\x00"

// keep notes f at another place, once.
func (w *walk) keep(f Finding, pointer string, start, end int) {
	f.Pointer, f.Start, f.End = pointer, start, max(start, end)
	if len(w.found) >= maxFindings || slices.ContainsFunc(w.found, func(g Finding) bool { return g.Rule == f.Rule && g.Pointer == pointer }) {
		return
	}
	w.found = append(w.found, f)
}

// inner reads the strings of a text that is JSON itself as whoever parses it would:
// what is escaped there reads as something else here, and what stands in one column of a
// table does not stand together here.
func (w *walk) inner(pointer string, text []byte) {
	trimmed := bytes.TrimLeft(text, " \t\r\n")
	if len(trimmed) == 0 || trimmed[0] != '{' && trimmed[0] != '[' && trimmed[0] != '"' {
		return
	}
	text = slices.Clone(text) // the buffer it stands in is used again
	doc, err := rawjson.Parse(text, rawjson.Limits{Bytes: len(text) + 1})
	if err != nil {
		return
	}
	known := slices.Clone(w.found)
	w.found = nil
	within := walk{scan: w.scan, most: w.most, n: w.n, outer: pointer, columns: w.columns, order: w.order, ended: w.ended, path: w.path,
		quiet: bytes.IndexByte(text, '\\') < 0}
	within.value("", doc, 0)
	w.n, w.over, w.order, w.path = within.n, w.over || within.over, within.order, within.path
	found := w.found
	w.found = known
	for _, f := range found {
		f.Decoded = append([]string{"JSON in a string"}, f.Decoded...)
		w.keep(f, pointer, 0, len(text))
	}
}

// isOpaque reports whether a member is nothing a model reads: the bytes of pictures
// and sound, and what only the protocol reads.
func isOpaque(object rawjson.Value, key string, depth int) bool {
	switch key {
	case "data":
		t := object.Get("type")
		return t.Equals("image") || t.Equals("audio")
	case "blob":
		return object.Get("uri").Exists()
	case "requestState", "nextCursor", "resultType":
		return depth == 0
	}
	return false
}

// told reports whether strings under a key are words for a reader, which may go on
// in the next item or message.
func goesOn(pointer string) bool {
	switch pointer[strings.LastIndexByte(pointer, '/')+1:] {
	case "text", "message", "data", "delta":
		return true
	}
	return false
}
