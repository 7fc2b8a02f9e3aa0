package policy

import (
	"maps"
	"slices"

	"github.com/cedar-policy/cedar-go/types"

	"rutile/internal/access"
)

// What a session has touched is context.session.taint and context.session.labels; where
// the values of a call come from is context.facts.flow_… (docs/labels.md). Both are
// known of calls only. The baseline's rules about them cannot match where nothing was
// touched, and are left out there.
const (
	memberTaint  = "taint"
	memberLabels = "labels"
)

// touches reports whether reading p reads what the session has touched.
func touches(p path) bool {
	if p[0] != "context" || len(p) < 2 {
		return false
	}
	switch p[1] {
	case "session":
		return len(p) == 2 || p[2] == memberTaint || p[2] == memberLabels
	case factsName:
		return len(p) > 2 && FlowFact(p[2])
	}
	return false
}

// mayTouch reports whether r may read what the session has touched, by name or within
// context as one value.
func (r *reads) mayTouch() bool { return r.touch || r.bits&readBareContext != 0 }

// The facts about where the values of a call come from.
const (
	FactFlowRecipient     = "flow_recipient_untrusted" // a destination comes from an untrusted result, unasked
	FactFlowCarried       = "flow_carried"             // what is sent has an address or number out of an untrusted result, unasked
	FactFlowContent       = "flow_content_labels"      // private scopes of what is sent
	FactFlowAsked         = "flow_asked"               // yes, no or unknown: it stands in the user's words
	FactFlowActionAsked   = "flow_action_asked"        // yes, no or unknown: the user asked for something of the kind
	FactFlowSourceFinding = "flow_source_finding"      // review; review and block: what inspection found where they come from
	FactFlowOrdered       = "flow_ordered"             // an untrusted result orders the call
	FactFlowPointed       = "flow_pointed"             // the user named the results
	FactFlowReplaced      = "flow_replaced"            // the user named another recipient
	FactFlowNovel         = "flow_novel"               // nothing went there before
	FactFlowTainted       = "flow_tainted"             // review; review and block: the worst found in untrusted results so far
	FactFlowLost          = "flow_lost"                // what it could come from was forgotten
)

// flowFacts are their kinds: true where it is true or false, else a set.
func flowFacts() map[string]bool {
	return map[string]bool{
		FactFlowRecipient: true, FactFlowCarried: true, FactFlowTainted: false, FactFlowContent: false, FactFlowAsked: false, FactFlowActionAsked: false, FactFlowSourceFinding: false,
		FactFlowOrdered: true, FactFlowPointed: true, FactFlowReplaced: true, FactFlowNovel: true, FactFlowLost: true,
	}
}

// FlowFact reports whether id is a fact about where values come from.
func FlowFact(id string) bool { _, ok := flowFacts()[id]; return ok }

// flowValue is the value of a fact about where values come from, where nothing is
// known of it: as of a call that carries nothing.
func flowValue(id string, v access.FactValue, ok bool) types.Value {
	if flowFacts()[id] {
		return types.Boolean(v.Bool)
	}
	if !ok && (id == FactFlowAsked || id == FactFlowActionAsked) {
		v.Set = []string{"unknown"}
	}
	return stringSet(v.Set)
}

// touchedErr says why what the session has touched cannot be told, "" if it can.
func (q *Query) touchedErr() string {
	if q.Touched == nil {
		return ""
	}
	return q.Touched.Err
}

// ReadsTouched reports whether a statement that is not the baseline's reads what
// sessions have touched.
func (s *Set) ReadsTouched() bool { return s.touched }

// GivenTouched makes what a session has touched of what somebody says of it: taints,
// labels and values of facts, from which it takes those about flows. It is nil where
// nothing is said.
func GivenTouched(taint, labels []string, facts *access.Facts) *access.Touched {
	t := &access.Touched{Taint: slices.Sorted(slices.Values(taint)), Labels: slices.Sorted(slices.Values(labels))}
	if facts != nil {
		for _, id := range slices.Sorted(maps.Keys(facts.Values)) {
			if FlowFact(id) {
				if t.Flow == nil {
					t.Flow = map[string]access.FactValue{}
				}
				t.Flow[id] = facts.Values[id]
			}
		}
	}
	if t.Clean() && taint == nil && labels == nil {
		return nil
	}
	return t
}
