package policy

import (
	"fmt"
	"maps"
	"slices"

	"github.com/cedar-policy/cedar-go/types"

	"rutile/internal/access"
)

// context.facts holds what the gateway has counted and remembers, by the name of
// the declared fact (docs/facts.md). A value is in it only if a policy whose scope
// matches reads it; one that cannot be computed makes that policy err.
const factsName = "facts"

// FactInfo names a declared fact: true or false if Bool, else a number.
type FactInfo struct {
	ID   string
	Bool bool
}

// readsFacts reports whether reading p reads context.facts.
func readsFacts(p path) bool { return p[0] == "context" && len(p) > 1 && p[1] == factsName }

// noteFacts notes the facts that p reads.
func (r *reads) noteFacts(p path, read bool) {
	switch {
	case len(p) == 2:
		r.allFacts, r.hasFacts = r.allFacts || read, r.hasFacts || !read
	case !slices.Contains(r.facts, p[2]):
		r.facts = append(r.facts, p[2])
	}
}

// anyFact reports whether some fact is read, counted whether some is that is not about
// flows.
func (r *reads) anyFact() bool { return len(r.facts) > 0 || r.allFacts || r.hasFacts }

func (r *reads) counted() bool {
	return r.allFacts || r.hasFacts || slices.ContainsFunc(r.facts, func(id string) bool { return !FlowFact(id) })
}

// factsType is the type of context.facts.
func factsType(facts []FactInfo) *typ {
	members := make(map[string]*typ, len(facts))
	for _, f := range facts {
		kind := kindLong
		if f.Bool {
			kind = kindBool
		}
		members[f.ID] = &typ{kind: kind}
	}
	for id := range ownFacts {
		members[id] = &typ{kind: kindSet, elem: &typ{kind: kindString}}
	}
	for id, isBool := range flowFacts() {
		members[id] = &typ{kind: kindSet, elem: &typ{kind: kindString}}
		if isBool {
			members[id] = &typ{kind: kindBool}
		}
	}
	return recordType(members)
}

// The facts nobody declares: sets of what inspection finds in the arguments.
const (
	FactArgsLabels   = "args_labels"   // secret, pii
	FactArgsFindings = "args_findings" // kinds, as secret.github-token and pii.email
)

var ownFacts = map[string]bool{FactArgsLabels: true, FactArgsFindings: true}

// OwnFact reports whether id is a fact the gateway finds itself. No manifest can
// declare one.
func OwnFact(id string) bool { return ownFacts[id] || FlowFact(id) }

// ReadsOwnFacts reports whether some policy reads a fact nobody declares.
func (s *Set) ReadsOwnFacts() bool { return s.ownFacts }

// declared reports what s reads of context.facts that nobody declared, and whether
// nothing is.
func (v *validator) declared(s *statement) bool {
	ok := true
	if s.reads.allFacts {
		v.mistake(s, v.types, fmt.Sprintf("`%s` has no value as a whole: write context.facts.NAME", factsName))
		ok = false
	}
	if id := s.effect.fact; id != "" {
		isBool, known := v.set.facts[id]
		switch {
		case OwnFact(id):
			v.mistake(s, v.types, fmt.Sprintf("@`fact`(%q) must name a fact that counts: %s is a set", id, id))
			ok = false
		case known && isBool:
			v.mistake(s, v.types, fmt.Sprintf("@`fact`(%q) must name a fact that counts: %s is true or false", id, id))
			ok = false
		case !slices.Contains(s.reads.facts, id):
			v.mistake(s, SeverityWarning, fmt.Sprintf("@`fact`(%q) names a fact that the conditions do not read, so nobody can say when the call passes: write context.facts.%s", id, id))
		}
	}
	for _, id := range s.reads.facts {
		if _, known := v.set.facts[id]; !known && !OwnFact(id) {
			v.mistake(s, v.types, fmt.Sprintf("no fact `%s` is declared: declare it in a manifest of kind Fact, or make it active again", id))
			ok = false
		}
	}
	return ok
}

// FactsRead returns the facts that some policy of the set reads, sorted. It MUST
// NOT be changed.
func (s *Set) FactsRead() []string { return s.factsRead }

// FactsEnforced returns the facts among FactsRead that some policy reads which is
// not only tried. It MUST NOT be changed.
func (s *Set) FactsEnforced() []string { return s.factsEnforced }

// FactsOf returns the facts that a policy whose scope matches q reads.
func (s *Set) FactsOf(q *Query) []string {
	if len(s.factsRead) == 0 && !s.ownFacts { // flows are looked up apart
		return nil
	}
	if s.tried != nil { // what is only tried has to be told them too
		return s.tried.FactsOf(q)
	}
	e := newEvaluation(s, q)
	var out []string
	for _, i := range s.index.find(s.statements, &e.action, &e.principal, &e.resource, e.found[:0]) {
		for _, id := range s.statements[i].reads.facts {
			if !FlowFact(id) && !slices.Contains(out, id) {
				out = append(out, id)
			}
		}
	}
	return out
}

// factsUnknown reports whether nobody has looked at the facts: they are of calls,
// not of lists.
func (q *Query) factsUnknown() bool { return q.Unknown || q.Facts == nil }

// factsOpen reports whether something of the past that st reads is not known.
func (q *Query) factsOpen(st *statement) bool {
	return st.reads.counted() && q.factsUnknown() || st.reads.touch && q.Touched == nil
}

// remember sets context.facts to what these statements read. It returns false if
// one of the values cannot be computed.
func (e *evaluation) remember(of ...*statement) bool {
	m := types.RecordMap{}
	for _, st := range of {
		if st.reads.allFacts {
			return false
		}
		for _, id := range st.reads.facts {
			if FlowFact(id) {
				v, ok := e.q.Touched.Flow[id]
				m[types.String(id)] = flowValue(id, v, ok)
				continue
			}
			isBool, declared := e.set.facts[id]
			v, ok := e.q.Facts.Values[id]
			if !ok {
				v = access.FactValue{Err: "fact " + id + " is not known"}
			}
			switch {
			case OwnFact(id) && v.Err == "":
				m[types.String(id)] = stringSet(v.Set)
			case v.Err != "" || !declared:
				if !slices.Contains(e.lacking, v.Err) && v.Err != "" {
					e.lacking = append(e.lacking, v.Err)
				}
				return false
			case isBool:
				m[types.String(id)] = types.Boolean(v.Bool)
			default:
				m[types.String(id)] = types.Long(v.Long)
			}
		}
	}
	e.facts = types.NewRecord(m)
	return true
}

// facts are the values a case gives. One that it does not give cannot be computed,
// as in a call.
func (p *prepared) facts() (*access.Facts, error) {
	f := &access.Facts{Values: make(map[string]access.FactValue, len(p.Given.Facts))}
	for id, v := range p.Given.Facts {
		switch v := v.(type) {
		case bool:
			f.Values[id] = access.FactValue{Bool: v}
		case int:
			f.Values[id] = access.FactValue{Long: int64(v)}
		case []any:
			var set []string
			for _, x := range v {
				s, ok := x.(string)
				if !ok {
					return nil, fmt.Errorf("given.facts: %q must be a list of words", id)
				}
				set = append(set, s)
			}
			f.Values[id] = access.FactValue{Set: set}
		default:
			return nil, fmt.Errorf("given.facts: %q must be a whole number, true or false, or a list of words where it is the gateway's own", id)
		}
	}
	return f, nil
}

// fit says which of the values a case gives is of no declared fact.
func (p *prepared) fit(set *Set) error {
	for _, id := range slices.Sorted(maps.Keys(p.Given.Facts)) {
		isBool, declared := set.facts[id]
		_, list := p.Given.Facts[id].([]any)
		switch _, gave := p.Given.Facts[id].(bool); {
		case flowFacts()[id]:
			if !gave {
				return fmt.Errorf("given.facts: %q is true or false", id)
			}
		case OwnFact(id) && !list:
			return fmt.Errorf("given.facts: %q is a list of words", id)
		case OwnFact(id):
		case list:
			return fmt.Errorf("given.facts: %q is no list", id)
		case !declared:
			return fmt.Errorf("given.facts: no fact %q is declared", id)
		case isBool && !gave:
			return fmt.Errorf("given.facts: %q is true or false", id)
		case !isBool && gave:
			return fmt.Errorf("given.facts: %q is a number", id)
		}
	}
	return nil
}
