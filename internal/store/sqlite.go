package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"rutile/internal/access"
)

//go:embed migrations/sqlite/*.sql
var sqliteMigrations embed.FS

const (
	sqliteFile = "rutile.db"
	// busyTimeout is how long a statement waits for another process.
	busyTimeout = 5 * time.Second
)

// openSQLite opens the file at path, or the usual one in dir if path is empty.
// The caller closes s on error.
func (s *Store) openSQLite(ctx context.Context, dir, path string) error {
	if path == "" {
		path = filepath.Join(dir, sqliteFile)
	}
	path, err := sqliteFileAt(path)
	if err != nil {
		return err
	}
	s.dialect = sqliteDialect(path)
	lock, err := lockDaemon(path)
	if err != nil {
		return err
	}
	s.lock = lock
	if s.writer, err = sqliteOpen(path, "immediate", false); err != nil {
		return s.fault(ctx, "opening the store", err)
	}
	s.writer.SetMaxOpenConns(1)
	s.writer.SetConnMaxLifetime(0)
	// The writer's first connection switches to WAL before a reader comes.
	if err := s.writer.PingContext(ctx); err != nil {
		return s.fault(ctx, "opening the store", err)
	}
	if s.reader, err = sqliteOpen(path, "deferred", true); err != nil {
		return s.fault(ctx, "opening the store", err)
	}
	n := max(4, runtime.GOMAXPROCS(0))
	s.reader.SetMaxOpenConns(n)
	s.reader.SetMaxIdleConns(n)
	return s.ownsSQLite(ctx)
}

// sqliteFileAt makes the file and its directory, readable by nobody else, and
// returns its one absolute path, so that one file has one lock.
func sqliteFileAt(path string) (string, error) {
	unusable := func(err error) error {
		var p *fs.PathError
		if errors.As(err, &p) {
			err = p.Err
		}
		return access.Errorf(access.CodeUnavailable, "the database file %s cannot be used: %w; check its path and permissions", path, err)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", unusable(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", unusable(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", unusable(err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return "", unusable(err)
	}
	if !fi.Mode().IsRegular() {
		return "", unusable(errors.New("not a regular file"))
	}
	if fi.Mode().Perm()&0o077 != 0 {
		if err := f.Chmod(0o600); err != nil {
			return "", unusable(err)
		}
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return "", unusable(err)
	}
	return path, nil
}

func sqliteOpen(path, begin string, readOnly bool) (*sql.DB, error) {
	q := url.Values{
		"_txlock":       {begin},
		"_busy_timeout": {strconv.FormatInt(busyTimeout.Milliseconds(), 10)},
		"_foreign_keys": {"on"},
		"_journal_mode": {"WAL"},
		"_synchronous":  {"FULL"},
		"_defensive":    {"1"},
		"_dqs":          {"0"},
		"_pragma":       {"trusted_schema(0)"},
	}
	if readOnly {
		q.Set("_query_only", "on")
	} else {
		q.Add("_pragma", "cache_size(-32768)") // kibibytes: the search index touches many pages
		q.Add("_pragma", "wal_autocheckpoint(4000)")
		q.Add("_pragma", "temp_store(2)") // journals of statements stay in memory
	}
	if p := filepath.ToSlash(path); strings.HasPrefix(p, "/") {
		path = p
	} else {
		path = "/" + p // a drive letter
	}
	return sql.Open("sqlite", (&url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: q.Encode()}).String())
}

// ownsSQLite refuses a database file that belongs to something else.
func (s *Store) ownsSQLite(ctx context.Context) error {
	var ours, tables int
	const query = `SELECT count(*) FILTER (WHERE name = $1), count(*) FROM sqlite_master WHERE type = 'table'`
	if _, err := s.one(ctx, "opening the store", query, []any{schemaTable}, []any{&ours, &tables}); err != nil {
		return err
	}
	if ours == 0 && tables > 0 {
		return access.Errorf(access.CodeConflict, "%s belongs to another program: give the store a path of its own", s.dialect.place)
	}
	return nil
}

func sqliteDialect(path string) dialect {
	migrations, err := fs.Sub(sqliteMigrations, "migrations/sqlite")
	if err != nil {
		migrations = sqliteMigrations // cannot happen: the path is a constant
	}
	return dialect{
		name:       "sqlite",
		place:      "the database file " + path,
		migrations: migrations,
		migrate:    migrator{dialect: goose.DialectSQLite3},
		snapshot:   &sql.TxOptions{ReadOnly: true},
		classify:   classifySQLite,
		contains:   `SELECT rowid FROM evidence_words WHERE evidence_words MATCH %s`,
		fewTexts:   fewTexts,
		textKey:    `id`,
		holds:      `instr(' ' || t.words || ' ', %s) > 0`,
		allWords:   func(words []string) string { return `"` + strings.Join(words, `" "`) + `"` },
		batches:    []int{256, 32, 4, 1},
		scrub:      `PRAGMA wal_checkpoint(TRUNCATE)`,
		unsynced:   `PRAGMA synchronous = NORMAL`, // in WAL mode nothing is torn by it
		synced:     `PRAGMA synchronous = FULL`,
		clock:      `CAST(unixepoch('subsec') * 1000000 AS INTEGER)`,
		mark:       func(int) string { return "?" }, // a numbered one is looked up by name
	}
}

func classifySQLite(err error) (fault, string) {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		if closed(err) {
			return faultLost, "closed"
		}
		return faultUnknown, "unknown"
	}
	id := strconv.Itoa(e.Code())
	if e.Code() == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY {
		return faultRelation, id
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL:
		return faultLocked, id
	case sqlite3.SQLITE_FULL:
		return faultFull, id
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
		return faultReadOnly, id
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN:
		return faultIO, id
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return faultDamaged, id
	case sqlite3.SQLITE_TOOBIG:
		return faultTooLarge, id
	default:
		return faultUnknown, id
	}
}

// daemonLock is the lock that keeps a second daemon off a database file. The
// file stays when it is given back: removing it would let two hold it.
type daemonLock struct{ f *os.File }

func lockDaemon(database string) (*daemonLock, error) {
	name := database + ".lock"
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, access.Errorf(access.CodeUnavailable, "the lock file %s cannot be used: check its permissions", name)
	}
	held, err := tryLock(f)
	switch {
	case err != nil:
		f.Close()
		return nil, access.Errorf(access.CodeUnavailable, "the lock file %s cannot be locked: put the data directory on a local disk", name)
	case held:
		who := "another process"
		b := make([]byte, 20)
		n, _ := f.ReadAt(b, 0)
		if pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n]))); err == nil {
			who = fmt.Sprintf("process %d", pid)
		}
		f.Close()
		return nil, access.Errorf(access.CodeConflict, "%s already uses this data directory (lock file %s): stop it first, or use another directory", who, name)
	}
	// The number is for people; the lock is what counts.
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return &daemonLock{f}, nil
}

// Close gives the lock back.
func (l *daemonLock) Close() error { return unlock(l.f) }
