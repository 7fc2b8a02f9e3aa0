package audit_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rutile/internal/audit"
)

const retainEnv = "RUTILE_AUDIT_RETAIN"

// DestroyKeys and what is below make files an audit.Erasures, without any order.
func (f *files) DestroyKeys(_ context.Context, wrapped map[string][]byte) error {
	for name := range wrapped {
		if err := os.Remove(filepath.Join(f.dir, "key-"+name)); err != nil {
			return err
		}
	}
	return nil
}
func (*files) PutErasure(context.Context, audit.Erasure) error   { return nil }
func (*files) Erasures(context.Context) ([]audit.Erasure, error) { return nil, nil }
func (*files) ErasedIn(context.Context, string, string) error    { return nil }
func (*files) ErasedBy(context.Context, string) (map[string]bool, error) {
	return map[string]bool{}, nil
}

// everythingIsOld is when all of the log that is killed can go.
var everythingIsOld = september.AddDate(0, 0, 401)

var clockIsRight = audit.RetentionOrder{Actor: "user:root", Clock: true}

func openKilled(dir string, at time.Time) (*audit.Log, error) {
	f := &files{dir: dir}
	return audit.Open(context.Background(), keptFor(dir, newTimes(at)), f, newSealer(), f)
}

// retainUntilKilled is the child.
func retainUntilKilled(dir string) error {
	l, err := openKilled(dir, everythingIsOld)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	if _, err := l.Retain(context.Background(), clockIsRight); err != nil {
		return err
	}
	fmt.Println("done")
	return l.Close(context.Background())
}

// A process that is killed while it lets excerpts and leaves go leaves a directory that
// verifies, and the next start finishes it.
func TestAProcessThatIsKilledWhileItPrunes(t *testing.T) {
	whole := t.TempDir()
	l, err := openKilled(whole, september)
	if err != nil {
		t.Fatal(err)
	}
	retain(t, l, audit.RetentionOrder{})
	for i := range 130 {
		call(t, l, i)
	}
	stop(t, l)
	kills, early := 4, 0
	if long() {
		kills = 200
	}
	for k := range kills {
		dir := filepath.Join(t.TempDir(), "copy")
		copyTree(t, whole, dir)
		if !retainAndKill(t, dir, time.Duration(k)*time.Duration(rand.IntN(10_000))*time.Microsecond) {
			early++
		}
		evidence := filepath.Join(dir, "evidence")
		if r, err := audit.Verify(evidence, audit.VerifyOptions{}); err != nil || r.ExitStatus() == audit.ExitProblems {
			t.Errorf("after kill %d: %v, %v", k, r.Problems, err)
		}
		if l, err = openKilled(dir, everythingIsOld); err != nil {
			t.Fatal(err)
		}
		retain(t, l, clockIsRight)
		stop(t, l)
		for _, left := range []string{"log/tile/entries/000", "payload/decision/*/*.pack"} {
			if names, err := filepath.Glob(filepath.Join(evidence, filepath.FromSlash(left))); err != nil || len(names) > 0 {
				t.Errorf("after kill %d: %v are left, %v", k, names, err)
			}
		}
		if names, err := filepath.Glob(filepath.Join(dir, "key-pay.*")); err != nil || len(names) > 0 {
			t.Errorf("after kill %d: the keys %v are left, %v", k, names, err)
		}
		if r := verifyOK(t, evidence, audit.VerifyOptions{Complete: true}); r.Pruned == 0 {
			t.Errorf("after kill %d nothing is pruned: %+v", k, r)
		}
	}
	t.Logf("%d kills, %d before it was done", kills, early)
}

// retainAndKill runs the child, kills it a while after it began and reports whether it
// was done by then.
func retainAndKill(t *testing.T, dir string, after time.Duration) (done bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), retainEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		switch lines.Text() {
		case "ready":
			time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
		case "done":
			done = true
		}
	}
	_ = cmd.Wait() // it was killed, mostly
	if s := stderr.String(); s != "" {
		t.Errorf("the child said: %s", s)
	}
	return done
}
