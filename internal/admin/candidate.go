package admin

import (
	"context"
	"strings"

	"rutile/internal/access"
	"rutile/internal/policy"
)

// Draft says which rules are meant that are not in force: a generation, or what
// applying manifests and policies to the present state would lead to. What they do
// not name stands.
type Draft struct {
	Generation uint64          `json:"generation,omitempty"` // instead of the others
	Documents  []Document      `json:"documents,omitempty"`
	Policies   []policy.Policy `json:"policies,omitempty"` // bare Cedar
}

// Candidate returns the state a draft would lead to, checked whole as an apply
// checks it. Nothing is changed and nothing recorded. An empty draft is the present
// state.
func (a *Admin) Candidate(ctx context.Context, d Draft) (*Current, error) {
	cur := a.current.Load()
	if d.Generation > 0 {
		if len(d.Documents)+len(d.Policies) > 0 {
			return nil, access.Errorf(access.CodeInvalid, "a generation and files were given: give one of them")
		}
		v, err := a.Version(ctx, d.Generation)
		if err != nil {
			return nil, err
		}
		plan, _, err := a.restore(cur, v, System())
		if err != nil {
			return nil, err
		}
		if plan.next == nil {
			return cur, nil
		}
		return plan.next, nil
	}
	manifests, problems := parseAll(d.Documents)
	if err := problems.err(); err != nil {
		return nil, err
	}
	bare, err := barePolicies(cur, d.Policies)
	if err != nil {
		return nil, err
	}
	manifests = append(manifests, bare...)
	known, err := a.secrets(ctx)
	if err != nil {
		return nil, err
	}
	p := &planner{cur: cur, now: a.now(), by: system, secrets: known, draft: newDraft()}
	p.all(manifests)
	if err := p.problems.err(); err != nil {
		return nil, err
	}
	if p.draft.empty() {
		return cur, nil
	}
	return a.after(cur, p.draft)
}

// barePolicies are policies as manifests of their own. Bare text says no layer, so it
// leaves that as it is.
func barePolicies(cur *Current, list []policy.Policy) ([]*manifest, error) {
	var out []*manifest
	for _, p := range list {
		if !access.ValidID(p.ID) {
			return nil, access.Errorf(access.CodeInvalid, "%s: %q cannot be the id of a policy: name it with lower-case letters, digits and -", p.File, clip(p.ID))
		}
		if r, bad := unseen(strings.NewReplacer("\n", "", "\t", "").Replace(p.Cedar)); bad {
			return nil, access.Errorf(access.CodeInvalid, "%s: policy %s holds the invisible character %U: remove it", p.File, p.ID, r)
		}
		if old, ok := cur.policy(p.ID); ok && p.Layer == "" {
			p.Layer = old.Layer
		}
		out = append(out, &manifest{kind: kindPolicy, id: p.ID, policy: &p, place: Problem{File: p.File, Line: 1, Column: 1}})
	}
	return out, nil
}

// Publish puts policies in force that were tried before, all or none, as Apply does.
// generation is that of the registry they were tried on: where anything of it or of the
// rules changed since, nothing is done and the error is an access.CodeConflict. why is
// kept with the generation of the rules it makes.
func (a *Admin) Publish(ctx context.Context, actor Actor, list []policy.Policy, generation uint64, why string) (Plan, error) {
	if err := checkReason(why); err != nil {
		return Plan{}, err
	}
	if err := a.Authorize(ctx, actor, OpPolicy); err != nil {
		return Plan{}, err
	}
	known, err := a.secrets(ctx)
	if err != nil {
		return Plan{}, err
	}
	var plan Plan
	return a.carryOut(ctx, actor, false, &plan, func(cur *Current) (*draft, error) {
		if g := cur.View.Generation(); g != generation {
			return nil, access.Errorf(access.CodeConflict, "what is registered or in force changed since it was tried (generation %d, now %d): try it again, and publish then", generation, g)
		}
		manifests, err := barePolicies(cur, list)
		if err != nil {
			return nil, err
		}
		d, err := a.planned(ctx, cur, actor, manifests, known, &plan)
		if d != nil {
			d.why = why
		}
		return d, err
	})
}
