package registry

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"rutile/internal/access"
	"rutile/internal/rawjson"
)

// Definition is one entry of a listing: the name the server gave it (the URI of
// a resource, the URI template of a template, nothing for instructions) and its
// bytes as received.
type Definition struct {
	Name string
	Raw  []byte
}

// Listing is everything of one kind a server lists, over all pages.
type Listing struct {
	Kind        Kind // the empty value is KindTool
	Definitions []Definition
}

// ChangeKind says what a listing means for one definition.
type ChangeKind string

// The kinds of change.
const (
	ChangeBaseline   ChangeKind = "baseline"   // approved by the first listing after sanction
	ChangeNew        ChangeKind = "new"        // waits for approval
	ChangeDrift      ChangeKind = "changed"    // differs from the pin, or from what was last seen
	ChangeSpelling   ChangeKind = "spelling"   // same canonical form, other bytes: passes
	ChangeRestored   ChangeKind = "restored"   // equals its pin again
	ChangeAbsent     ChangeKind = "absent"     // not listed any more
	ChangeReappeared ChangeKind = "reappeared" // listed although retired or blocked
	ChangeRefused    ChangeKind = "refused"    // cannot be pinned: not kept, not offered
	ChangePassed     ChangeKind = "passed"     // differs from the pin in what needs nobody to look
	ChangeInspected  ChangeKind = "inspected"  // the same definition, read by other rules than before
)

// Change is what a listing means for one definition.
type Change struct {
	Kind   ChangeKind `json:"kind"`
	Server string     `json:"server"`
	Name   string     `json:"name"` // as kept, see NameOf
	State  ToolState  `json:"state,omitempty"`
	Before string     `json:"before,omitempty"` // canonical digest
	After  string     `json:"after,omitempty"`
	Note   string     `json:"note,omitempty"`
	Grade  Grade      `json:"grade,omitempty"` // of a change from the pin
	// Drift says what changed, Findings what was found in it.
	Drift    []DriftChange `json:"drift,omitempty"`
	Findings []Finding     `json:"findings,omitempty"`
}

// Observation is what a listing means: the rows it changes and why.
type Observation struct {
	Server  *Server // set if the listing became the server's baseline
	Tools   []Tool  // changed rows, sorted by name
	Changes []Change
}

// Hold returns the observation with nothing approved: what the first listing
// would have approved waits for a person instead, for the reason in note.
func (o Observation) Hold(note string) Observation {
	out := Observation{Server: o.Server, Tools: slices.Clone(o.Tools), Changes: slices.Clone(o.Changes)}
	waits := map[string]bool{}
	for i, c := range out.Changes {
		if c.Kind == ChangeBaseline {
			waits[c.Name] = true
			out.Changes[i].Kind, out.Changes[i].State, out.Changes[i].Note = ChangeNew, ToolPending, note
		}
	}
	for i, t := range out.Tools {
		if waits[t.Name] {
			t.State, t.Pinned, t.PinDigest, t.PinRaw, t.ApprovedBy, t.ApprovedAt = ToolPending, nil, "", "", "", time.Time{}
			out.Tools[i] = t
		}
	}
	return out
}

// baselineTime is how long after the first listing of one kind that of another
// may still approve. The kinds are listed one after the other; a server that
// withholds one must not bring it in unseen once it is trusted.
const baselineTime = time.Hour

// Observe says what a listing of a server means, changing nothing.
//
// The first listing of a kind after a server is sanctioned approves every
// definition it holds in which nothing is found, if it comes with those of the
// other kinds (or is of capabilities: they were in use before they were pinned). No later listing approves anything: what is new waits; what
// differs from its pin is graded, and passes, waits or is quarantined; what
// equals its pin again is approved as before; what is missing is absent. A
// definition that cannot be judged (broken JSON, impossible name, too large) is
// refused and counts as missing. A listing with the same name twice, or with too
// many names, is refused whole.
func Observe(v *View, server string, l Listing, ins Inspector, now time.Time) (Observation, error) {
	s, ok := v.Server(server)
	if !ok {
		return Observation{}, access.Errorf(access.CodeNotFound, "server %q is not registered", server)
	}
	if l.Kind == "" {
		l.Kind = KindTool
	}
	if len(l.Definitions) > MaxDefinitions {
		return Observation{}, access.Errorf(access.CodeTooLarge, "server %q lists %d definitions of kind %s, more than %d", server, len(l.Definitions), l.Kind, MaxDefinitions)
	}
	o := observer{server: s, kind: l.Kind, now: now, ins: ins, baseline: s.State == ServerSanctioned, old: map[string]Tool{}}
	for name, t := range v.tools[server] {
		if t.Kind() == l.Kind {
			o.old[name] = t
			o.baseline = o.baseline && t.PinDigest == ""
		}
	}
	for kind, at := range s.Baseline {
		if kind == l.Kind || now.Sub(at) > baselineTime && l.Kind != KindCapabilities {
			o.baseline = false
		}
	}
	seen := make(map[string]bool, len(l.Definitions))
	for _, d := range l.Definitions {
		if seen[d.Name] {
			return Observation{}, access.Errorf(access.CodeUpstream, "server %q lists the %s %q twice: which one is meant cannot be known", server, l.Kind, d.Name)
		}
		seen[d.Name] = true
		o.siblings = append(o.siblings, d.Name)
	}
	o.listing(l.Definitions)
	return o.result(), nil
}

type observer struct {
	server   Server
	kind     Kind
	now      time.Time
	ins      Inspector
	baseline bool
	stop     string // why the whole server is quarantined, "" if it is not
	old      map[string]Tool
	siblings []string // the names listed
	listed   []rawjson.Value
	place    int // of the one being judged
	rows     []Tool
	changes  []Change
}

func (o *observer) listing(defs []Definition) {
	listed := make(map[string]bool, len(defs))
	var names []string
	for _, d := range defs {
		name := NameOf(o.kind, d.Name)
		def, err := check(o.kind, d)
		if err != nil {
			o.changes = append(o.changes, Change{Kind: ChangeRefused, Server: o.server.ID, Name: name, Note: err.Error()})
			continue
		}
		listed[name] = true
		names, o.listed = append(names, name), append(o.listed, def)
	}
	for i, name := range names {
		o.place = i
		o.definition(name, o.listed[i])
	}
	for name, t := range o.old {
		if listed[name] {
			continue
		}
		switch t.State {
		case ToolPending, ToolApproved, ToolChanged:
			t.State = ToolAbsent
			o.keep(t, ChangeAbsent, t.SeenDigest, "")
		}
	}
}

// check parses a definition and makes sure that it is called what it says.
func check(kind Kind, d Definition) (rawjson.Value, error) {
	if err := ValidName(kind, d.Name); err != nil {
		return rawjson.Value{}, err
	}
	if len(d.Raw) > MaxDefinition {
		return rawjson.Value{}, access.Errorf(access.CodeTooLarge, "the definition has %d bytes, more than %d", len(d.Raw), MaxDefinition)
	}
	def, err := parse(d.Raw)
	if err != nil {
		return rawjson.Value{}, err
	}
	member := map[Kind]string{KindTool: "name", KindPrompt: "name", KindResource: "uri", KindTemplate: "uriTemplate"}[kind]
	switch {
	case kind == KindInstructions && def.Kind() != rawjson.String:
		return rawjson.Value{}, access.Errorf(access.CodeUpstream, "instructions must be a string")
	case kind == KindCapabilities && def.Kind() != rawjson.Object:
		return rawjson.Value{}, access.Errorf(access.CodeUpstream, "capabilities must be an object")
	case !kind.OfServer() && (def.Kind() != rawjson.Object || !def.Get(member).Equals(d.Name)):
		return rawjson.Value{}, access.Errorf(access.CodeUpstream, "the definition must be an object whose %s is its name", member)
	}
	return def, nil
}

// CheckDefinition returns the digests of a definition that could be pinned, or
// says why it cannot.
func CheckDefinition(kind Kind, d Definition) (canonical, raw string, err error) {
	def, err := check(kind, d)
	if err != nil {
		return "", "", err
	}
	canonical, raw = Digest(def)
	return canonical, raw, nil
}

// by names who approved the baseline: who sanctioned the server, where that is
// known.
func (o *observer) by() string {
	if o.server.StateBy == "" {
		return "baseline"
	}
	return o.server.StateBy
}

func (o *observer) keep(t Tool, k ChangeKind, before, after string) {
	c := Change{Kind: k, Before: before, After: after}
	if k == ChangeReappeared {
		c.Note = fmt.Sprintf("listed by its server although %s", t.State)
	}
	o.note(t, c)
}

// note keeps a row and says why it changed.
func (o *observer) note(t Tool, c Change) {
	t.LastSeen = o.now
	o.rows = append(o.rows, t)
	if c.After == "" && c.Kind != ChangeAbsent {
		c.After = t.SeenDigest
	}
	c.Server, c.Name, c.State = t.Server, t.Name, t.State
	o.changes = append(o.changes, c)
}

func (o *observer) result() Observation {
	byName := func(a, b string) int {
		switch {
		case a < b:
			return -1
		case a > b:
			return 1
		}
		return 0
	}
	slices.SortFunc(o.rows, func(a, b Tool) int { return byName(a.Name, b.Name) })
	slices.SortStableFunc(o.changes, func(a, b Change) int { return byName(a.Name, b.Name) })
	out := Observation{Tools: o.rows, Changes: o.changes}
	if o.stop != "" {
		if s, err := ChangeServer(o.server, VerbQuarantine, "system", o.stop, o.now); err == nil {
			out.Server = &s
			return out
		}
	}
	if _, taken := o.server.Baseline[o.kind]; !taken && o.server.State == ServerSanctioned {
		s := o.server
		s.Baseline = maps.Clone(s.Baseline)
		if s.Baseline == nil {
			s.Baseline = map[Kind]time.Time{}
		}
		s.Baseline[o.kind] = o.now
		out.Server = &s
	}
	return out
}

// classify proposes the class of t, unless a person set it.
func classify(t Tool, def rawjson.Value) Tool {
	if t.ClassBy == "" {
		t.Class = ProposeClass(t.Kind(), def)
	}
	return t
}

// pin makes what was last seen the approved definition.
func pin(t Tool, raw, by string, now time.Time) Tool {
	t.State = ToolApproved
	t.Pinned, t.PinDigest, t.PinRaw = t.Seen, t.SeenDigest, raw
	t.ApprovedBy, t.ApprovedAt = by, now
	t.Drift, t.Accepted, t.Returns = nil, nil, 0
	return t
}

// Approve pins what was last seen, with what is found in it, and accepts its
// proposed class, unless a person set one before: that stays. Only a definition
// that is pending, changed, let pass, or quarantined for how it changed can be
// approved; anything else is a CodeConflict error that names the state.
func Approve(t Tool, ins Inspector, by string, now time.Time) (Tool, error) {
	what := fmt.Sprintf("%s %q of server %q", t.Kind(), t.Bare(), t.Server)
	if !t.Approvable() {
		return Tool{}, access.Errorf(access.CodeConflict, "%s is %s: only a pending or changed definition can be approved", what, word(t.State))
	}
	if len(t.Seen) == 0 {
		return Tool{}, access.Errorf(access.CodeConflict, "%s has not been listed since: have its server listed first", what)
	}
	def, err := parse(t.Seen)
	if err != nil {
		return Tool{}, fmt.Errorf("approving %s: %w", what, err)
	}
	digest, raw := Digest(def)
	if digest != t.SeenDigest {
		return Tool{}, access.Errorf(access.CodeConflict, "the kept definition of %s does not have the digest it was seen with: have its server listed again", what)
	}
	found := ins.Inspect(t.Subject(def))
	t = pin(classify(t, def), raw, by, now)
	t.Found, t.Accepted = &found, found.Findings
	return t, nil
}
