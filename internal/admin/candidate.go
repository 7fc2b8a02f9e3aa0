package admin

import (
	"context"

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
	for _, p := range d.Policies {
		if !access.ValidID(p.ID) {
			return nil, access.Errorf(access.CodeInvalid, "%s: %q cannot be the id of a policy: name the file with lower-case letters, digits and -", p.File, clip(p.ID))
		}
		manifests = append(manifests, &manifest{kind: kindPolicy, id: p.ID, policy: &p, place: Problem{File: p.File, Line: 1, Column: 1}})
	}
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
