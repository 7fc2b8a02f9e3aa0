package admin

import (
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/rawjson"
	"rutile/internal/registry"
)

func (p *planner) server(m *manifest, it *Item) {
	old, exists := p.cur.View.Server(m.id)
	next := *m.server
	next.Created, next.Changed, next.State, next.StateBy = p.now, p.now, registry.ServerTriaged, p.by
	if exists {
		next.Created, next.State, next.StateWhy, next.StateBy = old.Created, old.State, old.StateWhy, old.StateBy
		next.Era, next.Baseline = old.Era, old.Baseline
		next.Asked, next.Blocking, next.Lowered = old.Asked, old.Blocking, old.Lowered
		next.Attested, next.Reminded = old.Attested, old.Reminded
		if !m.expires {
			next.Expires = old.Expires
		}
	}
	if want := registry.ServerState(m.state); !exists && want != "" {
		next.State, next.StateWhy = want, m.why
	} else if want != "" && want != next.State {
		changed, ok := p.serverState(m, it, next, want)
		if !ok {
			return
		}
		next = changed
	}
	for kind, at := range m.baseline {
		if _, taken := next.Baseline[kind]; !taken {
			next.Baseline = maps.Clone(next.Baseline)
			if next.Baseline == nil {
				next.Baseline = map[registry.Kind]time.Time{}
			}
			next.Baseline[kind] = at
		}
	}
	next = p.lifecycle(old, next, it)
	p.pins(m, it)
	pins := len(it.Fields) > 0
	if !it.decide(exists, old, next) {
		return
	}
	if !exists || !pins || len(fieldsOf(old, next)) > 0 {
		p.draft.changes.Servers[m.id] = &next
	}
	p.serverNotes(old, next, it)
}

// serverState moves an existing server to the wanted state, if apply may.
func (p *planner) serverState(m *manifest, it *Item, s registry.Server, want registry.ServerState) (registry.Server, bool) {
	verb := registry.ServerVerb(s.State, want)
	switch s.State {
	case registry.ServerQuarantined, registry.ServerBlocked:
		if verb == registry.VerbApprove || verb == registry.VerbRelease || verb == "" {
			how := "approve"
			if s.State == registry.ServerBlocked {
				how = "release"
			}
			it.note("is %s: apply does not lift that; use rutile server %s %s", s.State, how, m.id)
			return s, true
		}
	case registry.ServerRetired:
		it.note("is retired, which is the end: give a new server another id")
		return s, true
	}
	steps := []registry.Verb{verb}
	if verb == "" && want == registry.ServerDeprecated {
		steps = []registry.Verb{registry.VerbApprove, registry.VerbDeprecate}
	} else if verb == "" {
		p.fail(m, "state", "server %q is %s and cannot become %s: remove state, or change it with rutile server", m.id, s.State, want)
		return s, false
	}
	if slices.Contains(steps, registry.VerbApprove) && s.Asked != nil && (s.Asked.By == p.by || p.strict && !p.known) {
		p.fail(m, "state", "%s", sameReviewer(s))
		return s, false
	}
	// A manifest is one person's word, where blocking takes two.
	if p.strict && verb == registry.VerbBlock && p.cur.RiskOf(s, p.now).Tier >= 3 {
		p.fail(m, "state", "server %q is of risk tier 3: two registered users must want it blocked, each with rutile server block %s", s.ID, s.ID)
		return s, false
	}
	for _, v := range steps {
		next, err := registry.ChangeServer(s, v, p.by, m.why, p.now)
		if err != nil {
			p.fail(m, "state", "%s", err)
			return s, false
		}
		s = next
	}
	return s, true
}

// serverNotes says what a reader should know before approving (mcp.md section 5
// row 6: the exact command, and what is dangerous about it).
func (p *planner) serverNotes(old, next registry.Server, it *Item) {
	p.owner(next.Owner, it)
	if s := next.Transport.Stdio; s != nil {
		it.Runs = append([]string{s.Command}, s.Args...)
		it.Dangers = append(it.Dangers, dangers(it.Runs)...)
		for _, name := range keysOf(s.Env) {
			if steers(name) {
				it.Dangers = append(it.Dangers, fmt.Sprintf("sets %s=%s, which changes what the command runs", name, s.Env[name]))
			}
		}
		it.Dangers = append(it.Dangers, confineDangers(s)...)
	}
	if h := next.Transport.HTTP; h != nil && strings.HasPrefix(h.URL, "http:") && !loopback(h.URL) {
		it.Dangers = append(it.Dangers, "is reached without encryption: everything, its credential too, can be read on the way")
	}
	if c := next.Credential; c != nil && !p.secrets[c.Ref] && !p.minted[c.Ref] {
		it.note("credential %q is not stored yet: use rutile credential set %s", c.Ref, c.Ref)
	}
	if c := next.Credential; c != nil && p.minted[c.Ref] && moved(old, next) {
		it.Dangers = append(it.Dangers, fmt.Sprintf("moves to another address: credential %q is minted for it there only if the origins of its manifest name that", c.Ref))
	}
	if next.State == registry.ServerSanctioned && old.State != registry.ServerSanctioned && next.Baseline == nil {
		it.note("its first listing is approved as it comes; later ones are compared with it")
	}
	if next.Pinning == registry.PinningObserve {
		it.Dangers = append(it.Dangers, "pinning: observe lets changed and new definitions pass")
	}
	if len(next.Restore) > 0 {
		it.Dangers = append(it.Dangers, "restore: its tools are given values that agents see placeholders of")
	}
	for _, pattern := range keysOf(next.Labels) {
		if slices.Contains(next.Labels[pattern], access.LabelPublic) && !slices.Contains(old.Labels[pattern], access.LabelPublic) {
			it.Dangers = append(it.Dangers, fmt.Sprintf("labels: what %s brings back counts as public, whatever its data scopes", pattern))
		}
	}
	if next.Inspection != "" {
		it.Dangers = append(it.Dangers, "inspection: "+next.Inspection+" lets instructions in its results pass")
	}
}

// moved reports whether a server that was somewhere is at another origin.
func moved(old, next registry.Server) bool {
	a, b := old.Transport.HTTP, next.Transport.HTTP
	if a == nil || b == nil {
		return old.ID != "" && (a == nil) != (b == nil)
	}
	x, xerr := url.Parse(a.URL)
	y, yerr := url.Parse(b.URL)
	return xerr != nil || yerr != nil || x.Scheme != y.Scheme || !strings.EqualFold(x.Host, y.Host)
}

// steers reports whether a variable makes a program load or run something else
// than its command line says.
func steers(name string) bool {
	return strings.HasPrefix(name, "LD_") || strings.HasPrefix(name, "DYLD_") || strings.EqualFold(name, "npm_config_registry") ||
		slices.Contains([]string{
			"NODE_OPTIONS", "NODE_PATH", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONHOME", "BASH_ENV", "ENV", "SHELLOPTS", "IFS",
			"PERL5OPT", "PERL5LIB", "RUBYOPT", "RUBYLIB", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "DOTNET_STARTUP_HOOKS",
		}, name)
}

func loopback(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil {
		return false
	}
	if u.Hostname() == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return err == nil && ip.IsLoopback()
}

// pins restores approved definitions. A tool a person holds back stays held.
func (p *planner) pins(m *manifest, it *Item) {
	for _, pin := range m.pins {
		old, exists := p.cur.View.Tool(m.id, pin.Name)
		next := pin
		next.FirstSeen, next.LastSeen = p.now, p.now
		if exists {
			next = old
			if pin.PinDigest != "" && pin.PinDigest != old.PinDigest {
				next.Pinned, next.PinDigest, next.PinRaw = pin.Pinned, pin.PinDigest, pin.PinRaw
				next.ApprovedBy, next.ApprovedAt = pin.ApprovedBy, pin.ApprovedAt
				next.Accepted, next.Drift, next.Returns = pin.Accepted, nil, 0
			}
			if pin.PinDigest != "" {
				next.Class, next.ClassBy = pin.Class, pin.ClassBy
			}
			next.State = pinState(old, pin, next.PinDigest)
			if next.State != pin.State && held(next.State) {
				it.note("%s %q is %s: apply does not lift that", old.Kind(), old.Bare(), old.State)
			}
		}
		p.inspectPin(&next, exists, it)
		before, after := pinFields(old), pinFields(next)
		if exists && slices.Equal(before, after) {
			continue
		}
		p.draft.changes.Tools[ToolKey{m.id, pin.Name}] = &next
		it.Fields = append(it.Fields, FieldChange{Field: "pins." + pin.Name, Before: quote(before), After: quote(after)})
	}
}

// inspectPin reads a definition that a manifest pins. One that calls for block
// counts only with what is found in it accepted: nobody serves it for having
// written it into a file.
func (p *planner) inspectPin(t *registry.Tool, exists bool, it *Item) {
	if p.inspect == nil || t.PinDigest == "" || held(t.State) {
		return
	}
	if old, _ := p.cur.View.Tool(t.Server, t.Name); exists && old.PinDigest == t.PinDigest {
		return
	}
	def, err := rawjson.Parse(t.Pinned, rawjson.Limits{Bytes: registry.MaxDefinition})
	if err != nil {
		return // a pin is parsed where it is read
	}
	s := t.Subject(def)
	s.Approved = time.Time{} // says the file
	found := p.inspect.on(p.cur.View).Inspect(s)
	for _, tier := range []string{registry.TierReview, registry.TierBlock} {
		open := t.Unaccepted(found, tier)
		if len(open) == 0 {
			continue
		}
		it.Dangers = append(it.Dangers, fmt.Sprintf("%s %q %s (%s, %s)", t.Kind(), t.Bare(), open[0].Why, tier, open[0].Key()))
		if tier == registry.TierBlock {
			t.State = registry.ToolQuarantined
			t.Drift = &registry.Drift{Grade: registry.GradeCritical, Changes: []registry.DriftChange{{Kind: "finding", Pointer: open[0].Pointer, Grade: registry.GradeCritical, Why: open[0].Why}}}
		}
	}
}

func held(s registry.ToolState) bool {
	return s == registry.ToolQuarantined || s == registry.ToolBlocked || s == registry.ToolRetired
}

// pinState is the state of a tool after its pin was restored: held stays held,
// a stricter state is taken over, and what was last seen decides the rest.
func pinState(old, pin registry.Tool, digest string) registry.ToolState {
	switch {
	case held(old.State):
		if pin.State == registry.ToolRetired || pin.State == registry.ToolBlocked && old.State == registry.ToolQuarantined {
			return pin.State
		}
		return old.State
	case held(pin.State):
		return pin.State
	case old.State == registry.ToolAbsent || old.PinDigest == digest:
		return old.State // the same pin says nothing new about what is listed
	case old.SeenDigest == digest:
		return registry.ToolApproved
	default:
		return registry.ToolChanged
	}
}
