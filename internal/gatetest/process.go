package gatetest

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// startServer runs a program that listens on an address of its command line and
// reads no input, and waits until the address answers. It ends with the test,
// also when the test is killed: a shell watches a pipe that only we hold open.
func startServer(tb testing.TB, command func(addr string) []string) (addr string) {
	tb.Helper()
	var err error
	for range 5 { // somebody else may take the port first
		addr = freeAddr(tb)
		if err = runServer(tb, addr, command(addr)); err == nil {
			return addr
		}
	}
	tb.Fatalf("starting %s: %v", command("ADDR")[0], err)
	return ""
}

func runServer(tb testing.TB, addr string, argv []string) error {
	const watch = `"$0" "$@" </dev/null & p=$!; read -r _; kill $p 2>/dev/null; wait $p`
	cmd := exec.Command("sh", append([]string{"-c", watch}, argv...)...)
	log := &buffer{}
	cmd.Stdout, cmd.Stderr = log, log
	alive, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // it is killed
		close(ended)
	}()
	stop := func() {
		_ = alive.Close()
		<-ended
	}
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
			tb.Cleanup(stop)
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	stop()
	return fmt.Errorf("%s does not answer: %s", addr, strings.TrimSpace(log.String()))
}

func freeAddr(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// buffer keeps what a process says.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

var _ io.Writer = (*buffer)(nil)

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
