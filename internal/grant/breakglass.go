package grant

import (
	"bytes"
	"cmp"
	"context"
	"strings"
	"time"

	"rutile/internal/access"
)

// ModeBreakGlass is the mode of a grant one person made without those who must
// approve (access.md 3.5-3.8).
const ModeBreakGlass = "break_glass"

// Bounds of a break-glass.
const (
	maxBreakLife = 15 * time.Minute
	ReviewTime   = 24 * time.Hour // after it began, until another person has looked at it
)

// The states of a review. What is owed is due or overdue.
const (
	ReviewDue     State = "due"
	ReviewOverdue State = "overdue"
	ReviewDone    State = "reviewed"
)

func reviewTable() table {
	return table{ReviewDue: {ReviewOverdue, ReviewDone}, ReviewOverdue: {ReviewDone}, ReviewDone: nil}
}

// ReviewStates lists the states of a review.
func ReviewStates() []State { return reviewTable().states() }

// The verdicts of a review.
const (
	Justified   = "justified"
	Unjustified = "unjustified"
)

// Review is what is owed for a break-glass: somebody else looks at what was done. Of
// one person and one entitlement one is owed at a time; the store sees to it.
type Review struct {
	Grant       string    `json:"grant"` // its id too
	Entitlement string    `json:"entitlement"`
	Owner       string    `json:"owner"`  // of the entitlement, who is told
	Person      string    `json:"person"` // who broke the glass, user:…
	Party       Party     `json:"party"`
	Target      Target    `json:"target"`
	Reason      string    `json:"reason"`
	State       State     `json:"state"`
	Opened      time.Time `json:"opened"`
	Due         time.Time `json:"due"`
	By          string    `json:"by,omitempty"` // who reviewed it
	Verdict     string    `json:"verdict,omitempty"`
	Comment     string    `json:"comment,omitempty"`
	Changed     time.Time `json:"changed"`
	Rev         int64     `json:"-"`
}

// late reports whether the review locks, whether or not that has been recorded yet.
func (r *Review) late(at time.Time) bool { return r.State == ReviewOverdue || !at.Before(r.Due) }

// Emergency is what one person takes for an agent without waiting.
type Emergency struct {
	ID          string      // of the grant it becomes, and of what is signed; "" for a new one
	Entitlement Entitlement // it stays within
	Party       Party
	Task        string
	Target      Target
	Args        Constraints
	Uses        int64 // 0: what the entitlement allows
	Limits      Limits
	Life        time.Duration // 0 is as long as it can be
	Reason      string
	By          string // user:…
	Token       string // id of the personal token it was taken with
	Method      string
	// Signed is what a passkey of theirs signed, nil if none did. Whether it had to, and
	// whose it is, its caller knows.
	Signed *access.Assertion
}

// life is how long the right lives.
func (e *Emergency) life() time.Duration {
	if e.Life == 0 {
		return min(maxBreakLife, e.Entitlement.Ceiling.life())
	}
	return e.Life
}

// Extent is how many seconds the right would live and how many calls it would let
// through, 0 for any number.
func (e *Emergency) Extent() (seconds, uses int64) {
	ask := Ask{Entitlement: &e.Entitlement, Scope: ScopeTime, Life: e.life(), Uses: e.Uses}
	return ask.Extent()
}

// BreakGlass issues a grant on the word of one person, at most 15 minutes long and
// within the entitlement, and opens the review that is owed for it. The error is a
// CodeConflict or CodeDenied where reviews are owed already.
func (b *Broker) BreakGlass(ctx context.Context, e Emergency) (Grant, error) {
	r, scope, err := b.emergency(&e)
	if err != nil {
		return Grant{}, err
	}
	if e.Signed != nil {
		if terms, err := e.terms(&r); err != nil || !bytes.Equal(terms, e.Signed.Terms) {
			return Grant{}, access.Errorf(access.CodeConflict, "what was signed is not what would be given now: look at it again, and sign that")
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.refresh(ctx); err != nil { // another node may have seen one
		return Grant{}, err
	}
	if err := b.mayBreak(&e, r.Created); err != nil {
		return Grant{}, err
	}
	if e.ID == "" {
		e.ID = access.NewID(access.PrefixGrant)
	} else if _, used, err := b.store.Grant(ctx, e.ID); err != nil || used {
		return Grant{}, cmp.Or(err, error(access.Errorf(access.CodeConflict, "grant %s is there already: what is signed counts once", e.ID)))
	}
	g := Grant{ID: e.ID, Mode: ModeBreakGlass, Entitlement: e.Entitlement.ID, Party: e.Party, Task: e.Task, Target: e.Target, Scope: scope,
		Args: r.Args, UsesMax: r.Uses, Limits: r.Limits, NotBefore: r.Created, Expires: r.Created.Add(Seconds(r.Life)), Quorum: 1,
		Approvals: []Approval{{By: e.By, At: r.Created, Method: e.Method, Token: e.Token, Signed: e.Signed}}, Reason: e.Reason, State: GrantActive, Created: r.Created, Changed: r.Created}
	if t := b.live.Load().tasks.get(e.Task); t != nil && t.Expires.Before(g.Expires) {
		g.Expires = t.Expires
	}
	owed := Review{Grant: g.ID, Entitlement: e.Entitlement.ID, Owner: e.Entitlement.Owner, Person: e.By, Party: e.Party, Target: e.Target, Reason: e.Reason,
		State: ReviewDue, Opened: r.Created, Due: r.Created.Add(ReviewTime), Changed: r.Created}
	said := event(e.By, "break-glass", KindGrant, g.ID, nil, g, e.Reason)
	said.Signed = e.Signed
	err = b.widen(ctx, Batch{Grants: []Grant{g}, Reviews: []Review{owed}}, []Event{said, event(e.By, "open", KindReview, g.ID, nil, owed, e.Reason)})
	if access.CodeOf(err) == access.CodeConflict { // another node was first
		if why := b.mayBreak(&e, r.Created); why != nil {
			return Grant{}, why
		}
	}
	return g, err
}

// emergency completes e and drafts what it gives, in the way of a request.
func (b *Broker) emergency(e *Emergency) (r Request, scope Scope, err error) {
	if strings.TrimSpace(e.Reason) == "" {
		return r, "", access.Errorf(access.CodeInvalid, "the reason is required: say what happened, for those who review it")
	}
	if !strings.HasPrefix(e.By, "user:") || e.Token == "" && e.Signed == nil {
		return r, "", access.Errorf(access.CodeDenied, "only a person breaks the glass, with a passkey or a personal token")
	}
	e.Life = e.life()
	if e.Args == nil {
		e.Args = e.Entitlement.Args
	}
	if e.Life > maxBreakLife {
		return r, "", access.Errorf(access.CodeDenied, "at most %v without those who approve, not %v", maxBreakLife, e.Life)
	}
	scope = ScopeTime
	if e.Task != "" {
		scope = ScopeTask
	}
	r, err = b.draft(Ask{Call: Call{Party: e.Party, Task: e.Task, Target: e.Target}, Entitlement: &e.Entitlement, Scope: scope, Wanted: e.Args,
		Uses: e.Uses, Limits: e.Limits, Life: e.Life, Reason: e.Reason})
	return r, scope, err
}

// mayBreak refuses a person who owes the review of an earlier break-glass, and an
// entitlement one is overdue for.
func (b *Broker) mayBreak(e *Emergency, at time.Time) error {
	v := b.live.Load()
	if t := v.tasks.get(e.Task); e.Task != "" && (t == nil || t.Party != e.Party || !at.Before(t.Expires)) {
		return access.Errorf(access.CodeInvalid, "task %q is not an open task of this agent", clip(e.Task))
	}
	if len(v.grants.get(e.Party)) >= maxHeld {
		return access.Errorf(access.CodeConflict, "this agent holds %d grants already: let some end first", maxHeld)
	}
	for _, r := range v.owed.all() {
		switch mine, same := r.Person == e.By, r.Entitlement == e.Entitlement.ID; {
		case same && r.late(at):
			return locked(r)
		case mine && r.late(at):
			return access.Errorf(access.CodeDenied, "you broke the glass before and nobody has reviewed it in time: somebody else must first (rutile grant review %s)", r.Grant)
		case mine && same:
			return access.Errorf(access.CodeConflict, "you broke the glass for entitlement %q before: somebody else must review that first (rutile grant review %s)", r.Entitlement, r.Grant)
		}
	}
	return nil
}

// unlocked refuses whatever gives more under an entitlement for which a review is
// overdue.
func (v *live) unlocked(entitlement string, at time.Time) error {
	if entitlement == "" {
		return nil
	}
	for _, r := range v.owed.all() {
		if r.Entitlement == entitlement && r.late(at) {
			return locked(r)
		}
	}
	return nil
}

func locked(r *Review) error {
	return access.Errorf(access.CodeDenied, "entitlement %q is locked: the break-glass %s was not reviewed within %v; ask %s to have somebody do it", r.Entitlement, r.Grant, ReviewTime, clip(r.Owner))
}

// Judgement is what somebody says of a break-glass.
type Judgement struct {
	By      string // user:…
	Verdict string
	Comment string
}

// Review settles what is owed for a break-glass. It MUST be somebody else than who
// broke the glass, and the grant must have ended, so that all it was used for is
// seen.
func (b *Broker) Review(ctx context.Context, id string, j Judgement) (Review, error) {
	switch {
	case j.Verdict != Justified && j.Verdict != Unjustified:
		return Review{}, access.Errorf(access.CodeInvalid, "the verdict must be %s or %s", Justified, Unjustified)
	case strings.TrimSpace(j.Comment) == "" || !words(j.Comment, maxWords):
		return Review{}, access.Errorf(access.CodeInvalid, "a reason is required: one line of at most %d bytes that says what was found", maxWords)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	r, ok, err := b.store.Review(ctx, id)
	if err != nil {
		return Review{}, err
	}
	if !ok {
		return Review{}, access.Errorf(access.CodeNotFound, "grant %q is no break-glass: see rutile grant reviews", clip(id))
	}
	if !strings.HasPrefix(j.By, "user:") || j.By == r.Person {
		return r, access.Errorf(access.CodeDenied, "break-glass %s must be reviewed by a person, and by another one than %s", id, r.Person)
	}
	if err := reviewTable().move("the review of "+id, r.State, ReviewDone); err != nil {
		return r, err
	}
	g, _, err := b.store.Grant(ctx, id)
	if err != nil {
		return r, err
	}
	now := b.now()
	if !Over(g.State) && now.Before(g.Expires) {
		return r, access.Errorf(access.CodeConflict, "grant %s is in force until %s: wait or revoke it, so that all it is used for can be seen", id, g.Expires.Format(time.RFC3339))
	}
	before := r
	r.State, r.By, r.Verdict, r.Comment, r.Changed = ReviewDone, j.By, j.Verdict, j.Comment, now
	return r, b.widen(ctx, Batch{Reviews: []Review{r}}, []Event{event(j.By, "review", KindReview, id, before, r, j.Verdict+": "+j.Comment)})
}

// overdue locks what was not reviewed in time.
func (w *sweeping) overdue() {
	for _, r := range w.live.owed.all() {
		if r.State != ReviewDue || w.at.Before(r.Due) {
			continue
		}
		next := *r
		next.State, next.Changed = ReviewOverdue, w.at
		w.less.Reviews = append(w.less.Reviews, next)
		w.ended = append(w.ended, event(system, "lock", KindReview, r.Grant, *r, next, "nobody else looked at it within "+ReviewTime.String()))
	}
}
