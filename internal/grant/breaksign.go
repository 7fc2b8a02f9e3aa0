package grant

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"

	"rutile/internal/access"
	"rutile/internal/rawjson"
)

// Emergency is what e would give now, in the way of a request, and what a passkey signs
// for it: the SHA-256 of all that the grant would give, of its reason and of who takes
// it, in canonical form (RFC 8785). It fails where BreakGlass would. e.ID MUST be the id
// of the grant it becomes.
func (b *Broker) Emergency(ctx context.Context, e Emergency) (r Request, terms []byte, err error) {
	e.Signed = &access.Assertion{} // which is being asked for
	if r, _, err = b.emergency(&e); err != nil {
		return r, nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.refresh(ctx); err != nil {
		return r, nil, err
	}
	if err := b.mayBreak(&e, r.Created); err != nil {
		return r, nil, err
	}
	terms, err = e.terms(&r)
	return r, terms, err
}

// terms is what e, which r is the draft of, is signed for.
func (e *Emergency) terms(r *Request) ([]byte, error) {
	raw, err := json.Marshal(struct {
		Grant       string      `json:"grant"`
		By          string      `json:"by"`
		Why         string      `json:"why"`
		Mode        string      `json:"mode"`
		Party       Party       `json:"party"`
		Task        string      `json:"task"`
		Entitlement string      `json:"entitlement"`
		Target      Target      `json:"target"`
		Scope       Scope       `json:"scope"`
		Args        Constraints `json:"args"`
		Uses        int64       `json:"uses"`
		Limits      Limits      `json:"limits"`
		Life        int64       `json:"seconds"`
	}{e.ID, e.By, e.Reason, ModeBreakGlass, r.Party, r.Task, r.Entitlement, r.Target, r.Scope, r.Args, r.Uses, r.Limits, r.Life})
	if err != nil {
		return nil, fmt.Errorf("writing what is signed: %w", err)
	}
	return hashed(raw)
}

// hashed is the SHA-256 of the canonical form of JSON we wrote.
func hashed(raw []byte) ([]byte, error) {
	v, err := rawjson.Parse(raw, rawjson.Limits{})
	if err != nil {
		return nil, fmt.Errorf("writing what is signed: %w", err)
	}
	sum := sha256.Sum256(rawjson.AppendCanonical(nil, v))
	return sum[:], nil
}
