package wrap_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"rutile/internal/discovery/clientconfig"
	"rutile/internal/discovery/wrap"
)

// fault stops after a number of system calls: as a dead process does, which makes
// no further one, or as a full disk does, which fails one and goes on.
type fault struct {
	wrap.System
	left  int
	dead  bool  // stays so
	once  error // instead: fail one call with this
	hook  func(n int, call string)
	calls int
	trace []string
}

var errDead = errors.New("the process is dead")

// step counts one system call; half says that a write may be done in part.
func (f *fault) step(call string) error {
	f.calls++
	f.trace = append(f.trace, call)
	if f.hook != nil {
		f.hook(f.calls, call)
	}
	if f.dead && f.once == nil {
		return errDead
	}
	if f.left--; f.left == -1 {
		f.dead = true
		if f.once != nil {
			return f.once
		}
		return errDead
	}
	return nil
}

func (f *fault) Read(p string) ([]byte, error) {
	if err := f.step("read"); err != nil {
		return nil, err
	}
	return f.System.Read(p)
}

func (f *fault) Stat(p string) (fs.FileInfo, error) {
	if err := f.step("stat"); err != nil {
		return nil, err
	}
	return f.System.Stat(p)
}

func (f *fault) Real(p string) (string, error) {
	if err := f.step("real"); err != nil {
		return "", err
	}
	return f.System.Real(p)
}

func (f *fault) Create(p string, m fs.FileMode) (wrap.File, error) {
	if err := f.step("create"); err != nil {
		return nil, err
	}
	file, err := f.System.Create(p, m)
	return &faultFile{file, f}, err
}

type faultFile struct {
	wrap.File
	f *fault
}

func (f *faultFile) Write(b []byte) (int, error) {
	if err := f.f.step("write"); err != nil {
		n, _ := f.File.Write(b[:len(b)/2])
		return n, err
	}
	return f.File.Write(b)
}

func (f *faultFile) Sync() error { return f.f.step("sync") }

func (f *faultFile) Close() error {
	defer f.File.Close()
	return f.f.step("close")
}

func (f *fault) Rename(a, b string) error {
	if err := f.step("rename"); err != nil {
		return err
	}
	return f.System.Rename(a, b)
}

func (f *fault) Exchange(a, b string) error {
	if err := f.step("exchange"); err != nil {
		return err
	}
	return f.System.Exchange(a, b)
}

func (f *fault) Remove(p string) error {
	if err := f.step("remove"); err != nil {
		return err
	}
	return f.System.Remove(p)
}

func (f *fault) SyncDir(string) error { return f.step("syncdir") }

func (f *fault) Attributes(a, b string) error {
	if err := f.step("attributes"); err != nil {
		return err
	}
	return f.System.Attributes(a, b)
}

const twoServers = "{\n  // mine\n  \"mcpServers\": {\n    \"one\": {\"command\": \"npx\", \"args\": [\"-y\", \"@acme/one\"]},\n    \"two\": {\"command\": \"npx\", \"args\": [\"-y\", \"@acme/two\"]}\n  },\n  \"other\": 1\n}\n"

// quickHome has the one row these tests need.
func cursorHome(t *testing.T) (h *home, file string) {
	h = newHome(t)
	table := h.table
	h.table = &clientconfig.Table{Variables: table.Variables}
	for _, r := range table.Sources {
		if r.ID == "cursor.user" {
			h.table.Sources = []clientconfig.Row{r}
		}
	}
	return h, h.write(".cursor/mcp.json", twoServers)
}

// A process that ends after any system call leaves the file as it was or as it was
// meant to be; the next run settles the rest, and one more changes nothing.
func TestEveryCrashLeavesBeforeOrAfter(t *testing.T) {
	for _, undo := range []bool{false, true} {
		for _, once := range []error{nil, syscall.ENOSPC} {
			t.Run(fmt.Sprintf("undo %v, %v", undo, once), func(t *testing.T) {
				t.Parallel()
				stops := 0
				for n := 0; ; n++ {
					done := crash(t, undo, once, n)
					if done {
						break
					}
					stops++
				}
				if stops < 25 {
					t.Errorf("it was stopped at %d places only", stops)
				}
			})
		}
	}
}

func crash(t *testing.T, undo bool, once error, n int) (done bool) {
	t.Helper()
	h, file := cursorHome(t)
	before := twoServers
	h.wrapped(file)
	after := h.read(file)
	from, to := after, before
	if !undo {
		h.unwrapped(file)
		from, to = before, after
	}
	d := &fault{left: n, once: once}
	real := h.book.Disk
	h.book.Disk = d
	run := func() error {
		if undo {
			_, err := h.book.Unwrap(file)
			return err
		}
		if err := h.book.Settle(); err != nil {
			return err
		}
		f := h.file(file)
		routes, _ := h.routes(f)
		if len(routes) == 0 {
			return nil
		}
		return h.book.Wrap(f, routes)
	}
	err := h.locked(run)
	if d.left >= 0 && err != nil {
		t.Fatalf("after %d calls nothing failed, and it says %v", n, err)
	}
	if got := h.read(file); got != from && got != to {
		t.Fatalf("stopped at call %d (%v) the file is\n%s", n, d.trace[max(0, len(d.trace)-3):], got)
	}
	h.book.Disk = real
	if err := h.locked(run); err != nil {
		t.Fatalf("stopped at call %d (%v): the next run says %v", n, d.trace[max(0, len(d.trace)-3):], err)
	}
	if got := h.read(file); got != to {
		t.Fatalf("stopped at call %d (%v): after the next run the file is\n%s", n, d.trace[max(0, len(d.trace)-3):], got)
	}
	records, err := h.book.Records()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if slices.ContainsFunc(r.Edits, func(e wrap.Edit) bool { return e.State == wrap.Planned || e.Temp != "" }) {
			t.Errorf("stopped at call %d: the journal did not settle: %+v", n, r.Edits)
		}
	}
	if left := h.leftovers(); len(left) > 0 {
		t.Errorf("stopped at call %d: left behind %v", n, left)
	}
	info, _ := os.Stat(file)
	if err := h.locked(run); err != nil {
		t.Errorf("stopped at call %d: a run with nothing to do says %v", n, err)
	}
	if again, _ := os.Stat(file); !os.SameFile(info, again) {
		t.Errorf("stopped at call %d: a run with nothing to do wrote the file", n)
	}
	h.unwrapped(file)
	if got := h.read(file); got != before {
		t.Errorf("stopped at call %d: in the end the file is\n%s", n, got)
	}
	return d.left >= 0
}

// A client that writes at any moment of ours loses nothing, whether it puts another
// file in the place or writes into the one that is there.
func TestNoEditOfTheClientIsLost(t *testing.T) {
	for _, how := range []string{"rename", "in place"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			writes := 0
			for n := 1; ; n++ {
				h, file := cursorHome(t)
				edit := func(text string) {
					writes++
					if how == "rename" {
						if err := os.WriteFile(file+".new", []byte(text), 0o640); err != nil {
							t.Error(err)
						}
						if err := os.Rename(file+".new", file); err != nil {
							t.Error(err)
						}
					} else if err := os.WriteFile(file, []byte(text), 0o640); err != nil {
						t.Error(err)
					}
				}
				d := &fault{left: 1 << 30}
				edited := strings.Replace(twoServers, `"other": 1`, fmt.Sprintf(`"other": %d`, 1000+n), 1)
				hit := false
				d.hook = func(call int, _ string) {
					if call == n {
						hit = true
						now := h.read(file)
						edit(strings.Replace(now, `"other": 1`, fmt.Sprintf(`"other": %d`, 1000+n), 1))
					}
				}
				f := h.file(file)
				routes, _ := h.routes(f)
				h.book.Disk = d
				if err := h.locked(func() error { return h.book.Wrap(f, routes) }); err != nil {
					t.Fatalf("the client wrote at call %d: %v", n, err)
				}
				h.book.Disk = quick{}
				if !hit {
					break
				}
				got := h.read(file)
				if !strings.Contains(got, fmt.Sprintf(`"other": %d`, 1000+n)) {
					t.Fatalf("the client wrote at call %d (%s), and it is lost:\n%s", n, d.trace[n-1], got)
				}
				if strings.Count(got, shim) != 2 {
					t.Errorf("the client wrote at call %d: not wrapped:\n%s", n, got)
				}
				h.unwrapped(file)
				if got := h.read(file); got != edited {
					t.Errorf("the client wrote at call %d (%s): in the end it is\n%s", n, d.trace[n-1], got)
				}
			}
			if writes < 20 {
				t.Errorf("the client wrote %d times only", writes)
			}
		})
	}
}

// A client that never stops writing is left alone after three tries.
func TestABusyClientIsLeftAlone(t *testing.T) {
	h, file := cursorHome(t)
	f := h.file(file)
	routes, _ := h.routes(f)
	n := 0
	d := &fault{left: 1 << 30, hook: func(_ int, call string) {
		if call == "exchange" || call == "attributes" {
			n++
			if err := os.WriteFile(file, []byte(strings.Replace(twoServers, `"other": 1`, fmt.Sprintf(`"other": %d`, n), 1)), 0o640); err != nil {
				t.Error(err)
			}
		}
	}}
	h.book.Disk = d
	err := h.locked(func() error { return h.book.Wrap(f, routes) })
	if err == nil || !strings.Contains(err.Error(), "close the client") {
		t.Errorf("it says %v", err)
	}
	if got := h.read(file); strings.Contains(got, shim) || !strings.Contains(got, fmt.Sprintf(`"other": %d`, n)) {
		t.Errorf("the file is\n%s", got)
	}
	if left := h.leftovers(); len(left) > 0 {
		t.Errorf("left behind %v", left)
	}
}

// Random edits between wrap and unwrap, of entries and around them, are all there
// in the end, and nothing of ours is.
func TestRandomEditsSurvive(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 1))
		h, file := cursorHome(t)
		h.wrapped(file)
		text, want := h.read(file), twoServers
		both := func(old, now string) {
			text, want = strings.Replace(text, old, now, 1), strings.Replace(want, old, now, 1)
		}
		for range 1 + r.IntN(4) {
			switch r.IntN(5) {
			case 0:
				both(`"other": 1`, fmt.Sprintf(`"other": 1, "k%d": [%d]`, r.IntN(1e6), r.IntN(9)))
			case 1:
				both("// mine", fmt.Sprintf("// mine %d", r.IntN(100)))
			case 2: // a switch of an entry of ours
				both(`]},`, `], "disabled": true},`)
			case 3:
				both(`"mcpServers": {`, fmt.Sprintf("\"mcpServers\": {\n    \"new%d\": {\"command\": \"x\"},", r.IntN(1e6)))
			case 4:
				both("  \"other\"", "\n\n  \"other\"")
			}
		}
		if err := os.WriteFile(file, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		h.unwrapped(file)
		got := h.read(file)
		if got != want && !clientconfig.Same([]byte(got), []byte(want), "jsonc", []clientconfig.Step{{Key: "none"}}) {
			t.Errorf("seed %d: it is\n%s\nand should be\n%s", seed, got, want)
		}
	}
}

const victim = "RUTILE_WRAP_VICTIM"

// TestMain is also the process that is killed: it wraps and unwraps one file until
// it is.
func TestMain(m *testing.M) {
	if spec := os.Getenv(victim); spec != "" {
		dir, file, _ := strings.Cut(spec, "\n")
		b := &wrap.Book{Dir: dir, Disk: wrap.System{}, Now: time.Now}
		t := &testing.T{}
		h := &home{t: t, book: b}
		raw, err := os.ReadFile(file + ".routes")
		if err != nil {
			os.Exit(3)
		}
		loop(h, file, string(raw))
	}
	os.Exit(m.Run())
}

func loop(h *home, file, _ string) {
	row := &clientconfig.Row{ID: "cursor.user", Client: "cursor", Format: "jsonc", Writable: true, Root: [][]string{{"mcpServers"}}, Shape: "map"}
	row.Fields.Command, row.Fields.Args = []string{"command"}, []string{"args"}
	for {
		raw, err := os.ReadFile(file)
		if err != nil {
			os.Exit(4)
		}
		f := &clientconfig.File{Path: file, Base: filepath.Dir(file), Row: row, Raw: raw}
		var routes []wrap.Route
		for _, n := range []string{"one", "two"} {
			e := clientconfig.Entry{Name: n, Row: row, Path: []clientconfig.Step{{Key: "mcpServers"}, {Key: n}}, Members: []string{"command", "args"}}
			e.Spec.Command = "npx"
			routes = append(routes, wrap.Route{Entry: e, Server: n, Command: shim, Args: []string{"connect", n}})
		}
		free, err := h.book.Lock()
		if err != nil {
			os.Exit(5)
		}
		_ = h.book.Wrap(f, routes)
		_, _ = h.book.Unwrap(file)
		free()
	}
}

// A process that is killed at any time leaves before or after, and the next one
// settles it.
func TestKilledProcessesLeaveBeforeOrAfter(t *testing.T) {
	h, file := cursorHome(t)
	h.book.Disk = wrap.System{}
	if err := os.WriteFile(file+".routes", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h.wrapped(file)
	after := strings.NewReplacer(`, "--agent", "a"`, "").Replace(h.read(file))
	h.unwrapped(file)
	for i := range 12 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), victim+"="+h.book.Dir+"\n"+file)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(20+7*i) * time.Millisecond) // when it is killed, not what is waited for
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if got := h.read(file); got != twoServers && got != after {
			t.Fatalf("killed, the file is\n%s", got)
		}
	}
	h.unwrapped(file)
	if got := h.read(file); got != twoServers {
		t.Errorf("in the end it is\n%s", got)
	}
	if left := h.leftovers(); len(left) > 0 {
		t.Errorf("left behind %v", left)
	}
}
