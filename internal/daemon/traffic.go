package daemon

import (
	"rutile/internal/access"
)

// traffic is what runs for agents, in the gate and in the proxy.
type traffic struct{ d *Daemon }

// Cut ends the calls of whom says, and with them the conversations and processes
// that servers have for them alone.
func (t traffic) Cut(of func(who *access.Identity) bool, why string) int {
	n := t.d.gate.Cut(of, why)
	t.d.Proxy.End(of)
	return n
}

// Wake has streams look again whether they may go on.
func (t traffic) Wake() { t.d.Proxy.Wake() }
