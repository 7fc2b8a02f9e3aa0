package grant

import (
	"context"
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
)

// Handover is a part of a grant that its holder hands to another agent. What is not
// said is as much as the grant has left.
type Handover struct {
	Grant    string // it is carved out of
	To       string // agent that receives it, for the same person
	Args     Constraints
	Uses     int64
	Limits   Limits
	Life     time.Duration // 0: as long as the grant
	MaxDepth int           // how far it may be handed on in turn; 0: not at all
	Reason   string
	By       string // who hands it over, for evidence
	Session  string // whose session hands it over, "" where an operator does
	// May says whether the receiver may have it: what this package does not know.
	May func(parent Grant) error
}

// maxKids bounds how many live parts a grant is carved into.
const maxKids = 64

// Delegate carves a child grant out of a party's own; a zero party is an operator's
// doing. The child permits no call that its parent forbids, ends with it, and what it
// may use is not the parent's until it has ended.
func (b *Broker) Delegate(ctx context.Context, own Party, h Handover) (Grant, error) {
	if own == (Party{}) && strings.HasPrefix(h.By, Party{}.Actor()) {
		return Grant{}, errGone("grant", h.Grant) // an agent nobody knows is no operator
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	parent, ok, err := b.store.Grant(ctx, h.Grant)
	if err != nil {
		return Grant{}, err
	}
	if !ok || own != (Party{}) && parent.Party != own { // one answer: ids of others are nobody's business
		return Grant{}, errGone("grant", h.Grant)
	}
	if err := b.live.Load().unlocked(parent.Entitlement, b.now()); err != nil {
		return Grant{}, err
	}
	chain, err := b.chain(ctx, parent)
	if err != nil {
		return Grant{}, err
	}
	if slices.Contains(chain, h.To) {
		return Grant{}, access.Errorf(access.CodeDenied, "agent %s holds it already, or handed it on: it does not go in a circle", quote(h.To))
	}
	child, err := b.child(parent, h)
	if err != nil {
		return Grant{}, err
	}
	err = b.widen(ctx, Batch{Grants: []Grant{child}}, []Event{event(h.By, "delegate", KindGrant, child.ID, nil, child, h.Reason)})
	if access.CodeOf(err) == access.CodeConflict {
		return Grant{}, access.Errorf(access.CodeConflict, "grant %s is over, or has not that much left: ask for less", parent.ID)
	}
	if err != nil {
		return Grant{}, err
	}
	return child, b.hear(ctx, parent.ID)
}

// child is what h asks for, held to what its parent is.
func (b *Broker) child(parent Grant, h Handover) (Grant, error) {
	now, v := b.now(), b.live.Load()
	c := Grant{ID: access.NewID(access.PrefixGrant), Request: parent.Request, Entitlement: parent.Entitlement, Parent: parent.ID, Depth: parent.Depth + 1, MaxDepth: parent.Depth + 1 + h.MaxDepth,
		Party: Party{Agent: h.To, Issuer: parent.Party.Issuer, Subject: parent.Party.Subject}, Session: parent.Session, Target: parent.Target, Scope: ScopeTime, Args: h.Args,
		UsesMax: h.Uses, NotBefore: now, Expires: parent.Expires, Quorum: parent.Quorum, Approvals: parent.Approvals, Reason: h.Reason, State: GrantActive, Created: now, Changed: now}
	if h.Session != "" {
		c.Session = h.Session
	}
	if h.Life > 0 {
		c.Expires = now.Add(h.Life.Truncate(time.Millisecond))
	}
	if parent.Bound() {
		c.Scope = ScopeOnce
	}
	if c.Args == nil {
		c.Args = parent.Args
	}
	if c.UsesMax == 0 && parent.UsesMax > 0 {
		c.UsesMax = parent.Remaining()
	}
	switch {
	case parent.State != GrantActive || !now.Before(parent.Expires) || parent.idle(now):
		return c, access.Errorf(access.CodeConflict, "grant %s is not in force", parent.ID)
	case c.Depth > parent.MaxDepth:
		return c, access.Errorf(access.CodeDenied, "grant %s may not be handed on", parent.ID)
	case h.MaxDepth < 0 || c.MaxDepth > parent.MaxDepth:
		return c, access.Errorf(access.CodeDenied, "grant %s may be handed on %s more, and not further by who receives it", parent.ID, access.Count(parent.MaxDepth-parent.Depth, "time"))
	case !access.ValidID(h.To):
		return c, access.Errorf(access.CodeInvalid, "%s cannot be an agent", quote(h.To))
	case !words(h.Reason, maxWords):
		return c, access.Errorf(access.CodeInvalid, "the reason must be one line of at most %d bytes", maxWords)
	case h.Life != 0 && h.Life < time.Second:
		return c, access.Errorf(access.CodeInvalid, "a grant lives at least 1 second, not %v", h.Life)
	case c.Expires.After(parent.Expires):
		return c, access.Errorf(access.CodeDenied, "grant %s ends at %s, and what is carved out of it not later", parent.ID, parent.Expires.Format(time.RFC3339))
	case h.Uses < 0 || parent.UsesMax > 0 && (c.UsesMax == 0 || c.UsesMax > parent.Remaining()):
		return c, access.Errorf(access.CodeDenied, "grant %s has %s left, and %d are asked for", parent.ID, access.Count(parent.Remaining(), "use"), h.Uses)
	case len(v.kids.get(parent.ID)) >= maxKids:
		return c, access.Errorf(access.CodeConflict, "%d parts of grant %s are handed on already", maxKids, parent.ID)
	case len(v.grants.get(c.Party)) >= maxHeld:
		return c, access.Errorf(access.CodeConflict, "agent %q holds %d grants already: let some end first", h.To, maxHeld)
	}
	if err := Implies(parent.Args, c.Args); err != nil {
		return c, access.Errorf(access.CodeDenied, "a part of grant %s covers no more than it does: %w", parent.ID, err)
	}
	var err error
	if c.Limits, err = parent.left().narrowed(h.Limits); err != nil {
		return c, access.Errorf(access.CodeDenied, "a part of grant %s covers no more than is left of it: %w", parent.ID, err)
	}
	if h.May == nil {
		return c, access.Errorf(access.CodeDenied, "nobody says that agent %q may receive it", h.To)
	}
	return c, h.May(parent)
}

// left is what of the limits can be carved out. A limit with nothing left of it stays
// as it is: the store refuses then.
func (g *Grant) left() Limits {
	l := g.Limits
	for _, f := range []struct {
		limit *int64
		left  int64
	}{
		{&l.Budget.Amount, g.AmountLeft()}, {&l.BytesOut, g.BytesLeft()}, {&l.Window.Uses, l.Window.Uses - g.Counts.WindowCarved},
		{&l.Concurrency, l.Concurrency - g.Counts.Reserved - g.Counts.RunningCarved},
	} {
		if *f.limit > 0 && f.left > 0 {
			*f.limit = f.left
		}
	}
	return l
}

// chain is the agents a grant came through, its holder first.
func (b *Broker) chain(ctx context.Context, g Grant) ([]string, error) {
	out := []string{g.Party.Agent}
	for g.Parent != "" {
		parent, ok, err := b.store.Grant(ctx, g.Parent)
		if err != nil {
			return nil, err
		}
		if !ok || len(out) > MaxDepth {
			return nil, access.Errorf(access.CodeInternal, "grant %s has no root", g.ID)
		}
		g = parent
		out = append(out, g.Party.Agent)
	}
	return out, nil
}

// stands reports whether everything a grant was carved out of is in force.
func (v *live) stands(h *held, at time.Time) bool {
	for n := 0; h.grant.Parent != ""; n++ {
		h = v.byID.get(h.grant.Parent)
		if h == nil || h.grant.State != GrantActive || !at.Before(h.grant.Expires) || n > MaxDepth {
			return false
		}
	}
	return true
}
