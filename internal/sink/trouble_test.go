package sink_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/audit"
	"rutile/internal/sink"
)

// TestAFileThatIsTakenAwayIsBegunAgain: whoever collects it may rename it at any time.
func TestAFileThatIsTakenAwayIsBegunAgain(t *testing.T) {
	r := newRig(t, sink.Sink{ID: "a", Form: sink.FormOCSF, URL: sink.FileURL})
	r.call("bot", "read", audit.StatusOK)
	r.start()
	r.idle("a")
	path := filepath.Join(r.dir, "export", "a.jsonl")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	r.call("bot", "write", audit.StatusOK)
	r.idle("a")
	first, err := os.ReadFile(path + ".1")
	if err != nil {
		t.Fatal(err)
	}
	second, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := idsOf(sink.FormOCSF, append(first, second...))
	if diff := cmp.Diff(r.ids(), ids); err != nil || diff != "" {
		t.Errorf("%v (-log +files):\n%s", err, diff)
	}
}

// TestAReceiverThatReadsNothingDoesNotHoldUpTheEnd: a connection without room.
func TestAReceiverThatReadsNothingDoesNotHoldUpTheEnd(t *testing.T) {
	r := newRig(t, sink.Sink{ID: "a", Form: sink.FormCEF, URL: "syslog://127.0.0.1:1"})
	dialed := make(chan struct{}, 1)
	ours, theirs := net.Pipe()
	defer theirs.Close()
	r.dial = func(context.Context, string, string) (net.Conn, error) {
		dialed <- struct{}{}
		return ours, nil
	}
	r.start()
	<-dialed
	var one [1]byte
	if _, err := theirs.Read(one[:]); err != nil { // it is writing
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); r.sender.Close() }()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Error("it waits for the receiver")
	}
}

// TestNoNameStopsAForm: a sink must not wait for ever on what an agent chose.
func TestNoNameStopsAForm(t *testing.T) {
	list := samples()[:1]
	list[0].Tool, list[0].Agent, list[0].End.Findings = "x\xff", "\xc3(", []string{"\xff"}
	list[0].Call.Policies = []string{"\x80"}
	for _, form := range sink.Forms() {
		if _, n, err := sink.Encode(form, 1<<20, list); err != nil || n != 1 {
			t.Errorf("%s: %d %v", form, n, err)
		}
	}
}

// lost is Cursors that cannot be read.
type lost struct{ sink.Cursors }

func (lost) SinkCursor(context.Context, string, string) (sink.Cursor, bool, error) {
	return sink.Cursor{}, false, errors.New("it cannot be read")
}

// TestWhatNeverBeginsIsTrouble: also where no event was reached.
func TestWhatNeverBeginsIsTrouble(t *testing.T) {
	r := newRig(t, sink.Sink{ID: "a", Form: sink.FormCEF, URL: sink.FileURL})
	r.cursors = lost{r.db}
	var later atomic.Int64
	r.now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	r.start()
	r.until("it fails", func() bool { return r.sender.Status("a").Attempts > 0 })
	if s := r.troubles(); s != "" {
		t.Errorf("trouble at once: %s", s)
	}
	later.Store(int64(11 * time.Minute))
	r.until("there is trouble", func() bool { return strings.Contains(r.troubles(), "cannot be read") })
}

// busy is a log that always has more.
type busy struct{ *audit.Log }

func (b busy) Size() uint64 { return b.Log.Size() + 1 }

// TestTroubleEndsUnderLoad: a sink that is never idle and keeps up is not behind.
func TestTroubleEndsUnderLoad(t *testing.T) {
	k := newTaker(t, sink.FormCEF)
	k.before = func(w http.ResponseWriter, _ *http.Request, n int, _ []string) bool {
		if n == 1 {
			w.WriteHeader(http.StatusBadRequest)
		}
		return n == 1
	}
	r := newRig(t, sink.Sink{ID: "a", Form: sink.FormCEF, URL: k.URL})
	r.of = busy{r.log}
	r.start()
	r.until("there is trouble", func() bool { return strings.Contains(r.troubles(), "refused") })
	r.until("it is over", func() bool { return strings.HasSuffix(r.troubles(), "a: ") })
	r.until("its status says so", func() bool { return r.sender.Status("a").State == sink.StateSending })
}

// TestWhatCannotBeReadHoldsUpOnlyWhatFollows: the events before a leaf that is damaged
// are handed on.
func TestWhatCannotBeReadHoldsUpOnlyWhatFollows(t *testing.T) {
	k := newTaker(t, sink.FormLeaf)
	r := newRig(t, sink.Sink{ID: "a", Form: sink.FormLeaf, URL: k.URL})
	for range 3 {
		r.change("approve", "files")
	}
	want := r.ids()
	last := r.log.Size() - 1
	if _, err := r.log.Prove(t.Context(), last); err != nil { // it is in the tiles
		t.Fatal(err)
	}
	leaf, err := r.log.Leaf(t.Context(), last)
	if err != nil {
		t.Fatal(err)
	}
	entries := filepath.Join(r.dir, "evidence", "log", "tile", "entries")
	if err := filepath.WalkDir(entries, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, bytes.Replace(b, leaf, append([]byte{'['}, leaf[1:]...), 1), 0o600)
	}); err != nil {
		t.Fatal(err)
	}
	r.start()
	r.until("it stops at the leaf", func() bool { s := r.sender.Status("a"); return s.Attempts > 0 && s.Next == last })
	if diff := cmp.Diff(want[:len(want)-1], k.taken()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestTheTroubleOfARetiredSinkIsOver: also where it is seen retired by a node on which it
// has no lane, as after a restart elsewhere, and again each time it is retired.
func TestTheTroubleOfARetiredSinkIsOver(t *testing.T) {
	r := newRig(t, sink.Sink{ID: "a", Form: sink.FormOCSF, URL: sink.FileURL})
	r.start()
	r.idle("a")
	d := sink.Sink{ID: "b", Owner: "ops", Form: sink.FormOCSF, URL: sink.FileURL, State: sink.Retired, Changed: time.Unix(2, 0)}
	over := func() int { return strings.Count(r.troubles(), "b: ") }
	r.declare(d)
	r.until("it is over", func() bool { return over() == 1 })
	d.State, d.Changed = sink.Active, time.Unix(3, 0)
	r.declare(d)
	r.idle("b")
	began := over()
	d.State, d.Changed = sink.Retired, time.Unix(4, 0)
	r.declare(d)
	r.until("it is over again", func() bool { return over() > began })
}
