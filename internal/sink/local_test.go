package sink_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/audit"
	"rutile/internal/sink"
)

// TestAFileHasWholeLinesOnly: a line that a crash left in halves is replaced by the
// whole one, and nobody else may read it.
func TestAFileHasWholeLinesOnly(t *testing.T) {
	r := newRig(t, sink.Sink{ID: "a", Form: sink.FormOCSF, URL: sink.FileURL})
	r.call("bot", "read", audit.StatusOK)
	r.start()
	r.idle("a")
	r.sender.Close()
	path := filepath.Join(r.dir, "export", "a.jsonl")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"half":`); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	r.call("bot", "write", audit.StatusOK)
	r.start()
	r.idle("a")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := idsOf(sink.FormOCSF, b)
	if diff := cmp.Diff(r.ids(), ids); err != nil || diff != "" {
		t.Errorf("%v (-log +file):\n%s", err, diff)
	}
	for _, p := range []string{path, filepath.Dir(path)} {
		if fi, err := os.Stat(p); err != nil || fi.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v %v", p, fi, err)
		}
	}
}

// collect is a syslog receiver that ends its first connection at once.
type collect struct {
	net.Listener
	mu    sync.Mutex
	lines []string
	heads []string
}

func newCollect(t *testing.T) *collect {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &collect{Listener: l}
	t.Cleanup(func() { l.Close() })
	go func() {
		for n := 0; ; n++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if n == 0 {
				conn.Close()
				continue
			}
			go c.read(conn)
		}
	}()
	return c
}

func (c *collect) read(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		head, err := in.ReadString(' ')
		if err != nil {
			return
		}
		n, err := strconv.Atoi(strings.TrimSuffix(head, " "))
		if err != nil {
			return
		}
		msg := make([]byte, n)
		if _, err := io.ReadFull(in, msg); err != nil {
			return
		}
		parts := strings.SplitN(string(msg), " ", 8)
		c.mu.Lock()
		c.heads, c.lines = append(c.heads, strings.Join(parts[:7], " ")), append(c.lines, parts[7])
		c.mu.Unlock()
	}
}

// TestSyslogSendsAgainWhatAConnectionLost: octet-counted messages of RFC 5424.
func TestSyslogSendsAgainWhatAConnectionLost(t *testing.T) {
	c := newCollect(t)
	r := newRig(t, sink.Sink{ID: "a", Form: sink.FormCEF, URL: "syslog://" + c.Addr().String()})
	r.call("bot", "read", audit.StatusOK)
	r.start()
	r.idle("a")
	c.mu.Lock()
	defer c.mu.Unlock()
	ids, err := idsOf(sink.FormCEF, []byte(strings.Join(c.lines, "\n")))
	if diff := cmp.Diff(r.ids(), ids); err != nil || diff != "" {
		t.Errorf("%v (-log +got):\n%s", err, diff)
	}
	for _, h := range c.heads {
		f := strings.Fields(h)
		if len(f) != 7 || f[0] != "<110>1" || f[2] != "h1" || f[3] != "rutile" {
			t.Errorf("header %q", h)
		}
	}
}

// TestNothingInANameForgesARecord: names that try to be another line, another field
// or a terminal's command stay values in every form with lines.
func TestNothingInANameForgesARecord(t *testing.T) {
	hostile := "x\nCEF:0|rutile|rutile|1|permit|evil|1|act=permit suser=root\r\n\x1b[2J|pipe=eq\\\u202e\u200b\u2028 end"
	var sinks []sink.Sink
	for _, form := range []string{sink.FormCEF, sink.FormOCSF, sink.FormCloudEvents, sink.FormLeaf} {
		sinks = append(sinks, sink.Sink{ID: form, Form: form, URL: sink.FileURL})
	}
	r := newRig(t, sinks...)
	r.refuse("bot", hostile)
	r.change("approve", hostile)
	r.start()
	for _, s := range sinks {
		r.idle(s.ID)
		ext := ".jsonl"
		if s.Form == sink.FormCEF {
			ext = ".cef"
		}
		b, err := os.ReadFile(filepath.Join(r.dir, "export", s.ID+ext))
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
		if len(lines) != len(r.ids()) {
			t.Errorf("%s has %d lines of %d events", s.Form, len(lines), len(r.ids()))
		}
		for _, line := range lines {
			if s.Form != sink.FormCEF {
				if !json.Valid([]byte(line)) {
					t.Errorf("%s: no JSON: %s", s.Form, line)
				}
				continue
			}
			for _, c := range line {
				if c != ' ' && !unicode.IsPrint(c) {
					t.Errorf("CEF holds %U: %q", c, line)
				}
			}
			if fields, err := cefFields(line); err != nil || fields["act"] == "permit" || fields["suser"] == "root" {
				t.Errorf("a field was forged: %v %v", fields, err)
			}
		}
	}
}

// cefFields reads a CEF line as a receiver does.
func cefFields(line string) (map[string]string, error) {
	var parts []string
	for rest := line; len(parts) < 7; {
		i := 0
		for i < len(rest) && rest[i] != '|' {
			if rest[i] == '\\' {
				i++
			}
			i++
		}
		if i >= len(rest) {
			return nil, fmt.Errorf("the header ends early: %q", line)
		}
		parts, rest = append(parts, rest[:i]), rest[i+1:]
		if len(parts) == 7 {
			parts = append(parts, rest)
		}
	}
	out := map[string]string{}
	// A value ends where " word=" follows that is not escaped.
	key := ""
	for _, word := range strings.Split(parts[7], " ") {
		k, v, ok := strings.Cut(word, "=")
		if ok && !strings.HasSuffix(k, `\`) {
			if _, twice := out[k]; twice {
				return nil, fmt.Errorf("%s stands twice", k)
			}
			key, out[k] = k, v
			continue
		}
		out[key] += " " + word
	}
	return out, nil
}
