package ssf_test

import (
	"context"
	"encoding/json"
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
	down    bool // the sealed tokens cannot be read
}

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

func (s *shelf) Use(_ context.Context, ref, _ string, use func([]byte) error) error {
	s.mu.Lock()
	down := s.down
	s.mu.Unlock()
	if down {
		return access.Errorf(access.CodeUnavailable, "the vault is away")
	}
	return use([]byte("token-of-" + ref))
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
	shelf *shelf
	mux   *http.ServeMux

	mu    sync.Mutex
	notes []string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{T: t, mux: http.NewServeMux(), shelf: &shelf{streams: map[string]signal.Stream{}, revs: map[string]uint64{}, parcels: map[string]map[string]signal.Parcel{}}}
	sinks := map[string]sink.Sink{}
	for _, d := range []sink.Sink{
		{ID: "push", URL: "http://127.0.0.1:1/in", Receiver: "push", State: sink.Active},
		{ID: "poll", URL: sink.PollURL, Receiver: "poll", State: sink.Active},
		{ID: "gone", URL: sink.PollURL, Receiver: "gone", State: sink.Retired},
	} {
		d.Form, d.Audience, d.Naming, d.Events = sink.FormSSF, "https://"+d.ID, sink.NameOpaque, []string{signal.AccountDisabled, signal.SessionRevoked}
		sinks[d.ID] = d
	}
	var d net.Dialer
	sender, err := sink.New(sink.Config{
		Sinks: func() map[string]sink.Sink { return sinks }, Evidence: r.shelf, Cursors: r.shelf, Transport: http.DefaultTransport, Dial: d.DialContext, Secrets: r.shelf, Dir: t.TempDir(),
		Log: slog.New(slog.DiscardHandler), Now: time.Now, Issuer: issuer, Sign: func(c []byte) (string, error) { return string(c), nil }, Names: r.shelf, Streams: r.shelf, Trouble: func(sink.Sink, string) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sender.Close)
	ssf.NewTransmitter(issuer, issuer+"/jwks", sink.NewStreams(sender), func(_ context.Context, id, what string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.notes = append(r.notes, id+" "+what)
	}, slog.New(slog.DiscardHandler)).Register(r.mux.Handle)
	return r
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
			r.ends(x.want, "token-of-push", "PATCH", "/ssf/streams", x.body)
		})
	}
	r := newRig(t)
	r.ends(400, "token-of-push", "POST", "/ssf/streams", `{}`) // without a method it is poll
	out := r.ends(201, "token-of-push", "POST", "/ssf/streams", `{"delivery":{"method":"urn:ietf:rfc:8935"},"events_requested":["`+revoked+`","urn:unknown"]}`)
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
	r.ends(404, "token-of-push", "POST", "/ssf/poll/poll", ack)
	r.ends(404, "token-of-push", "POST", "/ssf/poll/push", ack)
	r.ends(404, "token-of-poll", "POST", "/ssf/poll/push", ack)
	r.ends(401, "token-of-gone", "POST", "/ssf/poll/gone", ack) // it is retired
	out := r.ends(200, "token-of-poll", "POST", "/ssf/poll/poll", `{"returnImmediately":true,"ack":["ver_2","","../push"],"setErrs":{"ver_3":{"err":"jwtAud"}}}`)
	if sets, _ := out["sets"].(map[string]any); len(sets) != 1 || sets["ver_1"] == nil {
		t.Errorf("what waits: %v", out)
	}
	out = r.ends(200, "token-of-poll", "POST", "/ssf/poll/poll", ack)
	if sets, _ := out["sets"].(map[string]any); len(sets) != 0 {
		t.Errorf("what waits after it was acknowledged: %v", out)
	}
}

// TestTokensCannotBeTriedByTheMillion: whoever shows tokens that are nobody's is not
// listened to for a while, with the right one too; others are, and a vault that is away
// counts against nobody.
func TestTokensCannotBeTriedByTheMillion(t *testing.T) {
	r := newRig(t)
	read := func(token, from string) *httptest.ResponseRecorder {
		w, _ := r.as(token, from, "GET", "/ssf/streams", "")
		return w
	}
	r.shelf.mu.Lock()
	r.shelf.down = true
	r.shelf.mu.Unlock()
	for range 100 {
		if w := read("token-of-poll", "192.0.2.9:1"); w.Code != http.StatusServiceUnavailable {
			t.Fatalf("while the vault is away: %d", w.Code)
		}
	}
	r.shelf.mu.Lock()
	r.shelf.down = false
	r.shelf.mu.Unlock()
	refused := 0
	for i := range 100 {
		if read("guess", "192.0.2.9:"+string(rune('1'+i%9))).Code == http.StatusUnauthorized {
			refused++
		}
	}
	if refused != 30 {
		t.Errorf("%d of 100 guesses were compared", refused)
	}
	w := read("token-of-poll", "192.0.2.9:1")
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
		t.Errorf("the right one after it: %d", w.Code)
	}
	if w := read("token-of-poll", "[2001:db8::1]:1"); w.Code != http.StatusOK {
		t.Errorf("from elsewhere: %d", w.Code)
	}
	for i := range 40 {
		read("guess", "[2001:db8:0:1::"+string(rune('1'+i%9))+"]:1")
	}
	if w := read("token-of-poll", "[2001:db8:0:1::ff]:1"); w.Code != http.StatusTooManyRequests {
		t.Errorf("from the same network of one host: %d", w.Code)
	}
}
