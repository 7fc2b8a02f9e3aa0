package pdp

import "rutile/internal/access"

// approvable reports whether people can be asked to permit r: the use of a tool,
// a prompt or a resource. What a server asks, what is asked of a server about
// itself, and what only looks at a prompt or a resource waits for nobody; a grant
// for its target, which was given for using that, does not cover it, and none is
// given for it that would then cover the use.
func approvable(r *access.Request) bool {
	return !r.Look && r.Kind != access.KindServer && r.Kind != access.KindAsk
}

// settleAsk makes a denial of what asks for an approval nobody could give.
func (f *Facts) settleAsk(r *access.Request, d *access.Decision) {
	if d.Outcome != access.RequireApproval || approvable(r) {
		return
	}
	d.Outcome = access.Deny
	d.Help = "no approval is given for this, so that waiting will not help; "
	if r.Look {
		d.Help += "what it completes can be asked for without"
		return
	}
	d.Help += "ask " + f.owner + ", the agent's owner, to have policy permit it"
}
