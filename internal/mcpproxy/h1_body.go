package mcpproxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"
)

// h1ChunkState is what stands next in a chunked body (RFC 9112, 7.1).
type h1ChunkState int

const (
	h1ChunkSize h1ChunkState = iota
	h1ChunkData
	h1ChunkEnd // the CRLF behind the data
	h1ChunkTrailer
)

// Read implements io.Reader for the answer's body. At its end the connection is
// free for others at once.
func (x *h1Exchange) Read(p []byte) (int, error) {
	x.mu.Lock()
	switch {
	case x.closed:
		x.mu.Unlock()
		return 0, http.ErrBodyReadAfterClose
	case x.err != nil || x.reading:
		defer x.mu.Unlock()
		if x.reading {
			return 0, h1Error("the body is being read already")
		}
		return 0, x.err
	}
	x.reading = true
	x.mu.Unlock()

	n, err := x.read(p)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.reading = false
	switch {
	case x.closed:
		x.settle(false)
		return n, http.ErrBodyReadAfterClose
	case err == nil:
		return n, nil
	case err != io.EOF:
		if cause := context.Cause(x.ctx); cause != nil {
			err = cause
		}
	}
	x.err = err
	x.settle(err == io.EOF)
	return n, err
}

// Close implements io.Closer. It does not wait: a body that has all arrived, or
// will in a moment, leaves its connection to others; with any other it is
// closed. A Read that is running ends.
func (x *h1Exchange) Close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.closed:
		return nil
	case x.reading:
		x.c.close() // Read settles
	case x.c != nil && (!x.keep || x.framing == h1Length && x.left > h1MaxDrain || x.stop != nil && !x.stop()):
		x.keep = false
		x.settle(false)
	case x.c != nil:
		x.stop, x.poll = nil, true
		rest := h1MaxDrain
		switch err := x.drain(&rest); {
		case err == io.EOF:
			x.settle(true)
		case errors.Is(err, h1Nothing):
			go func() {
				if contain(x.t.log, "the end of an answer", func() { x.wait(rest) }) {
					x.settle(false)
				}
			}()
		default:
			x.settle(false)
		}
	}
	x.closed = true
	return nil
}

// wait gives the rest of a closed body a moment to arrive. The end of a stream
// follows its last event closely, and a new connection costs more than this.
func (x *h1Exchange) wait(rest int) {
	x.poll = false
	clean := x.c.nc.SetReadDeadline(time.Now().Add(x.t.drainTime)) == nil && x.drain(&rest) == io.EOF &&
		x.c.nc.SetReadDeadline(time.Time{}) == nil
	x.settle(clean)
}

// drain reads the rest of the body if it is at most *rest bytes.
func (x *h1Exchange) drain(rest *int) error {
	scratch := x.t.buffers.Get().(*h1Buffer)
	defer x.t.buffers.Put(scratch)
	for *rest > 0 {
		n, err := x.read(scratch[:min(*rest, len(scratch))])
		*rest -= n
		if err != nil {
			return err
		}
	}
	return h1Error("the rest of the body is too long to be read")
}

// read reads body. It returns io.EOF at the end of the body, with its last bytes
// where that end is known, and no other way. Of many small chunks it returns as
// many as have arrived.
func (x *h1Exchange) read(p []byte) (int, error) {
	n, err := x.some(p)
	if err != nil || x.framing != h1Chunked || x.poll || x.c.raw == nil {
		return n, err
	}
	x.poll = true // what follows must not hold up what is there
	for n < len(p) && x.r < x.w && err == nil {
		var more int
		more, err = x.some(p[n:])
		n += more
	}
	if x.poll = false; errors.Is(err, h1Nothing) {
		err = nil
	}
	return n, err
}

// some reads what stands next of the body, at most to the end of a chunk.
func (x *h1Exchange) some(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if x.framing == h1Chunked {
		if err := x.chunk(); err != nil {
			return 0, err
		}
	}
	n, err := x.data(p)
	switch {
	case x.framing == h1UntilClose && errors.Is(err, io.ErrUnexpectedEOF):
		return 0, io.EOF
	case err != nil:
		return 0, err
	case x.left > 0:
	case x.framing == h1Length:
		return n, io.EOF
	case x.framing == h1Chunked:
		x.state = h1ChunkEnd
	}
	return n, nil
}

// data reads some of the x.left bytes that stand next. What does not fit into
// the buffer goes straight to p.
func (x *h1Exchange) data(p []byte) (n int, err error) {
	p = p[:min(int64(len(p)), x.left)]
	switch {
	case x.r == x.w && len(p) >= len(x.in):
		n, err = x.recv(p)
	case x.r == x.w:
		if err = x.fill(); err != nil {
			return 0, err
		}
		fallthrough
	default:
		n = copy(p, x.in[x.r:x.w])
		x.r += n
	}
	x.left -= int64(n)
	return n, err
}

// chunk reads what stands between the data of chunks, up to the next data, or
// to the end of the body, which is io.EOF. An error loses nothing.
func (x *h1Exchange) chunk() error {
	for x.state != h1ChunkData {
		limit := h1MaxChunkLine
		switch x.state {
		case h1ChunkEnd:
			limit = 0
		case h1ChunkTrailer:
			limit = h1MaxTrailer
		}
		line, err := x.line(limit)
		if err != nil {
			return err
		}
		switch x.state {
		case h1ChunkEnd:
			x.state = h1ChunkSize
		case h1ChunkSize:
			if err := x.size(line); err != nil {
				return err
			}
			if x.state = h1ChunkData; x.left == 0 {
				x.state = h1ChunkTrailer
			}
		case h1ChunkTrailer:
			if len(line) == 0 {
				return io.EOF
			}
			if x.trailer += len(line) + 2; x.trailer > h1MaxTrailer {
				return h1Malformed("its trailers are too large")
			}
			if _, err := h1Headers(string(line) + "\r\n"); err != nil {
				return err
			}
		}
	}
	return nil
}

// size reads the line in front of a chunk.
func (x *h1Exchange) size(line []byte) error {
	digits := line
	for i, c := range line {
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') {
			digits = line[:i]
			break
		}
	}
	if len(digits) == 0 || len(digits) > 15 {
		return h1Malformed("the size of a chunk is not a number")
	}
	n, err := strconv.ParseInt(string(digits), 16, 64)
	if err != nil {
		return h1Malformed("the size of a chunk is not a number")
	}
	if extension := line[len(digits):]; len(extension) > 0 {
		x.extra += len(extension)
		if extension[0] != ';' || !h1Value(string(extension)) {
			return h1Malformed("a chunk's size is followed by what is no extension")
		}
		if x.extra > h1MaxExtensions {
			return h1Malformed("its chunk extensions are too large")
		}
	}
	x.left = n
	return nil
}

// line reads a line of at most limit bytes and returns it without its CRLF; it
// is valid until the next read. An error loses nothing.
func (x *h1Exchange) line(limit int) ([]byte, error) {
	for {
		got := x.in[x.r:x.w]
		i := bytes.IndexByte(got, '\n')
		switch {
		case i > 0 && got[i-1] == '\r' && i-1 <= limit:
			x.r += i + 1
			return got[:i-1], nil
		case i >= 0 || len(got) > limit+1:
			return nil, h1Malformed("what separates its chunks is no line, or too long")
		}
		if err := x.fill(); err != nil {
			return nil, err
		}
	}
}
