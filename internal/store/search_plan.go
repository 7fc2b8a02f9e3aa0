package store

import (
	"context"
	"database/sql"
	"slices"
	"strconv"
	"strings"
)

// Bounds of what is looked at to choose what serves a search.
const (
	probe    = 20_000 // entries of an index that are counted
	fewTexts = 8_000  // of more texts that hold the words, rows in order are found as soon
)

// filter is a condition on rows. What drives a statement gives rows in the order of an
// index, of each arm for itself, and everything else is looked at row by row: neither
// database knows which of several values is rare.
type filter struct {
	drive func(p *params) []string // nil where no index serves it
	keep  func(p *params) string
	cost  int64       // rows it gives, 0 where that is not known
	list  *listFilter // what must be looked up before it can drive or keep
}

// among restricts to rows whose list of that name holds the value.
func (s *selection) among(table, item, column, value string) {
	if v := field(value); v != nil {
		s.filters = append(s.filters, filter{list: &listFilter{table, item, column, v}})
	}
}

// reading is a statement that reads the rows of a search.
type reading struct {
	query string // "" if nothing can be found
	args  []any
	floor int64 // no row below this index is looked at; 0 if all are
}

// statement returns the statement that reads the rows.
func (s selection) statement(ctx context.Context, tx *sql.Tx) (out reading, err error) {
	// It may be called again.
	s.args, s.where, s.filters = slices.Clip(s.args), slices.Clip(s.where), slices.Clone(s.filters)
	if s.dialect.searching != "" {
		if _, err := tx.ExecContext(ctx, s.dialect.searching); err != nil {
			return out, err
		}
	}
	if found, err := s.within(ctx, tx); err != nil || !found {
		return out, err
	}
	for i, f := range s.filters {
		if f.list == nil {
			continue
		}
		lists, err := f.list.with(ctx, tx, s.origin, maxArms+1)
		if err != nil || len(lists) == 0 {
			return out, err
		}
		s.filters[i] = f.list.filter(lists)
	}
	if len(s.found) > 0 {
		f, err := s.text(ctx, tx)
		if err != nil {
			return out, err
		}
		s.filters = append(s.filters, f)
	}
	arms := []string{""}
	driver, err := s.driver(ctx, tx)
	if err != nil {
		return out, err
	}
	full := false
	if driver >= 0 {
		if full, err = s.fills(ctx, tx); err != nil {
			return out, err
		}
	}
	if s.looks > 0 && !full {
		if out.floor, err = s.floor(ctx, tx, driver); err != nil {
			return out, err
		}
		s.from = max(s.from, out.floor)
	}
	where := append(slices.Clip(s.where), s.bounds(&s.params)...)
	for i, f := range s.filters {
		if i == driver {
			arms = f.drive(&s.params)
		} else {
			where = append(where, f.keep(&s.params))
		}
	}
	out.query, out.args = s.first(s.what, arms, where, s.order, s.limit), s.args
	return out, nil
}

// fills reports whether every row the only filter gives is one that is sought: it is
// driven, nothing else is asked, and there is no other log. A page is full then, or
// whole, after as many rows as it has.
func (s *selection) fills(ctx context.Context, tx *sql.Tx) (bool, error) {
	only := 0
	if s.origin != "" {
		only = 1
	}
	if len(s.filters) > 1 || len(s.where) > only || len(s.found) > 0 || s.limit == 0 || int64(s.limit) > s.looks {
		return false, nil
	}
	if only == 0 {
		return true, nil
	}
	var logs int
	err := tx.QueryRowContext(ctx, `SELECT count(*) FROM (SELECT 1 AS one FROM evidence_marks LIMIT 2) AS counted`).Scan(&logs)
	return logs == 1, err
}

// first selects the first rows of all arms, all of them if limit is 0.
func (s *selection) first(what string, arms, where []string, order string, limit int) string {
	end := order
	if limit > 0 {
		end += " LIMIT " + strconv.Itoa(limit)
	}
	if !s.dialect.cutArms || len(arms) < 2 || limit == 0 {
		return s.union(what, arms, where) + end
	}
	var each []string
	for _, arm := range arms {
		each = append(each, "("+s.union(what, []string{arm}, where)+end+")")
	}
	return strings.Join(each, " UNION ALL ") + end
}

// union selects the rows of all arms.
func (s *selection) union(what string, arms, where []string) string {
	var b strings.Builder
	for i, arm := range arms {
		if i > 0 {
			b.WriteString(" UNION ALL ")
		}
		b.WriteString("SELECT " + what + " FROM evidence")
		conditions := where
		if arm != "" {
			conditions = append([]string{arm}, where...)
		}
		if len(conditions) > 0 {
			b.WriteString(" WHERE " + strings.Join(conditions, " AND "))
		}
	}
	return b.String()
}

// bounds are the indexes between which rows are.
func (s *selection) bounds(p *params) []string {
	idx := "idx"
	if s.filter {
		idx = "last"
	}
	var out []string
	if s.from > 0 {
		out = append(out, idx+" >= "+p.param(s.from))
	}
	if s.before > 0 {
		out = append(out, idx+" < "+p.param(s.before))
	}
	return out
}

// driver returns which filter gives the rows, -1 for rows in order.
func (s *selection) driver(ctx context.Context, tx *sql.Tx) (int, error) {
	var can []int
	for i, f := range s.filters {
		if f.drive != nil && !s.filter {
			can = append(can, i)
		}
	}
	between := int64(-1) // how many rows there are at most
	if s.before > 0 && !s.filter {
		between = s.before - s.from
	}
	if len(can) == 0 || len(can) == 1 && between < 0 && s.filters[can[0]].cost == 0 {
		return append(can, -1)[0], nil
	}
	best, least := -1, between
	for _, i := range can {
		cost := s.filters[i].cost
		if cost == 0 {
			var err error
			if cost, err = s.upTo(ctx, tx, s.filters[i], probe); err != nil {
				return 0, err
			}
			s.filters[i].cost = cost
		}
		if least < 0 || cost < least {
			best, least = i, cost
		}
	}
	return best, nil
}

// upTo counts what a filter gives, and no further than most.
func (s *selection) upTo(ctx context.Context, tx *sql.Tx, f filter, most int64) (int64, error) {
	var p params
	query := `SELECT count(*) FROM (` + s.union("1 AS one", f.drive(&p), s.bounds(&p)) + ` LIMIT ` + strconv.FormatInt(most, 10) + `) AS counted`
	var n int64
	err := tx.QueryRowContext(ctx, query, p.args...).Scan(&n)
	return n, err
}

// text is the filter by words. Texts that hold them are sought in the index of words
// where they are few; else each row's text is looked into.
func (s *selection) text(ctx context.Context, tx *sql.Tx) (filter, error) {
	all := s.dialect.allWords(s.found)
	f := filter{keep: func(p *params) string {
		var holds []string
		for _, w := range s.found {
			holds = append(holds, strings.ReplaceAll(s.dialect.holds, "%s", p.param(" "+w+" ")))
		}
		return "EXISTS (SELECT 1 FROM evidence_texts AS t WHERE t.name = evidence.text AND " + strings.Join(holds, " AND ") + ")"
	}}
	if s.filter {
		return f, nil
	}
	if often, err := s.often(ctx, tx); err != nil || often {
		f.cost = int64(s.dialect.fewTexts) + 1
		return f, err
	}
	var count params
	query := `SELECT count(*) FROM (` + strings.ReplaceAll(s.dialect.contains, "%s", count.param(all)) + ` LIMIT ` + strconv.Itoa(s.dialect.fewTexts+1) + `) AS counted`
	if err := tx.QueryRowContext(ctx, query, count.args...).Scan(&f.cost); err != nil {
		return f, err
	}
	if f.cost <= int64(s.dialect.fewTexts) {
		f.drive = func(p *params) []string {
			return []string{"text IN (SELECT name FROM evidence_texts WHERE " + s.dialect.textKey + " IN (" + strings.ReplaceAll(s.dialect.contains, "%s", p.param(all)) + "))"}
		}
		f.cost = max(f.cost, 1)
	}
	if f.drive != nil && s.looks > 0 {
		// They come in no order, so that all of their rows are read whatever is looked for.
		n, err := s.upTo(ctx, tx, f, s.looks+1)
		if err != nil {
			return f, err
		}
		if f.cost = max(n, 1); n > s.looks {
			f.drive = nil
		}
	}
	return f, nil
}

// often reports whether so many of some texts hold all words that their index need not be
// asked how many do: it would read all of what it has of each word first. The order of
// the keys of texts, which are hashes, is by chance.
func (s *selection) often(ctx context.Context, tx *sql.Tx) (bool, error) {
	if s.dialect.sampled == 0 {
		return false, nil
	}
	var p params
	var holds []string
	for _, w := range s.found {
		holds = append(holds, strings.ReplaceAll(s.dialect.holds, "%s", p.param(" "+w+" ")))
	}
	var all, with int64
	query := `SELECT count(*), count(*) FILTER (WHERE ` + strings.Join(holds, " AND ") + `) FROM (SELECT words FROM evidence_texts ORDER BY name LIMIT ` + strconv.FormatInt(s.dialect.sampled, 10) + `) AS t`
	err := tx.QueryRowContext(ctx, query, p.args...).Scan(&all, &with)
	return all == s.dialect.sampled && with*oftenOf >= all, err
}

// oftenOf is the part of the texts from which on words are frequent: one of so many.
const oftenOf = 25
