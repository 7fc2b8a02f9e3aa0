package policy

import (
	"iter"
	"math"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"rutile/internal/access"
)

// StandingGrant is context.grant.id of a call that an allow-list covers.
const StandingGrant = "standing"

// Evaluate answers q. It is pure and total: whatever q holds, the answer is
// Permit only if a permit matched, no forbid matched and every policy whose
// scope matches could be evaluated.
func (s *Set) Evaluate(q *Query) Verdict {
	e := newEvaluation(s, q)
	return e.judge(s.index.find(s.statements, &e.action, &e.principal, &e.resource, e.found[:0]))
}

// evaluation is one question being answered. It is the entity store Cedar asks.
type evaluation struct {
	set                         *Set
	q                           *Query
	action, principal, resource family
	grant                       *GrantFacts
	bits                        readBits
	built                       [5]*types.Entity // principal, resource, server, action, person
	request                     types.Request
	derived                     types.Value // context.derived, nil if no candidate reads it
	facts                       types.Value // context.facts, likewise
	lacking                     []string    // why some of them cannot be computed
	untouched                   bool        // what the session has touched is not known

	found   [16]int32 // buffers
	parents [3][8]types.EntityUID
}

func newEvaluation(s *Set, q *Query) *evaluation {
	e := &evaluation{set: s, q: q, grant: q.Grant}
	e.principal = family{uid(typeAgent, q.Agent.ID), e.parents[0][:0]}
	if q.Agent.Class != "" {
		e.principal.add(uid(typeAgentClass, q.Agent.Class))
	}
	e.action = family{uid(typeAction, q.Action), e.parents[1][:0]}
	e.resource = family{uid(typeTool, q.Action), e.parents[2][:0]}
	e.resource.add(uid(typeServer, q.Server.ID))
	switch q.Tool.Kind {
	case access.KindServer:
		e.action.add(uid(typeAction, groupDiscover))
	case access.KindAsk:
		e.action.add(uid(typeAction, groupCall))
	default:
		groupsOf(&e.action, q.Tool.Classes)
		for _, c := range q.Tool.Classes {
			e.resource.add(uid(typeToolClass, c))
		}
	}
	if q.Tool.Kind == access.KindPrompt {
		e.action.add(uid(typeAction, promptGroup(q.Server.ID)))
	}
	return e
}

// judge evaluates the statements whose scope matches.
func (e *evaluation) judge(found []int32) Verdict {
	var trees, derived []*tree
	var facts []*statement
	var permits, forbids, open list
	var v Verdict
	for _, i := range found {
		st := e.set.statements[i]
		if st.id == withholds {
			if e.q.Output == nil {
				continue // it is about what came back
			}
		} else {
			v.ReadsOutput = v.ReadsOutput || st.reads.bits&readOutput != 0
			v.ReadsData = v.ReadsData || st.reads.bits&readData != 0 || st.effect.masksData()
		}
		if st.reads.risk && st.source.Layer == LayerBaseline && e.q.Risk.Low(lowestRung) {
			continue // it cannot match
		}
		if st.reads.mayTouch() {
			if st.source.Layer == LayerBaseline && e.q.Touched.Clean() {
				continue // it cannot match
			}
			if why := e.q.touchedErr(); why != "" {
				e.lacking = append(e.lacking, why)
				v.Errors = append(v.Errors, st.id)
				continue
			}
		}
		e.bits |= st.reads.bits
		if st.list != nil && e.grant == nil {
			e.grant = &GrantFacts{ID: StandingGrant, Remaining: math.MaxInt64, ExpiresAt: st.list.Expires}
		}
		switch {
		case st.bare: // its scope matched, and there is nothing else in it
			v.matched(st, e.q.Masked)
			continue
		case (st.reads.input != nil || st.reads.derived != nil) && e.q.unknown() || e.q.factsOpen(st) || e.q.whoOpen(st):
			open = append(open, st)
			continue
		case st.reads.input != nil:
			trees = append(trees, st.reads.input)
		}
		if st.reads.derived != nil {
			derived = append(derived, st.reads.derived)
		}
		if st.reads.anyFact() {
			facts = append(facts, st)
		}
		if st.permit {
			permits = append(permits, st)
		} else {
			forbids = append(forbids, st)
		}
	}
	e.request = types.Request{Principal: e.principal.self, Action: e.action.self, Resource: e.resource.self}
	input, ok := types.Record{}, true
	if trees != nil {
		input, ok = e.input(trees...)
	}
	if ok && derived != nil {
		// What the context is as one value must not depend on what others read.
		ok = e.derive(derived...) && e.bits&readBareContext == 0
	}
	if ok && facts != nil {
		ok = e.remember(facts...) && e.bits&readBareContext == 0
	}
	if ok {
		e.request.Context = e.context(input)
		e.authorize(permits, &v)
		e.authorize(forbids, &v)
	} else {
		e.apart(permits, &v)
		e.apart(forbids, &v)
	}
	v.Lacking = e.lacking
	maybe := e.partial(open, &v)
	v.settle(maybe)
	return v
}

// authorize lets Cedar evaluate statements of one effect.
func (e *evaluation) authorize(l list, v *Verdict) {
	if len(l) == 0 {
		return
	}
	_, diag := cedar.Authorize(l, e, e.request)
	for _, r := range diag.Reasons {
		for _, st := range l {
			if st.id == string(r.PolicyID) {
				v.matched(st, e.q.Masked)
			}
		}
	}
	for _, r := range diag.Errors {
		v.Errors = append(v.Errors, string(r.PolicyID))
	}
}

// apart evaluates each statement with only the arguments it reads itself, where
// some statement reads an argument that has no exact Cedar value: that one errs
// and the others are not concerned.
func (e *evaluation) apart(l list, v *Verdict) {
	for i, st := range l {
		input, ok := types.Record{}, true
		if st.reads.input != nil {
			input, ok = e.input(st.reads.input)
		}
		if e.derived = nil; ok && st.reads.derived != nil {
			ok = e.derive(st.reads.derived)
		}
		if e.facts = nil; ok && st.reads.anyFact() {
			ok = e.remember(st)
		}
		if !ok {
			v.Errors = append(v.Errors, st.id)
			continue
		}
		e.request.Context = e.context(input)
		e.authorize(l[i:i+1], v)
	}
}

// maybeOf says what statements that read unknown arguments may come to.
type maybeOf struct{ permit, deny bool }

// partial evaluates statements whose arguments are unknown as far as that goes.
func (e *evaluation) partial(open list, v *Verdict) (m maybeOf) {
	if len(open) == 0 {
		return m
	}
	r := e.request
	for i, st := range open {
		open := st.reads.touch && e.q.Touched == nil
		if i == 0 || !e.q.unknown() || open != e.untouched { // of a list nothing is known for any of them
			e.untouched = open
			input, ok := e.unknowns(st)
			if !ok {
				v.Errors = append(v.Errors, st.id)
				continue
			}
			r.Context = e.context(input)
		}
		t := isOpen
		if st.reads.bits&readBareContext == 0 && !e.q.whoOpen(st) {
			t = partialEval(st.body.AST(), e, &r)
		}
		switch t {
		case isError:
			v.Errors = append(v.Errors, st.id)
		case isTrue:
			v.matched(st, e.q.Masked)
			m.deny = true // unless an argument it names cannot be judged: that errs
		default:
			// A forbid may match, and whatever reads an argument may err before
			// it comes to a condition that is false.
			m.deny = true
			if st.permit && t == isOpen {
				m.permit = true
				v.Open = append(v.Open, st.id)
			}
		}
	}
	return m
}

// unknowns sets what of the context is not known yet for a statement, and what is.
// It returns false if something that is known has no value.
func (e *evaluation) unknowns(st *statement) (input types.Value, ok bool) {
	input, e.derived, e.facts = unknownValue("input"), unknownValue(derivedName), unknownValue(factsName)
	if !e.q.factsOpen(st) {
		e.facts = nil
		if st.reads.anyFact() && !e.remember(st) {
			return nil, false
		}
	}
	if e.q.unknown() {
		return input, true
	}
	e.derived = nil
	known, ok := types.Record{}, true
	if st.reads.input != nil {
		known, ok = e.input(st.reads.input)
	}
	if ok && st.reads.derived != nil {
		ok = e.derive(st.reads.derived)
	}
	return known, ok
}

// list is a cedar.PolicyIterator over statements.
type list []*statement

// All yields the statements without their scopes.
func (l list) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		for _, st := range l {
			if !yield(cedar.PolicyID(st.id), st.body) {
				return
			}
		}
	}
}

// context builds the parts of context that some candidate reads.
func (e *evaluation) context(input types.Value) types.Record {
	if e.bits&(readSession|readSubject|readGrant|readNow|readInput|readOutput) == 0 && e.derived == nil && e.facts == nil {
		return types.Record{}
	}
	m := make(types.RecordMap, 5)
	q := e.q
	if e.bits&readInput != 0 {
		m["input"] = input
	}
	if e.derived != nil {
		m[derivedName] = e.derived
	}
	if e.facts != nil {
		m[factsName] = e.facts
	}
	if e.bits&readSession != 0 {
		m["session"] = e.session()
		if e.untouched {
			m["session"] = unknownValue("session")
		}
	}
	if e.bits&readSubject != 0 && !q.Subject.Autonomous() {
		m["subject"] = uid(typeHuman, humanID(q.Subject))
	}
	if g := e.grant; e.bits&readGrant != 0 && g != nil {
		m["grant"] = types.NewRecord(types.RecordMap{
			"id": types.String(g.ID), "remaining": types.Long(g.Remaining), "expiresAt": types.NewDatetime(g.ExpiresAt),
			"quorum": types.Long(g.Quorum), "argsBound": types.Boolean(g.ArgsBound), "depth": types.Long(g.Depth),
		})
	}
	if o := q.Output; e.bits&readOutput != 0 && o != nil {
		m["output"] = types.NewRecord(types.RecordMap{"labels": stringSet(o.Labels), "findings": stringSet(o.Findings), "bytes": types.Long(o.Bytes)})
	}
	if e.bits&readNow != 0 {
		m["now"] = types.NewDatetime(q.Now)
	}
	return types.NewRecord(m)
}

// session is context.session.
func (e *evaluation) session() types.Record {
	s, t := &e.q.Session, e.q.Touched
	if t == nil {
		t = &access.Touched{}
	}
	return types.NewRecord(types.RecordMap{"id": types.String(s.ID), "task": types.String(s.Task), "depth": types.Long(s.Depth),
		"bound": types.Boolean(s.Bound), "startedAt": types.NewDatetime(s.StartedAt), memberTaint: stringSet(t.Taint), memberLabels: stringSet(t.Labels),
		memberRisk: types.Long(e.q.risk().Session)})
}

// resourceInput is context.input of a resource: its URI and the scheme of it.
func resourceInput(target string) types.Record {
	scheme, _, ok := strings.Cut(target, ":")
	if !ok {
		scheme = ""
	}
	return types.NewRecord(types.RecordMap{"uri": types.String(target), "uri_scheme": types.String(strings.ToLower(scheme))})
}

// unknown reports whether the arguments are not known yet. The argument of a
// resource is its URI, which a list knows unless it is a template.
func (q *Query) unknown() bool {
	return q.Unknown && (q.Tool.Kind != access.KindResource || strings.Contains(q.Target, "{"))
}

// whoOpen reports whether st reads whom or what session the request is for, and nobody
// knows.
func (q *Query) whoOpen(st *statement) bool {
	return q.Whoever && st.reads.bits&(readSubject|readSession) != 0
}

// input is context.input with the members the trees name.
func (e *evaluation) input(trees ...*tree) (types.Record, bool) {
	switch e.q.Tool.Kind {
	case access.KindResource:
		return resourceInput(e.q.Target), true
	case access.KindTool:
		return inputOf(e.q.Arguments, e.set.inputs[e.q.Action], trees...)
	default:
		return inputOf(e.q.Arguments, nil, trees...)
	}
}
