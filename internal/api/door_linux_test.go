package api_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"rutile/internal/api"
)

// TestSocketRefusesRealOtherUsers connects as another user, which root can do;
// to a gateway of somebody else, this process is that other user already.
func TestSocketRefusesRealOtherUsers(t *testing.T) {
	r := newRig(t) // the gateway of user 4711
	dir, err := os.MkdirTemp("", "api")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	// The file mode lets everybody in here: only the peer's user is left to check.
	for p, mode := range map[string]os.FileMode{dir: 0o755, path: 0o777} {
		if err := os.Chmod(p, mode); err != nil {
			t.Fatal(err)
		}
	}
	srv := &http.Server{Handler: r.api.Local(), ConnContext: api.ConnContext}
	go srv.Serve(ln)
	defer srv.Close()
	other := os.Getuid()
	if other == 0 {
		other = 65534
		if status, answer := askAs(t, path, 0); status != 200 {
			t.Errorf("root: %d %s", status, answer)
		}
		if status, answer := askAs(t, path, uid); status != 200 {
			t.Errorf("its own user: %d %s", status, answer)
		}
	}
	if status, answer := askAs(t, path, other); status != 403 || !strings.Contains(answer, "may not administer") {
		t.Errorf("user %d: %d %s", other, status, answer)
	}
	// A User who names the account lets it in, until suspended.
	r.apply(fmt.Sprintf("kind: User\nid: other\nroles: [viewer]\nlocalUsers: [%d]\n", other))
	if status, answer := askAs(t, path, other); status != 200 {
		t.Errorf("user %d, whom a User names: %d %s", other, status, answer)
	}
	r.ok("POST", "/api/v1/users/other/suspend", "{}")
	if status, answer := askAs(t, path, other); status != 403 {
		t.Errorf("user %d, whose User is suspended: %d %s", other, status, answer)
	}
}

// askAs asks for the agents over a connection that user opened.
func askAs(t *testing.T, path string, user int) (status int, answer string) {
	t.Helper()
	type opened struct {
		c   net.Conn
		err error
	}
	ch := make(chan opened)
	go func() {
		// The thread changes its user and ends with the goroutine.
		runtime.LockOSThread()
		if user != os.Getuid() {
			same := ^uintptr(0)
			if _, _, e := syscall.RawSyscall(syscall.SYS_SETRESUID, same, uintptr(user), same); e != 0 {
				ch <- opened{nil, e}
				return
			}
		}
		c, err := net.Dial("unix", path)
		ch <- opened{c, err}
	}()
	o := <-ch
	if o.err != nil {
		t.Fatalf("connecting as %d: %v", user, o.err)
	}
	defer o.c.Close()
	q, err := http.NewRequestWithContext(t.Context(), "GET", "http://rutile/api/v1/agents", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Write(o.c); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(o.c), q)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b := make([]byte, 4096)
	n, _ := res.Body.Read(b) // the first piece is enough
	return res.StatusCode, string(b[:n])
}
