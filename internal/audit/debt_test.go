package audit_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/audit"
)

// book is what is owed; it fails where it is told to.
type book struct {
	owed []audit.Debt
	paid error
}

func (b *book) Owed(_ context.Context, _, id string) ([]audit.Debt, error) {
	var out []audit.Debt
	for _, d := range b.owed {
		if id == "" || d.ID == id {
			out = append(out, d)
		}
	}
	return out, nil
}

func (b *book) Paid(_ context.Context, paid audit.Debt) error {
	if b.paid != nil {
		return b.paid
	}
	for i, d := range b.owed {
		if d.ID == paid.ID && d.N == paid.N {
			b.owed = append(b.owed[:i:i], b.owed[i+1:]...)
		}
	}
	return nil
}

func debts(t *testing.T, l *audit.Log, b *book) *audit.Debts {
	t.Helper()
	d, err := audit.NewDebts(l, b, "n1")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func leavesOf(t *testing.T, l *audit.Log, change string) []string {
	t.Helper()
	rows, err := l.ByDecision(t.Context(), change)
	if err != nil && access.CodeOf(err) != access.CodeNotFound {
		t.Fatal(err)
	}
	var out []string
	for _, r := range rows {
		out = append(out, r.Object)
	}
	return out
}

// However the process ends between a change, its leaves and the note that they are
// written, each leaf is written once.
func TestWhatIsOwedIsWrittenOnce(t *testing.T) {
	const change = "chg_00000000000000000000000001"
	owed := func() []audit.Debt {
		var out []audit.Debt
		for n, id := range []string{"ses_1", "ses_2", "ses_3"} {
			out = append(out, audit.Debt{N: n, Owed: access.Owed{ID: change, Node: "n1", Actor: "system", Verb: "quarantine", Kind: "Session", Object: id, Detail: json.RawMessage(`{}`)}})
		}
		return out
	}
	for name, before := range map[string]func(t *testing.T, l *audit.Log, b *book){
		"before any leaf": func(*testing.T, *audit.Log, *book) {},
		"after the first leaf, before its note": func(t *testing.T, l *audit.Log, b *book) {
			b.paid = errors.New("the store is away")
			if err := debts(t, l, b).Settle(t.Context(), change); err == nil {
				t.Error("what cannot be noted is no error")
			}
			b.paid = nil
		},
		"after some": func(t *testing.T, l *audit.Log, b *book) {
			all := b.owed
			b.owed = all[:2]
			if err := debts(t, l, b).Settle(t.Context(), change); err != nil {
				t.Error(err)
			}
			b.owed = all[1:]
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, m, b := config(t.TempDir()), newMemory(), &book{owed: owed()}
			l := start(t, cfg, m)
			before(t, l, b)
			stop(t, l)
			l = start(t, cfg, m)
			for range 2 {
				if err := debts(t, l, b).Settle(t.Context(), ""); err != nil {
					t.Fatal(err)
				}
			}
			if got := leavesOf(t, l, change); len(got) != 3 || len(b.owed) != 0 {
				t.Errorf("leaves %v, owed %v; want one leaf for each session", got, b.owed)
			}
		})
	}
}

// What cannot be written is an error, is owed still, and follows in the same process
// once it can be: also where the leaf was written and only the note was not.
func TestWhatCannotBeWrittenIsOwedStill(t *testing.T) {
	const change = "chg_00000000000000000000000002"
	b := &book{owed: []audit.Debt{{Owed: access.Owed{ID: change, Node: "n1", Actor: "system", Verb: "revoke", Kind: "Session", Object: "ses_1"}}}}
	l := start(t, config(t.TempDir()), newMemory())
	d := debts(t, l, b)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Settle(ended, change); err == nil {
		t.Error("a leaf that nobody waited for is no error")
	}
	if len(b.owed) != 1 {
		t.Fatal("it is not owed any more")
	}
	b.paid = errors.New("the store is away")
	if err := d.Settle(t.Context(), change); err == nil {
		t.Error("what cannot be noted is no error")
	}
	b.paid = nil
	if err := d.Settle(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	if got := leavesOf(t, l, change); len(got) != 1 || len(b.owed) != 0 {
		t.Errorf("leaves %v, owed %v", got, b.owed)
	}
}

// A change may owe several leaves about one object, and more than one look at the
// index shows: each is written, and once, however the process ended.
func TestLeavesOfOneChangeAreToldApart(t *testing.T) {
	const change = "chg_00000000000000000000000003"
	debt := func(n int, verb, kind, object string) audit.Debt {
		return audit.Debt{N: n, Owed: access.Owed{ID: change, Node: "n1", Actor: "system", Verb: verb, Kind: kind, Object: object, Detail: json.RawMessage(`{}`)}}
	}
	var many []audit.Debt
	for n := range 1003 {
		many = append(many, debt(n, "expire", "Grant", fmt.Sprintf("grt_%d", n)))
	}
	long := strings.Repeat("x", 4000)
	for name, tt := range map[string]struct {
		owed []audit.Debt
	}{
		"a grant and its review": {[]audit.Debt{debt(0, "expire", "Grant", "grt_1"), debt(1, "lock", "Review", "grt_1")}},
		"a long name":            {[]audit.Debt{debt(0, "end", "Session", long)}},
		"very many":              {many},
	} {
		t.Run(name, func(t *testing.T) {
			all := len(tt.owed)
			l, b := start(t, config(t.TempDir()), newMemory()), &book{owed: slices.Clone(tt.owed)}
			if all > 1000 {
				b.owed = b.owed[:all-1]
				if err := debts(t, l, b).Settle(t.Context(), change); err != nil {
					t.Fatal(err)
				}
				b.owed = slices.Clone(tt.owed[all-1:])
			}
			b.paid = errors.New("the store is away")
			if err := debts(t, l, b).Settle(t.Context(), change); err == nil {
				t.Error("what cannot be noted is no error")
			}
			b.paid = nil
			if err := debts(t, l, b).Settle(t.Context(), ""); err != nil {
				t.Fatal(err)
			}
			from, n := uint64(0), 0
			for {
				rows, err := l.Search(t.Context(), audit.Query{Decision: change, Ascending: true, From: from, Limit: 1000})
				if err != nil {
					t.Fatal(err)
				}
				if n += len(rows); len(rows) == 0 {
					break
				}
				from = rows[len(rows)-1].Index + 1
			}
			if n != all || len(b.owed) != 0 {
				t.Errorf("%d leaves, owed %d; want %d", n, len(b.owed), all)
			}
		})
	}
}
