package inspect

import (
	"bytes"
	"strings"
)

// column is the strings that stand at one place of neighbouring objects, read as one
// text: an order cut over the rows of a table is whole in none of them.
type column struct {
	text  []byte
	cells []place
}

const (
	maxColumns = 256 // of one message; what is over is read as one
	// maxCarried and carriedBytes bound what of them is read again with the next answer.
	maxCarried   = 8
	carriedBytes = 256
	// maxSpareColumns columns of maxSpareColumn bytes are kept for the next message.
	maxSpareColumns, maxSpareColumn = 32, 16 << 10
	// codeRun is how many letters and digits without a blank are a piece of a code.
	codeRun = 16
)

// inOrder is the name of the column that holds every string of a document, one after the
// other.
const inOrder = "\x00"

// cell adds a string at a path to its column and to that of all, if this is wanted.
func (w *walk) cell(pointer string, text []byte) {
	slash := strings.LastIndexByte(pointer, '/')
	if w.columns == nil || len(text) == 0 || slash < 0 || marksKind(pointer[slash+1:]) && plainKey(string(text)) {
		return
	}
	at := pointer
	if w.outer != "" {
		at = w.outer
	}
	w.many = w.many || w.parent != "" && w.parent != pointer[:slash]
	w.parent = pointer[:slash]
	w.path = appendPath(appendPath(w.path[:0], w.outer), pointer)
	w.into(w.path, at, text)
	if w.outer == "" {
		w.into([]byte(inOrder), at, text)
	}
}

// marksKind reports whether a member says what kind of thing its object is.
func marksKind(key string) bool { return key == "type" || key == "mimeType" || key == "role" }

// appendPath adds a pointer without the places in lists.
func appendPath(b []byte, pointer string) []byte {
	for i := 0; i < len(pointer); {
		end := i + 1
		for end < len(pointer) && pointer[end] != '/' {
			end++
		}
		if c := pointer[i+1 : end]; c == "" || c[0] < '0' || c[0] > '9' {
			b = append(b, pointer[i:end]...)
		}
		i = end
	}
	return b
}

// empty is a column with nothing in it, in the room of one of an earlier message.
func (s *scan) empty() *column {
	if s.taken == len(s.spares) {
		s.spares = append(s.spares, &column{})
	}
	c := s.spares[s.taken]
	s.taken++
	return c
}

// giveBack empties the columns of a message, for the next one.
func (s *scan) giveBack() {
	for i, c := range s.spares[:s.taken] {
		clear(c.cells) // they hold pointers of the message
		if c.text, c.cells = c.text[:0], c.cells[:0]; cap(c.text) > maxSpareColumn || i >= maxSpareColumns {
			*c = column{}
		}
	}
	s.spares = s.spares[:min(len(s.spares), maxSpareColumns)]
	s.taken = 0
}

func (w *walk) into(path []byte, pointer string, text []byte) {
	c := w.columns[string(path)]
	if c == nil {
		if len(w.columns) >= maxColumns {
			path = path[:0]
			c = w.columns[""]
		}
		if c == nil {
			c = w.empty()
			if end := w.ended[string(path)]; len(end) > 0 {
				c.add(place{}, end)
			}
			w.columns[string(path)] = c
			w.order = append(w.order, string(path))
		}
	}
	if len(text) <= 2*seamBytes {
		c.add(place{pointer: pointer}, text)
		return
	}
	c.add(place{pointer: pointer}, text[:seamBytes])
	w.read(c)
	long := len(text) - seamBytes
	c.text, c.cells = c.text[:0], c.cells[:0]
	c.add(place{pointer: pointer, skip: long}, text[long:])
}

func (c *column) add(p place, text []byte) {
	if len(c.cells) > 0 {
		c.text = append(c.text, ' ')
	}
	p.from = len(c.text)
	c.cells = append(c.cells, p)
	c.text = append(c.text, text...)
}

// read keeps what is found in a column that stands in more than one of its strings: once
// with blanks between them and, where a word or a code may be cut in two, once without.
func (w *walk) read(c *column) {
	if len(c.cells) < 2 {
		return
	}
	w.crossing(c)
	if tight, ok := c.tight(); ok {
		w.crossing(tight)
	}
}

func (w *walk) crossing(c *column) {
	pieces := w.pieces[:0]
	for i, p := range c.cells {
		pieces = append(pieces, [2]int{p.from, c.until(i)})
	}
	w.pieces = pieces
	for _, f := range w.apart(c.text, pieces) {
		for i := pieceOf(pieces, f.Start); i < len(pieces) && pieces[i][0] < f.End; i++ {
			if p := c.cells[i]; p.pointer != "" {
				w.keep(f, p.pointer, p.skip+max(0, f.Start-p.from), p.skip+min(f.End, c.until(i))-p.from)
			}
		}
	}
}

func (c *column) until(i int) int {
	if i+1 < len(c.cells) {
		return c.cells[i+1].from
	}
	return len(c.text)
}

// tight is a column with no blank where a word or a code may go on in the next string,
// and whether there is such a place.
func (c *column) tight() (*column, bool) {
	first := 1
	for first < len(c.cells) && !goesOnIn(c.piece(first-1), c.piece(first)) {
		first++
	}
	if first >= len(c.cells) {
		return nil, false
	}
	out := &column{text: make([]byte, 0, len(c.text)), cells: make([]place, 0, len(c.cells))}
	for i, p := range c.cells {
		text := c.piece(i)
		if i > 0 && !goesOnIn(out.text, text) {
			out.text = append(out.text, ' ')
		}
		p.from = len(out.text)
		out.cells = append(out.cells, p)
		out.text = append(out.text, text...)
	}
	return out, true
}

// piece is string i of a column.
func (c *column) piece(i int) []byte {
	end := c.until(i)
	if i+1 < len(c.cells) {
		end-- // the blank
	}
	return c.text[c.cells[i].from:end]
}

// goesOnIn reports whether the last word of a may go on in b: with a small letter, or
// where a is as long without a blank as codes are.
func goesOnIn(a, b []byte) bool {
	if len(a) == 0 || len(b) == 0 || !wordByte(a[len(a)-1]) || !wordByte(b[0]) {
		return false
	}
	if b[0] >= 'a' && b[0] <= 'z' {
		return true
	}
	last := a[max(0, len(a)-codeRun):]
	return len(last) == codeRun && bytes.IndexByte(last, ' ') < 0
}

// readColumns reads all columns of a message after what ended those of the one before, and
// keeps their ends.
func (s *Stream) readColumns(w *walk) {
	ends := map[string][]byte{}
	for _, name := range w.order {
		c := w.columns[name]
		if name != inOrder || w.many || c.cells[0].pointer == "" { // else it was read as one object
			w.read(c)
		}
		if len(ends) < maxCarried {
			ends[name] = lastBytes(c.text, carriedBytes)
		}
	}
	if len(ends) > 0 {
		s.columns = ends
	}
}

func lastBytes(text []byte, n int) []byte {
	return bytes.Clone(text[max(0, len(text)-n):])
}
