package notice_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rutile/internal/notice"
)

// hostile is a server of mail that does what a test says with each connection, and its
// address.
func hostile(t *testing.T, serve func(c net.Conn)) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := lis.Accept()
			if err != nil {
				return
			}
			all.Go(func() { defer c.Close(); serve(c) })
		}
	})
	t.Cleanup(func() { _ = lis.Close(); all.Wait() })
	return lis.Addr().String()
}

// talk answers what it is told as a server without extensions does, until after, which
// says whether to go on after a command.
func talk(c net.Conn, after func(command string) bool) {
	in := bufio.NewReader(c)
	_, _ = io.WriteString(c, "220 mail\r\n")
	for data := false; ; {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		command, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case data && line != ".\r\n":
			continue
		case data:
			data, command = false, "."
		}
		switch command {
		case "DATA":
			data = true
			_, _ = io.WriteString(c, "354 go on\r\n")
		default:
			_, _ = io.WriteString(c, "250 well\r\n")
		}
		if !after(command) {
			return
		}
	}
}

func unsigned(addr string) func(*notice.Mail) {
	return func(m *notice.Mail) { m.Server, m.User, m.Secret = "smtp://"+addr, "", "" }
}

// TestWhatAServerTookIsToldOnce: also by one that is gone as soon as it has said so.
func TestWhatAServerTookIsToldOnce(t *testing.T) {
	var took atomic.Int64
	addr := hostile(t, func(c net.Conn) {
		talk(c, func(command string) bool {
			if command == "." {
				took.Add(1)
			}
			return command != "."
		})
	})
	d := newDesk(t, &server{addr: addr}, unsigned(addr))
	d.waiting = []notice.Item{item("a", "high: one")}
	for range 5 {
		d.n.Look(t.Context())
		d.now = d.now.Add(time.Hour)
	}
	if n := took.Load(); n != 1 || d.n.Why("ops") != "" {
		t.Errorf("it is told %d times, %q", n, d.n.Why("ops"))
	}
}

// TestAServerThatSaysTooMuchIsLeft: of a line without end, or lines without end, no more
// is read than there is room for.
func TestAServerThatSaysTooMuchIsLeft(t *testing.T) {
	for name, said := range map[string]string{"a line": "x", "lines": "220-more\r\n", "lines that are none": "\r\n"} {
		t.Run(name, func(t *testing.T) {
			var wrote atomic.Int64
			addr := hostile(t, func(c net.Conn) {
				_, _ = io.WriteString(c, "220-")
				b := bytes.Repeat([]byte(said), 1<<12)
				for wrote.Load() < 256<<20 {
					n, err := c.Write(b)
					if wrote.Add(int64(n)); err != nil {
						return
					}
				}
			})
			d := newDesk(t, &server{addr: addr}, unsigned(addr))
			d.waiting = []notice.Item{item("a", "high: one")}
			d.n.Look(t.Context())
			if n := wrote.Load(); n > 64<<20 || d.n.Why("ops") == "" {
				t.Errorf("%d MiB were taken, and then: %q", n>>20, d.n.Why("ops"))
			}
		})
	}
}

// TestAPasswordIsNotTakenInClear: whoever is between and takes STARTTLS away gets neither
// a password nor a mail.
func TestAPasswordIsNotTakenInClear(t *testing.T) {
	var mu sync.Mutex
	var heard []string
	addr := hostile(t, func(c net.Conn) {
		talk(c, func(command string) bool {
			mu.Lock()
			defer mu.Unlock()
			heard = append(heard, command)
			return true
		})
	})
	d := newDesk(t, &server{addr: addr}, func(m *notice.Mail) { m.Server = "smtp://" + addr })
	d.waiting = []notice.Item{item("a", "high: one")}
	d.n.Look(t.Context())
	mu.Lock()
	defer mu.Unlock()
	for _, command := range heard {
		if command == "AUTH" || command == "MAIL" || command == "DATA" {
			t.Errorf("it heard %v", heard)
		}
	}
	if len(heard) == 0 || d.n.Why("ops") == "" {
		t.Errorf("it heard %v, and it is said: %q", heard, d.n.Why("ops"))
	}
}

// TestAServerThatHangsDelaysNobody: neither another receiver nor the end, wherever it
// hangs.
func TestAServerThatHangsDelaysNobody(t *testing.T) {
	for _, where := range []string{"", "EHLO", "MAIL", "."} {
		t.Run("after "+where, func(t *testing.T) {
			t.Parallel()
			hangs, ended := make(chan struct{}, 10), make(chan struct{})
			bad := hostile(t, func(c net.Conn) {
				hang := func() {
					hangs <- struct{}{}
					_, _ = io.Copy(io.Discard, c) // until the other side ends it
				}
				if where == "" {
					hang()
					return
				}
				in := bufio.NewReader(c)
				_, _ = io.WriteString(c, "220 mail\r\n")
				for data := false; ; {
					line, err := in.ReadString('\n')
					if err != nil {
						return
					}
					command, _, _ := strings.Cut(strings.TrimSpace(line), " ")
					if command == where {
						hang()
						return
					}
					switch {
					case command == "DATA":
						data = true
						_, _ = io.WriteString(c, "354 go on\r\n")
					case !data:
						_, _ = io.WriteString(c, "250 well\r\n")
					}
				}
			})
			took := make(chan struct{}, 10)
			good := hostile(t, func(c net.Conn) {
				talk(c, func(command string) bool {
					if command == "." {
						took <- struct{}{}
					}
					return true
				})
			})
			d := newDesk(t, &server{addr: bad}, nil)
			mails := map[string]notice.Mail{}
			for id, addr := range map[string]string{"bad": bad, "good": good} {
				m := notice.Mail{ID: id, From: "rutile@example.com", To: []string{"ops@example.com"}, About: notice.Abouts(), Every: time.Minute, State: notice.Active}
				unsigned(addr)(&m)
				mails[id] = m
			}
			var round atomic.Int64
			n, err := notice.New(notice.Config{
				Mails: func() map[string]notice.Mail { return mails },
				Waiting: func(context.Context, *notice.Mail) ([]notice.Item, error) {
					return []notice.Item{item(time.Unix(round.Load(), 0).String(), "high: one")}, nil
				},
				Notices: d.db, Secrets: d, Dial: (&net.Dialer{}).DialContext, Home: "https://gw/console/", Log: slog.New(slog.DiscardHandler),
				Now:     func() time.Time { return time.Unix(1e9+60*round.Load(), 0) },
				Trouble: func(*notice.Mail, string) {},
			})
			if err != nil {
				t.Fatal(err)
			}
			for i := range 2 { // while the first look hangs, the next tells what came since
				round.Store(int64(i))
				select {
				case <-took:
				case <-time.After(time.Minute):
					t.Fatalf("the other is not told a %d. time", i+1)
				}
			}
			<-hangs
			go func() { n.Close(); close(ended) }()
			select {
			case <-ended:
			case <-time.After(15 * time.Second):
				t.Error("it does not end")
			}
			<-ended
		})
	}
}
