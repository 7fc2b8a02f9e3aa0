package policy

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"

	"github.com/cedar-policy/cedar-go/types"
)

// actionRequest is the action of asking for a right (access.md 3.5). It is in no
// group, and only a policy that names it is about it: one about every action is
// about calls, and the call that is asked for is judged besides.
const actionRequest = "request"

// Approve is what a permit on the action "request" says: who must approve what is
// asked for. The zero Approve is none.
type Approve struct {
	Auto   bool // nobody
	Deny   bool // nobody can
	Quorum int  // distinct persons
	Group  string
}

// GroupOwner is the group of whoever owns the agent that asks.
const GroupOwner = "owner"

// maxApprovers bounds how many people one permit can demand.
const maxApprovers = 10

var approveQuorum = regexp.MustCompile(`^quorum:([1-9][0-9]?)(?::([a-z0-9][a-z0-9-]{0,62}))?$`)

// String is the value of @approve.
func (a Approve) String() string {
	switch {
	case a.Auto:
		return "auto"
	case a.Deny:
		return "deny"
	case a.Group != "":
		return fmt.Sprintf("quorum:%d:%s", a.Quorum, a.Group)
	default:
		return fmt.Sprintf("quorum:%d", a.Quorum)
	}
}

func parseApprove(s string) (Approve, bool) {
	switch s {
	case "auto":
		return Approve{Auto: true}, true
	case "deny":
		return Approve{Deny: true}, true
	}
	m := approveQuorum.FindStringSubmatch(s)
	if m == nil {
		return Approve{}, false
	}
	n, err := strconv.Atoi(m[1])
	return Approve{Quorum: n, Group: m[2]}, err == nil && n <= maxApprovers
}

// approval reads @approve, and holds what is about the action "request" to what
// can be said of it. wrong records a mistake at an annotation, "" for the head of
// the statement.
func (s *statement) approval(notes types.Annotations, wrong func(key, format string, args ...any)) {
	ids := scopeOf(s.full).action.ids
	s.asking = slices.Contains(ids, uid(typeAction, actionRequest))
	value, has := notes["approve"]
	permit := permits(s.full)
	switch {
	case s.asking && len(ids) > 1:
		wrong("", "the action %q stands alone: write another policy for the others", actionRequest)
	case has && !(s.asking && permit):
		wrong("approve", "@approve belongs to a permit about action == Mcp::Action::%q", actionRequest)
	case has:
		var ok bool
		if s.approve, ok = parseApprove(string(value)); !ok {
			wrong("approve", "unknown @approve(%q); known are auto, deny, quorum:N and quorum:N:TEAM with N from 1 to %d, where TEAM is the id of a team or %s", string(value), maxApprovers, GroupOwner)
		}
	case s.asking && permit:
		wrong("", "a permit about the action %q needs @approve: who must approve what is asked for", actionRequest)
	case s.asking && notes["outcome"] != "" && notes["outcome"] != "deny":
		wrong("outcome", "what is about the action %q can only permit or deny", actionRequest)
	}
	if _, tried := notes["mode"]; tried && s.asking {
		wrong("mode", "@mode is not for the action %q, since nothing would be recorded of it: try it with policy test", actionRequest)
	}
}

// askContext is what context holds for the action "request".
func askContext() *typ {
	long := &typ{kind: kindLong}
	all := contextType(nil)
	return recordType(map[string]*typ{"subject": all.members["subject"].typ, "session": all.members["session"].typ, "now": all.members["now"].typ,
		"tier": long, "seconds": long, "uses": long}, "subject")
}

// askSchema is the schema of what is about the action "request".
func (v *validator) askSchema() schema {
	if v.asking == nil {
		v.asking = askContext()
	}
	return schema{known: v.known, actions: map[string]actionDef{actionRequest: {resources: []types.EntityType{typeTool}, context: v.asking, bare: true}}}
}

// Asked is what a Set says of a request for a right.
type Asked struct {
	Permits []string  // ids of permits that matched, sorted
	Approve []Approve // what each of them says
	Forbids []string  // ids of forbids that matched
	Errors  []string  // ids of policies whose evaluation erred
	Advice  []string  // of the forbids
}

// Denied reports whether the right cannot be asked for where the set speaks of who
// must approve: nothing permits it, something forbids it, or cannot be evaluated.
func (a *Asked) Denied() bool {
	return len(a.Forbids)+len(a.Errors) > 0 || len(a.Permits) == 0 || slices.ContainsFunc(a.Approve, func(x Approve) bool { return x.Deny })
}

// Approves reports whether a permit of the set says who must approve what is asked
// for. Where none does, only what forbids to ask counts, and the rest is for others
// to say.
func (s *Set) Approves() bool {
	return slices.ContainsFunc(s.statements, func(st *statement) bool { return st.asking && st.permit })
}

// Ask answers whether q, a call of the right that is asked for, may be asked for,
// and who must approve it. The right lives so many seconds and lets through so
// many calls, 0 for any number. It is pure and total.
func (s *Set) Ask(q *Query, seconds, uses int64) Asked {
	if uses <= 0 {
		uses = math.MaxInt64
	}
	e := newEvaluation(s, q)
	e.action = family{self: uid(typeAction, actionRequest)}
	var permits, forbids list
	for _, i := range s.index.find(s.statements, &e.action, &e.principal, &e.resource, e.found[:0]) {
		st := s.statements[i]
		if e.bits |= st.reads.bits; !st.asking {
			continue
		}
		if st.permit {
			permits = append(permits, st)
		} else {
			forbids = append(forbids, st)
		}
	}
	context := types.RecordMap{"tier": types.Long(q.Tool.Tier), "seconds": types.Long(seconds), "uses": types.Long(uses), "now": types.NewDatetime(q.Now),
		"session": e.session()}
	if !q.Subject.Autonomous() {
		context["subject"] = uid(typeHuman, humanID(q.Subject))
	}
	e.request = types.Request{Principal: e.principal.self, Action: e.action.self, Resource: e.resource.self, Context: types.NewRecord(context)}
	var v Verdict
	e.authorize(permits, &v)
	e.authorize(forbids, &v)
	v.sort()
	out := Asked{Permits: v.Permits, Forbids: v.Forbids, Errors: v.Errors, Advice: v.Advice}
	for _, id := range out.Permits {
		out.Approve = append(out.Approve, s.byID(id).approve)
	}
	return out
}
