package notice_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"mime/quotedprintable"
	"net"
	netmail "net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"rutile/internal/notice"
	"rutile/internal/store"
	"rutile/internal/store/storetest"
)

// server is a real server of mail that keeps what it takes.
type server struct {
	addr  string
	roots *x509.CertPool
	mu    sync.Mutex
	down  bool
	slow  chan chan struct{} // if not nil, told of a mail that waits to be taken
	mails []string           // "to" and the message
	who   []string
}

func newServer(t *testing.T, implicit bool) *server {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mail"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{roots: x509.NewCertPool()}
	s.roots.AddCert(parsed)
	conf := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = lis.Addr().String()
	srv := smtp.NewServer(s)
	srv.Domain, srv.TLSConfig, srv.ErrorLog = "mail", conf, quiet{}
	if implicit {
		lis = tls.NewListener(lis, conf)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(lis) }()
	t.Cleanup(func() { _ = srv.Close(); <-done })
	return s
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

func (s *server) NewSession(*smtp.Conn) (smtp.Session, error) { return &session{s: s}, nil }

type session struct {
	s  *server
	to []string
}

func (x *session) AuthMechanisms() []string { return []string{sasl.Plain} }
func (x *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		x.s.mu.Lock()
		defer x.s.mu.Unlock()
		if x.s.who = append(x.s.who, user); password != "sesame-4711" {
			return errors.New("no such sign-in of " + password)
		}
		return nil
	}), nil
}
func (x *session) Reset()        { x.to = nil }
func (x *session) Logout() error { return nil }
func (x *session) Mail(string, *smtp.MailOptions) error {
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	if x.s.down {
		return &smtp.SMTPError{Code: 451, Message: "not now"}
	}
	return nil
}
func (x *session) Rcpt(to string, _ *smtp.RcptOptions) error { x.to = append(x.to, to); return nil }
func (x *session) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if x.s.slow != nil {
		take := make(chan struct{})
		x.s.slow <- take
		<-take
	}
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	x.s.mails = append(x.s.mails, strings.Join(x.to, " ")+"\n"+string(b))
	return nil
}

// taken returns how many mails were taken, and the last.
func (s *server) taken() (int, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.mails) == 0 {
		return 0, ""
	}
	return len(s.mails), s.mails[len(s.mails)-1]
}

// desk is a notifier whose clock and whose waiting things a test sets.
type desk struct {
	n       *notice.Notifier
	db      *store.Store
	now     time.Time
	waiting []notice.Item
	trouble string
	mu      sync.Mutex
}

func (d *desk) Use(_ context.Context, _, _ string, use func([]byte) error) error {
	return use([]byte("sesame-4711"))
}

func (d *desk) start(t *testing.T, s *server, m notice.Mail) {
	t.Helper()
	var err error
	d.n, err = notice.New(notice.Config{
		Mails: func() map[string]notice.Mail { return map[string]notice.Mail{m.ID: m} }, Waiting: func(context.Context, *notice.Mail) ([]notice.Item, error) { return d.waiting, nil },
		Notices: d.db, Secrets: d, Dial: (&net.Dialer{}).DialContext, Roots: s.roots, Home: "https://gw/console/", Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return d.now },
		Trouble: func(_ *notice.Mail, why string) { d.mu.Lock(); defer d.mu.Unlock(); d.trouble = why },
	})
	if err != nil {
		t.Fatal(err)
	}
	d.n.Close() // its own look: the test says when
}

func newDesk(t *testing.T, s *server, change func(*notice.Mail)) *desk {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{DSN: "sqlite", Dir: storetest.Dir(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	d := &desk{db: db, now: time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)}
	m := notice.Mail{ID: "ops", Server: "smtp://" + s.addr, User: "rutile", Secret: "pw", From: "rutile@example.com", To: []string{"ops@example.com"}, About: notice.Abouts(), Every: 15 * time.Minute, State: notice.Active}
	if change != nil {
		change(&m)
	}
	d.start(t, s, m)
	return d
}

func item(key, title string) notice.Item {
	return notice.Item{Key: key, About: notice.AboutFinding, Title: title, URL: "https://gw/console/findings", Since: time.Date(2026, 11, 27, 11, 0, 0, 0, time.UTC)}
}

// TestAStormIsOneMail: whatever comes in a window is told in the next mail, once, over a
// restart too, and what came up again is told again.
func TestAStormIsOneMail(t *testing.T) {
	for name, implicit := range map[string]bool{"STARTTLS": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, implicit)
			change := func(m *notice.Mail) {
				if implicit {
					m.Server = "smtps://" + s.addr
				}
			}
			d := newDesk(t, s, change)
			d.waiting = []notice.Item{item("a", "high: one")}
			d.n.Look(t.Context())
			for i := range 1000 {
				d.waiting = append(d.waiting, item(fmt.Sprint(i), fmt.Sprintf("high: storm %d", i)))
				if i%100 == 0 {
					d.n.Look(t.Context())
				}
			}
			if n, text := s.taken(); n != 1 || !strings.Contains(text, "high: one") {
				t.Fatalf("%d mails in a window, %q, trouble %q", n, text, d.trouble)
			}
			m := notice.Mail{ID: "ops", Server: "smtp://" + s.addr, User: "rutile", Secret: "pw", From: "rutile@example.com", To: []string{"ops@example.com"}, About: notice.Abouts(), Every: 15 * time.Minute, State: notice.Active}
			change(&m)
			d.start(t, s, m) // another process
			d.n.Look(t.Context())
			if n, _ := s.taken(); n != 1 {
				t.Errorf("after a restart %d mails in a window", n)
			}
			d.now = d.now.Add(15 * time.Minute)
			d.n.Look(t.Context())
			n, text := s.taken()
			if n != 2 || strings.Contains(text, "high: one") || !strings.Contains(text, "and 950 more") || !strings.Contains(text, "Subject: Rutile: 1000 findings") {
				t.Errorf("the next window: %d mails, %s", n, text)
			}
			d.now = d.now.Add(24 * time.Hour)
			d.n.Look(t.Context())
			if n, _ := s.taken(); n != 2 {
				t.Errorf("what was told is told again: %d mails", n)
			}
			d.waiting = append(d.waiting, item("a again", "high: one"))
			d.n.Look(t.Context())
			if n, text := s.taken(); n != 3 || !strings.Contains(text, "Subject: Rutile: 1 finding\r\n") {
				t.Errorf("what came up again: %d mails, %s", n, text)
			}
		})
	}
}

// TestAServerThatTakesNothingIsTriedAgain: nothing is lost, it is said, and not at every
// look.
func TestAServerThatTakesNothingIsTriedAgain(t *testing.T) {
	s := newServer(t, false)
	d := newDesk(t, s, nil)
	s.down = true
	d.waiting = []notice.Item{item("a", "high: one")}
	for range 5 {
		d.n.Look(t.Context())
	}
	if n, _ := s.taken(); n != 0 || d.trouble == "" || d.n.Why("ops") == "" || len(s.who) != 1 {
		t.Errorf("while it is down: %d mails, trouble %q, tried %d times", n, d.trouble, len(s.who))
	}
	if strings.Contains(d.trouble, "sesame") || strings.Contains(d.trouble, "not now") {
		t.Errorf("the trouble is the server's words: %q", d.trouble)
	}
	s.mu.Lock()
	s.down = false
	s.mu.Unlock()
	d.now = d.now.Add(30 * time.Second)
	d.n.Look(t.Context())
	if n, _ := s.taken(); n != 1 || d.trouble != "" {
		t.Errorf("when it is back: %d mails, trouble %q", n, d.trouble)
	}
}

// TestMailLeavesOnlyOverTLSThatCounts: with a password at least, and to nobody whose
// certificate does not count.
func TestMailLeavesOnlyOverTLSThatCounts(t *testing.T) {
	s := newServer(t, false)
	d := newDesk(t, s, nil)
	s.roots = x509.NewCertPool()
	d.waiting = []notice.Item{item("a", "high: one")}
	m := notice.Mail{ID: "ops", Server: "smtp://" + s.addr, User: "rutile", Secret: "pw", From: "rutile@example.com", To: []string{"ops@example.com"}, About: notice.Abouts(), Every: 15 * time.Minute, State: notice.Active}
	d.start(t, s, m)
	d.n.Look(t.Context())
	if n, _ := s.taken(); n != 0 || !strings.Contains(d.trouble, "certificate") || len(s.who) != 0 {
		t.Errorf("an unknown authority: %d mails, trouble %q, told who %v", n, d.trouble, s.who)
	}
}

// TestNamesAreNoHeadersAndNoLinks: whatever somebody is called, a mail is what we wrote.
func TestNamesAreNoHeadersAndNoLinks(t *testing.T) {
	for in, want := range map[string]string{
		"release-bot": "release-bot", "files/write_file": "files/write_file",
		"a\r\nBcc: x@example.com": "…", "evil.example": "…", "http://evil": "…", "//evil": "…", "mailto:x": "…", "a b": "…", "x@example.com": "…", "a\u202eb": "…", "<b>": "…", "": "…", strings.Repeat("x", 200): "…",
	} {
		if got := notice.Name(in); got != want {
			t.Errorf("%q is written as %q", in, got)
		}
	}
	s := newServer(t, false)
	d := newDesk(t, s, func(m *notice.Mail) {
		m.Routes = []notice.Route{{Owner: "team-dev", To: []string{"dev@example.com"}}}
	})
	long := item("a", "high: "+strings.Repeat("x", 3000)+"\r\n.\r\nMAIL FROM:<x@example.com>")
	long.Owner = "team-dev"
	d.waiting = []notice.Item{long}
	d.n.Look(t.Context())
	n, raw := s.taken()
	to, text, _ := strings.Cut(raw, "\n")
	msg, err := netmail.ReadMessage(strings.NewReader(text))
	if err != nil || n != 1 || to != "dev@example.com" {
		t.Fatalf("%d mails to %q: %v", n, to, err)
	}
	for line := range strings.SplitSeq(text, "\r\n") {
		if len(line) > 998 {
			t.Errorf("a line of %d bytes", len(line))
		}
	}
	body, err := io.ReadAll(quotedprintable.NewReader(msg.Body))
	if err != nil || !strings.Contains(string(body), "https://gw/console/findings") || msg.Header.Get("Auto-Submitted") != "auto-generated" || msg.Header.Get("Bcc") != "" || msg.Header.Get("User-Agent") != "Rutile" {
		t.Errorf("%v, %v, %s", err, msg.Header, body)
	}
	for _, a := range []string{"", "a", "a@b@c", "Ann <ann@example.com>", "ann@example.com, bob@example.com", "ann@exa\r\nmple.com", "\"a b\"@example.com", "änn@example.com", "a@[127.0.0.1]"} {
		if notice.CheckAddress(a) == nil {
			t.Errorf("%q is an address", a)
		}
	}
}
