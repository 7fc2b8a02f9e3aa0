package admin

import (
	"encoding/json"
	"fmt"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/grant"
	"rutile/internal/revocation"
)

// Receipt says what a revocation came to (access.md 5.3). It is a leaf of the evidence,
// and so is each amendment.
type Receipt struct {
	Revocation string    `json:"revocation"` // "rev_…"
	Epoch      uint64    `json:"epoch"`      // its position in the log of revocations
	Kind       string    `json:"kind"`
	ID         string    `json:"id"`
	Verb       string    `json:"verb"` // revoke, or terminate of a session that was killed
	Cause      string    `json:"cause,omitempty"`
	Actor      string    `json:"actor"`
	At         time.Time `json:"at"`
	State      string    `json:"state"` // done, or partial while something of it lives
	Again      bool      `json:"again"` // it was revoked before, and nothing was left to end
	Sessions   []string  `json:"sessions"`
	Grants     []string  `json:"grants"`             // children too
	Requests   []string  `json:"requests,omitempty"` // pending ones that ended
	Said       []string  `json:"said,omitempty"`     // what else was done, in sentences
	Calls      int       `json:"calls"`              // in flight, that were cut
	Running    int       `json:"running,omitempty"`  // of them, those that had not returned within a second
	Late       int       `json:"late,omitempty"`     // of them, those whose result came all the same, and was withheld
	// Credentials are what issuers were asked to end.
	Credentials []EndedCredential `json:"credentials,omitempty"`
	Nodes       []Node            `json:"nodes"`
	// DeniedUS and CutUS are microseconds from the order to when nothing of the target
	// is permitted here, and to when the calls that were cut have returned.
	DeniedUS int64  `json:"deniedUs"`
	CutUS    int64  `json:"cutUs"`
	Undo     string `json:"undo"` // how somebody gets the right back
	Amended  int    `json:"amended,omitempty"`
}

// States of a receipt.
const (
	ReceiptDone    = "done"
	ReceiptPartial = "partial"
)

// EndedCredential is one that was made for calls and was to be ended by its issuer.
type EndedCredential struct {
	Grant   string    `json:"grant,omitempty"` // it was made under
	ID      string    `json:"id"`
	Version string    `json:"version,omitempty"`
	Result  string    `json:"result"` // revoked, or why not
	Until   time.Time `json:"residualUntil,omitzero"`
}

// resultRevoked is the Result of a credential that its issuer ended.
const resultRevoked = "revoked"

// Node is a gateway that carried a revocation out, or whose lease lapsed first: then it
// denies by itself.
type Node struct {
	Node   string `json:"node"`
	US     int64  `json:"us"` // microseconds from the order to its word
	Lapsed bool   `json:"leaseLapsed,omitempty"`
}

// ended reports whether anything ended because of the revocation.
func (r *Receipt) ended() bool {
	return len(r.Sessions)+len(r.Grants)+len(r.Requests)+len(r.Said)+len(r.Credentials)+r.Calls > 0
}

// settle sets State by what lives.
func (r *Receipt) settle() {
	r.State = ReceiptDone
	for _, c := range r.Credentials {
		if c.Result != resultRevoked {
			r.State = ReceiptPartial
		}
	}
}

// owed is the leaf of r.
func (r *Receipt) owed(node string) (access.Owed, []byte, error) {
	doc, err := json.Marshal(r)
	if err != nil {
		return access.Owed{}, nil, fmt.Errorf("recording a receipt: %w", err)
	}
	verb := "receipt"
	if r.Amended > 0 {
		verb = "amend-receipt"
	}
	return access.Owed{ID: access.NewID(access.PrefixChange), Node: node, Actor: r.Actor, Verb: verb, Kind: audit.KindReceipt, Object: r.Kind + " " + r.ID, Reason: r.Cause, Detail: doc}, doc, nil
}

// ReadReceipt returns the receipt of an entry. One that is not finished says what is
// known of it.
func ReadReceipt(e revocation.Entry) (Receipt, error) {
	r := Receipt{Revocation: e.ID, Epoch: e.Position, Kind: string(e.Target.Kind), ID: e.Target.ID, Cause: e.Cause, Actor: e.Actor, At: e.At, State: ReceiptPartial,
		Sessions: []string{}, Grants: []string{}, Nodes: []Node{}}
	if len(e.Receipt) == 0 {
		return r, nil
	}
	if err := json.Unmarshal(e.Receipt, &r); err != nil {
		return r, fmt.Errorf("reading the receipt of %s: %w", e.ID, err)
	}
	return r, nil
}

// credentialsOf says of what was minted under grants what of it lives.
func credentialsOf(minted map[string][]grant.Minted, now map[string]grant.Grant) []EndedCredential {
	var out []EndedCredential
	for id, list := range minted {
		for _, m := range list {
			c := EndedCredential{Grant: id, ID: m.Credential, Version: m.Version, Result: resultRevoked}
			g, known := now[id]
			switch {
			case !known || g.State == grant.GrantRevoking:
				c.Result, c.Until = "its issuer is asked again", m.Until()
			case g.State == grant.GrantRevokePartial:
				for _, l := range g.Left {
					if l.Credential == m.Credential && l.Version == m.Version {
						c.Result, c.Until = l.Why, l.Until
					}
				}
			}
			out = append(out, c)
		}
	}
	return out
}
