package grant

import (
	"time"

	"rutile/internal/rawjson"
)

// asked is what a request asks for, or a grant gives, of an entitlement.
type asked struct {
	id, entitlement string
	party           Party
	target          Target
	depth           int
	scope           Scope
	args            Constraints
	life            time.Duration
	uses            int64
	limits          Limits
	request         string // that holds the arguments of exactly one call
	rule            Rule   // who must approve it
	pending         bool
}

// beyond says why the entitlement something was asked under does not reach that far
// now, "" where it does, or where there is none. A right that was approved once is
// not asked again who must approve it.
func (w *sweeping) beyond(a asked) (string, error) {
	if a.entitlement == "" || w.Right == nil {
		return "", nil
	}
	what := "entitlement " + a.entitlement
	e, ok := w.Right(a.entitlement, a.party.Agent, a.target, a.depth)
	ceiling := e.Ceiling.Limits
	if a.scope == ScopeOnce { // one call is alone
		ceiling.Concurrency, ceiling.Window = 0, Window{}
	}
	switch most := e.Ceiling.Uses; {
	case !ok:
		return what + " does not cover it any more", nil
	case a.life > e.Ceiling.life():
		return what + " lets it live " + e.Ceiling.life().String() + " at most now", nil
	case a.scope != ScopeOnce && most > 0 && (a.uses == 0 || a.uses > most):
		return what + " lets through fewer calls now", nil
	case a.pending && e.Approve.AtTier(a.target.Tier).Stricter(a.rule):
		return what + " wants another approval now", nil
	}
	if wider := wordsOf(ceiling.holds(a.limits)); wider != "" {
		return what + " is narrower now: " + wider, nil
	}
	if len(e.Args) == 0 || w.Broker.looked[a.id].Equal(e.Changed) && !e.Changed.IsZero() {
		w.looked[a.id] = e.Changed
		return "", nil
	}
	far, err := w.tooFar(e.Args, a)
	if err != nil || far {
		return what + " does not reach these arguments any more", err
	}
	w.looked[a.id] = e.Changed
	return "", nil
}

func wordsOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// tooFar reports whether arguments are outside of the bounds. Those of exactly one
// call are kept with its request.
func (w *sweeping) tooFar(bounds Constraints, a asked) (bool, error) {
	if a.scope != ScopeOnce {
		return Implies(bounds, a.args) != nil, nil
	}
	r, ok, err := w.store.Request(w.ctx, a.request)
	if err != nil || !ok {
		return true, err
	}
	raw, err := w.Arguments(w.ctx, r)
	if err != nil {
		return true, err
	}
	v, err := rawjson.Parse(raw, rawjson.Limits{})
	return err != nil || bounds.Match(v) != nil, err
}
