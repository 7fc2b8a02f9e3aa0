package store

import (
	"context"
	"fmt"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"rutile/internal/access"
)

// schemaTable holds the schema version. It has our name because a PostgreSQL
// database may have other tenants.
const schemaTable = "rutile_schema"

// migrator is how a dialect is migrated.
type migrator struct {
	dialect goose.Dialect
	locker  lock.SessionLocker // nil where the daemon's lock keeps others out
}

// migrate brings the schema up to date, each migration in a transaction. A
// schema newer than this version knows is refused: nobody can say what it means.
func (s *Store) migrate(ctx context.Context) error {
	const doing = "preparing the store"
	p, err := s.provider()
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	have, know, err := p.GetVersions(ctx)
	if err != nil {
		return s.fault(ctx, doing, err)
	}
	if have > know {
		return access.Errorf(access.CodeConflict,
			"%s has schema version %d and this Rutile knows versions up to %d: a newer Rutile has used it; run that version again, or restore a backup made before the upgrade",
			s.dialect.place, have, know)
	}
	done, err := p.Up(ctx)
	if err != nil {
		return s.fault(ctx, doing, err)
	}
	for _, m := range done {
		s.log.Info("store migrated", "version", m.Source.Version, "took", m.Duration)
	}
	return nil
}

func (s *Store) provider() (*goose.Provider, error) {
	opts := []goose.ProviderOption{
		goose.WithDisableGlobalRegistry(true), goose.WithTableName(schemaTable), goose.WithLogger(goose.NopLogger()),
	}
	if s.dialect.migrate.locker != nil {
		opts = append(opts, goose.WithSessionLocker(s.dialect.migrate.locker))
	}
	return goose.NewProvider(s.dialect.migrate.dialect, s.writer, s.dialect.migrations, opts...)
}
