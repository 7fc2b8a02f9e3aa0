package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"rutile/internal/access"
	"rutile/internal/audit"
)

// maxShared bounds what is remembered of what is stored.
const maxShared = 8192

// shared knows what rows have in common and is stored already: lists of policies
// and texts. A row holds their names, since there are few of them and many rows.
type shared struct {
	stored map[string]bool
	marks  map[string]int64 // the watermarks stored, by log
}

// sharing names what the rows of one transaction share.
type sharing struct {
	known        *shared
	log          string
	fresh        map[string]bool // what must be stored with the rows
	rules, texts []any           // what is on those lists, and the words of those texts
	labels       []any           // what is on those sets of labels
	key          []byte
}

// name returns what things of a log are called together, and whether they are
// not stored yet. Things of another log have other names, so that those of each
// can be dropped.
func (s *sharing) name(kind byte, things ...string) (string, bool) {
	s.key = append(append(s.key[:0], kind, 0), s.log...)
	for _, t := range things {
		s.key = append(binary.AppendUvarint(append(s.key, 0), uint64(len(t))), t...)
	}
	sum := sha256.Sum256(s.key)
	name := base64.RawURLEncoding.EncodeToString(sum[:16])
	if s.known.stored[name] || s.fresh[name] {
		return name, false
	}
	if s.fresh == nil {
		s.fresh = map[string]bool{}
	}
	s.fresh[name] = true
	return name, true
}

// list returns the name of the list of policies of a row, nil if it has none.
func (s *sharing) list(r *audit.Row) any {
	if len(r.Policies) == 0 {
		return nil
	}
	return s.listed('p', r.Policies, &s.rules)
}

// labelled returns the name of the labels of a row, nil if it has none.
func (s *sharing) labelled(r *audit.Row) any {
	if len(r.Labels) == 0 {
		return nil
	}
	return s.listed('l', r.Labels, &s.labels)
}

// listed returns the name of a list; what is on it goes to rows if that is not
// stored yet.
func (s *sharing) listed(kind byte, list []string, rows *[]any) string {
	name, fresh := s.name(kind, list...)
	if !fresh {
		return name
	}
	seen := map[any]bool{}
	for _, p := range list {
		if id := field(p); id != nil && !seen[id] {
			seen[id] = true
			*rows = append(*rows, s.log, id, name)
		}
	}
	return name
}

// text returns the name of the text of a row, nil if it has none.
func (s *sharing) text(r *audit.Row) any {
	if r.Text == "" {
		return nil
	}
	name, fresh := s.name('t', r.Text)
	if fresh {
		s.texts = append(s.texts, s.log, name, strings.Join(words(r.Text), " "))
	}
	return name
}

// stands is an error where a transaction that was committed is gone: the database
// failed while nobody waited for it to be durable. Then nothing is known of what is
// stored.
func (s *shared) stands(ctx context.Context, tx *sql.Tx, log string) error {
	var size int64
	err := tx.QueryRowContext(ctx, `SELECT size FROM evidence_marks WHERE origin = $1`, log).Scan(&size)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if size < s.marks[log] {
		*s = shared{}
		return &access.Error{Code: access.CodeUnavailable, Msg: fmt.Sprintf("%v: they are put again from leaf %d on", audit.ErrRowsLost, size), Err: audit.ErrRowsLost}
	}
	return nil
}

// kept remembers what a transaction that was committed stored.
func (s *shared) kept(n *sharing, watermark int64) {
	if s.marks == nil {
		s.marks = map[string]int64{}
	}
	s.marks[n.log] = max(s.marks[n.log], watermark)
	if len(s.stored)+len(n.fresh) > maxShared || s.stored == nil {
		s.stored = map[string]bool{}
	}
	for name := range n.fresh {
		s.stored[name] = true
	}
}

// listFilter is something that must be on a list that rows name.
type listFilter struct {
	table, item, column string // column is also what rows call the list
	value               any
}

// with returns up to limit names of lists that hold the item; of one log unless
// origin is empty.
func (f listFilter) with(ctx context.Context, tx *sql.Tx, origin string, limit int) ([]string, error) {
	var sel selection
	sel.add(f.item+" = %s", f.value)
	if origin != "" {
		sel.add("log = %s", origin)
	}
	query := `SELECT ` + f.column + ` FROM ` + f.table + ` WHERE ` + strings.Join(sel.where, " AND ") + ` ORDER BY ` + f.column + ` LIMIT ` + sel.param(int64(limit))
	var names []string
	err := each(ctx, tx, func(r *sql.Rows) error {
		var name string
		err := r.Scan(&name)
		names = append(names, name)
		return err
	}, query, sel.args...)
	return names, err
}

// filter is what restricts rows to the lists of these names, which hold the item.
func (f listFilter) filter(names []string) filter {
	out := filter{keep: func(p *params) string {
		return "EXISTS (SELECT 1 FROM " + f.table + " AS list WHERE list." + f.item + " = " + p.param(f.value) +
			" AND list.log = evidence.origin AND list." + f.column + " = evidence." + f.column + ")"
	}}
	if len(names) <= maxArms {
		out.drive = func(p *params) []string {
			var arms []string
			for _, name := range names {
				arms = append(arms, f.column+" = "+p.param(name))
			}
			return arms
		}
	}
	return out
}
