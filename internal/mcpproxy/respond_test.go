package mcpproxy

// These tests are inside the package: a client that takes half a minute would
// be needed to see them from outside.

import (
	"bytes"
	"errors"
	"net/http"
	"testing"
	"time"
)

// slowWriter is a connection that takes what it is given as long as somebody
// bounds the time for it.
type slowWriter struct {
	h      http.Header
	got    bytes.Buffer
	by     time.Time
	calls  int
	most   int
	breaks int // the first call that fails, 0 if none does
}

func (w *slowWriter) Header() http.Header                { return w.h }
func (w *slowWriter) WriteHeader(int)                    {}
func (w *slowWriter) SetWriteDeadline(t time.Time) error { w.by = t; return nil }
func (w *slowWriter) FlushError() error                  { _, err := w.Write(nil); return err }

func (w *slowWriter) Write(b []byte) (int, error) {
	if left := time.Until(w.by); left <= 0 || left > writeTimeout {
		return 0, errors.New("nobody bounds this write")
	}
	if w.calls++; w.breaks > 0 && w.calls >= w.breaks {
		return 0, errors.New("the client went away")
	}
	w.most = max(w.most, len(b))
	return w.got.Write(b)
}

// A client that stops reading holds an answer for as long as one piece may take,
// whatever the answer is and however long.
func TestEveryWriteIsBounded(t *testing.T) {
	big := append(append([]byte(`{"x":"`), bytes.Repeat([]byte("a"), 3<<20)...), `"}`...)
	for name, do := range map[string]func(a *answer) error{
		"a large answer": func(a *answer) error { return a.final(200, big) },
		"a large event":  func(a *answer) error { return a.event(big) },
		"a stream": func(a *answer) error {
			return errors.Join(a.event([]byte(`{}`)), a.comment(), a.retry("10"), a.final(200, big))
		},
	} {
		w := &slowWriter{h: http.Header{}, by: time.Now().Add(writeTimeout)}
		if err := do(&answer{w: w}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !bytes.Contains(w.got.Bytes(), big) || w.most > writePiece {
			t.Errorf("%s: %d bytes came in pieces of %d", name, w.got.Len(), w.most)
		}
		if !w.by.IsZero() {
			t.Errorf("%s: what follows on the connection is bounded too", name)
		}
		w = &slowWriter{h: http.Header{}, by: time.Now().Add(writeTimeout), breaks: 3}
		if err := do(&answer{w: w}); err == nil || w.got.Len() > 2*writePiece {
			t.Errorf("%s: a client that left was sent %d bytes: %v", name, w.got.Len(), err)
		}
	}
}
