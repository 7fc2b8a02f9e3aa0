package shim

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"

	"rutile/internal/access"
	"rutile/internal/rawjson"
)

// Keys of _meta and the revisions the shim must tell apart (mcp.md 1.1, 1.2).
const (
	metaVersion = "io.modelcontextprotocol/protocolVersion"
	version2411 = "2024-11-05"
	version2503 = "2025-03-26"
)

// JSON-RPC error codes; those of our own lie outside -32768…-32000.
const (
	codeParse          = -32700
	codeInvalidRequest = -32600
	codeInternal       = -32603
	codeHeaderMismatch = -32020
	codeDenied         = 4030
	codeRateLimit      = 4290
)

type kind uint8

const (
	isNotification kind = iota
	isRequest
	isResponse
)

// message is one line of the client.
type message struct {
	raw     []byte
	root    rawjson.Value
	kind    kind
	ids     [][]byte // raw ids of the requests in it: more than one in a batch
	method  string   // "" in a response and in a batch
	params  rawjson.Value
	version string // revision in _meta; "" in the revisions with sessions
}

// readMessage reads as much of a message as routing it needs. The gateway
// judges the rest.
func readMessage(text []byte, max int) (*message, *failure) {
	// Deeper and wider than the gateway takes: it refuses with the request's id.
	root, err := rawjson.Parse(text, rawjson.Limits{Bytes: max, Depth: 512, Members: 1 << 20})
	if err != nil {
		code := codeInvalidRequest
		var e *rawjson.Error
		if errors.As(err, &e) && (e.Rule == rawjson.RuleSyntax || e.Rule == rawjson.RuleEncoding) {
			code = codeParse
		}
		return nil, &failure{code: code, kind: "invalid", msg: "the message cannot be read: " + err.Error()}
	}
	m := &message{raw: text, root: root, kind: isNotification}
	if root.Kind() == rawjson.Array {
		return m.batch()
	}
	if root.Kind() != rawjson.Object {
		return nil, &failure{code: codeInvalidRequest, kind: "invalid", msg: "a message is a JSON object"}
	}
	m.method, _ = root.Get("method").Str()
	m.params = root.Get("params")
	m.version, _ = m.params.Path("_meta", metaVersion).Str()
	id := root.Get("id")
	switch {
	case m.method == "" && !id.Exists():
		return nil, &failure{code: codeInvalidRequest, kind: "invalid", msg: "a message has a method, or an id and a result or an error"}
	case m.method == "":
		m.kind = isResponse
		return m, nil
	case !headerValue(m.method) || len(m.method) > 128:
		return nil, &failure{code: codeInvalidRequest, kind: "invalid", msg: "the method is not the name of one"}
	case !id.Exists():
		return m, nil
	case !validID(id):
		return nil, &failure{code: codeInvalidRequest, kind: "invalid", msg: "an id is a string of at most 256 bytes or an integer"}
	}
	m.kind, m.ids = isRequest, [][]byte{id.Raw()}
	return m, nil
}

// batch reads an array of messages, which one revision has.
func (m *message) batch() (*message, *failure) {
	m.kind = isResponse
	for v := range m.root.Items() {
		id := v.Get("id")
		if _, ok := v.Get("method").Str(); !ok || !id.Exists() {
			continue
		}
		if !validID(id) {
			return nil, &failure{code: codeInvalidRequest, kind: "invalid", msg: "an id is a string of at most 256 bytes or an integer"}
		}
		m.ids = append(m.ids, id.Raw())
	}
	if len(m.ids) > 0 {
		m.kind = isRequest
	}
	return m, nil
}

func validID(id rawjson.Value) bool {
	if id.Kind() == rawjson.String {
		return len(id.Raw()) <= 256+2
	}
	if id.Kind() != rawjson.Number || bytes.ContainsAny(id.Raw(), ".eE") {
		return false
	}
	return string(id.Raw()) != "-0"
}

// failure is why a message went nowhere. Its text is for the person at the client
// and names the next step; err is for the diagnostics.
type failure struct {
	code  int
	kind  string // machine-readable
	msg   string
	after int // seconds until a new try makes sense, 0 if unknown
	err   error
	ref   string
	once  sync.Once
}

// reference ties an error the client shows to the line on standard error.
func (f *failure) reference() string {
	f.once.Do(func() { f.ref = access.NewID("ref_") })
	return f.ref
}

func (f *failure) cause() string {
	if f.err == nil {
		return ""
	}
	return f.err.Error()
}

// message is the JSON-RPC error for a request; without an id where it could not
// be read.
func (f *failure) message(id []byte) []byte {
	b := []byte(`{"jsonrpc":"2.0",`)
	if id != nil {
		b = append(append(append(b, `"id":`...), id...), ',')
	}
	b = append(b, `"error":{"code":`...)
	b = strconv.AppendInt(b, int64(f.code), 10)
	b = rawjson.AppendString(append(b, `,"message":`...), f.msg+" (ref "+f.reference()+")")
	b = rawjson.AppendString(append(b, `,"data":{"kind":`...), f.kind)
	b = rawjson.AppendString(append(b, `,"ref":`...), f.reference())
	if f.after > 0 {
		b = strconv.AppendInt(append(b, `,"retryAfter":`...), int64(f.after), 10)
	}
	return append(b, `}}}`...)
}

// line is one line of standard input, without its end.
type line struct {
	text []byte
	err  error
}

// errLine is about one line; the next may be read.
var errLine = errors.New("the line cannot be taken")

// readLines sends each line that is not blank, and at the end why it ended. A
// line over max is read to its end and left out.
func readLines(ctx context.Context, r io.Reader, max int, to chan<- line) {
	in := bufio.NewReaderSize(r, 64<<10)
	send := func(l line) bool {
		select {
		case to <- l:
			return true
		case <-ctx.Done():
			return false
		}
	}
	for {
		text, err := readLine(in, max)
		if text = bytes.TrimSuffix(text, []byte("\r")); len(bytes.TrimLeft(text, " \t")) > 0 {
			if !send(line{text: text}) {
				return
			}
		}
		if err != nil && !send(line{err: err}) || err != nil && !errors.Is(err, errLine) {
			return
		}
	}
}

// readLine returns the next line, in memory of its own. What stands before the
// end of the input without a line end is a line too.
func readLine(in *bufio.Reader, max int) ([]byte, error) {
	var text []byte
	long := false
	for {
		part, err := in.ReadSlice('\n')
		end := len(part) > 0 && part[len(part)-1] == '\n'
		if end {
			part = part[:len(part)-1]
		}
		if long = long || len(text)+len(part) > max; long {
			text = nil
		} else {
			text = append(text, part...)
		}
		switch {
		case err == nil && long:
			return nil, fmt.Errorf("%w: the message has more than %d bytes", errLine, max)
		case err == nil:
			return text, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return text, err
		}
	}
}

// output writes whole lines, one at a time.
type output struct {
	mu     sync.Mutex
	w      io.Writer
	buf    []byte
	err    error
	broken chan struct{} // closed when nobody reads any more
}

func newOutput(w io.Writer) *output { return &output{w: w, broken: make(chan struct{})} }

// write writes a message as one line. Line ends in valid JSON stand between
// tokens only, where a blank means the same.
func (o *output) write(msg []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return
	}
	o.buf = append(append(o.buf[:0], msg...), '\n')
	for i, c := range o.buf[:len(msg)] {
		if c == '\n' || c == '\r' {
			o.buf[i] = ' '
		}
	}
	if _, err := o.w.Write(o.buf); err != nil {
		o.err = access.Errorf(access.CodeUnavailable, "the client does not read any more: %w", err)
		close(o.broken)
	}
	if cap(o.buf) > 1<<20 {
		o.buf = nil
	}
}

// failure returns why nothing can be written any more, nil if something can.
func (o *output) failure() error {
	select {
	case <-o.broken:
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.err
	default:
		return nil
	}
}
