package daemon

import (
	"context"

	"rutile/internal/store"
)

// ForeignRows reads a column of a SQLite file of another program, for discovery:
// only the store knows SQL.
func ForeignRows(ctx context.Context, file, table, column string, limit int) ([]string, error) {
	return store.ForeignRows(ctx, file, table, column, limit)
}
