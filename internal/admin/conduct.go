package admin

import (
	"context"
	"time"

	"rutile/internal/access"
	"rutile/internal/conduct"
	"rutile/internal/finding"
	"rutile/internal/registry"
)

// RelearnTool has what is usual of a tool learned anew from its next calls, and what
// is said to be odd about it forgotten.
func (a *Admin) RelearnTool(ctx context.Context, actor Actor, server, name, why string) (registry.Tool, error) {
	if err := checkReason(why); err != nil {
		return registry.Tool{}, err
	}
	var out registry.Tool
	err := a.change(ctx, actor, func(cur *Current) (*draft, error) {
		t, err := findTool(cur, server, name)
		if err != nil {
			return nil, err
		}
		if t.Kind() != registry.KindTool || t.PinDigest == "" {
			return nil, access.Errorf(access.CodeConflict, "%s %q of server %q is no approved tool: nothing is learned of it", t.Kind(), t.Bare(), server)
		}
		before := t.LearnedFrom
		t.LearnedFrom = a.now().UTC()
		out = t
		d := newDraft()
		d.changes.Tools[ToolKey{server, name}] = &t
		d.records = []record{{verb: "relearn", kind: kindTool, object: toolObject(t), reason: why, detail: map[string]time.Time{"before": before, "after": t.LearnedFrom}}}
		return d, nil
	})
	return out, err
}

// sourceConduct holds what is odd about tools, for each node.
const sourceConduct = "conduct:"

// Behaved raises what is odd about tools as a node saw it, and lets go of what is odd
// no more.
func (f *Findings) Behaved(ctx context.Context, node string, odd []conduct.Oddity) error {
	view := f.admin.Current().View
	says := finding.Says{Source: sourceConduct + node, Covers: finding.Everything}
	grades := map[int]finding.Severity{1: finding.Low, 2: finding.Medium, 3: finding.High}
	for _, o := range odd {
		s, _ := view.Server(o.Server)
		says.Raised = append(says.Raised, finding.Raised{
			Rule: o.Rule, Subject: finding.Subject{Kind: finding.SubjectTool, ID: o.Server + "/" + o.Tool}, Place: o.Place, Severity: grades[o.Grave], Why: o.Why, Evidence: o.Evidence, Owner: s.Owner,
			Next: "look at its calls: rutile audit search --server " + o.Server + " --tool " + o.Tool + "; if this is as it should be: rutile tool relearn " + o.Server + " " + o.Tool + " --reason WHY; if not: rutile tool quarantine " + o.Server + " " + o.Tool,
		})
	}
	return f.Tell(ctx, says)
}

// Revision is what conduct is learned of now: false if nothing is.
func (a *Admin) Revision(k conduct.Key) (string, bool) {
	c, ok := a.current.Load().View.Claims(k.Server, k.Tool)
	return c.Revision, ok
}
