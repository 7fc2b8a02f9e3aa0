package store

import (
	"context"
	"database/sql/driver"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// silence is what a server may take beyond its own time limit before it is
// given up: it enforces that limit only while it runs and can be reached.
const silence = 5 * time.Second

// breakSilence makes connections of cfg end when the server is silent for longer
// than a statement may take. Without it a server that is frozen, or behind a
// network that drops everything, would hold its callers for ever.
func breakSilence(cfg *pgx.ConnConfig) {
	limit, ok := statementLimit(cfg.RuntimeParams["statement_timeout"])
	if !ok {
		return
	}
	dial := cfg.DialFunc
	cfg.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &attended{Conn: c, limit: limit + silence}, nil
	}
}

// pingTimeout is what a server may take to show that an idle connection lives.
const pingTimeout = 5 * time.Second

// sound makes database/sql drop idle connections that are dead or silent, with a
// limit of its own: the driver's ping would wait as long as for a statement.
func sound() []stdlib.OptionOpenDB {
	ping := func(ctx context.Context, p stdlib.ShouldPingParams) bool {
		if p.IdleDuration > time.Second {
			ctx, cancel := context.WithTimeout(ctx, pingTimeout)
			defer cancel()
			_ = p.Conn.PgConn().Ping(ctx) // one that fails closes the connection
		}
		return false
	}
	drop := func(_ context.Context, c *pgx.Conn) error {
		if c.IsClosed() {
			return driver.ErrBadConn
		}
		return nil
	}
	return []stdlib.OptionOpenDB{stdlib.OptionShouldPing(ping), stdlib.OptionResetSession(drop)}
}

// statementLimit reads PostgreSQL's statement_timeout; ok is false if there is
// no limit, or it is written in a way only the server understands.
func statementLimit(s string) (d time.Duration, ok bool) {
	if s = strings.ReplaceAll(strings.TrimSpace(s), "min", "m"); s != "" && strings.Trim(s, "0123456789") == "" {
		s += "ms"
	}
	d, err := time.ParseDuration(strings.ReplaceAll(s, " ", ""))
	return d, err == nil && d > 0
}

// attended is a connection each read and write of which ends after limit at the
// latest, and earlier where the driver asks for it.
type attended struct {
	net.Conn
	limit time.Duration

	mu          sync.Mutex
	read, write time.Time // the driver's deadlines
}

func (c *attended) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read, c.write = t, t
	return c.Conn.SetDeadline(t)
}

func (c *attended) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read = t
	return c.Conn.SetReadDeadline(t)
}

func (c *attended) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.write = t
	return c.Conn.SetWriteDeadline(t)
}

func (c *attended) Read(b []byte) (int, error) {
	if err := c.bound(&c.read, c.Conn.SetReadDeadline); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

func (c *attended) Write(b []byte) (int, error) {
	if err := c.bound(&c.write, c.Conn.SetWriteDeadline); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// bound sets the earlier of the driver's deadline and ours. The driver may set
// its own at any time, also to end a read under way; that one then stands.
func (c *attended) bound(asked *time.Time, set func(time.Time) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := time.Now().Add(c.limit)
	if !asked.IsZero() && asked.Before(t) {
		t = *asked
	}
	return set(t)
}
