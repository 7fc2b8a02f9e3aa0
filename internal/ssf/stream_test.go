package ssf_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/signal"
	"rutile/internal/sink"
	"rutile/internal/ssf"
)

const issuer = "https://gw.example.com"

// shelf keeps streams and parcels in memory, and has a log that nothing is in.
type shelf struct {
	mu      sync.Mutex
	streams map[string]signal.Stream
	revs    map[string]uint64
	parcels map[string]map[string]signal.Parcel
	down    bool              // the sealed tokens cannot be read
	tokens  map[string]string // in place of tokenOf
	used    []string          // credentials that counted as used
}

// tokenOf is what the receiver of a sink shows.
func tokenOf(sink string) string { return "the-token-of-receiver-" + sink }

func (s *shelf) Stream(_ context.Context, id string) (signal.Stream, uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams[id], s.revs[id], nil
}

func (s *shelf) PutStream(_ context.Context, id string, rev uint64, st signal.Stream) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.revs[id] != rev {
		return access.Errorf(access.CodeConflict, "changed meanwhile")
	}
	s.streams[id], s.revs[id] = st, rev+1
	return nil
}

func (s *shelf) Post(_ context.Context, id string, list []signal.Parcel) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.parcels[id] == nil {
		s.parcels[id] = map[string]signal.Parcel{}
	}
	for _, p := range list {
		s.parcels[id][p.ID] = p
	}
	return nil
}

func (s *shelf) Waiting(_ context.Context, id string, limit int) ([]signal.Parcel, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []signal.Parcel
	for _, key := range slices.Sorted(maps.Keys(s.parcels[id])) {
		out = append(out, s.parcels[id][key])
	}
	return out[:min(len(out), limit)], nil
}

func (s *shelf) Fetched(_ context.Context, id string, ids []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.parcels[id], func(key string, _ signal.Parcel) bool { return ids == nil || slices.Contains(ids, key) })
	return nil
}

func (s *shelf) Backlog(_ context.Context, id string) (int, time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.parcels[id]), time.Time{}, nil
}

func (s *shelf) Use(ctx context.Context, ref, origin string, use func([]byte) error) error {
	return s.Compare(ctx, ref, origin, func(secret []byte) bool { return use(secret) == nil })
}

func (s *shelf) Compare(_ context.Context, ref, _ string, is func([]byte) bool) error {
	s.mu.Lock()
	down := s.down
	s.mu.Unlock()
	if down {
		return access.Errorf(access.CodeUnavailable, "the vault is away")
	}
	token, ok := s.tokens[ref]
	if !ok {
		token = tokenOf(ref)
	}
	if is([]byte(token)) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.used = append(s.used, ref)
	}
	return nil
}

func (s *shelf) Origin() string                                          { return "gw.example.com/rutile" }
func (s *shelf) Size() uint64                                            { return 0 }
func (s *shelf) Minimum() uint64                                         { return 0 }
func (s *shelf) Grown(uint64) <-chan struct{}                            { return nil }
func (s *shelf) Teller() *audit.Teller                                   { return nil }
func (s *shelf) Person(string) ([][2]string, string)                     { return nil, "" }
func (s *shelf) Session(context.Context, string) (string, string, error) { return "", "", nil }
func (s *shelf) SinkCursor(context.Context, string, string) (sink.Cursor, bool, error) {
	return sink.Cursor{}, true, nil
}
func (s *shelf) MoveSinkCursor(context.Context, string, string, uint64, sink.Cursor) error {
	return nil
}

// rig is a transmitter with a stream that is pushed to, one that is fetched from, one that
// is retired and a sink that is none of its.
type rig struct {
	*testing.T
	shelf   *shelf
	mux     *http.ServeMux
	sinks   map[string]sink.Sink
	streams *sink.Streams

	mu    sync.Mutex
	notes []string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{T: t, mux: http.NewServeMux(), shelf: &shelf{streams: map[string]signal.Stream{}, revs: map[string]uint64{}, parcels: map[string]map[string]signal.Parcel{}}}
	r.sinks = map[string]sink.Sink{}
	for _, d := range []sink.Sink{
		{ID: "push", URL: "http://127.0.0.1:1/in", Receiver: "push", State: sink.Active},
		{ID: "poll", URL: sink.PollURL, Receiver: "poll", State: sink.Active},
		{ID: "gone", URL: sink.PollURL, Receiver: "gone", State: sink.Retired},
	} {
		d.Form, d.Audience, d.Naming, d.Events = sink.FormSSF, "https://"+d.ID, sink.NameOpaque, []string{signal.AccountDisabled, signal.SessionRevoked}
		r.sinks[d.ID] = d
	}
	var d net.Dialer
	sender, err := sink.New(sink.Config{
		Sinks: r.declared, Evidence: r.shelf, Cursors: r.shelf, Transport: http.DefaultTransport, Dial: d.DialContext, Secrets: r.shelf, Dir: t.TempDir(),
		Log: slog.New(slog.DiscardHandler), Now: time.Now, Issuer: issuer, Sign: func(c []byte) (string, error) { return string(c), nil }, Names: r.shelf, Streams: r.shelf, Trouble: func(sink.Sink, string) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sender.Close)
	r.streams = sink.NewStreams(sender)
	ssf.NewTransmitter(issuer, issuer+"/jwks", r.streams, func(_ context.Context, id, what string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.notes = append(r.notes, id+" "+what)
	}, slog.New(slog.DiscardHandler)).Register(r.mux.Handle)
	return r
}

func (r *rig) declared() map[string]sink.Sink {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.sinks)
}

func (r *rig) declare(d sink.Sink) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sinks[d.ID] = d
}

// as asks with a token, from an address.
func (r *rig) as(token, from, method, path, body string) (*httptest.ResponseRecorder, map[string]any) {
	r.Helper()
	req := httptest.NewRequestWithContext(r.Context(), method, path, strings.NewReader(body))
	req.RemoteAddr = from
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	r.mux.ServeHTTP(w, req)
	raw, err := io.ReadAll(w.Result().Body)
	if err != nil {
		r.Fatal(err)
	}
	var out map[string]any
	if len(raw) > 0 && raw[0] == '{' {
		if err := json.Unmarshal(raw, &out); err != nil {
			r.Fatal(err)
		}
	}
	return w, out
}

func (r *rig) ends(want int, token, method, path, body string) map[string]any {
	r.Helper()
	w, out := r.as(token, "192.0.2.1:1", method, path, body)
	if w.Code != want {
		r.Errorf("%s %s %s: %d %v, want %d", method, path, body, w.Code, out, want)
	}
	return out
}

// TestMetadataNamesWhatIsServed: the members of SSF 1.0, section 7.1, and every endpoint
// that they name answers.
func TestMetadataNamesWhatIsServed(t *testing.T) {
	r := newRig(t)
	out := r.ends(200, "", "GET", ssf.MetadataPath, "")
	want := []string{"add_subject_endpoint", "authorization_schemes", "configuration_endpoint", "default_subjects", "delivery_methods_supported", "issuer", "jwks_uri", "remove_subject_endpoint", "spec_version", "status_endpoint", "verification_endpoint"}
	if got := slices.Sorted(maps.Keys(out)); !slices.Equal(got, want) {
		t.Errorf("its members are %v", got)
	}
	for name, v := range out {
		url, _ := v.(string)
		if path, ok := strings.CutPrefix(url, issuer); ok && strings.HasSuffix(name, "_endpoint") {
			r.ends(401, "", "POST", path, "{}")
		}
	}
}

// TestAStreamIsSetUpWithinItsDeclaration: what the receiver says, what it repeats and what
// it may not change.
func TestAStreamIsSetUpWithinItsDeclaration(t *testing.T) {
	disabled, revoked := signal.TypeOf(signal.AccountDisabled), signal.TypeOf(signal.SessionRevoked)
	for _, x := range []struct {
		name, body string
		want       int
	}{
		{"where it is declared", `{"stream_id":"push","delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"http://127.0.0.1:1/in"}}`, 200},
		{"elsewhere", `{"stream_id":"push","delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"https://evil.example.com/in"}}`, 400},
		{"elsewhere, said twice", `{"stream_id":"push","delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"http://127.0.0.1:1/in"},"delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"https://evil.example.com/in"}}`, 400},
		{"elsewhere, in other letters", `{"stream_id":"push","Delivery":{"method":"urn:ietf:rfc:8935","ENDPOINT_URL":"https://evil.example.com/in"}}`, 400},
		{"by poll", `{"stream_id":"push","delivery":{"method":"urn:ietf:rfc:8936"}}`, 400},
		{"a header of its own", `{"stream_id":"push","delivery":{"method":"urn:ietf:rfc:8935","authorization_header":"Bearer x"}}`, 400},
		{"its own aud again", `{"stream_id":"push","aud":"https://push","iss":"` + issuer + `","min_verification_interval":10}`, 200},
		{"another aud", `{"stream_id":"push","aud":"https://poll"}`, 400},
		{"another iss", `{"stream_id":"push","iss":"https://poll"}`, 400},
		{"more events than it has", `{"stream_id":"push","events_delivered":["` + disabled + `","urn:x"]}`, 400},
		{"no stream", `{}`, 400},
		{"another's stream", `{"stream_id":"poll"}`, 404},
		{"two bodies", `{"stream_id":"push"}{"stream_id":"poll"}`, 400},
		{"no object", `["push"]`, 400},
		{"one that is not there", `{"stream_id":"gone"}`, 404},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := newRig(t)
			r.ends(x.want, tokenOf("push"), "PATCH", "/ssf/streams", x.body)
		})
	}
	r := newRig(t)
	r.ends(400, tokenOf("push"), "POST", "/ssf/streams", `{}`) // without a method it is poll
	out := r.ends(201, tokenOf("push"), "POST", "/ssf/streams", `{"delivery":{"method":"urn:ietf:rfc:8935"},"events_requested":["`+revoked+`","urn:unknown"]}`)
	if d, _ := out["delivery"].(map[string]any); d["endpoint_url"] != "http://127.0.0.1:1/in" {
		t.Errorf("it is pushed to %v", out["delivery"])
	}
	if got, _ := out["events_delivered"].([]any); len(got) != 1 || got[0] != revoked {
		t.Errorf("delivered: %v", out["events_delivered"])
	}
	if strings.Join(r.notes, ",") != "push created" {
		t.Errorf("recorded: %v", r.notes)
	}
}

// TestNoReceiverAcknowledgesForAnother: with its own token, with another id in the path or
// the body, what waits for another stays; an id that is not known changes nothing.
func TestNoReceiverAcknowledgesForAnother(t *testing.T) {
	r := newRig(t)
	p, err := signal.Verify("ver_1", "poll", "", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.shelf.Post(t.Context(), "poll", []signal.Parcel{p}); err != nil {
		t.Fatal(err)
	}
	ack := `{"returnImmediately":true,"ack":["ver_1"]}`
	r.ends(404, tokenOf("push"), "POST", "/ssf/poll/poll", ack)
	r.ends(404, tokenOf("push"), "POST", "/ssf/poll/push", ack)
	r.ends(404, tokenOf("poll"), "POST", "/ssf/poll/push", ack)
	r.ends(401, tokenOf("gone"), "POST", "/ssf/poll/gone", ack) // it is retired
	out := r.ends(200, tokenOf("poll"), "POST", "/ssf/poll/poll", `{"returnImmediately":true,"ack":["ver_2","","../push"],"setErrs":{"ver_3":{"err":"jwtAud"}}}`)
	if sets, _ := out["sets"].(map[string]any); len(sets) != 1 || sets["ver_1"] == nil {
		t.Errorf("what waits: %v", out)
	}
	out = r.ends(200, tokenOf("poll"), "POST", "/ssf/poll/poll", ack)
	if sets, _ := out["sets"].(map[string]any); len(sets) != 0 {
		t.Errorf("what waits after it was acknowledged: %v", out)
	}
}

// TestNobodySilencesAReceiver: whoever stands beside a receiver, behind the same address, may
// show what they like: none of it is anybody's, and the receiver is let in between all of it.
func TestNobodySilencesAReceiver(t *testing.T) {
	r := newRig(t)
	for i := range 2000 {
		if w, _ := r.as(fmt.Sprintf("the-token-of-receiver-%d", i), "192.0.2.1:1", "POST", "/ssf/poll/poll", `{"returnImmediately":true}`); w.Code != http.StatusUnauthorized {
			t.Fatalf("a guess: %d", w.Code)
		}
		if i%100 == 0 {
			r.ends(200, tokenOf("poll"), "POST", "/ssf/poll/poll", `{"returnImmediately":true}`)
		}
	}
	r.shelf.mu.Lock()
	r.shelf.down = true
	r.shelf.mu.Unlock()
	r.ends(503, tokenOf("poll"), "POST", "/ssf/poll/poll", `{"returnImmediately":true}`) // and not 401, which would have it give up
}

// TestWhatCouldBeGuessedIsNobodys: nor is what two receivers show, however it came about.
func TestWhatCouldBeGuessedIsNobodys(t *testing.T) {
	for name, token := range map[string]map[string]string{
		"it is short":            {"poll": "token-of-one"},
		"it is one letter":       {"poll": strings.Repeat("a", 64)},
		"it is empty":            {"poll": ""},
		"two have it":            {"poll": tokenOf("both"), "push": tokenOf("both")},
		"it is one's that ended": {"poll": tokenOf("other"), "gone": tokenOf("poll")},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.shelf.tokens = token
			shown := token["poll"]
			if token["gone"] != "" {
				shown = token["gone"]
			}
			r.ends(401, shown, "GET", "/ssf/streams", "")
			d := r.sinks["poll"]
			if why := r.streams.Unheard(t.Context(), &d); (why == "") != (token["gone"] != "") || strings.Contains(why, shown) && shown != "" {
				t.Errorf("doctor says %q", why)
			}
		})
	}
}

// TestAWrongTokenUsesNoCredential: what somebody shows is compared with what every receiver
// shows, and counts as used only what one of them showed. So a credential that nobody needs
// any more is found, whatever strangers send.
func TestAWrongTokenUsesNoCredential(t *testing.T) {
	r := newRig(t)
	r.shelf.tokens = map[string]string{"both": tokenOf("push")}
	for _, token := range []string{"", "x", tokenOf("gone"), tokenOf("nobody"), tokenOf("poll") + "x"} {
		r.ends(401, token, "GET", "/ssf/streams", "")
	}
	for _, id := range []string{"poll", "push", "gone"} { // doctor looks at them
		d := r.sinks[id]
		r.streams.Unheard(t.Context(), &d)
	}
	both := r.sinks["push"]
	both.ID, both.Receiver = "both", "both"
	r.declare(both)
	r.ends(401, tokenOf("push"), "GET", "/ssf/streams", "") // two show it
	if len(r.shelf.used) > 0 {
		t.Errorf("%v count as used", r.shelf.used)
	}
	r.ends(200, tokenOf("poll"), "GET", "/ssf/streams", "")
	if !slices.Equal(r.shelf.used, []string{"poll"}) {
		t.Errorf("%v count as used", r.shelf.used)
	}
}

// TestAStreamThatIsPausedHandsOutNothing: also of what waited before it was.
func TestAStreamThatIsPausedHandsOutNothing(t *testing.T) {
	r := newRig(t)
	p, err := signal.Verify("ver_1", "poll", "", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.shelf.Post(t.Context(), "poll", []signal.Parcel{p}); err != nil {
		t.Fatal(err)
	}
	waits := func() int {
		out := r.ends(200, tokenOf("poll"), "POST", "/ssf/poll/poll", `{"returnImmediately":true}`)
		sets, _ := out["sets"].(map[string]any)
		return len(sets)
	}
	if n := waits(); n != 1 {
		t.Fatalf("%d wait", n)
	}
	r.ends(200, tokenOf("poll"), "POST", "/ssf/status", `{"stream_id":"poll","status":"paused"}`)
	if n := waits(); n != 0 {
		t.Errorf("%d are handed out while it is paused", n)
	}
	r.ends(400, tokenOf("poll"), "POST", "/ssf/verify", `{"stream_id":"poll"}`)
	r.ends(200, tokenOf("poll"), "POST", "/ssf/status", `{"stream_id":"poll","status":"enabled"}`)
	if n := waits(); n != 1 {
		t.Errorf("%d are left after it", n)
	}
	r.ends(200, tokenOf("poll"), "POST", "/ssf/status", `{"stream_id":"poll","status":"disabled"}`)
	r.ends(200, tokenOf("poll"), "POST", "/ssf/status", `{"stream_id":"poll","status":"enabled"}`)
	if n := waits(); n != 0 {
		t.Errorf("%d are told after it was disabled", n)
	}
}
