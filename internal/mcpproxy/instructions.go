package mcpproxy

import (
	"context"

	"rutile/internal/access"
	"rutile/internal/gate"
	"rutile/internal/rawjson"
	"rutile/internal/registry"
)

// toldBy are a server's instructions as an agent may be told them: as received if
// they are what was approved, else nil. A model reads them as soon as it
// connects, so what the registry has not seen it looks at first.
func (p *Proxy) toldBy(ctx context.Context, d *gate.Dispatch, raw []byte) []byte {
	if raw == nil || d.Server.ID == access.OwnServer {
		return raw
	}
	raw = d.Scrub(raw)
	ok, news := p.approvedInstructions(d.Server.ID, raw)
	if news && p.lookAgain(ctx, d.Server.ID) {
		ok, _ = p.approvedInstructions(d.Server.ID, raw)
	}
	if !ok {
		return nil
	}
	return raw
}

// approvedInstructions reports whether raw may be passed on, and whether the
// registry last saw something else.
func (p *Proxy) approvedInstructions(server string, raw []byte) (ok, news bool) {
	v, err := rawjson.Parse(raw, rawjson.Limits{Bytes: registry.MaxDefinition})
	if err != nil {
		return false, false
	}
	digest, _ := registry.Digest(v)
	t, st := p.gate.State().View.Callable(server, registry.NameOf(registry.KindInstructions, ""))
	_, offered := t.Offered()
	if st.Drift {
		offered = t.SeenDigest
	}
	return st.OK && !t.Unverified() && offered == digest, t.SeenDigest != digest
}

// instructionsOf are those of a peer as a listing.
func instructionsOf(d *gate.Dispatch, pr *peer) registry.Listing {
	l := registry.Listing{Kind: registry.KindInstructions}
	if pr.instructions != nil {
		l.Definitions = []registry.Definition{{Raw: append([]byte(nil), d.Scrub(pr.instructions)...)}}
	}
	return l
}
