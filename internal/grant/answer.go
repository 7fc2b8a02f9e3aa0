package grant

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"rutile/internal/access"
)

// Answer is one person's yes. Edits may only narrow.
type Answer struct {
	By     string // user:… or local:…
	Method string // cli, api, page
	Uses   int64  // 0: as asked
	Limits Limits // what is not said is as asked
	Life   time.Duration
	// NotBefore is when the grant begins, and its life with it; zero: with the last
	// approval.
	NotBefore time.Time
	Reason    string
	Token     string // id of the personal token it came with
	// Counts says which earlier approvals still count: who gave one may have lost
	// the right to. Nil counts all.
	Counts func(Approval) bool
	// May says whether who answers may approve in a stage of the request's rule. Nil
	// lets everybody.
	May func(Request, Stage) error
	// Args replace the constraints of a request wider than one call; nil keeps
	// them. Each of the old must be implied.
	Args Constraints
	// Signed is what a passkey of theirs signed, nil if none did. Whether it had to, and
	// whose it is, its caller knows.
	Signed *access.Assertion
}

// Approve adds a yes to a pending request and, where it was the last one needed,
// issues the grant, whose time starts now. Nobody counts twice.
func (b *Broker) Approve(ctx context.Context, id string, a Answer) (Request, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	before, r, stage, err := b.weigh(ctx, id, a, now)
	if err != nil {
		return r, err
	}
	if a.Signed != nil {
		if terms, err := r.terms(a); err != nil || !bytes.Equal(terms, a.Signed.Terms) {
			return r, access.Errorf(access.CodeConflict, "what was signed is not what request %s would give now: look at it again, and sign that", id)
		}
	}
	yes := Approval{By: a.By, At: now, Method: a.Method, Token: a.Token, Stage: stage, Signed: a.Signed}
	var events []Event
	if n := b.yeses.count(a.By, now); n > maxYeses {
		events = append(events, Event{Actor: system, Verb: "exceed", Kind: KindRequest, Object: id, Reason: fmt.Sprintf("%s has approved %d requests within an hour; %d are expected", a.By, n, maxYeses)})
	}
	said := event(a.By, "approve", KindRequest, id, before, r, a.Reason)
	said.Signed = a.Signed
	if _, more := r.Rule.Waits(append(slices.Clone(r.Approvals), yes)); !more {
		return b.issue(ctx, r, now, yes, append(events, said))
	}
	r.Approvals, r.Changed = append(slices.Clone(r.Approvals), yes), now
	said.After, said.Detail = digestOf(r), r
	return r, b.widen(ctx, Batch{Requests: []Request{r}}, append(events, said))
}

// Terms is what a passkey signs of an answer: the SHA-256 of all that the request would
// give with it, and of who answers, in canonical form (RFC 8785). It fails where Approve
// would.
func (b *Broker) Terms(ctx context.Context, id string, a Answer) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, r, _, err := b.weigh(ctx, id, a, b.now())
	if err != nil {
		return nil, err
	}
	return r.terms(a)
}

// weigh is a request before and after an answer narrowed it, and the stage of its rule
// the answer counts in. What it returns has the approvals that still count.
func (b *Broker) weigh(ctx context.Context, id string, a Answer, now time.Time) (before, r Request, stage int, err error) {
	if !words(a.Reason, maxWords) {
		return before, Request{}, 0, access.Errorf(access.CodeInvalid, "the reason must be one line of at most %d bytes", maxWords)
	}
	r, ok, err := b.store.Request(ctx, id)
	if err != nil {
		return before, Request{}, 0, err
	}
	if !ok {
		return before, Request{}, 0, errGone("request", id)
	}
	if err := b.answerable(&r, now); err != nil {
		return before, r, 0, err
	}
	before = r
	before.Approvals = slices.Clone(r.Approvals)
	if a.Counts != nil {
		r.Approvals = slices.DeleteFunc(slices.Clone(r.Approvals), func(x Approval) bool { return !a.Counts(x) })
	}
	if slices.ContainsFunc(r.Approvals, func(x Approval) bool { return x.By == a.By }) {
		return before, r, 0, access.Errorf(access.CodeConflict, "you have approved request %s already: it needs %s", id, access.Count(r.Rule.People(), "person"))
	}
	stage, _ = r.Rule.Waits(r.Approvals)
	if a.May != nil {
		if err := a.May(r, r.Rule.Stages()[stage]); err != nil {
			return before, r, 0, err
		}
	}
	if err := r.narrow(a, now); err != nil {
		return before, r, 0, err
	}
	if t := b.live.Load().tasks.get(r.Task); t != nil && !r.NotBefore.Before(t.Expires) {
		return before, r, 0, afterTask(t)
	}
	return before, r, stage, nil
}

// answerable says why nobody can approve a request any more.
func (b *Broker) answerable(r *Request, now time.Time) error {
	if err := requestTable().move("request "+r.ID, r.State, RequestIssued); err != nil {
		return err
	}
	if !now.Before(r.Expires) {
		return access.Errorf(access.CodeConflict, "request %s waited until %s and is over: the agent must ask again", r.ID, r.Expires.Format(time.RFC3339))
	}
	if r.Task != "" {
		if t := b.live.Load().tasks.get(r.Task); t == nil || !now.Before(t.Expires) {
			return access.Errorf(access.CodeConflict, "task %s, which request %s belongs to, is over", r.Task, r.ID)
		}
	}
	return b.live.Load().unlocked(r.Entitlement, now)
}

// terms is what an answer to r, which it narrowed, is signed for.
func (r *Request) terms(a Answer) ([]byte, error) {
	raw, err := json.Marshal(struct {
		Request     string      `json:"request"`
		By          string      `json:"by"`
		Why         string      `json:"why"`
		Party       Party       `json:"party"`
		Session     string      `json:"session"`
		Task        string      `json:"task"`
		Entitlement string      `json:"entitlement"`
		Target      Target      `json:"target"`
		Scope       Scope       `json:"scope"`
		Args        Constraints `json:"args"`
		ArgsDigest  string      `json:"argsDigest"`
		Uses        int64       `json:"uses"`
		Limits      Limits      `json:"limits"`
		MaxDepth    int         `json:"maxDepth"`
		Life        int64       `json:"seconds"`
		NotBefore   time.Time   `json:"notBefore,omitzero"`
	}{r.ID, a.By, a.Reason, r.Party, r.Session, r.Task, r.Entitlement, r.Target, r.Scope, r.Args, r.ArgsDigest, r.Uses, r.Limits, r.MaxDepth, r.Life, r.NotBefore})
	if err != nil {
		return nil, fmt.Errorf("writing what is signed: %w", err)
	}
	return hashed(raw)
}
