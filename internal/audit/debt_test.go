package audit_test

import (
	"context"
	"encoding/json"
	"errors"
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
