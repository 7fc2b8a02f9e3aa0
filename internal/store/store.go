// Package store persists every domain type in SQLite or PostgreSQL: one query
// set, two dialects.
//
// What a method returned without error is durable, and what a method changes it
// changes whole or not at all. Times come back in UTC with microseconds. Bytes
// come back as they were given; text that is not UTF-8 or holds NUL is refused
// with access.CodeInvalid on both dialects, except in the search index, where
// the document keeps it and only the searchable form differs. An error MUST NOT
// hold SQL or stored values: what the user can mend is an access.Error that
// names the next step. The package judges nothing it keeps: a row in a state
// nobody knows is handed on as it is, and logged, for its noun to deny.
package store

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/audit"
	"rutile/internal/credential"
	"rutile/internal/discovery/inventory"
	"rutile/internal/identity"
	"rutile/internal/registry"
)

// The interfaces the store implements.
var (
	_ registry.Store   = (*Store)(nil)
	_ identity.Store   = (*Store)(nil)
	_ credential.Store = (*Store)(nil)
	_ audit.KeyStore   = (*Store)(nil)
	_ audit.Index      = (*Store)(nil)
	_ audit.Heads      = (*Store)(nil)
	_ admin.Store      = (*Store)(nil)
	_ inventory.Store  = (*Store)(nil)
)

// Config configures a Store. The zero value is SQLite in the working directory.
type Config struct {
	// DSN is "sqlite" (a file in Dir), "sqlite:PATH" or a postgres:// address.
	DSN string
	// Dir is the data directory.
	Dir string
	// Log takes what an operator should know; default: nowhere.
	Log *slog.Logger
	// Now is the clock by which rows nobody needs any more are removed; time.Now.
	Now func() time.Time
}

// Store is an open database. It is safe for concurrent use.
type Store struct {
	log     *slog.Logger
	now     func() time.Time
	dialect dialect
	writer  *sql.DB // SQLite: one connection
	reader  *sql.DB
	lock    io.Closer // nil on PostgreSQL

	closeOnce sync.Once
	closeErr  error

	preparing sync.Mutex
	prepared  map[inserting]*sql.Stmt

	indexing sync.Mutex // one writes the search index at a time
	shared   shared

	sweeping sync.Mutex
	swept    time.Time
}

// dialect is what differs between the databases.
type dialect struct {
	name       string
	place      string // how messages call the database
	migrations fs.FS
	migrate    migrator
	snapshot   *sql.TxOptions // one consistent read
	classify   func(error) (fault, string)
	contains   string // the keys of the texts that hold the words of the parameter %s
	fewTexts   int    // so many texts at most that hold the words of a search are sought one by one
	looks      int64  // so many rows at most are looked at for a part of a search
	textKey    string // what it calls them
	holds      string // condition: the text t holds the word of the parameter %s, which has spaces around it
	allWords   func([]string) string
	// batches are how many rows one statement inserts, descending to 1: many where
	// each statement is a journey, few where each parameter costs. A few fixed
	// sizes keep the number of statements to prepare small.
	batches []int
	// unsynced and synced are what a connection is told so that its commits do
	// not wait for the disk, and so that they do again.
	unsynced, synced string
	scrub            string             // overwrites what the file still holds of what was deleted
	clock            string             // the present by the database's clock, in microseconds
	turn             string             // makes transactions of one key, $1, wait for each other until they end; "" where all do
	mark             func(n int) string // the placeholder of parameter n, for long lists
}

// Open opens the database, taking its lock and bringing its schema up to date.
// A second daemon on one SQLite file is an access.CodeConflict error, and so is
// a database a newer version has used.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	s, err := open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := s.migrate(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// open opens the database as it is.
func open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Store{log: cfg.Log, now: cfg.Now}
	var err error
	switch scheme, path, _ := strings.Cut(cfg.DSN, ":"); scheme {
	case "", "sqlite":
		err = s.openSQLite(ctx, cfg.Dir, path)
	case "postgres", "postgresql":
		err = s.openPostgres(ctx, cfg.DSN)
	default:
		// The address may hold a password, so it is not repeated.
		return nil, access.Errorf(access.CodeInvalid, "store: must be sqlite, sqlite:PATH or a postgres:// address")
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close closes the database and gives its lock back. It waits for transactions
// under way. Closing again does nothing.
func (s *Store) Close() error {
	s.closeOnce.Do(func() { s.closeErr = s.close() })
	return s.closeErr
}

func (s *Store) close() error {
	var errs []error
	s.preparing.Lock()
	errs = append(errs, closeAll(s.prepared))
	s.preparing.Unlock()
	if s.reader != nil {
		errs = append(errs, s.reader.Close())
	}
	if s.writer != nil && s.writer != s.reader {
		errs = append(errs, s.writer.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}

// Dialect returns "sqlite" or "postgres".
func (s *Store) Dialect() string { return s.dialect.name }

// Ping says whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	_, err := s.Generation(ctx)
	return err
}

// tuples returns placeholders for n rows of the given width: "($1, $2), ($3, $4)".
func (d *dialect) tuples(n, width int) string {
	var b strings.Builder
	for i := range n * width {
		switch {
		case i == 0:
			b.WriteString("(")
		case i%width == 0:
			b.WriteString("), (")
		default:
			b.WriteString(", ")
		}
		b.WriteString(d.mark(i + 1))
	}
	b.WriteString(")")
	return b.String()
}
