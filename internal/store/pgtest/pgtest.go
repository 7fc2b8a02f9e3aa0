// Package pgtest runs a private PostgreSQL for tests.
//
// A Cluster is started at first use from the server's own programs, in a
// temporary directory, reachable through a unix socket only and owned by an
// unprivileged user where the tests run as root. It ends with the tests, however
// they end. Where no server can be had the test is skipped with the reason; with
// CI=true it fails instead.
package pgtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

// EnvDSN names a PostgreSQL to use instead of a private one: a postgres://
// address whose user may create schemas.
const EnvDSN = "RUTILE_TEST_POSTGRES_DSN"

// Cluster is a PostgreSQL that tests share. The zero value is ready to use.
type Cluster struct {
	Private bool // never use EnvDSN's: the server is to be halted

	once, filled sync.Once
	dsn          string
	err, fillErr error

	bin, dir string
	as       *user.User // who runs the server; nil: whoever runs the tests
	server   *exec.Cmd
	alive    io.Closer // closing it ends the server
	log      *bytes.Buffer
}

// DSN returns the address of a new, empty schema, which goes away with tb.
func (c *Cluster) DSN(tb testing.TB) string {
	tb.Helper()
	c.ready(tb)
	schema := "t_" + strings.ToLower(rand.Text())
	c.exec(tb, "CREATE SCHEMA "+schema)
	tb.Cleanup(func() { c.exec(tb, "DROP SCHEMA "+schema+" CASCADE") })
	u, err := url.Parse(c.dsn)
	if err != nil {
		tb.Fatalf("%s is not an address: %v", EnvDSN, err)
	}
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	return u.String()
}

// Copy returns the address of a copy of the database fill has filled, which goes
// away with tb. A cluster has one such database: it is filled on the first call.
// On EnvDSN's server, whose user may create schemas only, it is a new, empty one.
func (c *Cluster) Copy(tb testing.TB, fill func(dsn string) error) string {
	tb.Helper()
	c.ready(tb)
	if c.server == nil {
		return c.DSN(tb)
	}
	const filled = "filled"
	c.filled.Do(func() {
		c.exec(tb, "CREATE DATABASE "+filled)
		c.fillErr = fill(c.database(filled))
	})
	if c.fillErr != nil {
		tb.Fatalf("filling the database that is copied: %v", c.fillErr)
	}
	name := "t_" + strings.ToLower(rand.Text())
	c.exec(tb, "CREATE DATABASE "+name+" TEMPLATE "+filled)
	tb.Cleanup(func() { c.exec(tb, "DROP DATABASE "+name+" WITH (FORCE)") })
	return c.database(name)
}

// ready starts the server on the first call, or ends the test.
func (c *Cluster) ready(tb testing.TB) {
	tb.Helper()
	c.once.Do(c.start)
	if c.err != nil {
		if os.Getenv("CI") == "true" {
			tb.Fatalf("PostgreSQL cannot be had: %v", c.err)
		}
		tb.Skipf("PostgreSQL cannot be had: %v; install postgresql, or set %s", c.err, EnvDSN)
	}
}

// database is the address of a database of the private server.
func (c *Cluster) database(name string) string {
	return (&url.URL{Scheme: "postgres", User: url.User("test"), Path: "/" + name, RawQuery: url.Values{"host": {c.dir}}.Encode()}).String()
}

// Stop ends a private server and removes its files.
func (c *Cluster) Stop() error {
	if c.server == nil {
		return nil
	}
	err := c.end()
	return errors.Join(err, os.RemoveAll(c.dir))
}

// Halt ends the private server, cutting every connection; Resume starts it again.
func (c *Cluster) Halt(tb testing.TB) {
	tb.Helper()
	if err := c.end(); err != nil {
		tb.Fatalf("halting PostgreSQL: %v", err)
	}
}

// Resume starts the private server again after Halt.
func (c *Cluster) Resume(tb testing.TB) {
	tb.Helper()
	if err := c.serve(); err != nil {
		tb.Fatalf("resuming PostgreSQL: %v", err)
	}
}

func (c *Cluster) exec(tb testing.TB, query string) {
	tb.Helper()
	db, err := sql.Open("pgx", c.dsn)
	if err != nil {
		tb.Fatalf("opening PostgreSQL: %v", err)
	}
	defer db.Close()
	if _, err := db.ExecContext(context.Background(), query); err != nil {
		tb.Fatalf("preparing PostgreSQL: %v", err)
	}
}

func (c *Cluster) start() {
	if dsn := os.Getenv(EnvDSN); dsn != "" && !c.Private {
		c.dsn = dsn
		return
	}
	if c.err = c.create(); c.err == nil {
		c.err = c.serve()
	}
	if c.err != nil && c.dir != "" {
		c.err = errors.Join(c.err, os.RemoveAll(c.dir))
	}
}

// create makes the files of a cluster.
func (c *Cluster) create() (err error) {
	if c.bin, err = programs(); err != nil {
		return err
	}
	if c.as, err = unprivileged(); err != nil {
		return err
	}
	if c.dir, err = os.MkdirTemp("", "pg"); err != nil { // short: a socket's path is bounded
		return err
	}
	if c.as != nil {
		uid, _ := strconv.Atoi(c.as.Uid) // numbers where there is root
		gid, _ := strconv.Atoi(c.as.Gid)
		if err := os.Chown(c.dir, uid, gid); err != nil {
			return err
		}
	}
	out, err := c.command("initdb", "-D", filepath.Join(c.dir, "data"), "-U", "test", "-A", "trust", "-E", "UTF8", "--locale=C", "-N").CombinedOutput()
	if err != nil {
		return fmt.Errorf("initdb: %w: %s", err, lastLine(out))
	}
	c.dsn = c.database("postgres")
	return nil
}

// serve starts the server under a shell that ends it when our end of a pipe
// closes: also when the tests are killed.
func (c *Cluster) serve() error {
	const watch = `"$0" "$@" </dev/null & p=$!; read -r _; kill -INT $p; wait $p`
	postgres := c.command("postgres", "-D", filepath.Join(c.dir, "data"), "-k", c.dir, "-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=200")
	sh, err := exec.LookPath("sh")
	if err != nil {
		return err
	}
	c.server = &exec.Cmd{Path: sh, Args: append([]string{"sh", "-c", watch, postgres.Path}, postgres.Args[1:]...), Dir: postgres.Dir, SysProcAttr: postgres.SysProcAttr}
	c.log = &bytes.Buffer{}
	c.server.Stdout, c.server.Stderr = c.log, c.log
	if c.alive, err = c.server.StdinPipe(); err != nil {
		return err
	}
	if err := c.server.Start(); err != nil {
		c.server = nil
		return err
	}
	db, err := sql.Open("pgx", c.dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	for range 300 {
		if err = db.Ping(); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	_ = c.end() // waits for the log to be complete
	return fmt.Errorf("postgres does not answer: %w: %s", err, lastLine(c.log.Bytes()))
}

func (c *Cluster) end() error {
	if c.alive == nil {
		return nil // halted
	}
	if err := c.alive.Close(); err != nil {
		return err
	}
	c.alive = nil
	var exit *exec.ExitError
	if err := c.server.Wait(); err != nil && !errors.As(err, &exit) {
		return err
	}
	return nil
}

// programs returns the directory of the newest installed server.
func programs() (string, error) {
	if p, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(p), nil
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", errors.New("there is no initdb")
	}
	version := func(p string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(p)))) // 0 sorts first
		return n
	}
	slices.SortFunc(found, func(a, b string) int { return version(a) - version(b) })
	return filepath.Dir(found[len(found)-1]), nil
}

// unprivileged returns who is to run the server: it refuses root.
func unprivileged() (*user.User, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			return u, nil
		}
	}
	return nil, errors.New("the tests run as root, and there is no user postgres or nobody to run the server")
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}
