package audit

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"rutile/internal/access"
)

// DebtStore keeps leaves with the changes they are about.
type DebtStore interface {
	// Owed returns the leaves that a node owes its log, the oldest first: of one
	// change or, where id is "", of all. n tells those of one change apart.
	Owed(ctx context.Context, node, id string) ([]Debt, error)
	// Paid forgets one of them.
	Paid(ctx context.Context, d Debt) error
}

// Debt is a leaf that a change owes.
type Debt struct {
	access.Owed
	N int
}

// Debts writes the leaves of changes that were made first. It is safe for
// concurrent use.
type Debts struct {
	log   debtLog
	store DebtStore
	node  string

	mu    sync.Mutex
	tried map[string]bool // changes some of whose leaves may be written
}

// debtLog is what Debts needs of a Log.
type debtLog interface {
	Admin(ctx context.Context, a Admin) (Ref, error)
	ByDecision(ctx context.Context, id string) ([]Row, error)
}

// NewDebts returns the debts of a node to its log.
func NewDebts(log debtLog, store DebtStore, node string) (*Debts, error) {
	if log == nil || store == nil || node == "" {
		return nil, errors.New("audit: debts need a log, a store and a node")
	}
	return &Debts{log: log, store: store, node: node, tried: map[string]bool{}}, nil
}

// Settle writes what a change owes, or with "" what all of them owe, and returns
// once it is durable. What could not be written is owed still, and nothing is
// written twice.
func (d *Debts) Settle(ctx context.Context, id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	list, err := d.store.Owed(ctx, d.node, id)
	if err != nil {
		return fmt.Errorf("reading what the evidence is owed: %w", err)
	}
	for _, debt := range list {
		if id == "" {
			d.tried[debt.ID] = true // by an earlier process, for all we know
		}
		if err := d.pay(ctx, debt); err != nil {
			d.tried[debt.ID] = true
			return err
		}
	}
	if id != "" {
		delete(d.tried, id)
	} else if len(list) == 0 {
		clear(d.tried)
	}
	return nil
}

// pay writes one leaf, unless an earlier attempt did; d.mu is held.
func (d *Debts) pay(ctx context.Context, debt Debt) error {
	if d.tried[debt.ID] {
		done, err := d.written(ctx, debt)
		if err != nil {
			return err
		}
		if done {
			return d.store.Paid(ctx, debt)
		}
	}
	o := debt.Owed
	_, err := d.log.Admin(ctx, Admin{ID: o.ID, Actor: o.Actor, Verb: o.Verb, Kind: o.Kind, Object: o.Object, Before: o.Before, After: o.After, Reason: o.Reason, Detail: o.Detail})
	if err != nil {
		return &access.Error{Code: access.CodeEvidence, Msg: "the change was made and its evidence cannot be kept; it is written as soon as it can be: see the gateway's log",
			Err: fmt.Errorf("recording a change: %w", err)}
	}
	return d.store.Paid(ctx, debt)
}

// written reports whether the log holds a leaf already: who wrote it may have ended
// before it could say so.
func (d *Debts) written(ctx context.Context, debt Debt) (bool, error) {
	rows, err := d.log.ByDecision(ctx, debt.ID)
	if access.CodeOf(err) == access.CodeNotFound {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking whether a change is in the evidence: %w", err)
	}
	for i := range rows {
		if rows[i].Object == debt.Object { // a change has one leaf for each object
			return true, nil
		}
	}
	return false, nil
}
