package sink_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/credential"
	"rutile/internal/sink"
	"rutile/internal/store"
	"rutile/internal/store/storetest"
)

// rig is a real log in a real store, and sinks that are fed from it.
type rig struct {
	*testing.T
	dir     string
	db      *store.Store
	log     *audit.Log
	n       int
	sinks   map[string]sink.Sink
	cursors sink.Cursors
	secret  string
	dial    func(context.Context, string, string) (net.Conn, error)
	now     func() time.Time
	of      sink.Evidence
	sender  *sink.Sender

	mu      sync.Mutex
	trouble []string
}

func newRig(t *testing.T, sinks ...sink.Sink) *rig {
	t.Helper()
	r := &rig{T: t, dir: storetest.Dir(t), sinks: map[string]sink.Sink{}, secret: "s3cret-of-the-receiver"}
	var err error
	if r.db, err = store.Open(t.Context(), store.Config{DSN: "sqlite", Dir: r.dir}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.db.Close() })
	vault, err := credential.New(t.Context(), credential.Config{Tenant: "default", Dir: r.dir}, r.db)
	if err != nil {
		t.Fatal(err)
	}
	r.log, err = audit.Open(t.Context(), audit.Config{Dir: filepath.Join(r.dir, "evidence"), Node: "n1", Tenant: "default", Payloads: true, Origin: "example.com/rutile/default/n1/1"}, r.db, vault, r.db)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.log.Close(context.WithoutCancel(t.Context())) })
	r.cursors, r.of, r.now = r.db, r.log, time.Now
	var d net.Dialer
	r.dial = d.DialContext
	for _, s := range sinks {
		s.Owner, s.State, s.Changed = "ops", sink.Active, time.Unix(1, 0)
		if s.Events == nil {
			s.Events = sink.Kinds()
		}
		if s.From == "" {
			s.From = sink.FromStart
		}
		r.sinks[s.ID] = s
	}
	return r
}

func (r *rig) start() {
	r.Helper()
	var err error
	r.sender, err = sink.New(sink.Config{
		Sinks: r.declared, Evidence: r.of, Cursors: r.cursors,
		Transport: &http.Transport{DisableKeepAlives: true, DialContext: r.dial}, Dial: r.dial, Secrets: r, Dir: filepath.Join(r.dir, "export"), Version: "1.2.3", Host: "h 1",
		Log: slog.New(slog.DiscardHandler), Now: r.now, Issuer: "https://gw.example.com", Sign: r.sign, Names: r, Streams: r.db, Trouble: func(s sink.Sink, why string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.trouble = append(r.trouble, s.ID+": "+why)
		},
	})
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(r.sender.Close)
}

func (r *rig) declared() map[string]sink.Sink {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.sinks)
}

// declare changes a sink while the sender works.
func (r *rig) declare(d sink.Sink) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sinks[d.ID] = d
}

func (r *rig) Use(_ context.Context, ref, origin string, use func([]byte) error) error {
	if ref != "token" || !strings.HasPrefix(origin, "http://127.0.0.1:") {
		return access.Errorf(access.CodeDenied, "%s is not for %s", ref, origin)
	}
	return use([]byte(r.secret))
}

func (r *rig) Compare(ctx context.Context, ref, origin string, is func([]byte) bool) error {
	return r.Use(ctx, ref, origin, func(secret []byte) error { is(secret); return nil })
}

func (r *rig) sign(claims []byte) (string, error) { return string(claims), nil }

// Person knows ann at one provider, and bob at two.
func (r *rig) Person(id string) (subjects [][2]string, email string) {
	switch id {
	case "ann":
		return [][2]string{{"https://idp", "4711"}}, "ann@example.com"
	case "bob":
		return [][2]string{{"https://idp", "4712"}, {"https://other", "b"}}, ""
	}
	return nil, ""
}

// Session knows two, of which one has nobody.
func (r *rig) Session(_ context.Context, id string) (agent, subject string, err error) {
	switch id {
	case "ses_1":
		return "bot", "https://gw.example.com|ann", nil
	case "ses_2":
		return "bot", "", nil
	}
	return "", "", nil
}

func (r *rig) troubles() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.trouble, "\n")
}

// call records a call of a tool as the gate does.
func (r *rig) call(agent, tool string, status audit.Status) {
	r.Helper()
	ref := r.intent(agent, tool)
	if _, err := r.log.Outcome(r.Context(), audit.Outcome{Request: r.request(agent, tool), Intent: ref, Status: status, Reached: "yes", Took: 3 * time.Millisecond, In: 10, Out: 20, Result: []byte(`{"secret":"result"}`)}); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) intent(agent, tool string) audit.Ref {
	r.Helper()
	ref, err := r.log.Intent(r.Context(), audit.Intent{Request: r.request(agent, tool), Decision: &access.Decision{Outcome: access.Permit, Permits: []string{"base"}}})
	if err != nil {
		r.Fatal(err)
	}
	return ref
}

func (r *rig) refuse(agent, tool string) {
	r.Helper()
	if _, err := r.log.Verdict(r.Context(), audit.Intent{Request: r.request(agent, tool), Decision: &access.Decision{Outcome: access.Deny, Class: access.ClassPolicy, Forbids: []string{"never"}}}); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) change(verb, object string) {
	r.Helper()
	if _, err := r.log.Admin(r.Context(), audit.Admin{ID: "chg_1", Actor: "user:ann", Verb: verb, Kind: "Server", Object: object, Reason: "because"}); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) request(agent, tool string) *access.Request {
	r.n++
	return &access.Request{ID: fmt.Sprintf("dec_%d", r.n), At: time.Now(), Protocol: "mcp", Version: "2026-07-28", Method: "tools/call", Server: "files", Kind: access.KindTool, Target: tool,
		Who: access.Identity{Actor: access.Actor{Agent: agent, Attested: true}, Subject: access.Subject{Issuer: "https://idp", ID: "ann"}, Session: "ses_1"}}
}

// ids returns the leaf ids of everything that is over, in the order of the log.
func (r *rig) ids() []string {
	r.Helper()
	var out []string
	t := r.log.Teller()
	for next := uint64(0); next < r.log.Size(); {
		told, to, err := t.Next(r.Context(), next, 100)
		if err != nil {
			r.Fatal(err)
		}
		for _, x := range told {
			out = append(out, x.LeafID)
		}
		next = to
	}
	return out
}

// until waits for a condition that must come.
func (r *rig) until(what string, ok func() bool) {
	r.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			r.Fatalf("it never came that %s; the sinks: %+v; troubles: %s", what, r.sender.Status("a"), r.troubles())
		}
	}
}

func (r *rig) idle(id string) {
	r.Helper()
	r.until(id+" is idle", func() bool {
		s := r.sender.Status(id)
		return s.State == sink.StateIdle && s.Next == r.log.Size()
	})
}
