package fact

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Value is one value of a fact as it stands, for people.
type Value struct {
	Key   json.RawMessage `json:"key"` // an object: what the counter is of
	Total int64           `json:"total,omitempty"`
	// Reserved is how much of Total belongs to calls that are under way.
	Reserved int64     `json:"reserved,omitempty"`
	Ends     time.Time `json:"ends,omitzero"` // of a memory
}

// maxShown bounds how many values of a fact are shown.
const maxShown = 1000

// Values returns what a fact holds: of a limit, a prior or a taint what is in the
// store, of a rate what this node has counted. more says that there are others.
func (l *Ledger) Values(ctx context.Context, f Fact) (out []Value, more bool, err error) {
	at := l.now()
	out = []Value{}
	switch f.Type {
	case Limit:
		list, err := l.store.Counters(ctx, f.ID, max(0, at.Unix()-f.Seconds), f.Agg.Func == Distinct, maxShown+1)
		if err != nil {
			return nil, false, err
		}
		for _, c := range list {
			if key, ok := strings.CutPrefix(c.Key, f.Agg.String()+" "); ok { // else counted in another way before
				out = append(out, Value{Key: json.RawMessage(key), Total: c.Total, Reserved: c.Reserved})
			}
		}
	case Rate:
		r := newRule(f)
		l.rates.mu.Lock()
		defer l.rates.mu.Unlock()
		step := at.UnixNano() / int64(r.span())
		var rings map[string]*ring
		if t := l.rates.tables[r.table]; t != nil {
			rings = t.rings
		}
		for key, g := range rings {
			if g.advance(step); g.total != 0 {
				out = append(out, Value{Key: json.RawMessage(key), Total: g.total})
			}
		}
		slices.SortFunc(out, func(a, b Value) int { return strings.Compare(string(a.Key), string(b.Key)) })
	default:
		list, err := l.store.Marks(ctx, f.ID, at, maxShown+1)
		if err != nil {
			return nil, false, err
		}
		for _, m := range list {
			out = append(out, Value{Key: json.RawMessage(m.Key), Ends: m.Ends})
		}
	}
	if len(out) > maxShown {
		return out[:maxShown], true, nil
	}
	return out, false, nil
}

// pruneGrace is how long what has ended is kept: a clock may go back.
const pruneGrace = 24 * time.Hour

// Prune forgets what has ended.
func (l *Ledger) Prune(ctx context.Context) error {
	at := l.now()
	l.marks.prune(at)
	l.rates.mu.Lock()
	for _, t := range l.rates.tables {
		t.tidy(at, 0, nil)
	}
	l.rates.mu.Unlock()
	return l.store.PruneFacts(ctx, at.Add(-pruneGrace))
}
