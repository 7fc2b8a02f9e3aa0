package policy

// baselineText is in every set and cannot be left out (access.md 2.4).
// baseline.discover lets an agent in good standing ask a server what it offers;
// what the answer shows is decided for each entry on its own. baseline.own lets it
// use the gateway's own tools, where nothing forbids it. baseline.blocked keeps from
// the model what inspection calls hostile (inspection.md 7). baseline.toxic-flow is the
// only rule about flows that denies on what a session has touched alone: who has read
// words of anybody and seen a secret sends nothing out any more. Personal data seen do not:
// that would stop a quarter of the honest sessions of the development set.
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
@advice("This session has read what anybody may have written and has seen a secret, so it sends nothing out any more. Go on in a new session without one of the two.")
forbid (principal, action in Mcp::Action::"egress", resource)
when { context.session.taint.contains("untrusted") && context.session.labels.contains("secret") };

@id("baseline.flow-hostile-source")
@advice("A value of this call comes from a result in which hidden or injected instructions were found.")
forbid (principal, action in [Mcp::Action::"write", Mcp::Action::"egress"], resource)
when { context.facts.flow_source_finding.contains("review") &&
  (context.facts.flow_recipient_untrusted || context.facts.flow_ordered || context.facts.flow_carried) };

@id("baseline.flow-not-asked")
@advice("A result that anybody may have written asks for this call, and the user did not.")
forbid (principal, action in [Mcp::Action::"write", Mcp::Action::"egress"], resource)
when { context.facts.flow_action_asked.contains("no") &&
  (context.facts.flow_recipient_untrusted && !context.facts.flow_pointed || context.facts.flow_ordered) };

@id("baseline.flow-private-out")
@advice("Private data would go to a recipient out of a result that anybody may have written, and the user did not ask for it.")
forbid (principal, action in [Mcp::Action::"write", Mcp::Action::"egress"], resource)
when { context.facts.flow_action_asked.contains("no") && context.facts.flow_recipient_untrusted && !context.facts.flow_content_labels.isEmpty() };

@id("baseline.flow-recipient-replaced")
@advice("A result that anybody may have written names another recipient than the user did.")
forbid (principal, action in [Mcp::Action::"write", Mcp::Action::"egress"], resource)
when { context.facts.flow_ordered && context.facts.flow_replaced };

@id("baseline.flow-off-task")
@advice("Instructions were found in what this session has read, and the user asked for nothing like this call.")
forbid (principal, action in [Mcp::Action::"write", Mcp::Action::"egress"], resource)
when { context.facts.flow_tainted.contains("review") && context.facts.flow_action_asked.contains("no") && context.facts.flow_asked.contains("no") };

@id("baseline.flow-private")
@advice("Secrets or personal data would go to a recipient out of a result that anybody may have written.")
forbid (principal, action in Mcp::Action::"egress", resource)
when { context.facts.flow_recipient_untrusted && context.facts.flow_content_labels.containsAny(["secret", "pii"]) };

@id("baseline.flow-recipient-untrusted") @outcome("require_approval")
@advice("Where it goes comes from a result that anybody may have written: a person has to look. Call again as it is once it is approved.")
forbid (principal, action in [Mcp::Action::"write", Mcp::Action::"egress"], resource)
when { context.facts.flow_recipient_untrusted || context.facts.flow_ordered }
unless { context has grant && context.grant.argsBound };

@id("baseline.flow-personal") @outcome("require_approval")
@advice("Personal data would leave in a session that has read what anybody may have written: a person has to look. Call again as it is once it is approved.")
forbid (principal, action in Mcp::Action::"egress", resource)
when { context.session.taint.contains("untrusted") && context.facts.flow_content_labels.contains("pii") && !context.facts.flow_asked.contains("yes") }
unless { context has grant && context.grant.argsBound };

@id("baseline.flow-forgotten") @outcome("require_approval")
@advice("This session has read more than can be told apart: a person has to look at where this goes. Call again as it is once it is approved.")
forbid (principal, action in [Mcp::Action::"write", Mcp::Action::"egress"], resource)
when { context.facts.flow_lost && !context.facts.flow_asked.contains("yes") }
unless { context has grant && context.grant.argsBound };

@id("baseline.flow-private-new") @outcome("require_approval")
@advice("Private data would go where nothing of this session went before, and the user asked for nothing like it: a person has to look. Call again as it is once it is approved.")
forbid (principal, action in [Mcp::Action::"write", Mcp::Action::"egress"], resource)
when { !context.facts.flow_content_labels.isEmpty() && context.facts.flow_novel &&
  context.facts.flow_asked.contains("no") && context.facts.flow_action_asked.contains("no") }
unless { context has grant && context.grant.argsBound };

@id("baseline.own")
permit (principal is Mcp::Agent, action in Mcp::Action::"call", resource in Mcp::Server::"rutile")
when { principal.attested && principal.status == "active" };
`

// withholds is the statement that can match only where something was found: it alone
// does not make every answer be judged.
const withholds = "baseline.blocked"

func baseline(ladder string) Policy {
	return Policy{ID: LayerBaseline, Layer: LayerBaseline, Cedar: baselineText + rungs(ladder)}
}
