package sink

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"rutile/internal/access"
)

// settled is how long a connection must outlive what was written on it before that
// counts as taken. Syslog has no receipts: what the receiver's machine took and its
// program lost is not seen.
const settled = 500 * time.Millisecond

// syslogReceiver writes RFC 5424 messages with octet counting over TLS (RFC 5425)
// or, on loopback, TCP (RFC 6587, 3.4.1).
type syslogReceiver struct {
	sink Sink
	cfg  *Config
	conn net.Conn
	gone chan struct{} // closed when the other side ends conn
}

func (s *syslogReceiver) close() {
	if s.conn != nil {
		_ = s.conn.Close()
		s.conn = nil
	}
}

func (s *syslogReceiver) take(ctx context.Context, b batch) error {
	if err := s.connect(ctx); err != nil {
		return err
	}
	err := s.write(ctx, b)
	if err == nil {
		select {
		case <-s.gone:
			err = access.Errorf(access.CodeUnavailable, "the receiver closed the connection")
		case <-ctx.Done():
			err = ctx.Err()
		case <-time.After(settled):
		}
	}
	if err != nil {
		s.close()
	}
	return err
}

func (s *syslogReceiver) connect(ctx context.Context) error {
	if s.conn != nil {
		select {
		case <-s.gone:
			s.close()
		default:
			return nil
		}
	}
	u, err := url.Parse(s.sink.URL)
	if err != nil {
		return access.Errorf(access.CodeInvalid, "the address cannot be read")
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	conn, err := s.cfg.Dial(ctx, "tcp", u.Host)
	if err != nil {
		return access.Errorf(access.CodeUnavailable, "the address cannot be reached, or is none that may be (see egress.allow in the configuration)")
	}
	if u.Scheme == "syslog+tls" {
		t := tls.Client(conn, &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Hostname()})
		if err := t.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return access.Errorf(access.CodeUnavailable, "the receiver's certificate is not trusted, or it does not speak TLS")
		}
		conn = t
	}
	gone := make(chan struct{})
	s.conn, s.gone = conn, gone
	go func() { // a receiver says nothing: whatever comes ends it
		defer close(gone)
		var one [1]byte
		_, _ = conn.Read(one[:])
	}()
	return nil
}

// write writes every line as one message. A receiver that reads nothing does not hold
// up who stops.
func (s *syslogReceiver) write(ctx context.Context, b batch) error {
	const auditFacility, informational = 13, 6
	var out []byte
	for _, line := range b.lines {
		head := fmt.Sprintf("<%d>1 %s %s rutile - %s - ", auditFacility*8+informational, s.cfg.Now().UTC().Format("2006-01-02T15:04:05.000000Z"), hostname(s.cfg.Host), s.sink.Form)
		out = strconv.AppendInt(out, int64(len(head)+len(line)), 10)
		out = append(append(append(out, ' '), head...), line...)
	}
	conn := s.conn
	_ = conn.SetWriteDeadline(time.Now().Add(attemptTime))
	defer context.AfterFunc(ctx, func() { _ = conn.SetWriteDeadline(time.Unix(1, 0)) })()
	if _, err := s.conn.Write(out); err != nil {
		return access.Errorf(access.CodeUnavailable, "the connection broke while writing")
	}
	return nil
}

// hostname is HOSTNAME of RFC 5424: printable ASCII, 255 at most, "-" for none.
func hostname(name string) string {
	name = strings.Map(func(c rune) rune {
		if c <= ' ' || c > '~' {
			return -1
		}
		return c
	}, name)
	if name == "" {
		return "-"
	}
	return name[:min(len(name), 255)]
}
