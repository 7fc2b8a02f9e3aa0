package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// ForeignRows returns the first limit values of a column of a table in a SQLite
// file of another program. Nothing is written, beside the file neither: only where
// the program has the file open are its latest changes read too. A view is no table: whoever made the file may have written one that never
// ends.
func ForeignRows(ctx context.Context, file, table, column string, limit int) ([]string, error) {
	if !foreignName.MatchString(table) || !foreignName.MatchString(column) {
		return nil, errors.New("names of tables and columns are words")
	}
	how := "immutable=1&mode=ro"
	if there(file+"-wal") && there(file+"-shm") {
		how = "mode=ro" // SQLite would make the two if they were not there
	}
	out, err := foreignRows(ctx, file, how, table, column, limit)
	if err != nil {
		return nil, errors.New("it is not read as SQLite") // what SQLite says may quote the file
	}
	return out, nil
}

func there(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

var foreignName = regexp.MustCompile(`^[a-z_]{1,64}$`)

func foreignRows(ctx context.Context, file, how, table, column string, limit int) ([]string, error) {
	p := filepath.ToSlash(file)
	if !strings.HasPrefix(p, "/") {
		p = "/" + p // a drive letter
	}
	q := how + "&_query_only=on&_defensive=1&_dqs=0&_pragma=trusted_schema(0)&_pragma=cell_size_check(1)&_busy_timeout=200"
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", OmitHost: true, Path: p, RawQuery: q}).String())
	if err != nil {
		return nil, err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	var tables int
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?`, table).Scan(&tables); err != nil || tables != 1 {
		return nil, fmt.Errorf("no table: %w", err)
	}
	rows, err := db.QueryContext(ctx, fmt.Sprintf(`SELECT CAST(%q AS TEXT) FROM %q WHERE length(%q) <= 1048576 LIMIT ?`, column, table, column), limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, rows.Err()
}
