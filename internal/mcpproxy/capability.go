package mcpproxy

import (
	"bytes"
	"context"
	"slices"

	"rutile/internal/access"
	"rutile/internal/gate"
	"rutile/internal/rawjson"
	"rutile/internal/registry"
)

// listed are the capabilities whose definitions are approved one by one: that a
// server has some says nothing yet.
var listed = []string{"tools", "prompts", "resources"}

// trimmed are a server's capabilities without what nobody approved.
type trimmed struct {
	pin  string // canonical digest of what counts as approved, "" for nothing
	caps rawjson.Value
}

// declared is what an upstream may be taken for: its capabilities as far as they
// are pinned. What it declares beyond that waits for a person, and is neither
// told to an agent nor used.
func (p *Proxy) declared(server string, pr *peer) rawjson.Value {
	if server == access.OwnServer {
		return pr.capabilities
	}
	pin, digest := p.pinnedCapabilities(server)
	if t := pr.trimmed.Load(); t != nil && t.pin == digest {
		return t.caps
	}
	var approved rawjson.Value
	if v, err := rawjson.Parse(pin, rawjson.Limits{Bytes: registry.MaxDefinition}); err == nil {
		approved = v
	}
	caps, err := rawjson.Parse(within(approved, pr.capabilities, 0), rawjson.Limits{})
	if err != nil { // not of what was parsed before
		caps = rawjson.Value{}
	}
	pr.trimmed.Store(&trimmed{digest, caps})
	return caps
}

// pinnedCapabilities is what counts as approved of a server's capabilities, nil
// where nothing does.
func (p *Proxy) pinnedCapabilities(server string) (def []byte, digest string) {
	state := p.gate.State()
	t, st := state.View.Callable(server, registry.NameOf(registry.KindCapabilities, ""))
	s, _ := state.View.Server(server)
	switch {
	case st.OK && st.Drift, state.Monitor && s.Wrapped && t.Waits():
		return t.Seen, t.SeenDigest
	case st.OK && !t.Unverified():
		return t.Offered()
	case t.State == registry.ToolChanged: // what it has beyond its pin waits, the rest stays
		return t.Pinned, t.PinDigest
	}
	return nil, ""
}

// within is now without the members that approved has not. What only promises
// less passes, and so does that lists may change. No name passes that approved has
// not: a name is a text too.
func within(approved, now rawjson.Value, depth int) []byte {
	out := []byte{'{'}
	for k, v := range now.Members() {
		name, _ := k.Str()
		was := approved.Get(name)
		var raw []byte
		switch on, isBool := v.Bool(); {
		case v.Kind() == rawjson.Object && (was.Kind() == rawjson.Object || depth == 0 && slices.Contains(listed, name)):
			raw = within(was, v, depth+1)
		case isBool && (!on && was.Exists() || name == "listChanged"):
			raw = v.Raw()
		case was.Exists() && bytes.Equal(rawjson.AppendCanonical(nil, was), rawjson.AppendCanonical(nil, v)):
			raw = v.Raw()
		default:
			continue
		}
		out = appendMember(out, name, raw)
	}
	return append(out, '}')
}

// mayUse reports whether an upstream advertised a capability and may be used for
// it.
func (p *Proxy) mayUse(server string, pr *peer, capability string) bool {
	if capability == "" || slices.Contains(listed, capability) {
		return pr.offers(capability)
	}
	return pr.offers(capability) && p.declared(server, pr).Get(capability).Kind() == rawjson.Object
}

// takes reports whether a method may be sent to an upstream.
func (p *Proxy) takes(server string, pr *peer, m *method) bool {
	if m.name == "resources/subscribe" && subscribes(pr.capabilities) && !subscribes(p.declared(server, pr)) {
		return false
	}
	return p.mayUse(server, pr, m.needs)
}

func subscribes(caps rawjson.Value) bool {
	on, _ := caps.Path("resources", "subscribe").Bool()
	return on
}

// extends reports whether an upstream advertised an extension and may be used for
// it.
func (p *Proxy) extends(server string, pr *peer, extension string) bool {
	return pr.extends(extension) && (server == access.OwnServer || declares(p.declared(server, pr), extension))
}

// capabilitiesOf are those of a server as a listing: what it declares to us, and
// what it declared to a client beyond that.
func (p *Proxy) capabilitiesOf(d *gate.Dispatch, t *target, pr *peer) registry.Listing {
	raw := pr.capabilities.Raw()
	if more := t.toldClients(); more != nil {
		raw = merged(pr.capabilities, more.capabilities)
	}
	return registry.Listing{Kind: registry.KindCapabilities, Definitions: []registry.Definition{{Raw: append([]byte(nil), d.Scrub(raw)...)}}}
}

// merged is everything a or b declares; where they differ, a.
func merged(a, b rawjson.Value) []byte {
	out := []byte{'{'}
	for k, v := range a.Members() {
		name, _ := k.Str()
		raw := v.Raw()
		if o := b.Get(name); v.Kind() == rawjson.Object && o.Kind() == rawjson.Object {
			raw = merged(v, o)
		}
		out = appendMember(out, name, raw)
	}
	for k, v := range b.Members() {
		if name, _ := k.Str(); !a.Get(name).Exists() {
			out = appendMember(out, name, v.Raw())
		}
	}
	return append(out, '}')
}

// introduce makes sure that the registry has seen what an upstream declares
// before an agent is told of it.
func (p *Proxy) introduce(ctx context.Context, t *target, pr *peer) {
	id := t.server.ID
	if id == access.OwnServer {
		return
	}
	var seen rawjson.Value
	depth := 0
	if row, ok := p.gate.State().View.Tool(id, registry.NameOf(registry.KindCapabilities, "")); ok {
		if v, err := rawjson.Parse(row.Seen, rawjson.Limits{Bytes: registry.MaxDefinition}); err == nil {
			seen, depth = v, 1
		}
	}
	known, err := rawjson.Parse(within(seen, pr.capabilities, depth), rawjson.Limits{})
	if err == nil && bytes.Equal(rawjson.AppendCanonical(nil, known), rawjson.AppendCanonical(nil, pr.capabilities)) {
		return
	}
	t.tell(pr)
	p.lookAgain(ctx, id)
}

// tell keeps what an upstream declared to a client beyond what it declares to us.
func (t *target) tell(pr *peer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.beyond = pr
}

func (t *target) toldClients() *peer {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.beyond
}
