package store_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/store"
)

// Two nodes share the keys and the index. What one erases the other, which has the
// keys in memory, erases too; the file holds no key any more.
func TestAnErasureReachesEveryNodeOfTheDatabase(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		ctx := t.Context()
		node := func(name string) *audit.Log {
			t.Helper()
			l := must[*audit.Log](t)(audit.Open(ctx, audit.Config{Dir: filepath.Join(t.TempDir(), "evidence"), Origin: origin + name, Node: name, Tenant: "t1", Now: cfg.Now}, s, unsealed{}, s))
			t.Cleanup(func() { l.Close(context.Background()) })
			return l
		}
		logs := []*audit.Log{node("n1"), node("n2")}
		call := func(l *audit.Log, who string) {
			t.Helper()
			r := &access.Request{
				ID: "dec_" + who, At: at(0), Protocol: "mcp", Version: "2026-07-28", Method: "tools/call", Server: "files", Kind: access.KindTool, Target: "read_file",
				Who: access.Identity{Actor: access.Actor{Agent: "bot"}, Subject: access.Subject{Issuer: "https://idp.example", ID: who}, Session: "ses_" + who},
			}
			if _, err := l.Verdict(ctx, audit.Intent{Request: r, Decision: &access.Decision{ID: r.ID, Outcome: access.Deny}}); err != nil {
				t.Fatal(err)
			}
		}
		found := func(l *audit.Log, who string) int {
			t.Helper()
			n := 0
			for _, q := range []audit.Query{{Subject: who}, {Session: "ses_" + who}, {Text: who}} {
				n += len(must[[]audit.Row](t)(l.Search(ctx, q)))
			}
			return n
		}
		for _, l := range logs {
			call(l, "ann")
			call(l, "bob")
		}
		var keys [][]byte
		for _, w := range must[map[string][]byte](t)(s.EvidenceKeys(ctx)) {
			if bytes.Contains(w, []byte(`"ann"`)) {
				keys = append(keys, w)
			}
		}
		if len(keys) != 1 {
			t.Fatalf("ann has %d subject keys", len(keys))
		}
		e, plan, err := logs[0].Erase(ctx, audit.ErasureOrder{Person: "ann", Actor: "user:root", Reason: "request 1"})
		if err != nil || plan.Keys != 2 {
			t.Fatalf("%+v, %v", plan, err)
		}
		if n := found(logs[0], "ann"); n != 0 {
			t.Errorf("the node that erased finds ann %d times", n)
		}
		if n := found(logs[1], "ann"); n != 3 {
			t.Errorf("the test shows nothing of the other node: %d", n)
		}
		for range 2 { // the second time nothing is left to do
			for _, l := range logs {
				if err := l.ResumeErasures(ctx); err != nil {
					t.Fatal(err)
				}
			}
		}
		for i, l := range logs {
			if n := found(l, "ann"); n != 0 {
				t.Errorf("node %d finds ann %d times", i, n)
			}
			if n := found(l, "bob"); n != 3 {
				t.Errorf("node %d finds bob %d times", i, n)
			}
			if rows := must[[]audit.Row](t)(l.ByDecision(ctx, e.ID)); len(rows) != 2 {
				t.Errorf("node %d has %d leaves of the erasure", i, len(rows))
			}
		}
		if s.Dialect() != "sqlite" {
			return
		}
		for _, name := range must[[]os.DirEntry](t)(os.ReadDir(cfg.Dir)) {
			b := must[[]byte](t)(os.ReadFile(filepath.Join(cfg.Dir, name.Name())))
			if bytes.Contains(b, keys[0]) {
				t.Errorf("%s still holds the destroyed key", name.Name())
			}
		}
	})
}

// A key that was made since under the name of a destroyed one stays.
func TestDestroyingAKeySparesItsSuccessor(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		ctx := t.Context()
		made := func(key string) []byte {
			t.Helper()
			return must[[]byte](t)(s.EvidenceKey(ctx, "dek.x", func() ([]byte, error) { return []byte(key), nil }))
		}
		made("old")
		for _, wrapped := range []string{"other", "old"} {
			if err := s.DestroyKeys(ctx, map[string][]byte{"dek.x": []byte(wrapped), "dek.absent": {1}}); err != nil {
				t.Fatal(err)
			}
		}
		if got := made("new"); string(got) != "new" {
			t.Errorf("the key is %q", got)
		}
		if err := s.DestroyKeys(ctx, map[string][]byte{"dek.x": []byte("old")}); err != nil {
			t.Fatal(err)
		}
		if got := made("third"); string(got) != "new" {
			t.Errorf("the successor is gone: %q", got)
		}
	})
}
