package policy

// baselineText is in every set and cannot be left out (access.md 2.4).
// baseline.discover lets an agent in good standing ask a server what it offers;
// what the answer shows is decided for each entry on its own. baseline.own lets it
// use the gateway's own tools, where nothing forbids it. baseline.blocked keeps from
// the model what inspection calls hostile (inspection.md 7). baseline.toxic-flow is the
// only rule about flows that denies on what a session has touched alone: who has read
// words of anybody and seen secrets or personal numbers sends nothing out any more.
const baselineText = `@id("baseline.attested")
@advice("The agent must be attested and active, and the definition must be the approved one.")
forbid (principal is Mcp::Agent, action in Mcp::Action::"call", resource)
unless { resource.pinned && principal.attested && principal.status == "active" };

@id("baseline.discover")
permit (principal is Mcp::Agent, action in Mcp::Action::"discover", resource)
when { principal.attested && principal.status == "active" };

@id("baseline.blocked") @outcome("mask") @mask("blocked")
@advice("What carried hidden or injected instructions was withheld.")
forbid (principal, action in Mcp::Action::"call", resource)
when { context has output && context.output.findings.contains("block") };

@id("baseline.toxic-flow")
@advice("This session has read what anybody may have written and has seen secrets or personal data, so it sends nothing out any more. Go on in a new session without one of the two.")
forbid (principal, action in Mcp::Action::"egress", resource)
when { context.session.taint.contains("untrusted") && context.session.labels.containsAny(["secret", "pii"]) };

@id("baseline.own")
permit (principal is Mcp::Agent, action in Mcp::Action::"call", resource in Mcp::Server::"rutile")
when { principal.attested && principal.status == "active" };
`

// withholds is the statement that can match only where something was found: it alone
// does not make every answer be judged.
const withholds = "baseline.blocked"

func baseline() Policy {
	return Policy{ID: LayerBaseline, Layer: LayerBaseline, Cedar: baselineText}
}
