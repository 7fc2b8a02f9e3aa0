package mcpproxy

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"rutile/internal/access"
	"rutile/internal/gate"
)

// endedPipe is a pipe that is over.
type endedPipe struct{}

func (endedPipe) deliver(context.Context, *gate.Dispatch, []byte) <-chan delivery { return nil }
func (endedPipe) close(context.Context) error                                     { return nil }
func (endedPipe) err() error                                                      { return errStdioExited }

// What a server said of a call before it ended counts, whatever of it is seen
// first.
func TestAnEndWithACallInFlight(t *testing.T) {
	l := &conversation{p: &Proxy{log: slog.New(slog.DiscardHandler)}, pipe: endedPipe{}, broken: errProcessEnded, ended: make(chan struct{})}
	close(l.ended)
	bad := malformed("it answers nothing")
	for name, c := range map[string]struct {
		said  *answered
		taken *delivery
		err   error
		reach access.Reach
	}{
		"it answered":              {&answered{rep: &reply{}}, &delivery{reach: access.ReachYes}, nil, access.ReachYes},
		"it answered nonsense":     {&answered{err: bad}, &delivery{reach: access.ReachYes}, bad, access.ReachYes},
		"it took the message":      {nil, &delivery{reach: access.ReachYes}, errProcessEnded, access.ReachUnknown},
		"it may have":              {nil, nil, errProcessEnded, access.ReachUnknown},
		"it did not":               {nil, &delivery{access.ReachNo, errProcessEnded}, errProcessEnded, access.ReachNo},
		"it answered all the same": {&answered{rep: &reply{}}, &delivery{access.ReachUnknown, errProcessEnded}, nil, access.ReachYes},
	} {
		t.Run(name, func(t *testing.T) {
			for range 200 { // what is ready at once is taken in any order
				call := &pendingCall{x: &exchange{relay: noRelay{}}, done: make(chan answered, 1)}
				sent := make(chan delivery, 1)
				if c.said != nil {
					call.done <- *c.said
				}
				if c.taken != nil {
					sent <- *c.taken
				}
				rep, reach, err := l.await(t.Context(), call, sent)
				if reach != c.reach || !errors.Is(err, c.err) || (rep == nil) != (err != nil) {
					t.Fatalf("the call ended with %v, %s, %v", rep, reach, err)
				}
			}
		})
	}
}

// A message the server refuses because it does not know the stream any more was
// not taken, and that is known when the end of the stream is.
func TestAStreamIsGone(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	at, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		done := make(chan delivery, 1)
		ctx, cut := context.WithCancelCause(t.Context())
		known := make(chan bool, 1)
		p := &eventPipe{
			t: &httpTarget{url: at, host: at.Host, rt: http.DefaultTransport, log: slog.New(slog.DiscardHandler)}, endpoint: at, ctx: ctx,
			cut: func(why error) { known <- len(done) == 1; cut(why) },
		}
		r, err := p.t.request(ctx, http.MethodPost, []byte("{}"), nil)
		if err != nil {
			t.Fatal(err)
		}
		p.post(r, done)
		if s := <-done; !<-known || s.reach != access.ReachNo || !errors.Is(s.err, errStreamEnded) {
			t.Fatalf("the stream ended before it was known that the message was not taken: %v", s)
		}
	}
}
