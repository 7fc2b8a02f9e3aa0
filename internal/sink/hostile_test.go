package sink_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/audit"
	"rutile/internal/mcpproxy"
	"rutile/internal/sink"
)

// metadata is where clouds keep credentials of machines.
const metadata = "http://169.254.169.254/latest/meta-data/"

// foe is an endpoint that misbehaves at first. What it took it has in ids, what it was
// shown in seen, in the order of the attempts.
type foe struct {
	*httptest.Server
	wrote atomic.Int64 // bytes of answers

	mu    sync.Mutex
	ids   []string
	seen  [][]string
	takes bool // what it does badly it does after it took the events
	bad   func(f *foe, w http.ResponseWriter, r *http.Request)
	times int // how often it does so
}

func newFoe(t *testing.T, form string) *foe {
	f := &foe{}
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		ids, err := tokenOrIDs(form, body)
		if err != nil {
			t.Errorf("it is sent what cannot be read: %v", err)
		}
		f.mu.Lock()
		f.seen = append(f.seen, ids)
		bad := f.bad
		if len(f.seen) > f.times {
			bad = nil
		}
		if bad == nil || f.takes {
			f.ids = append(f.ids, ids...)
		}
		f.mu.Unlock()
		if bad == nil {
			w.WriteHeader(http.StatusAccepted)
			return
		}
		bad(f, w, r)
	}))
	f.Config.ErrorLog = nil
	f.Start()
	t.Cleanup(f.Close)
	return f
}

// tokenOrIDs is idsOf, and of a token its jti.
func tokenOrIDs(form string, body []byte) ([]string, error) {
	if form != sink.FormSSF {
		return idsOf(form, body)
	}
	var c struct {
		ID string `json:"jti"`
	}
	err := json.Unmarshal(body, &c)
	return []string{c.ID}, err
}

func (f *foe) attempts() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.seen)
}

func (f *foe) taken() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.ids)
}

// pour writes until the other end does not read any more, 10 GB at most.
func (f *foe) pour(w io.Writer) {
	block := bytes.Repeat([]byte("x"), 1<<20)
	for range 10 << 10 {
		n, err := w.Write(block)
		f.wrote.Add(int64(n))
		if err != nil {
			return
		}
	}
}

// raw answers with bytes, and closes the connection.
func raw(w http.ResponseWriter, answer string) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	_, _ = io.WriteString(conn, answer) // the other end may have gone
	_ = conn.Close()
}

// bomb is 64 MiB of nothing, compressed.
func bomb() []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	for range 64 {
		_, _ = z.Write(make([]byte, 1<<20)) // a buffer takes all
	}
	_ = z.Close()
	return b.Bytes()
}

// TestAHostileEndpointLosesNothingAndGetsNothingMore: whatever an endpoint does, in every form
// that is posted. All events come in the end, one that is sent again has the id it had, an
// answer is read no further than it must be, nobody is dialled but who is declared, and how far
// it got is known after a restart.
func TestAHostileEndpointLosesNothingAndGetsNothingMore(t *testing.T) {
	packed := bomb()
	forms := []string{sink.FormOCSF, sink.FormOTLP, sink.FormCEF, sink.FormCloudEvents, sink.FormLeaf, sink.FormSSF}
	behaviours := map[string]struct {
		takes bool // its word is 2xx, so it took what it was sent
		times int
		bad   func(f *foe, w http.ResponseWriter, r *http.Request)
	}{
		"it answers 200 and 10 GB": {true, 1, func(f *foe, w http.ResponseWriter, _ *http.Request) { f.pour(w) }},
		"it answers 500 and 10 GB": {false, 2, func(f *foe, w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			f.pour(w)
		}},
		"its answer swells": {true, 1, func(_ *foe, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(packed)
		}},
		"its header has no end": {false, 1, func(f *foe, w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nX-Long: ")
			f.pour(conn)
		}},
		"it answers a byte a second": {false, 1, func(_ *foe, w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			for range 120 {
				if _, err := w.Write([]byte("x")); err != nil || http.NewResponseController(w).Flush() != nil {
					return
				}
				select {
				case <-r.Context().Done():
					return
				case <-time.After(time.Second):
				}
			}
		}},
		"it has too many": {false, 2, func(_ *foe, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "31536000")
			w.WriteHeader(http.StatusTooManyRequests)
		}},
		"it sends elsewhere": {false, 2, func(_ *foe, w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, metadata, http.StatusTemporaryRedirect)
		}},
		"it sends elsewhere for good": {false, 2, func(_ *foe, w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, metadata, http.StatusPermanentRedirect)
		}},
		"it closes half way": {false, 2, func(_ *foe, w http.ResponseWriter, _ *http.Request) {
			raw(w, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
		}},
		"it closes without a word": {false, 2, func(_ *foe, w http.ResponseWriter, _ *http.Request) { raw(w, "") }},
		"it speaks no HTTP":        {false, 2, func(_ *foe, w http.ResponseWriter, _ *http.Request) { raw(w, "220 ready\r\n") }},
		"it says 200 and nonsense": {true, 2, func(_ *foe, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte("{\"partialSuccess\":{{\xff\x00"))
		}},
	}
	honest := map[string]*foe{}
	foes := map[string]*foe{}
	formOf := map[string]string{}
	var sinks []sink.Sink
	declare := func(id, form, url string) {
		d := sink.Sink{Form: form}
		if form == sink.FormSSF {
			d = ssfSink("", "")
		}
		d.ID, d.URL, formOf[id] = id, url, form
		sinks = append(sinks, d)
	}
	for _, form := range forms {
		honest[form] = newFoe(t, form)
		declare("honest "+form, form, honest[form].URL)
		for name, b := range behaviours {
			f := newFoe(t, form)
			f.takes, f.times, f.bad = b.takes, b.times, b.bad
			foes[name+" "+form] = f
			declare(name+" "+form, form, f.URL)
		}
	}
	r := newRig(t, sinks...)
	elsewhere := r.onLoopback()
	does := func(agent string) {
		r.call(agent, "read", audit.StatusOK)
		r.refuse(agent, "write")
		r.deed("user:op", "suspend", "Agent", agent)
	}
	settled := func() {
		t.Helper()
		for end := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
			waits := ""
			for id := range formOf {
				if st := r.sender.Status(id); st.State != sink.StateIdle || st.Next != r.log.Size() {
					waits = fmt.Sprintf("%s: %+v", id, st)
				}
			}
			if waits == "" {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("it never settled: %s", waits)
			}
		}
	}
	compare := func(when string) {
		t.Helper()
		for id, f := range foes {
			form := formOf[id]
			want := honest[form].taken()
			if form != sink.FormSSF {
				if diff := cmp.Diff(r.ids(), want); diff != "" {
					t.Fatalf("%s: the honest one got others (-log +got):\n%s", when, diff)
				}
			}
			if diff := cmp.Diff(want, f.taken()); diff != "" || len(want) < 2 {
				t.Errorf("%s: %s: it took others (-honest +hostile):\n%s", when, id, diff)
			}
			if f.attempts() <= f.times {
				t.Errorf("%s: %s was asked %d times", when, id, f.attempts())
			}
			f.mu.Lock()
			for _, ids := range f.seen {
				for _, x := range ids {
					if !slices.Contains(want, x) {
						t.Errorf("%s: %s: event %s is another when it is sent again", when, id, x)
					}
				}
			}
			f.mu.Unlock()
			if n := f.wrote.Load(); n > 64<<20 {
				t.Errorf("%s: %s: %d MiB of answers were taken", when, id, n>>20)
			}
		}
	}
	does("bot")
	r.start()
	settled()
	does("other")
	does("third")
	settled()
	does("fourth")
	settled()
	compare("at first")
	r.sender.Close()
	r.start()
	does("late")
	settled()
	compare("after a restart")
	if n := elsewhere.Load(); n > 0 {
		t.Errorf("others were dialled %d times", n)
	}
}

// onLoopback has the rig dial as a gateway that listens on loopback does, and counts what
// it would have dialled elsewhere.
func (r *rig) onLoopback() *atomic.Int64 {
	var elsewhere atomic.Int64
	judge := mcpproxy.Egress{Loopback: true}.Dialer()
	r.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if host, _, err := net.SplitHostPort(address); err != nil || !net.ParseIP(host).IsLoopback() {
			elsewhere.Add(1)
		}
		return judge.DialContext(ctx, network, address)
	}
	return &elsewhere
}

// TestTheMetadataOfAMachineIsNeverDialled: not if somebody declares it either. The dialler
// refuses before there is a connection, and the events wait.
func TestTheMetadataOfAMachineIsNeverDialled(t *testing.T) {
	for _, form := range []string{sink.FormOCSF, sink.FormOTLP, sink.FormCEF, sink.FormCloudEvents, sink.FormLeaf, sink.FormSSF} {
		s := sink.Sink{Form: form}
		if form == sink.FormSSF {
			s = ssfSink("", "")
		}
		s.ID, s.URL = "a", metadata
		r := newRig(t, s)
		tried := r.onLoopback()
		r.deed("user:op", "suspend", "Agent", "bot")
		r.start()
		r.until("a is retrying", func() bool { return r.sender.Status("a").State == sink.StateRetrying })
		if st := r.sender.Status("a"); tried.Load() == 0 || st.Next != 0 || !strings.Contains(st.Why, "none that may be") {
			t.Errorf("%s: tried %d times, %+v", form, tried.Load(), st)
		}
		r.sender.Close()
	}
}

// TestAnEndlessRefusalIsAskedLessAndLess: 429 without end does not move the cursor, is not
// asked again at once, and is trouble that is said.
func TestAnEndlessRefusalIsAskedLessAndLess(t *testing.T) {
	f := newFoe(t, sink.FormLeaf)
	f.times = 1 << 30
	f.bad = func(_ *foe, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) }
	r := newRig(t, sink.Sink{ID: "a", Form: sink.FormLeaf, URL: f.URL})
	r.call("bot", "read", audit.StatusOK)
	began := time.Now()
	r.start()
	r.until("it was asked three times", func() bool { return f.attempts() >= 3 })
	time.Sleep(time.Second)
	n, ran := f.attempts(), time.Since(began)
	if st := r.sender.Status("a"); st.Next != 0 || st.State != sink.StateRetrying || float64(n) > 5+2*ran.Seconds() {
		t.Errorf("asked %d times in %v: %+v", n, ran, st)
	}
	if c, begun, err := r.db.SinkCursor(t.Context(), "a", r.log.Origin()); err != nil || begun && c.Next != 0 {
		t.Errorf("the cursor is at %d, %v", c.Next, err)
	}
}
