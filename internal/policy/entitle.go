package policy

import (
	"slices"

	"github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/types"

	"rutile/internal/access"
)

// entitle compiles one entitlement: for each of its agents and classes, and each
// server, a permit and the forbid that a grant lifts. They are built as syntax
// trees, so no id or name in them can be read as Cedar. No agent can be called
// like "class_" and a class: ids have no "_". Who may receive a right from another
// agent is permitted while it holds one.
func (b *builder) entitle(r *Entitlement) {
	src := &Policy{ID: "entitlement." + r.ID, Layer: LayerGenerated}
	if !access.ValidID(r.ID) {
		b.problem(SeverityError, src, 1, 1, "%q cannot be the id of an entitlement", r.ID)
		return
	}
	actions, idle, errs := expand(AllowList{Patterns: r.Patterns}, b.catalog)
	for _, text := range idle {
		b.problem(SeverityWarning, src, 1, 1, "tools of entitlement %s: %q covers none of the approved tools", r.ID, text)
	}
	if actions[access.OwnServer] != nil {
		b.problem(SeverityError, src, 1, 1, "tools of entitlement %s: what server %q offers is every agent's and is not asked for; a policy may forbid it", r.ID, access.OwnServer)
		return
	}
	for _, err := range errs {
		b.problem(SeverityError, src, 1, 1, "tools of entitlement %s: %v", r.ID, err)
	}
	servers := make([]string, 0, len(actions))
	for s := range actions {
		servers = append(servers, s)
	}
	slices.Sort(servers)
	for _, server := range servers {
		uids := make([]types.EntityUID, len(actions[server]))
		for i, a := range actions[server] {
			uids[i] = uid(typeAction, a)
		}
		for _, agent := range r.Agents {
			b.right(src, r.ID, src.ID+"."+agent+"."+server, func(p *ast.Policy) *ast.Policy {
				return p.PrincipalEq(uid(typeAgent, agent)).ActionInSet(uids...).ResourceIn(uid(typeServer, server))
			})
		}
		for _, class := range r.Classes {
			b.right(src, r.ID, src.ID+".class_"+class+"."+server, func(p *ast.Policy) *ast.Policy {
				return p.PrincipalIn(uid(typeAgentClass, class)).ActionInSet(uids...).ResourceIn(uid(typeServer, server))
			})
		}
		for _, agent := range r.Heirs {
			b.heir(src, r.ID, src.ID+".heir_"+agent+"."+server, func(p *ast.Policy) *ast.Policy {
				return p.PrincipalEq(uid(typeAgent, agent)).ActionInSet(uids...).ResourceIn(uid(typeServer, server))
			})
		}
		for _, class := range r.HeirClasses {
			b.heir(src, r.ID, src.ID+".heirclass_"+class+"."+server, func(p *ast.Policy) *ast.Policy {
				return p.PrincipalIn(uid(typeAgentClass, class)).ActionInSet(uids...).ResourceIn(uid(typeServer, server))
			})
		}
	}
}

// heir adds the permit of who holds a right that was handed on.
func (b *builder) heir(src *Policy, right, id string, scope func(*ast.Policy) *ast.Policy) {
	tree := scope(ast.Annotation("id", types.String(id)).Permit()).
		When(ast.Context().Has("grant").And(ast.Context().Access("grant").Access("depth").GreaterThan(ast.Long(0))))
	b.generated(src, right, id, tree, access.Permit)
}

func (b *builder) generated(src *Policy, right, id string, tree *ast.Policy, outcome access.Outcome) {
	text := *src
	text.Cedar = written(tree)
	b.keep(&statement{id: id, source: &text, piece: piece{text: text.Cedar, line: 1, col: 1}, full: tree, right: right, effect: effect{outcome: outcome}})
}

// right adds the two statements of an entitlement for one scope.
func (b *builder) right(src *Policy, right, id string, scope func(*ast.Policy) *ast.Policy) {
	b.generated(src, right, id, scope(ast.Annotation("id", types.String(id)).Permit()), access.Permit)
	asks := ast.Annotation("id", types.String(id+".ask")).Annotation("outcome", types.String(access.RequireApproval.String())).Forbid()
	b.generated(src, right, id+".ask", scope(asks).Unless(ast.Context().Has("grant")), access.RequireApproval)
}

// EntitlementOf returns the id of the entitlement a statement was compiled from,
// "" if it comes from none.
func (s *Set) EntitlementOf(id string) string {
	i := slices.IndexFunc(s.statements, func(st *statement) bool { return st.id == id })
	if i < 0 {
		return ""
	}
	return s.statements[i].right
}
