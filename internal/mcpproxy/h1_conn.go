package mcpproxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// h1Conn is a connection that is idle or in the hands of one exchange.
type h1Conn struct {
	nc      net.Conn
	raw     syscall.RawConn // nil where a read cannot be tried
	host    string          // of the URL
	era     int             // of the transport, when it was dialled
	used    bool            // an exchange on it has ended well
	until   time.Time       // when it has been idle for too long
	writeBy time.Time       // its write deadline

	try    func(fd uintptr) bool // c.tryFD, made once
	tryBuf []byte
	tryN   int
	tryErr error
	probe  [1]byte
}

// h1Nothing says that a read would have to wait.
const h1Nothing h1Error = "nothing has arrived"

func newH1Conn(nc net.Conn, host string) *h1Conn {
	c := &h1Conn{nc: nc, host: host}
	// The assertion holds where a socket is a file descriptor to read from.
	if _, ok := any(syscall.Read).(func(int, []byte) (int, error)); ok {
		if sc, ok := nc.(syscall.Conn); ok {
			if raw, err := sc.SyscallConn(); err == nil {
				c.raw, c.try = raw, c.tryFD
			}
		}
	}
	return c
}

func (c *h1Conn) close() { c.nc.Close() }

// quiet reports whether the connection is open and nothing has arrived on it.
// What arrives between two exchanges is an answer to none of them.
func (c *h1Conn) quiet() bool {
	_, err := c.tryRead(c.probe[:])
	return errors.Is(err, h1Nothing)
}

// tryRead reads without waiting; where it cannot, it waits for a millisecond.
func (c *h1Conn) tryRead(p []byte) (int, error) {
	if c.raw != nil {
		c.tryBuf = p
		err := c.raw.Read(c.try)
		c.tryBuf = nil
		if err != nil {
			return 0, err
		}
		return c.tryN, c.tryErr
	}
	if err := c.nc.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		return 0, err
	}
	n, err := c.nc.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = h1Nothing
	}
	if derr := c.nc.SetReadDeadline(time.Time{}); derr != nil {
		err = derr
	}
	return n, err
}

func (c *h1Conn) tryFD(fd uintptr) bool {
	read, _ := any(syscall.Read).(func(int, []byte) (int, error))
	for {
		c.tryN, c.tryErr = read(int(fd), c.tryBuf)
		switch {
		case errors.Is(c.tryErr, syscall.EINTR):
			continue
		case errors.Is(c.tryErr, syscall.EAGAIN):
			c.tryN, c.tryErr = 0, h1Nothing
		case c.tryErr != nil:
			c.tryN = 0
		case c.tryN == 0:
			c.tryErr = io.EOF
		}
		return true
	}
}

// send writes head and then length bytes of body, which is nil if head has it
// already. It returns how many bytes went out.
func (c *h1Conn) send(head []byte, body io.Reader, length int64) (int64, error) {
	if body == nil {
		c.arm()
		n, err := c.nc.Write(head)
		return int64(n), err
	}
	w := h1Writer{c: c, head: head, left: length}
	_, err := io.Copy(&w, body) // a bytes.Reader writes its bytes to the socket uncopied
	if err == nil && w.left > 0 {
		err = h1Error("the request's body is shorter than its Content-Length")
	}
	return w.sent, err
}

// arm sets the write deadline. One that is far enough away stays: moving it on
// every call would cost more than it is worth.
func (c *h1Conn) arm() {
	if now := time.Now(); c.writeBy.Sub(now) < h1WriteTime/2 {
		c.writeBy = now.Add(h1WriteTime)
		_ = c.nc.SetWriteDeadline(c.writeBy) // fails on a closed connection, as the write will
	}
}

// h1Writer writes a request's head together with the first of its body.
type h1Writer struct {
	c    *h1Conn
	head []byte
	left int64 // bytes of the body
	sent int64
}

func (w *h1Writer) Write(p []byte) (int, error) {
	if int64(len(p)) > w.left {
		return 0, h1Error("the request's body is longer than its Content-Length")
	}
	w.left -= int64(len(p))
	for done := 0; done < len(p); {
		piece := p[done:min(len(p), done+h1WritePiece)]
		vec := net.Buffers{w.head, piece}
		w.c.arm()
		n, err := vec.WriteTo(w.c.nc)
		w.sent += n
		if err != nil {
			return done, err
		}
		w.head = nil
		done += len(piece)
	}
	return len(p), nil
}

// h1Framing says where an answer's body ends (RFC 9112, 6.3).
type h1Framing int

const (
	h1NoBody h1Framing = iota
	h1Length
	h1Chunked
	h1UntilClose
)

// h1Exchange is one request, its answer and the answer's body.
type h1Exchange struct {
	t    *h1Transport
	c    *h1Conn // nil once the exchange has ended
	ctx  context.Context
	stop func() bool // unties c from ctx
	resp http.Response

	buf  *h1Buffer
	big  *h1Large // instead of buf, while a body comes in as fast as it is read
	in   []byte   // buf or big, or larger for a large head
	r, w int      // in[r:w] has arrived and is not used yet
	poll bool     // do not wait for more
	full bool     // what arrived last filled in

	framing h1Framing
	cut     bool          // the request was not written to its end
	keep    bool          // the connection may serve another exchange
	hint    time.Duration // how long the upstream says it keeps it, 0 if it does not
	heads   int           // bytes of heads

	left    int64 // bytes of the body, or of the chunk
	state   h1ChunkState
	extra   int // bytes of chunk extensions
	trailer int // bytes of trailers

	mu      sync.Mutex // for what Close may do while Read is running
	reading bool
	closed  bool
	err     error // what ended the body
}

// release unties the connection and puts it back or closes it.
func (x *h1Exchange) release(clean bool) {
	c := x.c
	if c == nil {
		return
	}
	x.c = nil
	// Where stop is too late, the context is about to close the connection.
	tied := x.stop != nil && !x.stop()
	x.stop = nil
	if clean && x.keep && !tied && x.r == x.w {
		x.t.put(c, x.hint)
	} else {
		c.close()
	}
}

// settle ends the exchange.
func (x *h1Exchange) settle(clean bool) {
	x.release(clean)
	x.giveBuffer()
}

// giveBuffer gives back what was read into.
func (x *h1Exchange) giveBuffer() {
	if x.buf != nil {
		x.t.buffers.Put(x.buf)
	}
	if x.big != nil {
		x.t.large.Put(x.big)
	}
	x.buf, x.big, x.in = nil, nil, nil
}

// early looks for an answer that came before the request was written. Servers
// answer and close without reading what they refuse.
func (x *h1Exchange) early(r *http.Request, err error) error {
	if x.ctx.Err() != nil {
		return err
	}
	_ = x.c.nc.SetReadDeadline(time.Now().Add(h1EarlyTime)) // fails on a closed connection, as the read will
	x.cut = true
	if x.answer(r) == nil && x.resp.StatusCode >= 300 {
		return nil
	}
	return fmt.Errorf("writing the request: %w", err)
}

// answer reads the answer's head.
func (x *h1Exchange) answer(r *http.Request) error {
	x.in = x.buf[:]
	for interim := 0; ; interim++ {
		s, err := x.head()
		if err != nil {
			return fmt.Errorf("reading the answer: %w", err)
		}
		if err := x.parse(s, r); err != nil {
			return err
		}
		if x.resp.StatusCode >= 200 {
			break
		}
		if interim == h1MaxInterim {
			return h1Malformed("too many interim answers")
		}
	}
	x.resp.Request = r
	if x.framing == h1NoBody || x.framing == h1Length && x.left == 0 {
		x.resp.Body = http.NoBody
		x.settle(true)
		return nil
	}
	x.resp.Body = x
	return nil
}

// head reads to the empty line that ends a head, and returns what is before it.
func (x *h1Exchange) head() (string, error) {
	for line, seen := 0, 0; ; { // from x.r: the start of a line, what was searched
		got := x.in[x.r:x.w]
		for i := bytes.IndexByte(got[seen:], '\n'); i >= 0; i = bytes.IndexByte(got[seen:], '\n') {
			i += seen
			if i == line || got[i-1] != '\r' {
				return "", h1Malformed("a line of its head does not end with CRLF")
			}
			if i-1 == line {
				x.r += i + 1
				if x.heads += i + 1; x.heads > h1MaxHead {
					return "", h1Malformed("its head is too large")
				}
				return string(got[:line]), nil
			}
			line, seen = i+1, i+1
		}
		seen = len(got)
		const version = "HTTP/1."
		if n := min(seen, len(version)); string(got[:n]) != version[:n] {
			return "", h1Malformed("it does not begin with an HTTP/1 version")
		}
		if x.heads+seen >= h1MaxHead {
			return "", h1Malformed("its head is too large")
		}
		if seen == len(x.in) {
			x.in = append(make([]byte, 0, 2*len(x.in)), got...)
			x.in = x.in[:cap(x.in)]
			x.r, x.w = 0, seen
		}
		if err := x.fill(); err != nil {
			return "", err
		}
	}
}

// fill waits for more. There must be room in x.in. The end of the connection is
// io.ErrUnexpectedEOF.
func (x *h1Exchange) fill() error {
	if x.r > 0 {
		x.w = copy(x.in, x.in[x.r:x.w])
		x.r = 0
	}
	if x.w == 0 && x.framing == h1Chunked && x.state == h1ChunkSize && !x.poll && x.c.raw != nil {
		return x.lull()
	}
	if x.w == 0 && x.full && x.big == nil {
		x.giveBuffer()
		x.big = x.t.large.Get().(*h1Large)
		x.in = x.big[:]
	}
	n, err := x.recv(x.in[x.w:])
	x.w += n
	x.full = x.framing != h1NoBody && x.w == len(x.in)
	return err
}

// lull is fill between two chunks. The next may be long in coming, as on the
// stream of a call that waits for a person: meanwhile no buffer is held.
func (x *h1Exchange) lull() error {
	x.poll = true
	n, err := x.recv(x.in)
	x.poll = false
	if errors.Is(err, h1Nothing) {
		x.giveBuffer()
		var first [1]byte
		n, err = x.recv(first[:])
		x.buf = x.t.buffers.Get().(*h1Buffer)
		x.in = x.buf[:]
		x.in[0] = first[0]
	}
	x.w = n
	x.full = x.w == len(x.in)
	return err
}

// recv reads from the connection: n > 0 or an error.
func (x *h1Exchange) recv(p []byte) (n int, err error) {
	if x.poll {
		n, err = x.c.tryRead(p)
	} else {
		n, err = x.c.nc.Read(p)
	}
	switch {
	case n > 0:
		return n, nil
	case err == nil:
		return 0, io.ErrNoProgress
	case errors.Is(err, io.EOF):
		return 0, io.ErrUnexpectedEOF
	}
	return 0, err
}

// parse reads a head, without its last empty line, into x.
func (x *h1Exchange) parse(s string, r *http.Request) error {
	status, s, _ := strings.Cut(s, "\r\n")
	if err := h1Status(status, &x.resp); err != nil {
		return err
	}
	header, err := h1Headers(s)
	if err != nil {
		return err
	}
	length := int64(-1)
	switch cl := header["Content-Length"]; {
	case len(cl) > 1:
		return h1Malformed("Content-Length is repeated")
	case len(cl) == 1:
		if len(cl[0]) > 18 || !digits([]byte(cl[0])) {
			return h1Malformed("Content-Length is not a number")
		}
		length, _ = strconv.ParseInt(cl[0], 10, 64) // digits that fit
	}
	te, chunked := header["Transfer-Encoding"]
	switch {
	case !chunked:
	case length >= 0:
		return h1Malformed("it has both Content-Length and Transfer-Encoding")
	case len(te) > 1 || !strings.EqualFold(te[0], "chunked"):
		return h1Malformed("its transfer coding is not chunked")
	case x.resp.ProtoMinor == 0:
		return h1Malformed("it is chunked in HTTP/1.0")
	}
	code := x.resp.StatusCode
	bodiless := code < 200 || code == http.StatusNoContent
	if code == http.StatusSwitchingProtocols || code < 200 && (chunked || length > 0) {
		return h1Malformed("it is an interim answer with a body, or a switch of protocols")
	}
	x.resp.Header = header
	x.keep, x.hint = h1Persists(r, &x.resp)
	// What such an answer announces may follow all the same.
	x.keep = x.keep && !x.cut && !(bodiless && (chunked || length > 0))
	x.resp.Close = !x.keep
	x.frame(r.Method, bodiless || code == http.StatusNotModified, chunked, length)
	return nil
}

// frame says where the body ends and how the answer shows it.
func (x *h1Exchange) frame(method string, bodiless, chunked bool, length int64) {
	x.resp.TransferEncoding = nil
	if chunked {
		x.resp.TransferEncoding = []string{"chunked"}
		delete(x.resp.Header, "Transfer-Encoding")
		delete(x.resp.Header, "Trailer") // trailers are dropped
	}
	x.framing, x.left, x.resp.ContentLength = h1UntilClose, math.MaxInt64, -1
	switch {
	case method == http.MethodHead:
		x.framing, x.resp.ContentLength = h1NoBody, length
	case bodiless:
		x.framing, x.resp.ContentLength = h1NoBody, 0
	case chunked:
		x.framing, x.left = h1Chunked, 0
	case length >= 0:
		x.framing, x.left, x.resp.ContentLength = h1Length, length, length
	default:
		x.keep, x.resp.Close = false, true
	}
}

func h1Status(line string, resp *http.Response) error {
	if len(line) < 12 || line[:7] != "HTTP/1." || line[7] != '0' && line[7] != '1' || line[8] != ' ' {
		return h1Malformed("its status line is not one of HTTP/1.0 or HTTP/1.1")
	}
	a, b, c := line[9]-'0', line[10]-'0', line[11]-'0' // below '0' wraps
	if a < 1 || a > 5 || b > 9 || c > 9 || len(line) > 12 && line[12] != ' ' || !h1Value(line) {
		return h1Malformed("its status is not a number from 100 to 599")
	}
	resp.Status = line[9:]
	resp.StatusCode = 100*int(a) + 10*int(b) + int(c)
	resp.Proto, resp.ProtoMajor, resp.ProtoMinor = line[:8], 1, int(line[7]-'0')
	return nil
}

func h1Headers(s string) (http.Header, error) {
	n := strings.Count(s, "\n")
	if n > h1MaxHeaders {
		return nil, h1Malformed("it has too many headers")
	}
	header, values := make(http.Header, n), make([]string, n)
	for i := range values {
		var line string
		line, s, _ = strings.Cut(s, "\r\n")
		name, value, ok := strings.Cut(line, ":")
		// A folded line (RFC 9112, 5.2) has no token in front either.
		if !ok || !h1Token(name) {
			return nil, h1Malformed("a header's name is not a token")
		}
		if value = strings.Trim(value, " \t"); !h1Value(value) {
			return nil, h1Malformed("a header's value holds a control character")
		}
		name = http.CanonicalHeaderKey(name)
		if seen := header[name]; seen != nil {
			header[name] = append(seen, value)
			continue
		}
		values[i] = value
		header[name] = values[i : i+1 : i+1]
	}
	return header, nil
}

// h1Persists reports whether the connection outlives the exchange, and for how
// long, if the upstream says so, it is safe to use again: a request that meets
// a closing connection is lost.
func h1Persists(r *http.Request, resp *http.Response) (bool, time.Duration) {
	if r.Close || resp.ProtoMinor == 0 {
		return false, 0
	}
	for _, v := range resp.Header["Connection"] {
		for option := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.Trim(option, " \t"), "close") {
				return false, 0
			}
		}
	}
	for _, v := range resp.Header["Keep-Alive"] {
		for option := range strings.SplitSeq(v, ",") {
			name, value, _ := strings.Cut(strings.Trim(option, " \t"), "=")
			if sec, err := strconv.ParseUint(value, 10, 16); err == nil && strings.EqualFold(name, "timeout") {
				return sec > 1, time.Duration(sec)*time.Second - time.Second
			}
		}
	}
	return true, 0
}
