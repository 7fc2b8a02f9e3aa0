package notice

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	mail "github.com/wneessen/go-mail"

	"rutile/internal/access"
)

// sendTime bounds one mail, from dialling to the server's last word.
const sendTime = 30 * time.Second

// send hands one mail to the server of m. That it was taken is the server's word alone.
func (n *Notifier) send(ctx context.Context, m *Mail, to string, items []Item) error {
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	msg := mail.NewMsg(mail.WithEncoding(mail.EncodingQP))
	if msg.From(m.From) != nil || msg.To(to) != nil {
		return access.Errorf(access.CodeInvalid, "an address is none")
	}
	msg.Subject(subject(items))
	msg.SetDate()
	msg.SetMessageIDWithValue(access.NewID("") + "@" + m.From[strings.LastIndexByte(m.From, '@')+1:])
	msg.SetUserAgent("Rutile")
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: nobody's absence answers
	msg.SetBodyString(mail.TypeTextPlain, body(items, n.cfg.Home))
	u, err := url.Parse(m.Server)
	if err != nil {
		return access.Errorf(access.CodeInvalid, "the server cannot be read")
	}
	if m.User == "" {
		return n.deliver(ctx, m, u, "", msg)
	}
	var sent error
	if err := n.cfg.Secrets.Use(ctx, m.Secret, "https://"+u.Host, func(secret []byte) error {
		sent = n.deliver(ctx, m, u, strings.TrimSpace(string(secret)), msg)
		return nil
	}); err != nil {
		return fmt.Errorf("opening credential %q, the password: %w", m.Secret, err)
	}
	return sent
}

// deliver says how a mail was taken. What a server says may hold what it was sent, so the
// words are ours.
func (n *Notifier) deliver(ctx context.Context, m *Mail, u *url.URL, password string, msg *mail.Msg) error {
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		return access.Errorf(access.CodeInvalid, "the port of the server cannot be read")
	}
	conf := &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12, RootCAs: n.cfg.Roots}
	opts := []mail.Option{mail.WithPort(port), mail.WithTimeout(sendTime), mail.WithHELO("localhost"), mail.WithTLSConfig(conf), mail.WithDialContextFunc(n.dial(ctx, u, conf))}
	switch {
	case u.Scheme == "smtps":
		opts = append(opts, mail.WithSSL())
	case local(u.Hostname()) && password == "":
		opts = append(opts, mail.WithTLSPolicy(mail.TLSOpportunistic)) // it does not leave the machine
	default:
		opts = append(opts, mail.WithTLSPolicy(mail.TLSMandatory))
	}
	if password != "" {
		auth := mail.SMTPAuthAutoDiscover
		if u.Scheme == "smtps" {
			auth = mail.SMTPAuthPlain // the library does not see that our connection is TLS, and would choose none
		}
		opts = append(opts, mail.WithSMTPAuth(auth), mail.WithUsername(m.User), mail.WithPassword(password))
	}
	c, err := mail.NewClient(u.Hostname(), opts...)
	if err != nil {
		return access.Errorf(access.CodeInvalid, "the server cannot be used")
	}
	if err := c.DialWithContext(ctx); err != nil {
		return access.Errorf(access.CodeUnavailable, "the server cannot be reached, offers no TLS that counts, or takes no such sign-in: %s", kind(err))
	}
	defer c.Close()                                           //nolint:errcheck // what was taken was taken
	if err := c.Send(msg); err != nil && !msg.IsDelivered() { // its word is final: what it does after it counts for nothing
		return access.Errorf(access.CodeUnavailable, "the server did not take the mail: %s", kind(err))
	}
	return nil
}

// dial judges addresses, and for smtps speaks TLS from the first byte. What it returns is
// closed with whole, the context of one mail, as the library knows no end of sending.
func (n *Notifier) dial(whole context.Context, u *url.URL, conf *tls.Config) mail.DialContextFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		raw, err := n.cfg.Dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		context.AfterFunc(whole, func() { _ = raw.Close() }) // it may be closed already
		c := &bounded{Conn: raw, left: maxSaid}
		if u.Scheme != "smtps" {
			return c, nil
		}
		t := tls.Client(c, conf)
		if err := t.HandshakeContext(ctx); err != nil {
			_ = c.Close() // it was of no use
			return nil, err
		}
		return t, nil
	}
}

// maxSaid bounds what a server says while it takes one mail, in bytes: a line of it has no
// end that the library would set.
const maxSaid = 1 << 20

// bounded is a connection that reads so much and no more. One goroutine reads.
type bounded struct {
	net.Conn
	left int
}

var errSaid = errors.New("the server says too much") //nolint:gochecknoglobals // a sentinel

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errSaid
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// kind is what went wrong, in a word that is not the server's.
func kind(err error) string {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var out *net.OpError
	switch {
	case asError(err, &unknown), asError(err, &name):
		return "its certificate does not count"
	case asError(err, &out):
		return "the connection failed"
	}
	return "it said no"
}

func local(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}
