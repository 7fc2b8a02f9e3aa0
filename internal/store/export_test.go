package store

import (
	"context"
	"database/sql"
	"time"

	"rutile/internal/audit"
)

// Writer gives tests the database itself, to do what only an accident or an
// attacker does.
func (s *Store) Writer() *sql.DB { return s.writer }

// OpenAt opens a database and brings it to an earlier schema version only.
func OpenAt(ctx context.Context, cfg Config, version int64) (*Store, error) {
	s, err := open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	p, err := s.provider()
	if err != nil {
		return nil, err
	}
	_, err = p.UpTo(ctx, version)
	return s, err
}

// SchemaVersion returns the newest version this Rutile knows.
func (s *Store) SchemaVersion(ctx context.Context) (int64, error) {
	p, err := s.provider()
	if err != nil {
		return 0, err
	}
	_, know, err := p.GetVersions(ctx)
	return know, err
}

// StatementLimit reads statement_timeout.
func StatementLimit(s string) (time.Duration, bool) { return statementLimit(s) }

// AppendDoc is what a row is kept as.
func AppendDoc(b []byte, r *audit.Row) ([]byte, error) { return appendDoc(b, r) }

// FewTexts sets of how many texts at most a search by words seeks the rows.
func (s *Store) FewTexts(n int) { s.dialect.fewTexts = n }

// Looks sets how many rows at most are looked at for a part of a search.
func (s *Store) Looks(n int64) { s.dialect.looks = n }

// Sampled is how many texts are looked into before their index is asked, where that is
// done at all.
func (s *Store) Sampled(n int64) {
	if s.dialect.sampled > 0 {
		s.dialect.sampled = n
	}
}
