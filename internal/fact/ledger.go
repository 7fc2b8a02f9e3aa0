package fact

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"rutile/internal/access"
)

// secretPurpose is what the secret of digests is sealed for.
const secretPurpose = "fact digests"

// Ledger knows the values of facts. It is safe for concurrent use.
type Ledger struct {
	store  Store
	now    func() time.Time
	shared bool
	secret []byte
	rates  rates
	marks  marks

	mu      sync.Mutex
	changed chan struct{}    // closed when a call that was counted has ended
	pending map[[32]byte]int // priors whose call is under way
}

// New returns a ledger over a store. shared says that other nodes change the
// store too; without it what is in memory is all there is. now SHOULD not jump
// when the clock of the machine is set.
func New(ctx context.Context, store Store, seal access.Sealer, shared bool, now func() time.Time) (*Ledger, error) {
	if store == nil || seal == nil || now == nil {
		return nil, errors.New("fact: a dependency is missing")
	}
	l := &Ledger{store: store, now: now, shared: shared, changed: make(chan struct{}), pending: map[[32]byte]int{}}
	sealed, err := store.FactSecret(ctx, func() ([]byte, error) {
		return seal.Seal(ctx, secretPurpose, []byte(rand.Text()))
	})
	if err != nil {
		return nil, fmt.Errorf("reading the secret of facts: %w", err)
	}
	if l.secret, err = seal.Open(ctx, secretPurpose, sealed); err != nil {
		return nil, fmt.Errorf("opening the secret of facts: %w", err)
	}
	list, err := store.Marks(ctx, "", now(), 0)
	if err != nil {
		return nil, fmt.Errorf("loading what is remembered: %w", err)
	}
	for _, m := range list {
		l.marks.put(m)
	}
	return l, nil
}

// digest is keyed, so that nobody who reads the store can try values. Every part
// is told from the next.
func (l *Ledger) digest(parts ...string) [32]byte {
	h := hmac.New(sha256.New, l.secret)
	var n [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write([]byte(p))
	}
	return [32]byte(h.Sum(nil))
}

// charge is what the call adds to a limit, or with an amount of nothing what it
// reads of it, where the fact is not about it.
func (l *Ledger) charge(r *rule, c *Call, at time.Time) (access.Charge, string) {
	step := r.Step()
	sec := max(0, at.Unix())
	ch := access.Charge{Fact: r.ID, Key: r.Agg.String() + " " + r.key(c), Bucket: (sec/step + 1) * step, Since: max(0, sec-r.Seconds)}
	ch.Ends = time.Unix(ch.Bucket+r.Seconds, 0).UTC()
	if r.Agg.Func == Distinct {
		ch.Value = []byte{}
	}
	if c.Again || !r.covers(c) {
		return ch, ""
	}
	n, why := r.amount(c)
	if why == "" && r.Agg.Func == Distinct {
		var raw []byte
		if raw, why = r.scalar(r.at, c); why == "" {
			d := l.digest("value", r.ID, ch.Key, string(raw))
			ch.Value = d[:]
		}
	}
	ch.Amount = n
	return ch, why
}

// Look returns the values of the facts named in need for a call, and whether it
// can be counted where it must be. It does not fail: a value that cannot be
// computed says so.
func (l *Ledger) Look(ctx context.Context, p *Plan, need []string, c *Call) *access.Facts {
	f := &access.Facts{Values: make(map[string]access.FactValue, len(need))}
	l.mu.Lock()
	f.Changed = l.changed
	l.mu.Unlock()
	at := l.now()
	for _, r := range p.rules {
		if !r.Counts() || c.Again || !r.covers(c) {
			continue
		}
		if _, why := l.charge(r, c, at); why != "" && f.Broken == "" && !r.tried {
			f.Broken = why
		}
	}
	var charges []access.Charge
	for _, id := range need {
		r := p.byID[id]
		switch {
		case r == nil:
			f.Values[id] = access.FactValue{Err: "fact " + id + " is not kept"}
		case r.Type == Limit:
			ch, why := l.charge(r, c, at)
			if why != "" {
				f.Values[id] = access.FactValue{Err: why}
				continue
			}
			charges = append(charges, ch)
		case r.Type == Rate:
			f.Values[id] = l.rate(r, c, at)
		default:
			v, soon := l.remembers(ctx, r, c, at)
			f.Values[id] = v
			if soon {
				f.Without(id, access.FactValue{Bool: true})
			}
		}
	}
	l.counted(ctx, f, charges)
	return f
}

// counted fills in the values of limits.
func (l *Ledger) counted(ctx context.Context, f *access.Facts, charges []access.Charge) {
	if len(charges) == 0 {
		return
	}
	if err := l.store.Counted(ctx, charges); err != nil {
		for _, ch := range charges {
			f.Values[ch.Fact] = access.FactValue{Err: "fact " + ch.Fact + " cannot be computed: its counter cannot be read"}
		}
		return
	}
	for _, ch := range charges {
		if ch.Total > access.MaxTotal-ch.Amount {
			f.Values[ch.Fact] = access.FactValue{Err: "fact " + ch.Fact + " cannot be computed: its counter is full"}
			continue
		}
		f.Values[ch.Fact] = access.FactValue{Long: ch.Total + ch.Amount}
		if ch.Others > 0 {
			f.Without(ch.Fact, access.FactValue{Long: ch.Total + ch.Amount - ch.Others})
		}
	}
}
