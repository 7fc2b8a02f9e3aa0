package sink_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/signal"
	"rutile/internal/sink"
)

// deed records what somebody did.
func (r *rig) deed(actor, verb, kind, object string) {
	r.Helper()
	a := audit.Admin{ID: "chg_1", Actor: actor, Verb: verb, Kind: kind, Object: object, Reason: "because of mallory@example.com"}
	if of, id, ok := strings.Cut(object, " "); ok {
		var err error
		if a.Detail, err = json.Marshal(audit.Revocation{ID: "rev_1", Epoch: 1, Kind: of, Target: id}); err != nil {
			r.Fatal(err)
		}
	}
	if _, err := r.log.Admin(r.Context(), a); err != nil {
		r.Fatal(err)
	}
}

// ears takes tokens that are pushed.
type ears struct {
	*httptest.Server
	mu     sync.Mutex
	heard  []string
	answer int
}

func newEars(t *testing.T) *ears {
	e := &ears{answer: http.StatusAccepted}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		e.mu.Lock()
		defer e.mu.Unlock()
		if err != nil || r.Header.Get("Content-Type") != "application/secevent+jwt" {
			t.Errorf("a push of %s: %v", r.Header.Get("Content-Type"), err)
		}
		if e.answer/100 == 2 {
			e.heard = append(e.heard, string(b))
		}
		w.WriteHeader(e.answer)
	}))
	t.Cleanup(e.Close)
	return e
}

func (e *ears) all() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.heard)
}

func ssfSink(id, url string) sink.Sink {
	return sink.Sink{ID: id, Form: sink.FormSSF, URL: url, Events: sink.Told(), Audience: "https://" + id, Naming: sink.NameIssSub}
}

// TestWhatIsToldOfWhatWasDone: one table of what leaves come to, whom they are about and
// what is not told.
func TestWhatIsToldOfWhatWasDone(t *testing.T) {
	for _, x := range []struct{ actor, verb, kind, object, want string }{
		{"user:op", "revoke", "Revocation", "user https://gw.example.com|ann", `session-revoked {"format":"iss_sub","iss":"https://idp","sub":"4711"} admin`},
		{"user:op", "revoke", "Revocation", "user https://gw.example.com|bob", `session-revoked {"format":"aliases","identifiers":[{"format":"iss_sub","iss":"https://idp","sub":"4712"},{"format":"iss_sub","iss":"https://other","sub":"b"}]} admin`},
		{"user:op", "revoke", "Revocation", "user https://elsewhere|x", `session-revoked {"format":"iss_sub","iss":"https://elsewhere","sub":"x"} admin`},
		{"user:op", "revoke", "Revocation", "agent bot", `session-revoked {"application":{"format":"iss_sub","iss":"https://gw.example.com","sub":"bot"},"format":"complex"} admin`},
		{"user:op", "revoke", "Revocation", "session ses_1", `session-revoked {"application":{"format":"iss_sub","iss":"https://gw.example.com","sub":"bot"},"format":"complex","session":{"format":"opaque","id":"ses_1"},"user":{"format":"iss_sub","iss":"https://idp","sub":"4711"}} admin`},
		{"user:op", "revoke", "Revocation", "session ses_2", `session-revoked {"application":{"format":"iss_sub","iss":"https://gw.example.com","sub":"bot"},"format":"complex","session":{"format":"opaque","id":"ses_2"}} admin`},
		{"user:op", "revoke", "Revocation", "tenant default", `session-revoked {"format":"complex","tenant":{"format":"opaque","id":"https://gw.example.com"}} admin`},
		{"user:op", "revoke", "Revocation", "grant gnt_1", `right-revoked {"format":"opaque","id":"grant:gnt_1"} admin`},
		{"system", "revoke", "Grant", "gnt_2", `right-revoked {"format":"opaque","id":"grant:gnt_2"} policy`},
		{"user:op", "revoke", "Grant", "gnt_3", ""},
		{"system", "revoke", "Session", "ses_2", `session-revoked {"application":{"format":"iss_sub","iss":"https://gw.example.com","sub":"bot"},"format":"complex","session":{"format":"opaque","id":"ses_2"}} policy`},
		{"user:op", "terminate", "Session", "ses_2", ""}, // its Revocation says it
		{"system", "quarantine", "Session", "ses_3", `risk-level-change {"format":"complex","session":{"format":"opaque","id":"ses_3"}} policy`},
		{"user:op", "suspend", "User", "carl", `account-disabled {"format":"iss_sub","iss":"https://gw.example.com","sub":"carl"} admin`},
		{"user:op", "resume", "User", "carl", `account-enabled {"format":"iss_sub","iss":"https://gw.example.com","sub":"carl"} admin`},
		{"local:0", "retire", "Agent", "bot", `account-purged {"application":{"format":"iss_sub","iss":"https://gw.example.com","sub":"bot"},"format":"complex"} admin`},
		{"user:carl", "add-factor", "User", "carl", `credential-change {"format":"iss_sub","iss":"https://gw.example.com","sub":"carl"} admin`},
		{"user:op", "quarantine", "Server", "files", `state-change {"format":"opaque","id":"server:files"} admin`},
		{"signal:idp", "revoke", "Revocation", "user https://gw.example.com|ann", ""}, // else two would go on for ever
		{"signal:idp", "suspend", "User", "carl", ""},
		{"user:op", "refuse", "User", "carl", ""},
		{"user:op", "apply", "Policy", "p", ""},
	} {
		t.Run(x.kind+" "+x.verb+" "+x.object+" "+x.actor, func(t *testing.T) {
			t.Parallel()
			e := newEars(t)
			r := newRig(t, ssfSink("a", e.URL))
			r.deed(x.actor, x.verb, x.kind, x.object)
			r.start()
			r.idle("a")
			got, heard := "", e.all()
			for _, raw := range heard {
				if strings.Contains(raw, "mallory") {
					t.Error("a reason, which is free text, is told")
				}
				var c struct {
					Issuer   string                     `json:"iss"`
					Audience string                     `json:"aud"`
					ID       string                     `json:"jti"`
					Issued   int64                      `json:"iat"`
					About    json.RawMessage            `json:"sub_id"`
					Events   map[string]json.RawMessage `json:"events"`
				}
				if err := json.Unmarshal([]byte(raw), &c); err != nil || c.Issuer != "https://gw.example.com" || c.Audience != "https://a" || !slices.Contains(r.ids(), c.ID) || c.Issued == 0 {
					t.Fatalf("%v of %s", err, raw)
				}
				for typ, raw := range c.Events {
					var d struct {
						At int64  `json:"event_timestamp"`
						By string `json:"initiating_entity"`
					}
					if err := json.Unmarshal(raw, &d); err != nil || d.At == 0 {
						t.Fatalf("%v of %s", err, raw)
					}
					got += typ[strings.LastIndexAny(typ, "/:")+1:] + " " + string(c.About) + " " + d.By
				}
			}
			if diff := cmp.Diff(x.want, got); diff != "" || len(heard) > 1 {
				t.Errorf("%d are told (-want +got):\n%s", len(heard), diff)
			}
		})
	}
}

// TestWhatIsToldTwiceHasItsID: over a restart, a crash between telling and keeping, and a
// receiver that is away, everything is told, and what is told again has the id it had.
func TestWhatIsToldTwiceHasItsID(t *testing.T) {
	e := newEars(t)
	r := newRig(t, ssfSink("push", e.URL), ssfSink("poll", sink.PollURL))
	for _, id := range []string{"one", "two", "three"} {
		r.deed("user:op", "suspend", "Agent", id)
		r.change("approve", "files") // is not told
	}
	want := r.ids()
	e.mu.Lock()
	e.answer = http.StatusServiceUnavailable
	e.mu.Unlock()
	r.start()
	r.until("it failed", func() bool { return r.sender.Status("push").State == sink.StateRetrying })
	r.sender.Close()
	e.mu.Lock()
	e.answer = http.StatusAccepted
	e.mu.Unlock()
	r.start()
	r.idle("push")
	r.idle("poll")
	first := e.all()
	r.sender.Close()
	// The process ended before the store had that it was told: the cursor stands at the start.
	for _, id := range []string{"push", "poll"} {
		c, ok, err := r.db.SinkCursor(t.Context(), id, r.log.Origin())
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		if err := r.db.MoveSinkCursor(t.Context(), id, r.log.Origin(), c.Next, sink.Cursor{Next: 0, Changed: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	r.start()
	r.idle("push")
	r.idle("poll")
	ids := func(list []string) (out []string) {
		for _, raw := range list {
			var c struct {
				ID string `json:"jti"`
			}
			if err := json.Unmarshal([]byte(raw), &c); err != nil {
				t.Fatal(err)
			}
			out = append(out, c.ID)
		}
		return out
	}
	all := ids(e.all())
	if len(first) != 3 || len(all) != 6 || !slices.Equal(all[:3], all[3:]) {
		t.Errorf("pushed: %v, then %v", ids(first), all)
	}
	for _, id := range all {
		if !slices.Contains(want, id) {
			t.Errorf("%s is the id of no leaf", id)
		}
	}
	if waiting, err := r.db.Waiting(t.Context(), "poll", 100); err != nil || len(waiting) != 3 {
		t.Errorf("%d wait, %v", len(waiting), err)
	}
}

// TestAStreamThatIsPausedHoldsAndOneThatIsDisabledDoesNot.
func TestAStreamThatIsPausedHoldsAndOneThatIsDisabledDoesNot(t *testing.T) {
	e := newEars(t)
	r := newRig(t, ssfSink("a", e.URL))
	r.start()
	s := sink.NewStreams(r.sender)
	d := r.sinks["a"]
	set := func(status string) {
		t.Helper()
		if _, err := s.Change(t.Context(), &d, func(st *signal.Stream) error { st.Status = status; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	set(signal.Paused)
	r.deed("user:op", "suspend", "Agent", "held")
	r.until("it is paused", func() bool { return r.sender.Status("a").State == sink.StatePaused })
	if len(e.all()) != 0 || r.troubles() != "a: " {
		t.Errorf("told while it is paused: %v; trouble %q", e.all(), r.troubles())
	}
	set(signal.Enabled)
	r.idle("a")
	set(signal.Disabled)
	r.deed("user:op", "suspend", "Agent", "dropped")
	r.idle("a")
	set(signal.Enabled)
	r.deed("user:op", "suspend", "Agent", "after")
	r.idle("a")
	r.until("what happened since is told", func() bool { return len(e.all()) == 2 })
	all := strings.Join(e.all(), "\n")
	if len(e.all()) != 2 || !strings.Contains(all, `"held"`) || !strings.Contains(all, `"after"`) {
		t.Errorf("told: %s", all)
	}
}

// TestAReceiverIsVerifiedWhereItIsTold: the event is pushed with the state it was asked for.
func TestAReceiverIsVerifiedWhereItIsTold(t *testing.T) {
	e := newEars(t)
	r := newRig(t, ssfSink("a", e.URL))
	r.start()
	r.idle("a")
	s, d := sink.NewStreams(r.sender), r.sinks["a"]
	if err := s.Verify(t.Context(), &d, "s1"); err != nil {
		t.Fatal(err)
	}
	r.until("it is verified", func() bool { return len(e.all()) == 1 })
	if raw := e.all()[0]; !strings.Contains(raw, `"state":"s1"`) || !strings.Contains(raw, signal.TypeOf(signal.Verification)) {
		t.Errorf("told: %s", raw)
	}
	if err := s.Verify(t.Context(), &d, "s2"); access.CodeOf(err) != access.CodeConflict {
		t.Errorf("again at once: %v", err)
	}
}

// TestWaitingRequestsAreBounded: one receiver cannot hold more than two, and each ends.
func TestWaitingRequestsAreBounded(t *testing.T) {
	r := newRig(t, ssfSink("a", sink.PollURL))
	r.start()
	s, d := sink.NewStreams(r.sender), r.sinks["a"]
	var wait sync.WaitGroup
	errs := make(chan error, 8)
	for range 8 {
		wait.Go(func() {
			_, _, err := s.Fetch(t.Context(), &d, sink.Fetch{})
			errs <- err
		})
	}
	refused := 0
	for range 6 {
		if err := <-errs; access.CodeOf(err) == access.CodeConflict {
			refused++
		}
	}
	r.deed("user:op", "suspend", "Agent", "bot") // the other two get it
	wait.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	if refused != 6 {
		t.Errorf("%d of 8 that wait are refused", refused)
	}
	if _, _, err := s.Fetch(t.Context(), &d, sink.Fetch{Acks: make([]string, 1001)}); access.CodeOf(err) != access.CodeInvalid {
		t.Errorf("a thousand and one acknowledgements: %v", err)
	}
}
