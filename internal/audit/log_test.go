package audit_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/access"
	"rutile/internal/audit"
)

// What must not be shown by a leaf (E7): nobody's name, no argument, no result.
func TestLeavesShowNothingPersonal(t *testing.T) {
	cfg, m := config(t.TempDir()), newMemory()
	l := start(t, cfg, m)
	ctx := context.Background()
	call(t, l, 1)
	if _, err := l.Admin(ctx, change()); err != nil {
		t.Fatal(err)
	}
	token := audit.Admin{ID: "chg_2", Actor: "user:roberta", Verb: "print", Kind: "user", Object: "carol", Reason: "for carol"}
	if _, err := l.Admin(ctx, token); err != nil {
		t.Fatal(err)
	}
	for i, kind := range []string{"Agent", "Token", "Session", "User"} { // as they are written in manifests
		if _, err := l.Admin(ctx, audit.Admin{ID: fmt.Sprint("chg_3", i), Actor: "user:roberta", Verb: "apply", Kind: kind, Object: "release-bot"}); err != nil {
			t.Fatal(err)
		}
	}
	r := request(t, 2)
	r.Kind, r.Method, r.Target = access.KindResource, "resources/read", "file:///home/alice/private"
	if _, err := l.Verdict(ctx, audit.Intent{Request: r, Decision: deny(r)}); err != nil {
		t.Fatal(err)
	}
	r = request(t, 3)
	r.Target, r.Method = "send to carol@example.org", "x alice"
	if _, err := l.Verdict(ctx, audit.Intent{Request: r, Decision: deny(r)}); err != nil {
		t.Fatal(err)
	}
	for n := range l.Size() {
		leaf, err := l.Leaf(ctx, n)
		if err != nil {
			t.Fatal(err)
		}
		if err := audit.CheckLeaf(leaf); err != nil {
			t.Errorf("leaf %d: %v", n, err)
		}
		for _, word := range []string{"alice", "roberta", "carol", "Carol", "release-bot", "s3cr3t", "ses_", "ship it", "/srv/docs", "idp.example", "jti-1", "run 1", "result of", "sanctioned"} {
			if bytes.Contains(leaf, []byte(word)) {
				t.Errorf("leaf %d shows %q: %s", n, word, leaf)
			}
		}
	}
	for name, key := range m.keys {
		if strings.Contains(name, "alice") || strings.Contains(name, "release-bot") || bytes.Contains(key, []byte("alice")) {
			t.Errorf("the key store shows a person in %q", name)
		}
	}
}

func TestPseudonymsLinkWithoutNaming(t *testing.T) {
	cfg, m := config(t.TempDir()), newMemory()
	l := start(t, cfg, m)
	who := func(change func(*access.Request)) map[string]string {
		r := request(t, 0)
		change(r)
		ref, err := l.Verdict(context.Background(), audit.Intent{Request: r, Decision: deny(r)})
		if err != nil {
			t.Fatal(err)
		}
		leaf, _ := l.Leaf(context.Background(), ref.Index)
		out := map[string]string{}
		for _, k := range []string{"agent", "sid", "subject"} {
			if _, rest, ok := strings.Cut(string(leaf), `"`+k+`":"`); ok {
				out[k] = rest[:strings.IndexByte(rest, '"')]
			}
		}
		return out
	}
	base := who(func(*access.Request) {})
	if diff := cmp.Diff(base, who(func(*access.Request) {})); diff != "" {
		t.Errorf("the same call has other pseudonyms:\n%s", diff)
	}
	if len(base) != 3 || len(base["agent"]) != 28 || !strings.HasPrefix(base["agent"], "p_") {
		t.Errorf("pseudonyms %v", base)
	}
	for name, change := range map[string]func(*access.Request){
		"agent":   func(r *access.Request) { r.Who.Actor.Agent = "other-bot" },
		"subject": func(r *access.Request) { r.Who.Subject.ID = "bob" },
		"issuer":  func(r *access.Request) { r.Who.Subject.Issuer = "https://other.example.org" },
		"sid":     func(r *access.Request) { r.Who.Session = "ses_9" },
	} {
		got := who(change)
		same := maps.Equal(base, got)
		if same || name == "agent" && got["subject"] != base["subject"] || name == "sid" && got["subject"] != base["subject"] {
			t.Errorf("%s changed: %v, was %v", name, got, base)
		}
	}
	autonomous := who(func(r *access.Request) { r.Who.Subject = access.Subject{} })
	if _, ok := autonomous["subject"]; ok {
		t.Errorf("an autonomous agent has a subject: %v", autonomous)
	}
}

func TestRevealOpensWhatIsSealed(t *testing.T) {
	cfg, m := config(t.TempDir()), newMemory()
	l := start(t, cfg, m)
	ctx := context.Background()
	intent, outcome := call(t, l, 1)
	admin, err := l.Admin(ctx, change())
	if err != nil {
		t.Fatal(err)
	}
	check := func(when string) {
		t.Helper()
		r, err := l.Reveal(ctx, intent.Index)
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		if string(r.Payload) != `{"path":"/srv/docs/1","secret":"s3cr3t-value"}` || r.Total != uint64(len(r.Payload)) {
			t.Errorf("%s: payload %q of %d", when, r.Payload, r.Total)
		}
		want := map[string]string{"instance": "run 1", "session": "ses_1", "task": "ship it", "token": "jti-1"}
		if diff := cmp.Diff(want, r.Sealed); diff != "" {
			t.Errorf("%s: sealed (-want +got):\n%s", when, diff)
		}
		if r.Row.Subject != "alice" || r.Row.Agent != "release-bot" || !slices.Contains(r.Row.Policies, "allow.release-bot.files") {
			t.Errorf("%s: row %+v", when, r.Row)
		}
		if r, err = l.Reveal(ctx, outcome.Index); err != nil || !strings.Contains(string(r.Payload), "result of alice") {
			t.Errorf("%s: outcome %q, %v", when, r.Payload, err)
		}
		if r, err = l.Reveal(ctx, admin.Index); err != nil || r.Sealed["reason"] != "reviewed with Carol" || r.Row.Actor != "user:roberta" {
			t.Errorf("%s: change %+v, %v", when, r, err)
		}
	}
	check("before sealing")
	if _, err := l.Prove(ctx, admin.Index); err != nil {
		t.Fatal(err)
	}
	check("after sealing")
	d, err := l.Disclose(ctx, intent.Index, "arguments", []byte(`{"path":"/srv/docs/1","secret":"s3cr3t-value"}`))
	if err != nil || d.Tag != "arguments" {
		t.Errorf("disclosing: %+v, %v", d, err)
	}
	if _, err := l.Disclose(ctx, intent.Index, "arguments", []byte(`{}`)); err == nil {
		t.Error("something that was not committed to was disclosed")
	}
}

func TestPayloadsAreCapped(t *testing.T) {
	cfg, m := config(t.TempDir()), newMemory()
	l := start(t, cfg, m)
	r := request(t, 1)
	intent, _ := call(t, l, 1)
	o := outcomeOf(r, intent)
	o.Status, o.Result = audit.StatusLateResult, bytes.Repeat([]byte("x"), 100_000)
	ref, err := l.Outcome(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	rev, err := l.Reveal(context.Background(), ref.Index)
	if err != nil || len(rev.Payload) != 8192 || rev.Total != 100_000 {
		t.Errorf("kept %d of %d bytes, %v", len(rev.Payload), rev.Total, err)
	}
	stop(t, l)
	cfg.Payloads = false
	l = start(t, cfg, m)
	intent, _ = call(t, l, 2)
	if rev, err = l.Reveal(context.Background(), intent.Index); err != nil || rev.Payload != nil {
		t.Errorf("payloads are off and %q was kept (%v)", rev.Payload, err)
	}
	if rev.Sealed["session"] != "ses_2" {
		t.Errorf("sealed %v", rev.Sealed)
	}
}

// Destroying the keys of a person makes every trace of him unreadable and
// breaks no proof.
func TestErasureBreaksNoProof(t *testing.T) {
	cfg, m := config(t.TempDir()), newMemory()
	l := start(t, cfg, m)
	intent, _ := call(t, l, 1)
	stop(t, l)
	m2 := newMemory()
	m2.keys["lookup"] = m.keys["lookup"]
	l = start(t, cfg, m2)
	rev, err := l.Reveal(context.Background(), intent.Index)
	if err != nil || !rev.Erased || rev.Payload != nil || rev.Row.Subject != "" || rev.Row.Session != "" {
		t.Errorf("after the keys are gone: %+v, %v", rev, err)
	}
	if err := l.AwaitIndex(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, row := range m2.all() {
		if row.Subject+row.Agent+row.Session+row.Task != "" && row.Index <= intent.Index {
			t.Errorf("the index names somebody: %+v", row)
		}
	}
	p, err := l.Prove(context.Background(), intent.Index)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := audit.VerifyProof(p.Text(), p.Leaf, audit.VerifyOptions{Keys: []string{l.VerifierKey()}}); err != nil || r.ExitStatus() != 0 {
		t.Errorf("%+v %v", r, err)
	}
	if n := len(m2.keys); n != 1 {
		t.Errorf("reading made %d keys anew", n-1)
	}
}

// A key that is destroyed while the gateway runs opens nothing from the next
// rebuild on: what the gateway still has of it in memory is not used either.
func TestARebuildForgetsKeysThatWereDestroyed(t *testing.T) {
	ctx := context.Background()
	m := newMemory()
	l := start(t, config(t.TempDir()), m)
	intent, outcome := call(t, l, 1)
	if rev, err := l.Reveal(ctx, intent.Index); err != nil || rev.Erased { // which keeps its key
		t.Fatalf("before: %+v, %v", rev, err)
	}
	m.mu.Lock()
	maps.DeleteFunc(m.keys, func(name string, _ []byte) bool { return name != "lookup" })
	m.mu.Unlock()
	if err := l.Reindex(ctx); err != nil {
		t.Fatal(err)
	}
	rows, err := l.ByDecision(ctx, request(t, 1).ID)
	if err != nil || len(rows) != 1 || rows[0].Agent+rows[0].Subject+rows[0].Session+rows[0].Task != "" {
		t.Errorf("the index names somebody: %+v, %v", rows, err)
	}
	for _, index := range []uint64{intent.Index, outcome.Index} {
		if rev, err := l.Reveal(ctx, index); err != nil || !rev.Erased || rev.Payload != nil || rev.Sealed != nil {
			t.Errorf("leaf %d: %+v, %v", index, rev, err)
		}
	}
	call(t, l, 2)
	if len(m.keysOnly().keys) < 2 {
		t.Error("a call used keys that are nowhere kept")
	}
}

// A database restored from before a key was made makes another key under its
// name at the next call. What the lost one sealed is erased; nothing waits for
// it: not the index, not the start, not a reader.
func TestReplacedKeyErasesAndStopsNothing(t *testing.T) {
	cfg, m := config(t.TempDir()), newMemory()
	l := start(t, cfg, m)
	ctx := context.Background()
	intent, outcome := call(t, l, 1)
	r := request(t, 2) // left open, so that the next start has to read it
	if _, err := l.Intent(ctx, audit.Intent{Request: r, Decision: permit(r)}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	copyLog(t, cfg.Dir, dir)
	stop(t, l)
	cfg.Dir = filepath.Join(dir, "evidence")
	restored := newMemory()
	restored.keys["lookup"] = m.keys["lookup"]
	l = start(t, cfg, restored)
	call(t, l, 3) // under keys of the same names
	stop(t, l)
	restored = restored.keysOnly()
	l = start(t, cfg, restored)
	wait, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := l.Reindex(wait); err != nil {
		t.Fatal(err)
	}
	for _, index := range []uint64{intent.Index, outcome.Index} {
		rev, err := l.Reveal(ctx, index)
		if err != nil || !rev.Erased || rev.Payload != nil || rev.Sealed != nil {
			t.Errorf("leaf %d: %+v, %v", index, rev, err)
		}
	}
	rows, err := l.ByDecision(wait, "dec_00000000000000000000000003")
	if err != nil || len(rows) != 1 || len(rows[0].Leaves()) != 2 || rows[0].Agent != "release-bot" {
		t.Errorf("after it: %+v, %v", rows, err)
	}
}

func TestReindexEqual(t *testing.T) {
	cfg, m := config(t.TempDir()), newMemory()
	l := start(t, cfg, m)
	ctx := context.Background()
	variants(t, l)
	if err := l.AwaitIndex(ctx); err != nil {
		t.Fatal(err)
	}
	before := m.all()
	everyLeafOnce(t, before, l.Size())
	if err := l.Reindex(ctx); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, m.all()); diff != "" {
		t.Errorf("a reindex changes rows (-before +after):\n%s", diff)
	}
	stop(t, l)
	m2 := m.keysOnly() // the database's index is lost, its keys are not
	l = start(t, cfg, m2)
	if err := l.AwaitIndex(ctx); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, m2.all()[:len(before)]); diff != "" {
		t.Errorf("an index built from the log differs (-live +derived):\n%s", diff)
	}
}

// everyLeafOnce requires that each of so many leaves is in one row.
func everyLeafOnce(t *testing.T, rows []audit.Row, leaves uint64) {
	t.Helper()
	got := audit.LeavesOf(rows)
	for i := range leaves {
		if i >= uint64(len(got)) || got[i] != i {
			t.Fatalf("%d leaves are in the rows of %d: %v", len(got), leaves, got)
		}
	}
	if uint64(len(got)) != leaves {
		t.Fatalf("%d leaves are in the rows of %d", len(got), leaves)
	}
}

// variants appends leaves of every type and odd content.
func variants(t *testing.T, l *audit.Log) {
	t.Helper()
	ctx := context.Background()
	must := func(_ audit.Ref, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 5 {
		call(t, l, i)
	}
	must(l.Admin(ctx, change()))
	must(l.Admin(ctx, audit.Admin{ID: "chg_2", Verb: "apply", Kind: "policy", Object: "release window\x00"}))
	must(l.Admin(ctx, audit.Admin{ID: "chg_4", Actor: "user:roberta", Verb: "suspend", Kind: "Agent", Object: "other-bot"}))
	must(l.Admin(ctx, audit.Admin{ID: "chg_5", Actor: "user:roberta", Verb: "issue", Kind: "Token", Object: "no such agent\n"}))
	must(l.Admin(ctx, audit.Admin{ID: "chg_3", Actor: "system", Verb: "print", Kind: "token", Object: "tok"}))
	must(l.Loss(ctx, audit.Loss{Stream: "lists", Count: 3, First: time.Unix(1, 0), Last: time.Unix(2, 0), Why: "disk"}))
	many := make([]string, 100)
	for i := range many {
		many[i] = strings.Repeat("p\x02", i+100)
	}
	for n, change := range []func(*access.Request, *access.Decision){
		func(r *access.Request, _ *access.Decision) { r.Who.Subject = access.Subject{} },
		func(r *access.Request, _ *access.Decision) {
			r.Kind, r.Target = access.KindResource, "file:///a?b=\u2028ü"
		},
		func(r *access.Request, _ *access.Decision) { r.Target = strings.Repeat("long ü ", 500) },
		func(r *access.Request, _ *access.Decision) { r.Method, r.Server = "we\"ird\n\x01", "sp ace" },
		func(r *access.Request, _ *access.Decision) {
			r.Target, r.Who.Task, r.Who.Session = "bad\xff\x00utf", "t\xc3", ""
		},
		func(_ *access.Request, d *access.Decision) { d.Monitor, d.Would = true, access.RequireApproval },
		func(_ *access.Request, d *access.Decision) { d.Permits, d.Forbids, d.Errors = many, many, many },
		func(r *access.Request, d *access.Decision) {
			d.Reason, r.Trace.Parent = strings.Repeat("because ü ", 100), "00-zz"
		},
		func(r *access.Request, _ *access.Decision) { r.Kind, r.Target = access.KindServer, "" },
		func(r *access.Request, d *access.Decision) { // as large as it gets
			x := strings.Repeat("\x01\"ü", 5000)
			r.Target, r.Method, r.Server, r.Version, r.Protocol = x, x, x, x, x
			r.Who.Task, r.Who.Session, r.Who.TokenID, r.Who.Actor.Instance, r.Who.Actor.Version, r.Who.Actor.Source = x, x, x, x, x, x
			d.Permits, d.Forbids, d.Errors, d.Reason, d.Facts, d.Set, d.Schema, d.Tool = many, many, many, x, x, x, x, x
		},
	} {
		r := request(t, 100+n)
		d := deny(r)
		change(r, d)
		must(l.Verdict(ctx, audit.Intent{Request: r, Decision: d}))
		if err := l.Listed(ctx, audit.Intent{Request: r, Decision: d}); err != nil {
			t.Fatal(err)
		}
		r = request(t, 200+n)
		d = permit(r)
		change(r, d)
		ref, err := l.Intent(ctx, audit.Intent{Request: r, Decision: d})
		must(ref, err)
		o := outcomeOf(r, ref)
		o.Findings, o.Masks = many, many
		must(l.Outcome(ctx, o))
	}
	r := request(t, 300) // every Listed before it is durable when this returns
	must(l.Verdict(ctx, audit.Intent{Request: r, Decision: deny(r)}))
}

func TestEveryLeafIsCanonical(t *testing.T) {
	cfg, m := config(t.TempDir()), newMemory()
	l := start(t, cfg, m)
	variants(t, l)
	stop(t, l)
	verifyOK(t, cfg.Dir, audit.VerifyOptions{Complete: true})
}

// An index that fails does not stop evidence; it catches up from the log.
func TestIndexCatchesUp(t *testing.T) {
	cfg, m := config(t.TempDir()), newMemory()
	l := start(t, cfg, m)
	m.mu.Lock()
	m.fail = context.DeadlineExceeded
	m.mu.Unlock()
	call(t, l, 1)
	time.Sleep(100 * time.Millisecond)
	if l.Healthy() != nil {
		t.Fatal("a failing index stops evidence")
	}
	m.mu.Lock()
	m.fail = nil
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := l.AwaitIndex(ctx); err != nil {
		t.Fatal(err)
	}
	if got := l.Indexed(); got != l.Size() {
		t.Errorf("%d of %d indexed", got, l.Size())
	}
	everyLeafOnce(t, m.all(), l.Size())
}

// silent is an index whose database does not answer any more.
type silent struct{ *memory }

func (silent) PutRows(ctx context.Context, _ string, _ []audit.Row, _ uint64) error {
	<-ctx.Done()
	return ctx.Err()
}

// A database that does not answer does not hold up the stop, and the evidence is
// whole; the next start completes the index.
func TestStopDoesNotWaitForASilentIndex(t *testing.T) {
	cfg, m := config(t.TempDir()), newMemory()
	l, err := audit.Open(t.Context(), cfg, m, newSealer(), silent{m})
	if err != nil {
		t.Fatal(err)
	}
	call(t, l, 1)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := l.Close(ctx); err != nil {
		t.Fatal(err)
	}
	verifyOK(t, cfg.Dir, audit.VerifyOptions{Complete: true})
	l = start(t, cfg, m)
	stop(t, l)
	if l.Size() < 4 {
		t.Errorf("the log has %d leaves", l.Size())
	}
	everyLeafOnce(t, m.all(), l.Size())
}

func TestFollowYieldsEveryLeafOnce(t *testing.T) {
	cfg, m := config(t.TempDir()), newMemory()
	cfg.SealEvery = 3 * time.Millisecond
	l := start(t, cfg, m)
	var wg sync.WaitGroup
	var got []uint64
	wg.Go(func() {
		for e, err := range l.Follow(context.Background(), 1) {
			if err != nil {
				t.Error(err)
				return
			}
			got = append(got, e.Index)
		}
	})
	for i := range 150 {
		call(t, l, i)
	}
	size := l.Size()
	stop(t, l)
	wg.Wait()
	want := make([]uint64, size) // from 1 to log.close
	for i := range want {
		want[i] = uint64(i) + 1
	}
	if !slices.Equal(want, got) {
		t.Errorf("followed %d leaves, want %d in order", len(got), len(want))
	}
}

func TestClosedLogTakesNothing(t *testing.T) {
	cfg, m := config(t.TempDir()), newMemory()
	l := start(t, cfg, m)
	stop(t, l)
	stop(t, l) // again is nothing
	r := request(t, 1)
	if _, err := l.Intent(context.Background(), audit.Intent{Request: r, Decision: permit(r)}); access.CodeOf(err) != access.CodeEvidence {
		t.Errorf("intent: %v", err)
	}
	if err := l.Listed(context.Background(), audit.Intent{Request: r, Decision: permit(r)}); access.CodeOf(err) != access.CodeEvidence {
		t.Errorf("listed: %v", err)
	}
	if _, err := l.Prove(context.Background(), 0); err != nil {
		t.Errorf("a closed log can be read: %v", err)
	}
}

// A key store that fails fails the append, not the log.
func TestMissingKeyFailsClosed(t *testing.T) {
	cfg, m := config(t.TempDir()), newMemory()
	l, err := audit.Open(context.Background(), cfg, failingKeys{m}, newSealer(), m)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close(context.Background())
	r := request(t, 1)
	if _, err := l.Intent(context.Background(), audit.Intent{Request: r, Decision: permit(r)}); access.CodeOf(err) != access.CodeEvidence {
		t.Errorf("intent: %v", err)
	}
	if l.Size() != 1 || l.Healthy() != nil {
		t.Errorf("size %d, %v", l.Size(), l.Healthy())
	}
}

type failingKeys struct{ *memory }

func (f failingKeys) EvidenceKey(ctx context.Context, name string, make func() ([]byte, error)) ([]byte, error) {
	if name != "lookup" {
		return nil, context.DeadlineExceeded
	}
	return f.memory.EvidenceKey(ctx, name, make)
}

func TestConfigIsChecked(t *testing.T) {
	for name, change := range map[string]func(*audit.Config){
		"no origin":      func(c *audit.Config) { c.Origin = "" },
		"origin with +":  func(c *audit.Config) { c.Origin = "a+b" },
		"no node":        func(c *audit.Config) { c.Node = "" },
		"durability":     func(c *audit.Config) { c.Durability = "none" },
		"key in the dir": func(c *audit.Config) { c.KeyFile = c.Dir + "/key" },
		"tiny segments":  func(c *audit.Config) { c.WALBytes = 100 },
	} {
		cfg, m := config(t.TempDir()), newMemory()
		change(&cfg)
		if _, err := audit.Open(context.Background(), cfg, m, newSealer(), m); access.CodeOf(err) != access.CodeInvalid {
			t.Errorf("%s: %v, want an invalid-input error", name, err)
		}
	}
	if _, err := audit.Open(context.Background(), config(t.TempDir()), nil, newSealer(), newMemory()); err == nil {
		t.Error("opened without a key store")
	}
}
