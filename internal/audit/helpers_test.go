package audit_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/rawjson"
)

// sealer is an access.Sealer under one fixed key.
type sealer struct {
	aead cipher.AEAD
	rand io.Reader
}

func newSealer() *sealer {
	block, err := aes.NewCipher(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return &sealer{aead, rand.Reader}
}

func (s *sealer) Seal(_ context.Context, purpose string, plain []byte) ([]byte, error) {
	nonce := make([]byte, s.aead.NonceSize())
	if _, err := io.ReadFull(s.rand, nonce); err != nil {
		return nil, err
	}
	return s.aead.Seal(nonce, nonce, plain, []byte(purpose)), nil
}

func (s *sealer) Open(_ context.Context, purpose string, sealed []byte) ([]byte, error) {
	if len(sealed) < s.aead.NonceSize() {
		return nil, errors.New("short")
	}
	n := s.aead.NonceSize()
	return s.aead.Open(nil, sealed[:n], sealed[n:], []byte(purpose))
}

// memory is a KeyStore, an Index and its Heads.
type memory struct {
	mu    sync.Mutex
	keys  map[string][]byte
	rows  map[uint64]audit.Row
	mark  uint64
	put   uint64 // the mark that was stored last
	heads []audit.Head
	fail  error // of PutRows

	onMark func(mark uint64)
}

func newMemory() *memory {
	return &memory{keys: map[string][]byte{}, rows: map[uint64]audit.Row{}}
}

func (m *memory) EvidenceKey(_ context.Context, name string, make func() ([]byte, error)) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if k, ok := m.keys[name]; ok {
		return k, nil
	}
	k, err := make()
	if err != nil {
		return nil, fmt.Errorf("making %s: %w", name, err)
	}
	m.keys[name] = k
	return k, nil
}

func (m *memory) EvidenceKeys(context.Context) (map[string][]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make(map[string][]byte)
	for n, k := range m.keys {
		out[n] = k
	}
	return out, nil
}

func (m *memory) PutRows(_ context.Context, origin string, rows []audit.Row, mark uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	if m.mark < m.put {
		m.put = 0
		return audit.ErrRowsLost
	}
	for _, r := range rows {
		if r.Origin != origin {
			return fmt.Errorf("row %d is of origin %q", r.Index, r.Origin)
		}
		if had, ok := m.rows[r.Index]; !ok || had.Last() < r.Last() {
			m.rows[r.Index] = r
		}
	}
	m.mark = max(m.mark, mark)
	m.put = m.mark
	if m.onMark != nil {
		m.onMark(m.mark)
	}
	return nil
}

func (m *memory) Watermark(context.Context, string) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mark, nil
}

func (m *memory) Count(ctx context.Context, q audit.Query, most int) (int, error) {
	q.Limit = most
	rows, err := m.Search(ctx, q)
	return min(len(rows), most), err
}

func (m *memory) DropRows(context.Context, string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.rows)
	m.mark, m.put = 0, 0
	return nil
}

func (m *memory) PruneRows(_ context.Context, _ string, below uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.rows, func(i uint64, r audit.Row) bool { return i < below && (r.Type == "intent" || r.Type == "verdict") })
	return nil
}

func (m *memory) Search(_ context.Context, q audit.Query) ([]audit.Row, error) {
	var out []audit.Row
	for _, r := range m.all() {
		switch {
		case len(q.Types) > 0 && !slices.Contains(q.Types, r.Type),
			q.Agent != "" && r.Agent != q.Agent,
			q.Decision != "" && r.Decision != q.Decision,
			q.Origin != "" && r.Origin != q.Origin,
			q.Ascending && r.Index < q.From,
			q.Before > 0 && r.Index >= q.Before,
			q.Text != "" && !strings.Contains(r.Text, q.Text):
			continue
		}
		out = append(out, r)
	}
	if !q.Ascending {
		slices.Reverse(out)
	}
	limit := q.Limit
	if limit == 0 {
		limit = 100
	}
	return out[:min(len(out), limit)], nil
}

func (m *memory) SearchPart(ctx context.Context, q audit.Query) (audit.Part, error) {
	rows, err := m.Search(ctx, q)
	return audit.Part{Rows: rows}, err
}

func (m *memory) all() []audit.Row {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]audit.Row, 0, len(m.rows))
	for _, r := range m.rows {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b audit.Row) int { return int(a.Index) - int(b.Index) })
	return out
}

func (m *memory) PutHead(_ context.Context, _ string, h audit.Head) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.heads = append(m.heads, h)
	return nil
}

func (m *memory) LatestHead(context.Context, string) (audit.Head, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var latest audit.Head
	for _, h := range m.heads {
		if h.Size > latest.Size {
			latest = h
		}
	}
	return latest, nil
}

const testOrigin = "example.org/rutile/main/n1/1"

func config(dir string) audit.Config {
	return audit.Config{
		Dir: filepath.Join(dir, "evidence"), Origin: testOrigin, Node: "n1", Tenant: "t1",
		Payloads: true, SealEvery: time.Hour, WALBytes: 256 << 10,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
}

// start opens a log that is closed when the test ends.
func start(tb testing.TB, cfg audit.Config, m *memory) *audit.Log {
	tb.Helper()
	l, err := audit.Open(context.Background(), cfg, m, newSealer(), m)
	if err != nil {
		tb.Fatalf("opening: %v", err)
	}
	tb.Cleanup(func() { l.Close(context.Background()) })
	return l
}

func stop(tb testing.TB, l *audit.Log) {
	tb.Helper()
	if err := l.Close(context.Background()); err != nil {
		tb.Fatalf("closing: %v", err)
	}
}

// request is a tool call with everything set that a leaf can hold.
func request(tb testing.TB, n int) *access.Request {
	tb.Helper()
	args, err := rawjson.Parse(fmt.Appendf(nil, `{"path":"/srv/docs/%d","secret":"s3cr3t-value"}`, n), rawjson.Limits{})
	if err != nil {
		tb.Fatalf("parsing arguments: %v", err)
	}
	return &access.Request{
		ID: fmt.Sprintf("dec_%026d", n), At: time.Unix(1_790_000_000, 0),
		Who: access.Identity{
			Actor:   access.Actor{Agent: "release-bot", Version: "sha256:abc", Instance: "run 1", Source: "private_key_jwt", Attested: true},
			Subject: access.Subject{Issuer: "https://idp.example.org", ID: "alice"},
			Session: fmt.Sprintf("ses_%d", n%3), Task: "ship it", TokenID: "jti-1", Bound: true,
		},
		Protocol: "mcp", Version: "2026-07-28", Method: "tools/call", Server: "files", Kind: access.KindTool, Target: "read_file",
		Arguments: args,
		Trace:     access.Trace{Parent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
		BytesIn:   100,
	}
}

func permit(r *access.Request) *access.Decision {
	return &access.Decision{
		ID: r.ID, Outcome: access.Permit, Permits: []string{"allow.release-bot.files", "agent-tools"}, Set: "set-digest", Schema: "schema-digest",
		Facts: "facts-digest", Tool: "tool-digest", Tier: 1, Duration: 21 * time.Microsecond,
	}
}

func deny(r *access.Request) *access.Decision {
	return &access.Decision{
		ID: r.ID, Outcome: access.Deny, Class: access.ClassPolicy, Forbids: []string{"baseline.writes"},
		Reason: "a forbid matched", Help: "ask", Set: "set-digest",
	}
}

// call records one permitted call and returns the refs of its two leaves.
func call(tb testing.TB, l *audit.Log, n int) (intent, outcome audit.Ref) {
	tb.Helper()
	r := request(tb, n)
	intent, err := l.Intent(context.Background(), audit.Intent{Request: r, Decision: permit(r), Cred: "token", CredVer: 2})
	if err != nil {
		tb.Fatalf("intent %d: %v", n, err)
	}
	outcome, err = l.Outcome(context.Background(), outcomeOf(r, intent))
	if err != nil {
		tb.Fatalf("outcome %d: %v", n, err)
	}
	return intent, outcome
}

func outcomeOf(r *access.Request, intent audit.Ref) audit.Outcome {
	return audit.Outcome{
		Request: r, Intent: intent, Status: audit.StatusOK, Reached: "yes", Took: 48 * time.Millisecond, In: 100, Out: 20,
		Result: []byte(`{"content":[{"type":"text","text":"result of alice"}]}`), Masks: []string{"pii"}, Findings: []string{"dlp.email"},
		Unlocks: []audit.Unlock{{Cred: "token", Version: 2, At: time.Unix(1_790_000_001, 0)}},
	}
}

// copyTree copies a directory as it was at one moment: a log may be sealing
// under it, so a copy during which anything changed is made anew.
func copyTree(tb testing.TB, from, to string) {
	tb.Helper()
	for range 100 {
		before := listing(tb, from)
		err := os.CopyFS(to, os.DirFS(from))
		if err == nil && maps.Equal(before, listing(tb, from)) {
			return
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			tb.Fatalf("copying %s: %v", from, err)
		}
		if err := os.RemoveAll(to); err != nil {
			tb.Fatal(err)
		}
	}
	tb.Fatalf("copying %s: it never stood still", from)
}

// listing returns the size and time of every file below dir.
func listing(tb testing.TB, dir string) map[string]string {
	tb.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		files[path] = fmt.Sprint(info.Size(), info.ModTime().UnixNano())
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		tb.Fatal(err)
	}
	return files
}
