package policy

import (
	"math"
	"slices"

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
		"status": str(q.Agent.Status), "dataScopes": set(q.Agent.DataScopes)})
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
	ctx := types.RecordMap{"input": input, "now": types.NewDatetime(q.Now), "session": types.NewRecord(types.RecordMap{
		"id": str(q.Session.ID), "task": str(q.Session.Task), "depth": types.Long(q.Session.Depth),
		"bound": types.Boolean(q.Session.Bound), "startedAt": types.NewDatetime(q.Session.StartedAt)})}
	if q.Subject.ID != "" {
		ctx["subject"] = uid("Mcp::Human", humanID(q.Subject))
	}
	request := types.Request{Principal: agent, Action: action, Resource: tool, Context: types.NewRecord(ctx)}
	g := q.Grant
	for _, st := range s.statements {
		if ok, _ := cedar.Authorize(cedar.PolicyMap{"x": st.full}, entities, request); st.list != nil && bool(ok) && g == nil {
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
		full := st.full
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
			x := *(*xast.Policy)(st.full.AST())
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
		default:
			v.Forbids = append(v.Forbids, st.id)
			if st.full.Annotations()["outcome"] == "require_approval" {
				v.Asks = append(v.Asks, st.id)
			}
		}
	}
	slices.Sort(v.Permits)
	slices.Sort(v.Forbids)
	slices.Sort(v.Errors)
	slices.Sort(v.Asks)
	if len(v.Errors) == 0 && len(v.Forbids) == len(v.Asks) && len(v.Permits) > 0 {
		v.Outcome = access.Permit
		if len(v.Asks) > 0 {
			v.Outcome = access.RequireApproval
		}
	}
	return v
}
