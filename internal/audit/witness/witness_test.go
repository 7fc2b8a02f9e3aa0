package witness_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/audit/witness"
)

const origin = "example.com/log"

// signedLog is a log in memory that signs whatever it is told.
type signedLog struct {
	t      *testing.T
	signer note.Signer
	vkey   string
	hashes []tlog.Hash
}

func (l *signedLog) ReadHashes(at []int64) ([]tlog.Hash, error) {
	var out []tlog.Hash
	for _, i := range at {
		if i >= int64(len(l.hashes)) {
			return nil, fmt.Errorf("no hash %d", i)
		}
		out = append(out, l.hashes[i])
	}
	return out, nil
}

func newLog(t *testing.T, leaves ...string) *signedLog {
	t.Helper()
	skey, vkey, err := note.GenerateKey(nil, origin)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	l := &signedLog{t: t, signer: signer, vkey: vkey}
	for i, leaf := range leaves {
		h, err := tlog.StoredHashes(int64(i), []byte(leaf), l)
		if err != nil {
			t.Fatal(err)
		}
		l.hashes = append(l.hashes, h...)
	}
	return l
}

// fork is the same log with other leaves.
func (l *signedLog) fork(leaves ...string) *signedLog {
	other := newLog(l.t, leaves...)
	other.signer, other.vkey = l.signer, l.vkey
	return other
}

func (l *signedLog) checkpoint(size int64) []byte {
	l.t.Helper()
	root, err := tlog.TreeHash(size, l)
	if err != nil {
		l.t.Fatal(err)
	}
	b, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", origin, size, base64.StdEncoding.EncodeToString(root[:]))}, l.signer)
	if err != nil {
		l.t.Fatal(err)
	}
	return b
}

func (l *signedLog) proof(old, size int64) string {
	l.t.Helper()
	var b strings.Builder
	if old > 0 && old < size {
		p, err := tlog.ProveTree(size, old, l)
		if err != nil {
			l.t.Fatal(err)
		}
		for _, h := range p {
			fmt.Fprintln(&b, base64.StdEncoding.EncodeToString(h[:]))
		}
	}
	return b.String()
}

func openWitness(t *testing.T, dir string, logs ...string) *witness.Witness {
	t.Helper()
	w, err := witness.Open(witness.Config{Name: "w.example.com/w1", Dir: dir, Logs: logs, Now: func() time.Time { return time.Unix(1_800_000_000, 0) }})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func serve(t *testing.T, w *witness.Witness) *httptest.Server {
	s := httptest.NewServer(w.Handler(slog.New(slog.DiscardHandler)))
	t.Cleanup(s.Close)
	return s
}

// add posts a request and returns status and answer.
func add(t *testing.T, url, body string) (int, string) {
	t.Helper()
	r, err := http.Post(url+"/add-checkpoint", "text/plain", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	if want := r.Header.Get("Content-Type"); r.StatusCode == http.StatusConflict && want != "text/x.tlog.size" {
		t.Errorf("a conflict comes as %s", want)
	}
	return r.StatusCode, string(b)
}

var leaves = []string{"a", "b", "c", "d", "e", "f", "g"}

// TestAWitnessAnswersAsTheSpecificationSays goes through tlog-witness, one status
// after the other, on one state.
func TestAWitnessAnswersAsTheSpecificationSays(t *testing.T) {
	l, stranger := newLog(t, leaves...), newLog(t, leaves...)
	dir := filepath.Join(t.TempDir(), "w")
	w := openWitness(t, dir, l.vkey)
	url := serve(t, w).URL
	cosigner, err := audit.Cosigner(w.Key())
	if err != nil {
		t.Fatal(err)
	}
	forked := l.fork("a", "b", "x", "d", "e", "f", "g")
	unknown := strings.Replace(string(l.checkpoint(3)), origin, "example.org/log", 1)
	for _, x := range []struct {
		name   string
		old    int64
		proof  string
		signed []byte
		status int
		answer string
	}{
		{"an unknown log", 0, "", []byte(unknown), 404, ""},
		{"another key", 0, "", stranger.checkpoint(3), 403, ""},
		{"no checkpoint", 0, "", []byte(origin + "\n"), 403, ""},
		{"a size it never had", 2, l.proof(2, 3), l.checkpoint(3), 409, "0\n"},
		{"old above the checkpoint", 4, "", l.checkpoint(3), 400, ""},
		{"a proof from nothing", 0, l.proof(2, 3), l.checkpoint(3), 422, ""},
		{"the first", 0, "", l.checkpoint(3), 200, "—"},
		{"the same again", 3, "", l.checkpoint(3), 200, "—"},
		{"the first again", 0, "", l.checkpoint(3), 409, "3\n"},
		{"another root of that size", 3, "", forked.checkpoint(3), 409, "3\n"},
		{"a fork that goes on", 3, forked.proof(3, 6), forked.checkpoint(6), 422, ""},
		{"an empty proof", 3, "", l.checkpoint(6), 422, ""},
		{"a smaller one", 3, "", l.checkpoint(2), 400, ""},
		{"what follows", 3, l.proof(3, 6), l.checkpoint(6), 200, "—"},
		{"what it went beyond", 3, l.proof(3, 5), l.checkpoint(5), 409, "6\n"},
	} {
		status, answer := add(t, url, fmt.Sprintf("old %d\n%s\n%s", x.old, x.proof, x.signed))
		if status != x.status || !strings.HasPrefix(answer, x.answer) {
			t.Errorf("%s: %d %q, not %d %q", x.name, status, answer, x.status, x.answer)
		}
		if status == 200 {
			if n, err := note.Open(append(bytes.Clone(x.signed), answer...), note.VerifierList(cosigner)); err != nil || len(n.Sigs) != 1 {
				t.Errorf("%s: the cosignature does not verify: %v", x.name, err)
			}
		}
	}
	for _, body := range []string{"", "old 03\n\n", "old -1\n\nx", "new 1\n\nx", "old 1\nnot base64\n\nx", "old 1\n" + strings.Repeat("PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n", 64) + "\nx", "old 99999999999999999999\n\n"} {
		if status, _ := add(t, url, body); status != 400 {
			t.Errorf("%.20q: %d", body, status)
		}
	}
	// After a restart it goes on from where it was, and shows what it cosigned.
	if _, err := witness.Open(witness.Config{Name: "w.example.com/w1", Dir: dir, Logs: []string{l.vkey}}); access.CodeOf(err) != access.CodeConflict {
		t.Errorf("two at once: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	again := openWitness(t, dir, l.vkey)
	defer again.Close()
	if again.Key() != w.Key() {
		t.Error("it has another key")
	}
	url = serve(t, again).URL
	if status, answer := add(t, url, fmt.Sprintf("old 0\n\n%s", forked.checkpoint(7))); status != 409 || answer != "6\n" {
		t.Errorf("after a restart: %d %s", status, answer)
	}
	const sum = "/1c9c45d5d5bc34a4c5c1d8ef5a1ce3ea"
	r, err := http.Get(url + sum + "/checkpoint")
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != 404 {
		t.Errorf("of another log: %d", r.StatusCode)
	}
}

// TestSideBySideOneHistoryIsCosigned: however many ask at once, what is cosigned is
// one line of trees.
func TestSideBySideOneHistoryIsCosigned(t *testing.T) {
	l := newLog(t, leaves...)
	forked := l.fork("a", "b", "x", "y", "z", "f", "g")
	w := openWitness(t, t.TempDir(), l.vkey)
	defer w.Close()
	if _, err := w.Add(0, nil, l.checkpoint(2)); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var roots []string
	var all sync.WaitGroup
	for i := range 40 {
		of, size := l, int64(3+i/2%5)
		if i%2 == 1 {
			of = forked
		}
		var proof []tlog.Hash
		for _, line := range strings.Fields(of.proof(2, size)) {
			b, _ := base64.StdEncoding.DecodeString(line)
			proof = append(proof, tlog.Hash(b))
		}
		signed := of.checkpoint(size)
		all.Go(func() {
			if _, err := w.Add(2, proof, signed); err == nil {
				mu.Lock()
				defer mu.Unlock()
				roots = append(roots, strings.Split(string(signed), "\n")[2])
			}
		})
	}
	all.Wait()
	if len(roots) != 1 {
		t.Errorf("%d of one size were cosigned", len(roots))
	}
}

// TestAWitnessDoesNotGoOnWithHalfOfItself: a key without its state is new, a state
// without its key or of another log's is not taken.
func TestAWitnessDoesNotGoOnWithHalfOfItself(t *testing.T) {
	l := newLog(t, leaves...)
	dir := t.TempDir()
	w := openWitness(t, dir, l.vkey)
	if _, err := w.Add(0, nil, l.checkpoint(3)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.checkpoint"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	cfg := witness.Config{Name: "w.example.com/w1", Dir: dir, Logs: []string{l.vkey}}
	refuses := func(what string, change func() error, undo func() error) {
		t.Helper()
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if w, err := witness.Open(cfg); err == nil {
			t.Errorf("%s: it goes on", what)
			w.Close()
		}
		if err := undo(); err != nil {
			t.Fatal(err)
		}
	}
	key, state := filepath.Join(dir, "key"), files[0]
	refuses("no key", func() error { return os.Rename(key, key+"x") }, func() error { return os.Rename(key+"x", key) })
	good, err := os.ReadFile(state)
	if err != nil {
		t.Fatal(err)
	}
	refuses("a state that was changed", func() error {
		return os.WriteFile(state, bytes.Replace(good, []byte("\n3\n"), []byte("\n1\n"), 1), 0o600)
	}, func() error { return os.WriteFile(state, good, 0o600) })
	cfg.Name = "w.example.com/w2"
	refuses("another name for the key", func() error { return nil }, func() error { return nil })
	for _, bad := range []witness.Config{{Name: "a+b", Dir: dir, Logs: cfg.Logs}, {Name: "", Dir: dir, Logs: cfg.Logs}, {Name: "w", Dir: dir}, {Name: "w", Dir: dir, Logs: []string{"nonsense"}}} {
		if w, err := witness.Open(bad); access.CodeOf(err) != access.CodeInvalid {
			t.Errorf("%+v: %v", bad, err)
			if err == nil {
				w.Close()
			}
		}
	}
	if fi, err := os.Stat(key); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the key: %v %v", fi, err)
	}
}
