package admin

import (
	"context"
	"slices"

	"rutile/internal/finding"
	"rutile/internal/inspect"
	"rutile/internal/rawjson"
	"rutile/internal/registry"
)

// DefinitionBeside is the rule of approved definitions that look wrong only beside
// tools that other servers brought later.
const DefinitionBeside = "DEFINITION_BESIDE"

// sourceBeside holds what is said of definitions beside others, for each node.
const sourceBeside = "beside:"

// Beside reads the approved tools of all servers again, each beside those of the
// others, and raises what nobody accepted. It stops none of them: who registers a
// tool could stop another's by it. What was read last is returned, and is not read
// again while it is still so.
func (f *Findings) Beside(ctx context.Context, node, last string) (string, error) {
	view := f.admin.Current().View
	ins := &inspector{inspection: f.admin.inspect, view: view}
	digest := ins.surroundings().digest
	if digest == last {
		return last, nil
	}
	says := finding.Says{Source: sourceBeside + node, Covers: finding.Everything}
	for _, s := range view.Servers() {
		if !view.ServerStanding(s.ID).OK {
			continue
		}
		for _, t := range view.Tools(s.ID) {
			if ctx.Err() != nil {
				return last, ctx.Err()
			}
			says.Raised = append(says.Raised, ins.besides(s, t)...)
		}
	}
	if err := f.Tell(ctx, says); err != nil {
		return last, err
	}
	return digest, nil
}

// besides is what an approved tool shows beside others and nobody accepted.
func (i *inspector) besides(s registry.Server, t registry.Tool) []finding.Raised {
	offered, digest := t.Offered()
	if t.Kind() != registry.KindTool || t.State != registry.ToolApproved || digest == "" {
		return nil
	}
	def, err := rawjson.Parse(offered, rawjson.Limits{Bytes: registry.MaxDefinition})
	if err != nil {
		return nil // a pin is kept as it was parsed
	}
	subject := t.Subject(def)
	subject.Approved, subject.Accepted = t.ApprovedAt, t.Accepted
	var out []finding.Raised
	for _, x := range i.beside(subject, def).Findings {
		same := func(a registry.Finding) bool { return a.Rule == x.Rule && a.Peer == x.Peer }
		if x.Tier < inspect.Review || slices.ContainsFunc(t.Accepted, same) {
			continue
		}
		r := finding.Raised{Rule: DefinitionBeside, Subject: finding.Subject{Kind: finding.SubjectTool, ID: toolObject(t)}, Place: x.Rule + " " + x.Peer, Severity: finding.Medium, Owner: s.Owner,
			Why:      "its approved definition " + x.Why,
			Evidence: []string{"rule " + x.Rule, "the other tool: " + x.Peer},
			Next:     "look at both: rutile tool show " + t.Server + " " + t.Name + "; rutile tool quarantine stops the one that is wrong, rutile finding mute leaves both"}
		if x.Tier == inspect.Block {
			r.Severity = finding.High
		}
		out = append(out, r)
	}
	return out
}
