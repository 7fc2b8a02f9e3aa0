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
	maxArms      = 64 // lists of policies whose rows are read one beside the other
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
		out = nil
		query, args, err := search.statement(ctx, tx)
		if err != nil || query == "" {
			return err
		}
		return each(ctx, tx, func(r *sql.Rows) error {
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
		}, query, args...)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// selection collects conditions and their parameters.
type selection struct {
	where  []string
	args   []any
	filter bool  // rows are read in the order asked for and only filtered by value
	kinds  []any // types each of which is read in its own order; nil for one order
	lists  []listFilter
	since  int64 // microseconds, 0 for no bound
	until  int64
	origin string
	what   string // columns
	tail   string // order and limit
}

// param returns the placeholder of a new parameter.
func (s *selection) param(v any) string {
	s.args = append(s.args, v)
	return "$" + strconv.Itoa(len(s.args))
}

func (s *selection) add(condition string, v any) {
	s.where = append(s.where, fmt.Sprintf(condition, s.param(v)))
}

func (s *selection) equal(column, value string) {
	v := field(value)
	switch {
	case v == nil:
	case s.filter:
		s.add(column+" || '' = %s", v) // an expression keeps the index of the column out
	default:
		s.add(column+" = %s", v)
		if most := usual(column); most != "" && value != most {
			s.where = append(s.where, column+" <> '"+most+"'")
		}
	}
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
	if len(types) == 1 && types[0] != "" && types[0] != audit.TypeOutcome {
		s.equal("type", types[0])
		return
	}
	var in []string
	var rare []any
	ended := ""
	for _, t := range types {
		v := field(t)
		switch {
		case v == nil:
			v = ""
		case t == audit.TypeOutcome:
			ended = " OR status IS NOT NULL"
		}
		if v != "" && t != audit.TypeOutcome && t != usual("type") && !slices.Contains(rare, v) {
			rare = append(rare, v)
		}
		in = append(in, s.param(v))
	}
	if len(rare) == len(types) && !s.filter {
		s.kinds = rare // the condition below stays: it is true of them
	}
	s.where = append(s.where, "(type || '' IN ("+strings.Join(in, ", ")+")"+ended+")")
}

// time restricts to rows that began then. As an expression it keeps the order of
// indexes that hold the index of a row; where to begin in them say the spans.
func (s *selection) time(condition string, t time.Time, bound *int64) {
	if !t.IsZero() {
		s.add(condition, micros(t))
		*bound = micros(t)
	}
}

// among restricts to rows whose list of that name holds the value.
func (s *selection) among(table, item, column, value string) {
	if v := field(value); v != nil {
		s.lists = append(s.lists, listFilter{table, item, column, v})
	}
}

// searchSQL returns what q selects. Everything of q but its order is a
// parameter.
func (s *Store) searchSQL(q audit.Query) (*selection, error) {
	sel := &selection{filter: q.Ascending && q.Following, origin: q.Origin, what: "idx, origin, doc"}
	if len(q.Types) > maxTypes {
		return nil, access.Errorf(access.CodeInvalid, "the search names %d types, more than %d", len(q.Types), maxTypes)
	}
	sel.types(q.Types)
	sel.among("evidence_rules", "policy", "rules", q.Policy)
	sel.among("evidence_labels", "label", "labels", q.Label)
	for _, f := range []struct{ column, value string }{
		{"agent", q.Agent}, {"subject", q.Subject}, {"session", q.Session}, {"task", q.Task}, {"server", q.Server}, {"tool", q.Tool},
		{"decision", q.Decision}, {"outcome", q.Outcome}, {"trace", q.Trace}, {"granted", q.Grant},
	} {
		sel.equal(f.column, f.value)
	}
	if q.Status == string(audit.StatusOpen) {
		sel.where = append(sel.where, "type = 'intent'", "status IS NULL") // as the index of open calls says it
	} else {
		sel.equal("status", q.Status)
	}
	idx := "idx"
	if sel.filter {
		idx = "last"
	}
	if q.Origin != "" {
		sel.add("origin = %s", q.Origin)
	}
	if q.Text != "" {
		found := words(q.Text)
		switch {
		case len(found) == 0:
			return nil, access.Errorf(access.CodeInvalid, "the text to look for holds no word: give letters or digits")
		case len(found) > maxQuery:
			return nil, access.Errorf(access.CodeInvalid, "the text to look for has %d words, more than %d", len(found), maxQuery)
		}
		sel.add(s.dialect.contains, s.dialect.allWords(found))
	}
	sel.time("at + 0 >= %s", q.Since, &sel.since)
	sel.time("at + 0 < %s", q.Until, &sel.until)
	if q.Before > 0 && q.Before <= math.MaxInt64 {
		sel.add(idx+" < %s", int64(q.Before))
	}
	if q.Ascending && q.From > 0 {
		sel.add(idx+" >= %s", int64(min(q.From, math.MaxInt64)))
	}
	order := idx + " DESC, origin DESC"
	if q.Ascending {
		order = idx + ", origin"
	}
	limit := q.Limit
	if limit <= 0 {
		limit = defaultLimit
	}
	sel.tail = " ORDER BY " + order + " LIMIT " + strconv.Itoa(min(limit, maxLimit))
	return sel, nil
}

// Count returns how many rows q selects, whatever its limit, and counts no further
// than most.
func (s *Store) Count(ctx context.Context, q audit.Query, most int) (int, error) {
	search, err := s.searchSQL(q)
	if err != nil {
		return 0, err
	}
	search.what, search.tail = "1 AS one", ""
	n := 0
	err = s.read(ctx, "counting the evidence", func(tx *sql.Tx) error {
		n = 0
		query, args, err := search.statement(ctx, tx)
		if err != nil || query == "" {
			return err
		}
		args = append(args, int64(most))
		return tx.QueryRowContext(ctx, `SELECT count(*) FROM (`+query+` LIMIT $`+strconv.Itoa(len(args))+`) AS counted`, args...).Scan(&n)
	})
	return n, err
}

// statement returns the statement and its parameters, "" if nothing can be
// found. Rows of a list are read in the order of the index of the lists an item is
// on. An item that is on many lists has many rows, so that rows in order find them
// as soon.
func (s selection) statement(ctx context.Context, tx *sql.Tx) (string, []any, error) {
	s.args, s.where = slices.Clip(s.args), slices.Clip(s.where) // it may be called again
	found, err := s.within(ctx, tx)
	if err != nil || !found {
		return "", nil, err
	}
	var arms []string
	for _, f := range s.lists {
		lists, err := f.with(ctx, tx, s.origin, maxArms+1)
		if err != nil || len(lists) == 0 {
			return "", nil, err
		}
		if s.filter || len(lists) > maxArms || len(arms) > 0 {
			s.where = append(s.where, "EXISTS (SELECT 1 FROM "+f.table+" AS list WHERE list."+f.item+" = "+s.param(f.value)+
				" AND list.log = evidence.origin AND list."+f.column+" = evidence."+f.column+")")
			continue
		}
		for _, name := range lists {
			arms = append(arms, f.column+" = "+s.param(name))
		}
	}
	if len(arms) == 0 {
		for _, kind := range s.kinds {
			arms = append(arms, "type = "+s.param(kind)+" AND type <> '"+usual("type")+"'")
		}
	}
	if len(arms) == 0 {
		arms = []string{""}
	}
	var b strings.Builder
	for i, arm := range arms {
		if i > 0 {
			b.WriteString(" UNION ALL ")
		}
		b.WriteString("SELECT " + s.what + " FROM evidence")
		where := s.where
		if arm != "" {
			where = append(slices.Clip(where), arm)
		}
		if len(where) > 0 {
			b.WriteString(" WHERE " + strings.Join(where, " AND "))
		}
	}
	return b.String() + s.tail, s.args, nil
}
