package store

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/binary"
	"strings"

	"rutile/internal/audit"
)

// maxRuleSets bounds what is remembered of the lists of policies that are stored.
const maxRuleSets = 4096

// ruleSets tells the lists of policies rows were decided by: a row holds the
// name of its list, and what is on a list is stored once for a log.
type ruleSets struct {
	stored map[string]string // names of lists, by what makes them one
}

// naming finds the names for the rows of one transaction.
type naming struct {
	sets  *ruleSets
	log   string
	key   []byte
	fresh map[string]string // lists that must be stored with the rows
	args  []any             // of what they hold: log, policy, rules
}

func (n *naming) of(r *audit.Row) any {
	n.key = append(n.key[:0], n.log...)
	some := false
	for _, p := range r.Policies {
		if p != "" {
			n.key = append(binary.AppendUvarint(append(n.key, 0), uint64(len(p))), p...)
			some = true
		}
	}
	if !some {
		return nil
	}
	if name, ok := n.sets.stored[string(n.key)]; ok {
		return name
	}
	if name, ok := n.fresh[string(n.key)]; ok {
		return name
	}
	key := string(n.key)
	name := base64.RawURLEncoding.EncodeToString(digest(key)[:16])
	if n.fresh == nil {
		n.fresh = map[string]string{}
	}
	n.fresh[key] = name
	seen := map[any]bool{}
	for _, p := range r.Policies {
		if id := field(p); id != nil && !seen[id] {
			seen[id] = true
			n.args = append(n.args, n.log, id, name)
		}
	}
	return name
}

// kept remembers what a transaction that was committed stored.
func (s *ruleSets) kept(n *naming) {
	if len(s.stored)+len(n.fresh) > maxRuleSets || s.stored == nil {
		s.stored = map[string]string{}
	}
	for key, name := range n.fresh {
		s.stored[key] = name
	}
}

// rulesWith returns up to limit names of lists that hold a policy; of one log
// unless origin is empty.
func rulesWith(ctx context.Context, tx *sql.Tx, policy any, origin string, limit int) ([]string, error) {
	var sel selection
	sel.add("policy = %s", policy)
	if origin != "" {
		sel.add("log = %s", origin)
	}
	query := `SELECT DISTINCT rules FROM evidence_rules WHERE ` + strings.Join(sel.where, " AND ") + ` ORDER BY rules LIMIT ` + sel.param(int64(limit))
	var names []string
	err := each(ctx, tx, func(r *sql.Rows) error {
		var name string
		err := r.Scan(&name)
		names = append(names, name)
		return err
	}, query, sel.args...)
	return names, err
}
