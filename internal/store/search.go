package store

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
)

// Bounds of a query.
const (
	defaultLimit = 100
	maxLimit     = 1000
	maxTypes     = 32
	maxQuery     = 32 // words
	maxArms      = 64 // lists whose rows are read one beside the other
)

// Search returns the rows q selects, newest first unless q is ascending. Since
// is included, Until is not. Text selects the rows that hold all of its words;
// it has no syntax. A text without any word is an access.CodeInvalid error.
func (s *Store) Search(ctx context.Context, q audit.Query) ([]audit.Row, error) {
	search, err := s.searchSQL(q)
	if err != nil {
		return nil, err
	}
	var out []audit.Row
	err = s.read(ctx, "searching the evidence", func(tx *sql.Tx) error {
		found, err := search.statement(ctx, tx)
		if err != nil {
			return err
		}
		out, err = found.rows(ctx, tx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// rows are those that are read.
func (s *reading) rows(ctx context.Context, tx *sql.Tx) (out []audit.Row, err error) {
	if s.query == "" {
		return nil, nil
	}
	err = each(ctx, tx, func(r *sql.Rows) error {
		var idx int64
		var origin, doc string
		if err := r.Scan(&idx, &origin, &doc); err != nil {
			return err
		}
		var row audit.Row
		if err := decode("evidence", strconv.FormatInt(idx, 10), doc, &row); err != nil {
			return err
		}
		row.At, row.Ended = exact(row.At), exact(row.Ended)
		out = append(out, row)
		return nil
	}, s.query, s.args...)
	return out, err
}

// selection is what a query selects, before it is known what indexes serve it best.
type selection struct {
	params
	dialect *dialect
	filters []filter
	where   []string // conditions no index serves
	filter  bool     // rows are read in the order asked for and only filtered
	origin  string
	what    string // columns
	order   string
	limit   int // 0 for none
	from    int64
	before  int64 // 0 for no bound
	since   int64 // microseconds, 0 for no bound
	until   int64
	found   []string // words
	looks   int64    // entries of what drives it that are looked at, 0 for all
}

// params are the parameters of a statement.
type params struct{ args []any }

// param returns the placeholder of a new parameter.
func (p *params) param(v any) string {
	p.args = append(p.args, v)
	return "$" + strconv.Itoa(len(p.args))
}

func (s *selection) add(condition string, v any) {
	s.where = append(s.where, fmt.Sprintf(condition, s.param(v)))
}

// equal restricts a column to a value. As an expression it keeps the index of the
// column out.
func (s *selection) equal(column, value string) {
	v := field(value)
	if v == nil {
		return
	}
	f := filter{keep: func(p *params) string { return column + " || '' = " + p.param(v) }}
	if most := usual(column); most == "" || value != most {
		f.drive = func(p *params) []string {
			condition := column + " = " + p.param(v)
			if most != "" {
				condition += " AND " + column + " <> '" + most + "'"
			}
			return []string{condition}
		}
	}
	s.filters = append(s.filters, f)
}

// usual is what most rows have in a column. The index of the column holds the
// others, and a statement MUST say so for it to be used.
func usual(column string) string {
	switch column {
	case "type":
		return "intent"
	case "outcome":
		return "permit"
	case "status":
		return "ok"
	default:
		return ""
	}
}

// types restricts to some types. Calls that ended are of the type outcome too.
// The index of types serves those that are no call: each is read in its own order.
func (s *selection) types(types []string) {
	if len(types) == 0 {
		return
	}
	var in, rare []any
	ended := ""
	for _, t := range types {
		v := field(t)
		switch {
		case v == nil:
			v = ""
		case t == audit.TypeOutcome:
			ended = " OR status IS NOT NULL"
		case t != usual("type") && !slices.Contains(rare, v):
			rare = append(rare, v)
		}
		in = append(in, v)
	}
	f := filter{keep: func(p *params) string {
		var marks []string
		for _, v := range in {
			marks = append(marks, p.param(v))
		}
		return "(type || '' IN (" + strings.Join(marks, ", ") + ")" + ended + ")"
	}}
	if len(rare) == len(types) {
		f.drive = func(p *params) []string {
			var arms []string
			for _, v := range rare {
				arms = append(arms, "type = "+p.param(v)+" AND type <> '"+usual("type")+"'")
			}
			return arms
		}
	}
	s.filters = append(s.filters, f)
}

// open restricts to calls without an outcome, as the index of them says it.
func (s *selection) open() {
	s.filters = append(s.filters, filter{
		drive: func(*params) []string { return []string{"type = 'intent' AND status IS NULL"} },
		keep:  func(*params) string { return "type || '' = 'intent' AND status IS NULL" },
	})
}

// time restricts to rows that began then. As an expression it keeps the order of
// indexes that hold the index of a row; where to begin in them say the spans.
func (s *selection) time(condition string, t time.Time, bound *int64) {
	if !t.IsZero() {
		s.add(condition, micros(t))
		*bound = micros(t)
	}
}

// searchSQL returns what q selects.
func (s *Store) searchSQL(q audit.Query) (*selection, error) {
	sel := &selection{dialect: &s.dialect, filter: q.Ascending && q.Following, origin: q.Origin, what: "idx, origin, doc", limit: q.Limit}
	if len(q.Types) > maxTypes {
		return nil, access.Errorf(access.CodeInvalid, "the search names %d types, more than %d", len(q.Types), maxTypes)
	}
	// Those that select least come first: of two that select many the first counts.
	for _, f := range []struct{ column, value string }{
		{"decision", q.Decision}, {"trace", q.Trace}, {"session", q.Session}, {"task", q.Task}, {"granted", q.Grant}, {"tool", q.Tool},
		{"subject", q.Subject}, {"outcome", q.Outcome}, {"agent", q.Agent}, {"server", q.Server},
	} {
		sel.equal(f.column, f.value)
	}
	if q.Status == string(audit.StatusOpen) {
		sel.open()
	} else {
		sel.equal("status", q.Status)
	}
	sel.types(q.Types)
	sel.among("evidence_rules", "policy", "rules", q.Policy)
	sel.among("evidence_labels", "label", "labels", q.Label)
	if q.Origin != "" {
		sel.add("origin = %s", q.Origin)
	}
	if q.Text != "" {
		sel.found = words(q.Text)
		switch {
		case len(sel.found) == 0:
			return nil, access.Errorf(access.CodeInvalid, "the text to look for holds no word: give letters or digits")
		case len(sel.found) > maxQuery:
			return nil, access.Errorf(access.CodeInvalid, "the text to look for has %d words, more than %d", len(sel.found), maxQuery)
		}
	}
	sel.time("at + 0 >= %s", q.Since, &sel.since)
	sel.time("at + 0 < %s", q.Until, &sel.until)
	if q.Before > 0 && q.Before <= math.MaxInt64 {
		sel.before = int64(q.Before)
	}
	if q.Ascending {
		sel.from = int64(min(q.From, math.MaxInt64))
	}
	idx := "idx"
	if sel.filter {
		idx = "last"
	}
	sel.order = " ORDER BY " + idx + " DESC, origin DESC"
	if q.Ascending {
		sel.order = " ORDER BY " + idx + ", origin"
	}
	if sel.limit <= 0 {
		sel.limit = defaultLimit
	}
	sel.limit = min(sel.limit, maxLimit)
	return sel, nil
}

// Count returns how many rows q selects, whatever its limit, and counts no further
// than most.
func (s *Store) Count(ctx context.Context, q audit.Query, most int) (int, error) {
	search, err := s.searchSQL(q)
	if err != nil {
		return 0, err
	}
	search.what, search.order, search.limit = "1 AS one", "", 0
	n := 0
	err = s.read(ctx, "counting the evidence", func(tx *sql.Tx) error {
		n = 0
		found, err := search.statement(ctx, tx)
		if err != nil || found.query == "" {
			return err
		}
		args := append(found.args, int64(most))
		return tx.QueryRowContext(ctx, `SELECT count(*) FROM (`+found.query+` LIMIT $`+strconv.Itoa(len(args))+`) AS counted`, args...).Scan(&n)
	})
	return n, err
}
