package registry

import (
	"bytes"
	"slices"

	"rutile/internal/rawjson"
)

// definition judges one listed definition against its row.
func (o *observer) definition(name string, def rawjson.Value) {
	digest, raw := Digest(def)
	t, known := o.old[name]
	if !known {
		t = Tool{Server: o.server.ID, Name: name, State: ToolPending, Class: ProposeClass(o.kind, def), FirstSeen: o.now}
	}
	before, wasRaw := t.SeenDigest, t.Seen
	same := known && t.SeenDigest == digest
	if !same || !bytes.Equal(t.Seen, def.Raw()) {
		t.Seen, t.SeenDigest = slices.Clone(def.Raw()), digest
	}
	pinned := t.PinDigest != "" && t.PinDigest == digest
	switch t.State {
	case ToolPending, ToolAbsent, ToolApproved, ToolChanged:
	default: // held by a person: only what was seen is kept
		if !same {
			found := o.ins.Inspect(o.subject(t, def))
			t.Found = &found
			o.keep(t, ChangeReappeared, before, digest)
		}
		return
	}
	switch {
	case t.PinDigest == "":
		if o.baseline || t.State != ToolPending || !same || o.stale(t) {
			o.unpinned(t, def, raw, before)
		}
	case pinned && (t.State != ToolApproved || t.Drift != nil || o.stale(t)):
		o.restored(t, def, before)
	case pinned:
		// A server may spell its list differently every time it is asked: only the
		// first spelling other than the pinned one is kept.
		if raw != t.PinRaw && (len(wasRaw) == 0 || bytes.Equal(wasRaw, t.Pinned)) {
			o.keep(t, ChangeSpelling, before, digest)
		}
	case !same || t.State == ToolAbsent || t.State == ToolApproved && (!t.passed() || o.ins.Strict() || o.stale(t)):
		o.drifted(t, def)
	}
}

// stale reports whether what is kept of t was not found by the present rules.
func (o *observer) stale(t Tool) bool {
	return t.Found == nil || t.Found.Rules != o.ins.Rules() || t.Found.Digest != t.SeenDigest ||
		t.Found.Judged != o.ins.Judged(Subject{Server: t.Server, Name: t.Name, Kind: o.kind, Digest: t.SeenDigest})
}

func (o *observer) subject(t Tool, def rawjson.Value) Subject {
	s := t.Subject(def)
	s.Siblings, s.Listed, s.Place = o.siblings, o.listed, o.place
	return s
}

// Subject is what was last listed of t, or its pin, parsed as def.
func (t Tool) Subject(def rawjson.Value) Subject {
	s := Subject{Server: t.Server, Name: t.Name, Kind: t.Kind(), Digest: t.SeenDigest, FirstSeen: t.FirstSeen, Def: def}
	if s.Digest == "" {
		s.Digest = t.PinDigest
	}
	if s.Digest == t.PinDigest {
		s.Approved, s.Accepted = t.ApprovedAt, t.Accepted
	}
	return s
}

// unpinned judges a definition nobody approved: the baseline takes it in if
// nothing is found in it.
func (o *observer) unpinned(t Tool, def rawjson.Value, raw, before string) {
	found := o.ins.Inspect(o.subject(t, def))
	t.Found, t.State = &found, ToolPending
	t = classify(t, def)
	c := Change{Kind: ChangeNew, Before: before, Findings: found.Findings}
	switch {
	case o.baseline && found.Tier == "":
		t, c.Kind = pin(t, raw, o.by(), o.now), ChangeBaseline
	case found.Tier != "":
		c.Note = "inspection calls for " + found.Tier + ": a person must approve it"
	}
	o.note(t, c)
}

// mostReturns is how often a change that was stopped may be taken back before
// nothing but a person's approval counts: who shows a definition by turns waits
// for the moment nobody looks.
const mostReturns = 5

// restored judges a definition that equals its pin and did not count as such.
func (o *observer) restored(t Tool, def rawjson.Value, before string) {
	c := Change{Kind: ChangeRestored, Before: before}
	if t.State == ToolApproved && t.Drift == nil {
		c.Kind = ChangeInspected // only the rules are others
	}
	if t.State == ToolChanged {
		t.Returns++
	}
	found := o.ins.Inspect(o.subject(t, def))
	if c.Kind == ChangeInspected && len(found.Findings) == 0 && (t.Found == nil || len(t.Found.Findings) == 0) {
		return // nothing to keep: it costs less to read it again
	}
	t.Found, t.Drift, t.State, c.Findings = &found, nil, ToolApproved, found.Findings
	switch bad := t.Unaccepted(found, TierBlock); {
	case len(bad) > 0 && o.server.Pinning != PinningObserve:
		t.State, c.Grade, c.Kind = ToolQuarantined, GradeCritical, ChangeInspected
		t.Drift = &Drift{Grade: GradeCritical, Changes: []DriftChange{{Kind: "finding", Pointer: bad[0].Pointer, Grade: GradeCritical, Why: bad[0].Why}}}
		c.Note = "what is found in it was not accepted when it was approved"
	case t.Returns > mostReturns:
		t.State, c.Grade = ToolQuarantined, GradeHigh
		t.Drift = &Drift{Grade: GradeHigh, Changes: []DriftChange{{Kind: "unsteady", Grade: GradeHigh, Why: "it was changed and changed back again and again"}}}
		c.Note = t.Drift.Changes[0].Why
	}
	o.note(t, c)
}

// drifted judges a definition that differs from its pin.
func (o *observer) drifted(t Tool, def rawjson.Value) {
	s := o.subject(t, def)
	c := Change{Kind: ChangeDrift, Before: t.PinDigest}
	pinned, err := parse(t.Pinned)
	if err != nil { // not by us: a pin is kept as it was parsed
		pinned = rawjson.Value{}
	}
	drift, found := o.ins.Drift(pinned, s), o.ins.Inspect(s)
	t.Drift, t.Found = &drift, &found
	c.Grade, c.Drift, c.Findings = drift.Grade, drift.Changes, found.Findings
	switch {
	case drift.Grade.Passes() && !o.ins.Strict():
		t.State, drift.Passed, c.Kind = ToolApproved, true, ChangePassed
	case drift.Grade == GradeCritical && o.server.Pinning != PinningObserve:
		t.State = ToolQuarantined
		if o.kind == KindInstructions {
			o.stop = "its instructions changed: " + worst(drift)
		}
	default:
		t.State = ToolChanged
	}
	o.note(t, c)
}

// worst is the reason for the grade of a change.
func worst(d Drift) string {
	for _, c := range d.Changes {
		if c.Grade == d.Grade {
			return c.Why
		}
	}
	return "it is " + string(d.Grade)
}
