package policy

import (
	"math"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/types"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"

	"rutile/internal/access"
)

// FullScan answers q the slow way: every statement as written, scopes and all,
// goes through Cedar with every entity, attribute and context member built. It
// shares neither the index nor the lazy entities with Evaluate.
func (s *Set) FullScan(q *Query) Verdict {
	str := func(s string) types.Value { return types.String(s) }
	set := func(l []string) types.Value {
		var v []types.Value
		for _, s := range l {
			v = append(v, types.String(s))
		}
		return types.NewSet(v...)
	}
	agent, tool := uid("Mcp::Agent", q.Agent.ID), uid("Mcp::Tool", q.Action)
	server, action := uid("Mcp::Server", q.Server.ID), uid("Mcp::Action", q.Action)
	act := func(names ...string) types.EntityUIDSet {
		var ids []types.EntityUID
		for _, n := range names {
			ids = append(ids, uid("Mcp::Action", n))
		}
		return types.NewEntityUIDSet(ids...)
	}
	entities := types.EntityMap{}
	put := func(id types.EntityUID, parents types.EntityUIDSet, attrs types.RecordMap) {
		entities[id] = types.Entity{UID: id, Parents: parents, Attributes: types.NewRecord(attrs)}
	}
	for g, parents := range map[string]types.EntityUIDSet{"call": act(), "read": act("call"), "write": act("call"), "egress": act("call"), "destroy": act("write"), "discover": act()} {
		put(uid("Mcp::Action", g), parents, nil)
	}
	classes := slices.Clone(q.Tool.Classes)
	for _, c := range classes {
		if !slices.Contains([]string{"read", "write", "destroy", "egress"}, c) {
			classes = append(classes, "destroy", "egress")
		}
	}
	groups := append(slices.Clone(classes), "call")
	switch q.Tool.Kind {
	case access.KindServer:
		groups = []string{"discover"}
	case access.KindAsk:
		groups = []string{"call"}
	case access.KindPrompt:
		groups = append(groups, q.Server.ID+"/prompts/*")
	}
	put(action, act(groups...), nil)
	class := types.NewEntityUIDSet()
	if q.Agent.Class != "" {
		class = types.NewEntityUIDSet(uid("Mcp::AgentClass", q.Agent.Class))
	}
	put(agent, class, types.RecordMap{"owner": uid("Mcp::Group", q.Agent.Owner), "class": str(q.Agent.Class), "runtime": str(q.Agent.Runtime),
		"model": str(q.Agent.Model), "tier": types.Long(q.Agent.Tier), "attested": types.Boolean(q.Agent.Attested),
		"status": str(q.Agent.Status), "dataScopes": set(q.Agent.DataScopes), "risk": types.Long(q.risk().Agent)})
	put(uid("Mcp::Human", humanID(q.Subject)), types.NewEntityUIDSet(), types.RecordMap{"risk": types.Long(q.risk().Person)})
	parents := []types.EntityUID{server}
	if q.Tool.Kind != access.KindServer && q.Tool.Kind != access.KindAsk {
		for _, c := range q.Tool.Classes {
			parents = append(parents, uid("Mcp::ToolClass", c))
		}
	}
	call := q.Tool.Kind != access.KindServer && q.Tool.Kind != access.KindAsk
	put(tool, types.NewEntityUIDSet(parents...), types.RecordMap{"digest": str(q.Tool.Digest), "pinned": types.Boolean(q.Tool.Pinned),
		"destructive": types.Boolean(call && slices.Contains(classes, "destroy")), "egress": types.Boolean(call && slices.Contains(classes, "egress")),
		"tier": types.Long(q.Tool.Tier), "labels": set(q.Tool.Labels), "kind": str(string(q.Tool.Kind))})
	put(server, types.NewEntityUIDSet(), types.RecordMap{"owner": uid("Mcp::Group", q.Server.Owner), "state": str(q.Server.State)})

	var shape *typ
	if q.Tool.Kind == access.KindTool {
		shape = s.inputs[q.Action]
	}
	input, exact := inputOf(q.Arguments, shape, &tree{all: true})
	if q.Tool.Kind == access.KindResource {
		input = resourceInput(q.Target)
	}
	touched := q.Touched
	if touched == nil {
		touched = &access.Touched{}
	}
	flows := types.RecordMap{}
	for id := range flowFacts() {
		v, ok := touched.Flow[id]
		flows[types.String(id)] = flowValue(id, v, ok)
	}
	ctx := types.RecordMap{"facts": types.NewRecord(flows), "input": input, "now": types.NewDatetime(q.Now), "session": types.NewRecord(types.RecordMap{
		"id": str(q.Session.ID), "task": str(q.Session.Task), "depth": types.Long(q.Session.Depth),
		"bound": types.Boolean(q.Session.Bound), "startedAt": types.NewDatetime(q.Session.StartedAt),
		"taint": set(touched.Taint), "labels": set(touched.Labels), "risk": types.Long(q.risk().Session)})}
	if o := q.Output; o != nil {
		ctx["output"] = types.NewRecord(types.RecordMap{"labels": set(o.Labels), "findings": set(o.Findings), "bytes": types.Long(o.Bytes)})
	}
	if q.Subject.ID != "" {
		ctx["subject"] = uid("Mcp::Human", humanID(q.Subject))
	}
	request := types.Request{Principal: agent, Action: action, Resource: tool, Context: types.NewRecord(ctx)}
	g := q.Grant
	for _, st := range s.statements {
		if ok, _ := cedar.Authorize(cedar.PolicyMap{"x": cedar.NewPolicyFromAST(st.full)}, entities, request); st.list != nil && bool(ok) && g == nil {
			g = &GrantFacts{ID: "standing", Remaining: math.MaxInt64, ExpiresAt: st.list.Expires}
		}
	}
	if g != nil {
		ctx["grant"] = types.NewRecord(types.RecordMap{"id": str(g.ID), "remaining": types.Long(g.Remaining),
			"expiresAt": types.NewDatetime(g.ExpiresAt), "quorum": types.Long(g.Quorum), "argsBound": types.Boolean(g.ArgsBound), "depth": types.Long(g.Depth)})
		request.Context = types.NewRecord(ctx)
	}
	var v Verdict
	for _, st := range s.statements {
		full := cedar.NewPolicyFromAST(st.full)
		judged := true
		delete(ctx, "derived")
		if st.reads.derived != nil {
			v, uri := q.Arguments, false
			if q.Tool.Kind == access.KindResource {
				v, uri = uriArgument(q.Target), true
			}
			if ctx["derived"], judged = derivedOf(v, shape, uri, st.reads.derived); !judged {
				delete(ctx, "derived")
			}
		}
		request.Context = types.NewRecord(ctx)
		if q.Tool.Kind != access.KindResource && st.reads.input != nil {
			own, fits := inputOf(q.Arguments, shape, st.reads.input)
			if judged = judged && fits; !exact {
				ctx["input"] = own // what is not read has no exact value
				request.Context = types.NewRecord(ctx)
			}
		}
		if !judged { // it errs where its scope matches
			x := *(*xast.Policy)(st.full)
			x.Conditions = nil
			full = cedar.NewPolicyFromAST((*ast.Policy)(&x))
		}
		_, diag := cedar.Authorize(cedar.PolicyMap{cedar.PolicyID(st.id): full}, entities, request)
		switch {
		case !judged && len(diag.Reasons) > 0:
			v.Errors = append(v.Errors, st.id)
		case len(diag.Errors) > 0:
			v.Errors = append(v.Errors, st.id)
		case len(diag.Reasons) == 0:
		case st.permit:
			v.Permits = append(v.Permits, st.id)
		case annotationsOf(st.full)["outcome"] == "mask" && slices.Contains(q.Masked, st.id):
			v.Met = append(v.Met, st.id)
		default:
			v.Forbids = append(v.Forbids, st.id)
			v.annotated(st)
		}
	}
	for _, l := range [][]string{v.Permits, v.Forbids, v.Errors, v.Asks, v.Met} {
		slices.Sort(l)
	}
	slices.SortFunc(v.Limits, func(x, y access.Limit) int { return strings.Compare(x.Policy, y.Policy) })
	slices.SortFunc(v.Masks, func(x, y access.Masking) int { return strings.Compare(x.Policy, y.Policy) })
	if remedied := len(v.Asks) + len(v.Limits) + len(v.Masks); len(v.Errors) == 0 && len(v.Forbids) == remedied && len(v.Permits) > 0 {
		v.Outcome = access.Permit
		for _, x := range []struct {
			n  int
			is access.Outcome
		}{{len(v.Masks), access.Mask}, {len(v.Asks), access.RequireApproval}, {len(v.Limits), access.RateLimit}} {
			if x.n > 0 {
				v.Outcome = x.is
			}
		}
	}
	s.consequences(&v)
	return v
}

// consequences notes those of the forbids that matched, from their texts.
func (s *Set) consequences(v *Verdict) {
	for _, word := range []access.Outcome{access.Terminate, access.Revoke, access.Quarantine} {
		at := len(v.Consequences)
		for _, st := range s.statements {
			notes := annotationsOf(st.full)
			if notes["outcome"] == types.String(word.String()) && slices.Contains(v.Forbids, st.id) {
				v.Consequences = append(v.Consequences, access.Consequence{Outcome: word, Target: access.Target(notes["target"]), Policy: st.id})
			}
		}
		slices.SortFunc(v.Consequences[at:], func(x, y access.Consequence) int { return strings.Compare(x.Policy, y.Policy) })
	}
	if len(v.Consequences) > 0 {
		v.Outcome = v.Consequences[0].Outcome
	}
}

// annotated notes what the annotations of a forbid that matched say, from its text.
func (v *Verdict) annotated(st *statement) {
	notes := annotationsOf(st.full)
	switch notes["outcome"] {
	case "require_approval":
		v.Asks = append(v.Asks, st.id)
	case "rate_limit":
		v.Limits = append(v.Limits, access.Limit{Policy: st.id, Fact: string(notes["fact"])})
	case "mask":
		v.Masks = append(v.Masks, access.Masking{Policy: st.id, Places: strings.Split(string(notes["mask"]), ", ")})
	}
}
