package daemon

import (
	"archive/tar"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"rutile/internal/access"
	"rutile/internal/api"
	"rutile/internal/audit"
	"rutile/internal/registry"
)

// TokenName is the file in the data directory that holds the operator token.
const TokenName = "operator.token"

// api builds the administration API: for the unix socket and for TCP.
func (d *Daemon) api() (local, remote http.Handler, err error) {
	token, err := operatorToken(filepath.Join(d.Config.Data, TokenName))
	if err != nil {
		return nil, nil, err
	}
	// Whoever watches a stream must not hold up the stop.
	stop, stopped := d.stop, make(chan struct{})
	closeOnce := sync.OnceFunc(func() { close(stopped) })
	d.stop = func() {
		closeOnce()
		stop()
	}
	if err := dropBundles(d.Config.Data); err != nil {
		return nil, nil, err
	}
	started := time.Now().UTC()
	a, err := api.New(api.Config{
		Token: token, Hosts: d.operatorsHosts(), UID: os.Getuid(), Issuer: d.AgentsURL, Log: d.log, Stop: stopped,
	}, api.Deps{
		Admin: d.Admin, Desk: d.Desk, Effects: d.Effects, Touched: d.labels, Facts: d.facts, Evidence: evidence{d.Evidence, d.Config.Data}, Learn: d.Proxy.Learn, Process: d.process, Doctor: d.doctor, Links: d.Links, Webhooks: d.hooks, Sinks: d.sinks, Rehearsal: rehearsals{d, d.stage}, Privileges: privileges{d}, Inventory: d.Inventory, Findings: d.Findings, Fleet: d.Fleet, SignInLink: d.SignInLink, SignIns: d.SignIns,
		Status: func(context.Context) api.Status { return d.status(started) }, Conduct: d.conductOf,
	})
	if err != nil {
		return nil, nil, err
	}
	d.fleet = a.Fleet()
	return a.Local(), a.Remote(), nil
}

// node names this installation.
func (d *Daemon) node() string { return d.nodeID }

func (d *Daemon) status(started time.Time) api.Status {
	cur := d.Admin.Current()
	mode := "enforce"
	if cur.Monitor {
		mode = "monitor"
	}
	return api.Status{
		Version: d.version, Node: d.nodeID, PID: os.Getpid(), Started: started, Mode: mode, Agents: d.AgentsURL, Operators: d.OperatorsURL,
		Data: d.Config.Data, Store: d.store.Dialect(), Generation: cur.View.Generation(), Evidence: d.Evidence.Size(),
	}
}

// process says how the processes of a server fare, nil if it has none.
func (d *Daemon) process(s registry.Server) *api.Process {
	st, ok := d.Proxy.Processes(s)
	if !ok {
		return nil
	}
	state := "idle"
	switch {
	case !st.NextTry.IsZero():
		state = "waiting"
	case st.Running > 0:
		state = "running"
	}
	return &api.Process{
		State: state, Running: st.Running, Starts: st.Starts, Failed: st.Failed, Crashes: st.Crashes, LastExit: st.Last,
		LastAt: st.LastAt.UTC(), NextTry: st.NextTry.UTC(), Confined: st.Confined, Holds: st.Holds,
	}
}

// operatorToken reads the token, or makes it. A file others may read holds no
// secret any more: that is an error and not repaired silently.
func operatorToken(path string) (string, error) {
	fi, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return newToken(path)
	}
	if err != nil {
		return "", access.Errorf(access.CodeUnavailable, "the operator token %s cannot be read: %v", path, pathReason(err))
	}
	if !fi.Mode().IsRegular() || fi.Mode().Perm()&0o077 != 0 {
		return "", access.Errorf(access.CodeInvalid, "the operator token %s is open to others (mode %04o): remove it, and the next start makes a new one", path, fi.Mode().Perm())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", access.Errorf(access.CodeUnavailable, "the operator token %s cannot be read: %v", path, pathReason(err))
	}
	token := strings.TrimSpace(string(b))
	if len(token) < 32 {
		return "", access.Errorf(access.CodeInvalid, "the operator token %s is too short: remove it, and the next start makes a new one", path)
	}
	return token, nil
}

func newToken(path string) (string, error) {
	var raw [32]byte
	_, _ = rand.Read(raw[:]) // never fails
	token := "rut_" + base64.RawURLEncoding.EncodeToString(raw[:])
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", access.Errorf(access.CodeUnavailable, "the operator token %s cannot be written: %v", path, pathReason(err))
	}
	_, werr := f.WriteString(token + "\n")
	if err := errors.Join(werr, f.Sync(), f.Close(), syncDir(filepath.Dir(path))); err != nil {
		return "", fmt.Errorf("writing the operator token: %w", err)
	}
	return token, nil
}

// evidence is the log as the API shows it.
type evidence struct {
	log *audit.Log
	tmp string // where bundles are put together
}

func (e evidence) Size() uint64 { return e.log.Size() }

func (e evidence) Search(ctx context.Context, q audit.Query) ([]audit.Row, error) {
	return e.log.Search(ctx, q)
}

func (e evidence) SearchPart(ctx context.Context, q audit.Query) (audit.Part, error) {
	return e.log.SearchPart(ctx, q)
}

func (e evidence) Count(ctx context.Context, q audit.Query, most int) (int, error) {
	return e.log.Count(ctx, q, most)
}

func (e evidence) Checkpoint() []byte { return e.log.Checkpoint() }

func (e evidence) VerifierKey() string { return e.log.VerifierKey() }

func (e evidence) Reindex(ctx context.Context) error { return e.log.Reindex(ctx) }

func (e evidence) PlanErasure(ctx context.Context, person, issuer string) (audit.ErasurePlan, error) {
	return e.log.PlanErasure(ctx, person, issuer)
}

func (e evidence) Erase(ctx context.Context, o audit.ErasureOrder) (audit.Erasure, audit.ErasurePlan, error) {
	return e.log.Erase(ctx, o)
}

func (e evidence) PlanRetention(ctx context.Context, o audit.RetentionOrder) (audit.RetentionPlan, error) {
	return e.log.PlanRetention(ctx, o)
}

func (e evidence) Retain(ctx context.Context, o audit.RetentionOrder) (audit.RetentionPlan, error) {
	return e.log.Retain(ctx, o)
}

// Show opens a leaf as far as its keys exist.
func (e evidence) Show(ctx context.Context, index uint64) (api.Leaf, error) {
	r, err := e.log.Reveal(ctx, index)
	if err != nil {
		return api.Leaf{}, err
	}
	out := api.Leaf{Row: r.Row, Raw: r.Leaf, Sealed: r.Sealed, Erased: r.Erased, Pruned: r.Gone}
	if r.Payload != nil {
		text := string(r.Payload)
		for i := 0; i < utf8.UTFMax && len(text) > 0 && !utf8.ValidString(text); i++ {
			text = text[:len(text)-1] // cut within a character
		}
		out.Excerpt = &api.Excerpt{Text: strings.ToValidUTF8(text, "\uFFFD"), Bytes: r.Total}
	}
	return out, nil
}

// Prove proves leaves against checkpoints that have them.
func (e evidence) Prove(ctx context.Context, indices []uint64) (api.Proof, error) {
	out := api.Proof{Key: e.log.VerifierKey()}
	for _, i := range indices {
		p, err := e.log.Prove(ctx, i)
		if err != nil {
			return api.Proof{}, err
		}
		out.Leaves = append(out.Leaves, api.Proven{Index: p.Index, Proof: string(p.Text()), Leaf: p.Leaf})
	}
	return out, nil
}

const bundlePrefix = "export-"

// dropBundles removes what exports left behind when the process was killed: a
// bundle may show in clear what the evidence only seals.
func dropBundles(data string) error {
	entries, err := os.ReadDir(data)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), bundlePrefix) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(data, e.Name())))
		}
	}
	if err != nil {
		return access.Errorf(access.CodeUnavailable, "what is left of an export cannot be removed from %s: %v", data, pathReason(err))
	}
	return nil
}

// Export writes a bundle beside the evidence and hands it out as a tar file.
func (e evidence) Export(ctx context.Context, w io.Writer, q audit.Query, o audit.ExportOptions) (err error) {
	dir, err := os.MkdirTemp(e.tmp, bundlePrefix)
	if err != nil {
		return fmt.Errorf("making room for a bundle: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := e.log.Export(ctx, q, filepath.Join(dir, "bundle"), o); err != nil {
		return err
	}
	t := tar.NewWriter(w)
	root := os.DirFS(filepath.Join(dir, "bundle"))
	err = fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(root, path)
		if err != nil {
			return err
		}
		if err := t.WriteHeader(&tar.Header{Name: path, Mode: 0o600, Size: int64(len(b)), Typeflag: tar.TypeReg}); err != nil {
			return err
		}
		_, err = t.Write(b)
		return err
	})
	if err != nil {
		return fmt.Errorf("handing out a bundle: %w", err)
	}
	return t.Close()
}
