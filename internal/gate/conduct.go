package gate

import (
	"slices"
	"strings"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/conduct"
	"rutile/internal/pdp"
)

// Conduct is told how tools behave. Its methods MUST NOT block.
type Conduct interface {
	Saw(c *conduct.Call)
	// Checks reports whether the next call of a tool is to be held against its output
	// schema.
	Checks(server, tool string) bool
}

// Watch has c told of every call of a tool that was answered. It MUST be called before
// the first request; without it nobody is told.
func (g *Gate) Watch(c Conduct) { g.conduct = c }

// Told notes that the server said, before it answered, that something of its own
// changed.
func (d *Dispatch) Told() {
	if p := d.outflow; p != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.told = true
	}
}

// conducted tells how a tool behaved in one call. body is the answer as the server
// sent it; out is what the outcome says.
func (g *Gate) conducted(state *pdp.State, d *Dispatch, body []byte, out *audit.Outcome) {
	r, p := out.Request, d.outflow
	if g.conduct == nil || r.Kind != access.KindTool || len(body) == 0 && out.Status != audit.StatusTimeout {
		return
	}
	claims, ok := state.View.Claims(r.Server, r.Target)
	if !ok {
		return
	}
	c := conduct.Call{
		Server: r.Server, Tool: r.Target, Revision: claims.Revision, At: g.now(), Body: body,
		Claims: conduct.Claims{ReadOnly: claims.ReadOnly, Additive: claims.Additive, Closed: claims.Closed},
	}
	switch out.Status {
	case audit.StatusOK, audit.StatusWithheld:
	case audit.StatusToolError, audit.StatusProtocolError, audit.StatusTimeout:
		c.Failed = true
	default:
		return // nothing was answered, or it is no answer yet
	}
	p.mu.Lock()
	c.Told, c.Result = p.told, p.last.root.Get("result")
	c.Flagged = len(p.found) > 0 || p.ruling.Decision.Monitor || len(out.Masks) > 0 || out.Status == audit.StatusWithheld
	p.mu.Unlock()
	c.Flagged = c.Flagged || slices.ContainsFunc(out.Findings, func(id string) bool { return strings.HasPrefix(id, "withheld.") || strings.HasPrefix(id, "late.") })
	if !c.Failed && c.Result.Exists() && g.conduct.Checks(r.Server, r.Target) {
		fits, checked := state.View.FitsOutput(r.Server, r.Target, c.Result.Get("structuredContent"))
		c.Checked, c.Misfit = checked, checked && !fits
	}
	g.conduct.Saw(&c)
}
