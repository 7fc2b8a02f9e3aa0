package policy

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"

	"rutile/internal/access"
	"rutile/internal/rawjson"
)

// maxEvaluations bounds what one explanation costs (access.md 2.10).
const maxEvaluations = 16

// Explanation says why a Set answers as it does. It is for operators: it shows
// policy text. It never holds the value of an argument.
type Explanation struct {
	Verdict Verdict `json:"verdict"`
	// Determining are the statements that matched or erred: the forbids if any
	// matched, else those that erred, else the permits.
	Determining []Statement `json:"determining,omitempty"`
	Inputs      []Input     `json:"inputs,omitempty"`
	// Nearest are the permits that came closest, where nothing permits.
	Nearest []Near `json:"nearest,omitempty"`
	// Flip is the smallest set of changes found that would permit the request;
	// it is empty if it is permitted, or if no set of the tried changes would.
	Flip        []string `json:"flip,omitempty"`
	Evaluations int      `json:"evaluations"` // spent on Flip
}

// Input is one member that the determining statements read.
type Input struct {
	Name    string `json:"name"` // for example "context.input.tag"
	Present bool   `json:"present"`
	Type    string `json:"type,omitempty"` // of a present argument
	// Unknown says that it is an argument or a fact that was not looked at.
	Unknown bool `json:"unknown,omitempty"`
	// Problem says why a derived field of a present argument cannot be computed.
	Problem string `json:"problem,omitempty"`
}

// Near is a permit that did not match, and why.
type Near struct {
	Statement
	Why []string `json:"why"`
}

// Explain answers q as Evaluate does and says why.
func (s *Set) Explain(q *Query) Explanation {
	e := newEvaluation(s, q)
	found := s.index.find(s.statements, &e.action, &e.principal, &e.resource, nil)
	x := Explanation{Verdict: e.judge(found)}
	ids := x.Verdict.Permits
	switch {
	case len(x.Verdict.Forbids) > 0:
		ids = x.Verdict.Forbids
	case len(x.Verdict.Errors) > 0:
		ids = x.Verdict.Errors
	}
	for _, i := range found {
		if st := s.statements[i]; slices.Contains(ids, st.id) {
			x.Determining = append(x.Determining, st.describe())
			x.Inputs = appendInputs(x.Inputs, e, st)
		}
	}
	if len(x.Verdict.Permits) == 0 && !x.Verdict.Maybe {
		x.Nearest = s.nearest(e)
		for _, n := range x.Nearest {
			x.Inputs = appendInputs(x.Inputs, e, s.byID(n.ID))
		}
	}
	if x.Verdict.Outcome != access.Permit {
		x.Flip, x.Evaluations = s.flip(q, &x.Verdict)
	}
	return x
}

// Inputs are the members that statements read when they judge q, by their ids; ids the
// set does not have read nothing.
func (s *Set) Inputs(q *Query, ids []string) []Input {
	e := newEvaluation(s, q)
	var out []Input
	for _, st := range s.all() {
		if slices.Contains(ids, st.id) {
			out = appendInputs(out, e, st)
		}
	}
	return out
}

// Statements are the statements of the set with these ids, in their order; missing are
// the ids it does not have.
func (s *Set) Statements(ids []string) (out []Statement, missing []string) {
	for _, id := range ids {
		i := slices.IndexFunc(s.all(), func(st *statement) bool { return st.id == id })
		if i < 0 {
			missing = append(missing, id)
			continue
		}
		out = append(out, s.all()[i].describe())
	}
	return out, missing
}

func (s *Set) byID(id string) *statement {
	i := slices.IndexFunc(s.statements, func(st *statement) bool { return st.id == id })
	return s.statements[i]
}

func appendInputs(in []Input, e *evaluation, st *statement) []Input {
	for _, p := range st.reads.paths {
		if len(p) < 2 {
			continue
		}
		x := Input{Name: strings.Join(p, "."), Present: true}
		switch {
		case p[0] == "context" && p[1] == "subject":
			x.Present = !e.q.Subject.Autonomous()
		case p[0] == "context" && p[1] == "grant":
			x.Present = e.grant != nil
		case readsFacts(p) && len(p) > 2 && FlowFact(p[2]):
			x.Present = e.q.Touched != nil
		case readsFacts(p) && len(p) > 2 && !e.q.factsUnknown():
			var v access.FactValue
			v, x.Present = e.q.Facts.Values[p[2]]
			x.Problem = v.Err
		case readsFacts(p) && len(p) > 2:
			x.Unknown = true
		case e.q.Unknown && (readsInput(p) || readsDerived(p)):
			x.Unknown = true
		case readsInput(p) && e.q.Tool.Kind != access.KindResource:
			v := e.q.Arguments.Path(p[2:]...)
			x.Present, x.Type = v.Exists(), kindName(v)
		case readsDerived(p) && len(p) > 3:
			v, _, uri := e.arguments()
			v = v.Path(p[3:]...)
			if x.Present, x.Type = v.Exists(), kindName(v); x.Present && v.Kind() != rawjson.Null {
				x.Problem = underivable(p, v, uri)
			}
		}
		if !slices.Contains(in, x) {
			in = append(in, x)
		}
	}
	return in
}

// nearest returns the permits that came closest: first those whose scope
// matches more of the request.
func (s *Set) nearest(e *evaluation) []Near {
	const shown = 3
	type scored struct {
		st    *statement
		score int
	}
	var all []scored
	for _, st := range s.statements {
		if !st.permit || st.asking || st.source.Layer == LayerBaseline {
			continue
		}
		sc := scored{st: st}
		// The action weighs most: a permit for something else is not near.
		for i, d := range []*dim{&st.scope.resource, &st.scope.principal, &st.scope.action} {
			if d.covers([]*family{&e.resource, &e.principal, &e.action}[i]) {
				sc.score += 1 << i
			}
		}
		if sc.score > 1 {
			all = append(all, sc)
		}
	}
	slices.SortStableFunc(all, func(a, b scored) int { return cmp.Compare(b.score, a.score) })
	var out []Near
	for _, sc := range all[:min(len(all), shown)] {
		out = append(out, Near{Statement: sc.st.describe(), Why: sc.st.why(e)})
	}
	return out
}

// covers reports whether this part of a scope matches f.
func (d *dim) covers(f *family) bool {
	if !d.fits(f) {
		return false
	}
	return d.ids == nil || slices.ContainsFunc(d.ids, func(id types.EntityUID) bool {
		return id == f.self || !d.eq && slices.Contains(f.ancestors, id)
	})
}

// why says which parts of the statement do not match.
func (s *statement) why(e *evaluation) []string {
	var out []string
	if !s.scope.principal.covers(&e.principal) {
		out = append(out, "it is for another agent")
	}
	if !s.scope.action.covers(&e.action) {
		out = append(out, "it is for another action")
	}
	if !s.scope.resource.covers(&e.resource) {
		out = append(out, "it is for another server or tool")
	}
	if out == nil {
		out = append(out, "its conditions do not hold")
	}
	return out
}

// change is one substitution of a counterfactual.
type change struct {
	name  string
	query func(*Query) // what is different about the request
	drop  string       // id of a statement that is taken out
	add   bool         // a permit for exactly this call is added
}

// changes returns the substitutions worth trying, the cheapest for people
// first. They are fixed, so that an explanation never searches.
func changes(q *Query, v *Verdict) []change {
	var out []change
	if !q.Agent.Attested {
		out = append(out, change{name: "the agent is attested", query: func(q *Query) { q.Agent.Attested = true }})
	}
	if q.Agent.Status != "active" {
		out = append(out, change{name: "the agent is active", query: func(q *Query) { q.Agent.Status = "active" }})
	}
	if !q.Tool.Pinned {
		out = append(out, change{name: "the definition is approved", query: func(q *Query) { q.Tool.Pinned = true }})
	}
	if !q.Session.Bound {
		out = append(out, change{name: "the session proves possession of its key", query: func(q *Query) { q.Session.Bound = true }})
	}
	if !q.Touched.Clean() {
		out = append(out, change{name: "the session has touched nothing", query: func(q *Query) { q.Touched = &access.Touched{} }})
	}
	if g := q.Grant; g == nil || g.Quorum < 2 || !g.ArgsBound || g.Remaining < 1 {
		grant := &GrantFacts{ID: "counterfactual", Remaining: math.MaxInt64, ExpiresAt: q.Now.AddDate(1, 0, 0), Quorum: 2, ArgsBound: true}
		out = append(out, change{name: "a grant for this call is there", query: func(q *Query) { q.Grant = grant }})
	}
	if len(v.Permits) == 0 {
		out = append(out, change{name: "a permit for this call is added", add: true})
	}
	for _, id := range append(slices.Clone(v.Forbids), v.Errors...) {
		out = append(out, change{name: "policy " + id + " is lifted", drop: id})
	}
	return out
}

// flip returns the smallest set of changes it finds that permits q: one that
// suffices alone, or all of them less those that are not needed.
func (s *Set) flip(q *Query, v *Verdict) (names []string, evaluations int) {
	all := changes(q, v)
	permits := func(set []change) bool {
		evaluations++
		return s.suppose(q, set)
	}
	// One, then all, then all but each: 2n+1 evaluations at most.
	if limit := (maxEvaluations - 1) / 2; len(all) > limit {
		all = all[len(all)-limit:]
	}
	for _, c := range all {
		if permits([]change{c}) {
			return []string{c.name}, evaluations
		}
	}
	if len(all) < 2 || !permits(all) {
		return nil, evaluations
	}
	need := all
	for _, c := range all {
		rest := slices.DeleteFunc(slices.Clone(need), func(o change) bool { return o.name == c.name })
		if permits(rest) {
			need = rest
		}
	}
	for _, c := range need {
		names = append(names, c.name)
	}
	return names, evaluations
}

// suppose reports whether q would be permitted under the changes.
func (s *Set) suppose(q *Query, set []change) bool {
	other, add := *q, false
	var drop []string
	for _, c := range set {
		if c.query != nil {
			c.query(&other)
		}
		if c.drop != "" {
			drop = append(drop, c.drop)
		}
		add = add || c.add
	}
	e := newEvaluation(s, &other)
	found := s.index.find(s.statements, &e.action, &e.principal, &e.resource, nil)
	found = slices.DeleteFunc(found, func(i int32) bool { return slices.Contains(drop, s.statements[i].id) })
	v := e.judge(found)
	return v.Outcome == access.Permit || add && len(v.Errors) == 0 && len(v.Forbids) == 0
}
