package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"embed"
	"errors"
	"io"
	"io/fs"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"rutile/internal/access"
)

//go:embed migrations/postgres/*.sql
var postgresMigrations embed.FS

// migrationLock is the key of the advisory lock under which the schema changes.
const migrationLock = 0x727574696c65 // "rutile"

// Limits of a connection, unless the address says otherwise.
const (
	connectTimeout   = 10 * time.Second
	statementTimeout = "30s"
	lockTimeout      = "10s"
	idleTimeout      = "60s" // of a transaction
)

// openPostgres opens the database at dsn. The caller closes s on error.
func (s *Store) openPostgres(ctx context.Context, dsn string) error {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		// What the parser says may quote the password.
		return access.Errorf(access.CodeInvalid, "store: the address cannot be read: write postgres://USER@HOST:PORT/DATABASE, with special characters percent-encoded")
	}
	if s.dialect, err = postgresDialect(cfg); err != nil {
		return err
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = connectTimeout
	}
	for name, value := range map[string]string{
		"application_name": "rutile", "statement_timeout": statementTimeout, "lock_timeout": lockTimeout,
		"idle_in_transaction_session_timeout": idleTimeout,
	} {
		if _, set := cfg.RuntimeParams[name]; !set {
			cfg.RuntimeParams[name] = value
		}
	}
	breakSilence(cfg)
	s.writer = stdlib.OpenDB(*cfg, sound()...)
	s.writer.SetMaxOpenConns(16)
	s.writer.SetMaxIdleConns(8)
	s.writer.SetConnMaxIdleTime(5 * time.Minute)
	s.writer.SetConnMaxLifetime(30 * time.Minute) // so that a failover is noticed in the end
	s.reader = s.writer
	return s.settings(ctx)
}

// settings checks that the server keeps what it is given.
func (s *Store) settings(ctx context.Context) error {
	var encoding, fsync, commit string
	const query = `SELECT current_setting('server_encoding'), current_setting('fsync'), current_setting('synchronous_commit')`
	if _, err := s.one(ctx, "opening the store", query, nil, []any{&encoding, &fsync, &commit}); err != nil {
		return err
	}
	if encoding != "UTF8" {
		return access.Errorf(access.CodeInvalid, "%s has the encoding %s: create it with ENCODING 'UTF8'", s.dialect.place, encoding)
	}
	if fsync != "on" || commit == "off" {
		s.log.Warn("the database may lose what was committed when its machine fails", "fsync", fsync, "synchronous_commit", commit)
	}
	return nil
}

// addressOf is where the server is: host and port, or the directory of its socket.
func addressOf(cfg *pgx.ConnConfig) string {
	if strings.HasPrefix(cfg.Host, "/") {
		return cfg.Host
	}
	return net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port)))
}

func postgresDialect(cfg *pgx.ConnConfig) (dialect, error) {
	migrations, err := fs.Sub(postgresMigrations, "migrations/postgres")
	if err != nil {
		return dialect{}, err
	}
	// A node that starts waits for the one that migrates.
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockID(migrationLock), lock.WithLockTimeout(1, 300))
	if err != nil {
		return dialect{}, err
	}
	return dialect{
		name:       "postgres",
		place:      "PostgreSQL at " + addressOf(cfg),
		migrations: migrations,
		migrate:    migrator{dialect: goose.DialectPostgres, locker: locker},
		snapshot:   &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true},
		classify:   classifyPostgres,
		contains:   `SELECT name FROM evidence_texts WHERE array_to_tsvector(string_to_array(words, ' ')) @@ CAST(CAST(%s AS text) AS tsquery)`,
		fewTexts:   fewTexts,
		looks:      looks,
		textKey:    `name`,
		holds:      `strpos(' ' || t.words || ' ', %s) > 0`,
		allWords:   func(words []string) string { return "'" + strings.Join(words, "' & '") + "'" },
		batches:    []int{64, 8, 1},
		scrub:      `VACUUM evidence_keys`,
		unsynced:   `SET synchronous_commit = off`, // nothing is torn by it
		synced:     `RESET synchronous_commit`,
		clock:      `CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)`,
		turn:       `SELECT pg_advisory_xact_lock(hashtextextended($1, 0))`,
		mark:       func(n int) string { return "$" + strconv.Itoa(n) },
	}, nil
}

func classifyPostgres(err error) (fault, string) {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return classifyState(e.Code), e.Code
	}
	var connect *pgconn.ConnectError
	var network net.Error
	switch {
	case errors.As(err, &network) && network.Timeout():
		return faultSlow, "silence"
	case errors.As(err, &connect), errors.As(err, &network), errors.Is(err, driver.ErrBadConn),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), pgconn.SafeToRetry(err), closed(err):
		return faultLost, "connection"
	}
	return faultUnknown, "unknown"
}

// classifyState goes by SQLSTATE (PostgreSQL documentation, appendix A).
func classifyState(code string) fault {
	switch code {
	case "40001", "40P01":
		return faultStale
	case "55P03":
		return faultLocked
	case "57014":
		return faultSlow
	case "25006":
		return faultReadOnly
	case "23503":
		return faultRelation
	case "54000":
		return faultTooLarge
	case "3D000":
		return faultRefused
	case "57P01", "57P02", "57P03":
		return faultLost
	}
	switch code[:min(2, len(code))] {
	case "08":
		return faultLost
	case "28":
		return faultRefused
	case "53":
		if code == "53100" {
			return faultFull
		}
		return faultLost
	case "58":
		return faultIO
	case "XX":
		return faultDamaged
	default:
		return faultUnknown
	}
}
