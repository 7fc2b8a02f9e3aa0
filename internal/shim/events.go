package shim

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

var errTooLarge = errors.New("an event of the stream is over the size limit")

// events reads the data of server-sent events (WHATWG HTML, section 9.2.6). Ids
// and reconnection times mean nothing here: no stream of the gateway is resumed.
type events struct {
	in    *bufio.Reader
	max   int
	first bool
	skip  bool // the last line ended with CR; a following LF belongs to it
}

func newEvents(r io.Reader, max int) *events {
	return &events{in: bufio.NewReaderSize(r, 32<<10), max: max, first: true}
}

// next returns the data of the next event that has some. An event cut off by
// the end of the stream is none, as the standard demands.
func (e *events) next() ([]byte, error) {
	var data []byte
	has := false
	for {
		text, err := e.line()
		if err != nil {
			return nil, err
		}
		if len(text) == 0 {
			if has && len(data) > 0 {
				return data, nil
			}
			data, has = nil, false
			continue
		}
		field, value, _ := bytes.Cut(text, []byte(":"))
		if string(field) != "data" {
			continue
		}
		if value = bytes.TrimPrefix(value, []byte(" ")); len(data)+len(value)+1 > e.max {
			return nil, errTooLarge
		}
		if has {
			data = append(data, '\n')
		}
		data, has = append(data, value...), true
	}
}

// line returns the next line without its end: LF, CRLF or CR.
func (e *events) line() ([]byte, error) {
	var text []byte
	for {
		if _, err := e.in.Peek(1); err != nil {
			return nil, err
		}
		part, _ := e.in.Peek(e.in.Buffered())
		if e.skip && part[0] == '\n' {
			_, _ = e.in.Discard(1) // it is buffered
			e.skip = false
			continue
		}
		e.skip = false
		n := bytes.IndexAny(part, "\r\n")
		end := n >= 0
		if !end {
			n = len(part)
		}
		if len(text)+n > e.max+64 {
			return nil, errTooLarge
		}
		text = append(text, part[:n]...)
		if end {
			e.skip = part[n] == '\r'
			n++
		}
		_, _ = e.in.Discard(n) // it is buffered
		if end {
			if e.first {
				text, e.first = bytes.TrimPrefix(text, []byte("\ufeff")), false
			}
			return text, nil
		}
	}
}
