package mcpproxy

import (
	"bytes"
	"errors"
	"io"
	"strings"
)

// bom may begin a stream, and is no part of it.
const bom = "\ufeff"

var errEventTooLarge = errors.New("an event of the stream is over the size limit")

// sseEvent is one server-sent event (WHATWG HTML, section 9.2.6).
type sseEvent struct {
	name  string // "" is "message"
	id    string
	hasID bool
	retry string // digits, "" if none
	data  []byte // joined with "\n"; valid until the next read
}

// isMessage reports whether the event carries a message: those of other names
// are not MCP's (rule 38).
func (e *sseEvent) isMessage() bool {
	return len(e.data) > 0 && (e.name == "" || e.name == "message")
}

// sseBuffer is what a stream holds to begin with; many are open and silent.
const sseBuffer = 512

// maxRetryDigits is enough for eleven days.
const maxRetryDigits = 9

// sseReader reads server-sent events with a bound on each.
type sseReader struct {
	src    io.Reader
	in     []byte // unread bytes are in[r:]
	r      int
	max    int
	skipLF bool // the last line ended with CR; a following LF belongs to it
	opened bool
	data   []byte
}

func newSSEReader(src io.Reader, max int) *sseReader {
	return &sseReader{src: src, max: max}
}

// next returns the next event that has data, an id or a retry. At the end of
// the stream it returns io.EOF; an event cut off by the end is dropped, as the
// standard demands.
func (s *sseReader) next() (sseEvent, error) {
	var ev sseEvent
	s.data = s.data[:0]
	any, hasData := false, false
	for {
		line, err := s.line()
		if err != nil {
			return sseEvent{}, err
		}
		if len(line) == 0 {
			if !any {
				continue
			}
			ev.data = s.data
			return ev, nil
		}
		field, value := line, []byte(nil)
		if i := bytes.IndexByte(line, ':'); i >= 0 {
			field, value = line[:i], bytes.TrimPrefix(line[i+1:], []byte(" "))
		}
		switch string(field) {
		case "data":
			if len(s.data)+len(value)+1 > s.max {
				return sseEvent{}, errEventTooLarge
			}
			if hasData {
				s.data = append(s.data, '\n')
			}
			s.data, hasData, any = append(s.data, value...), true, true
		case "event":
			ev.name, any = string(value), true
		case "id":
			if bytes.IndexByte(value, 0) < 0 {
				ev.id, ev.hasID, any = string(value), true, true
			}
		case "retry":
			if digits(value) && len(value) <= maxRetryDigits {
				ev.retry, any = string(value), true
			}
		}
	}
}

// line returns the next line without its end (LF, CRLF or CR), valid until the
// next call.
func (s *sseReader) line() ([]byte, error) {
	from := 0 // offset from s.r that is known to hold no line end
	for {
		if s.skipLF && s.r < len(s.in) {
			if s.skipLF = false; s.in[s.r] == '\n' {
				s.r++
			}
		}
		if unread := s.in[s.r:]; !s.opened && (len(unread) >= len(bom) || !strings.HasPrefix(bom, string(unread))) {
			s.opened = true
			if bytes.HasPrefix(unread, []byte(bom)) {
				s.r, from = s.r+len(bom), 0
			}
		}
		if i := lineEnd(s.in[s.r+from:]); i >= 0 {
			line := s.in[s.r : s.r+from+i]
			s.skipLF = s.in[s.r+from+i] == '\r'
			s.r += from + i + 1
			return line, nil
		}
		from = len(s.in) - s.r
		if from > s.max+64 {
			return nil, errEventTooLarge
		}
		if err := s.fill(); err != nil {
			return nil, err
		}
	}
}

func lineEnd(b []byte) int {
	n := bytes.IndexByte(b, '\n')
	if n >= 0 {
		b = b[:n]
	}
	if c := bytes.IndexByte(b, '\r'); c >= 0 {
		return c
	}
	return n
}

// fill reads more input behind the unread bytes.
func (s *sseReader) fill() error {
	if s.r > 0 {
		s.in = s.in[:copy(s.in, s.in[s.r:])]
		s.r = 0
	}
	if len(s.in) == cap(s.in) {
		s.in = append(make([]byte, 0, max(sseBuffer, 2*cap(s.in))), s.in...)
	}
	n, err := s.src.Read(s.in[len(s.in):cap(s.in)])
	s.in = s.in[:len(s.in)+n]
	if n > 0 {
		return nil
	}
	return err
}

func digits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}

// appendSSE appends msg as one event. A message may hold raw line ends between
// its tokens; each of its lines becomes a data line.
func appendSSE(dst, msg []byte) []byte {
	dst = append(dst, "event: message\n"...)
	for {
		i := bytes.IndexAny(msg, "\r\n")
		dst = append(dst, "data: "...)
		if i < 0 {
			dst = append(dst, msg...)
			return append(dst, "\n\n"...)
		}
		dst = append(append(dst, msg[:i]...), '\n')
		if msg[i] == '\r' && i+1 < len(msg) && msg[i+1] == '\n' {
			i++
		}
		msg = msg[i+1:]
	}
}
