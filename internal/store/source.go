package store

import (
	"context"
	"database/sql"
	"fmt"

	"rutile/internal/credential"
)

// LoadSources returns the declared credentials sorted by id.
func (s *Store) LoadSources(ctx context.Context) ([]credential.Source, error) {
	var out []credential.Source
	err := s.read(ctx, "loading the declared credentials", func(tx *sql.Tx) error {
		out = nil
		return each(ctx, tx, func(r *sql.Rows) error {
			var id, doc string
			if err := r.Scan(&id, &doc); err != nil {
				return err
			}
			var v credential.Source
			if err := decode("credential_sources", id, doc, &v); err != nil {
				return err
			}
			v.ID = id
			out = append(out, v)
			return nil
		}, `SELECT id, doc FROM credential_sources ORDER BY id`)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func sourceRow(id string, v credential.Source) ([]any, error) {
	if err := named("credential", id, v.ID); err != nil {
		return nil, err
	}
	v.Created, v.Changed = exact(v.Created), exact(v.Changed)
	doc, err := encode(fmt.Sprintf("credential %q", id), v)
	return []any{id, doc}, err
}
