package mcpproxy

import (
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// answer writes one response to an agent: a JSON object, or a stream that ends
// with the final message. Its methods are safe for concurrent use, since
// notifications of a shared upstream may arrive beside the call's own stream.
type answer struct {
	w  http.ResponseWriter
	id []byte // raw id of the request

	mu     sync.Mutex
	sse    bool
	began  bool
	done   bool
	events int
	buf    []byte

	collect   bool // one element of a batch: keep the final message, drop the rest
	collected []byte

	via  func(msg []byte) []byte // maps a message before the final one, nil drops it
	onto *answer                 // the stream this one's events go to, nil if it is its own
}

// begin fixes the representation: headers go out at once for a stream, so that
// a long call is seen to run.
func (a *answer) begin(sse bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.done {
		return nil
	}
	return a.start(sse)
}

// prefer says which representation it will be unless an error has a status of
// its own; nothing goes out yet.
func (a *answer) prefer(sse bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sse = a.sse || sse
}

func (a *answer) start(sse bool) error {
	if a.began || a.collect {
		return nil
	}
	a.sse = sse
	if !sse {
		return nil
	}
	a.began = true
	h := a.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache, no-transform")
	h.Set("X-Accel-Buffering", "no")
	a.w.WriteHeader(http.StatusOK)
	return a.write(nil)
}

// event relays a message before the final one; it turns the response into a
// stream if it is not one yet.
func (a *answer) event(msg []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.done || a.collect {
		return nil
	}
	if a.via != nil {
		if msg = a.via(msg); msg == nil {
			return nil
		}
	}
	if a.onto != nil {
		return a.onto.event(msg)
	}
	if err := a.start(true); err != nil {
		return err
	}
	a.events++
	a.buf = appendSSE(a.buf[:0], msg)
	return a.write(a.buf)
}

// retry relays an upstream's reconnection time (mcp.md 7.4).
func (a *answer) retry(ms string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.done || a.collect {
		return nil
	}
	if err := a.start(true); err != nil {
		return err
	}
	a.buf = append(append(append(a.buf[:0], "retry: "...), ms...), "\n\n"...)
	return a.write(a.buf)
}

// final ends the response with msg.
func (a *answer) final(status int, msg []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.done {
		return nil
	}
	a.done = true
	if a.collect {
		a.collected = append([]byte(nil), msg...)
		return nil
	}
	if a.began {
		a.buf = appendSSE(a.buf[:0], msg)
		return a.write(a.buf)
	}
	if a.sse && status == http.StatusOK {
		if err := a.start(true); err != nil {
			return err
		}
		a.buf = appendSSE(a.buf[:0], msg)
		return a.write(a.buf)
	}
	a.began = true
	h := a.w.Header()
	h["Content-Type"] = jsonType
	h["Content-Length"] = []string{strconv.Itoa(len(msg))}
	a.w.WriteHeader(status)
	if len(msg) > writeSmall {
		return a.write(msg)
	}
	_, err := a.w.Write(msg)
	return err
}

// fail ends the response with a protocol error.
func (a *answer) fail(e *rpcError) {
	// The client may have gone; there is nobody else to tell.
	_ = a.final(e.status, appendError(nil, a.id, e))
}

// comment sends a keep-alive.
func (a *answer) comment() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.began || a.done {
		return nil
	}
	return a.write([]byte(": keep-alive\n\n"))
}

// count returns how many events were relayed.
func (a *answer) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.events
}

// abandon ends the response without a final message: the client said it does
// not want one.
func (a *answer) abandon() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.began && !a.done && !a.collect {
		a.w.WriteHeader(http.StatusAccepted)
	}
	a.done, a.began = true, true
}

// close makes every later write a no-op: the handler has returned.
func (a *answer) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.done = true
}

// writeTimeout bounds how long a client may take to accept one piece of an
// answer: one that stopped reading must not hold an upstream, or an answer in
// memory.
const (
	writeTimeout = 30 * time.Second
	writePiece   = 256 << 10
	writeSmall   = 2 << 10 // net/http keeps as much until the handler returns
)

// write sends b at once, piece by piece.
func (a *answer) write(b []byte) error {
	rc := http.NewResponseController(a.w)
	bound := func(t time.Time) { _ = rc.SetWriteDeadline(t) } // test recorders have none; a real connection does
	defer bound(time.Time{})
	for bound(time.Now().Add(writeTimeout)); len(b) > 0; bound(time.Now().Add(writeTimeout)) {
		piece := b[:min(len(b), writePiece)]
		if _, err := a.w.Write(piece); err != nil {
			return err
		}
		b = b[len(piece):]
	}
	if err := rc.Flush(); !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

var jsonType = []string{"application/json"}
