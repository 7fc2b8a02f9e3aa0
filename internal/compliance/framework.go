package compliance

type controlOf struct {
	id, title string
	state     State
	measures  []string
	gap       string
}

type framework struct {
	id, title, edition string
	controls           []controlOf
}

// frameworks are those a report can be made for. Titles are our words for what a
// control is about; the numbers are those of the editions named.
func frameworks() []framework {
	return []framework{owaspMCP(), owaspAgentic(), nistAIRMF(), iso42001(), euAIAct()}
}

func owaspMCP() framework {
	return framework{"owasp-mcp", "OWASP MCP Top 10", "2025, beta: numbers and names may still change, and some sources name MCP06 and MCP10 otherwise", []controlOf{
		{"MCP01", "Exposed tokens and secrets", Covered, []string{"credentials", "inspection"}, ""},
		{"MCP02", "Rights that grow beyond their purpose", Covered, []string{"rights", "approval"}, ""},
		{"MCP03", "Poisoned tool definitions", Partly, []string{"pins", "inspection"}, "Orders that read like ordinary text are not always recognised."},
		{"MCP04", "Tampered dependencies and supply chain", Partly, []string{"registry", "pins"}, "The code of a server and its dependencies are not scanned."},
		{"MCP05", "Injected commands", Partly, []string{"arguments", "registry"}, "What a server does with arguments it was permitted to get is the server's."},
		{"MCP06", "Injected prompts and subverted intent", Partly, []string{"flow", "inspection", "approval"}, "The model itself is not seen: what it is told outside of tools cannot be judged here."},
		{"MCP07", "Missing authentication and authorisation", Covered, []string{"identity", "rights"}, ""},
		{"MCP08", "Missing records and telemetry", Covered, []string{"log", "monitoring"}, ""},
		{"MCP09", "Servers nobody registered", Partly, []string{"discovery", "registry"}, "Traffic that does not pass the gateway is found by looking, not stopped."},
		{"MCP10", "Context shared too widely", Partly, []string{"flow", "inspection"}, "What an agent keeps in its own memory is not seen."},
	}}
}

func owaspAgentic() framework {
	return framework{"owasp-agentic", "OWASP Agentic Top 10", "2026", []controlOf{
		{"ASI01", "The goal of an agent is taken over", Partly, []string{"flow", "inspection", "approval"}, "The model itself is not seen: what it is told outside of tools cannot be judged here."},
		{"ASI02", "Tools are misused", Covered, []string{"rights", "arguments", "limits"}, ""},
		{"ASI03", "Identity and rights are abused", Covered, []string{"identity", "rights", "credentials"}, ""},
		{"ASI04", "The supply chain of agents is attacked", Partly, []string{"registry", "pins"}, "The code of a server and its dependencies are not scanned."},
		{"ASI05", "Code runs that nobody meant to run", Partly, []string{"arguments", "registry"}, "What a server does with arguments it was permitted to get is the server's."},
		{"ASI06", "Memory and context are poisoned", Partly, []string{"flow", "inspection"}, "What an agent keeps in its own memory is not seen."},
		{"ASI07", "Agents speak to each other unprotected", Partly, []string{"identity", "log"}, "Messages between agents that do not pass the gateway are not seen."},
		{"ASI08", "One failure brings down others", Partly, []string{"limits", "revocation"}, "How agents of a fleet depend on one another is for their operators to plan."},
		{"ASI09", "People trust an agent too much", Partly, []string{"approval"}, "Whether a person reads what they approve cannot be enforced."},
		{"ASI10", "Agents that went astray", Covered, []string{"revocation", "discovery", "monitoring"}, ""},
	}}
}

func nistAIRMF() framework {
	return framework{"nist-ai-rmf", "NIST AI RMF", "1.0 (NIST AI 100-1), those outcomes a gateway bears on; which of them apply is for the organisation to say", []controlOf{
		{"GOVERN 1.4", "The process of managing risk is transparent", Partly, []string{"changes", "log"}, "The process itself is the organisation's."},
		{"GOVERN 1.6", "AI systems are inventoried", Partly, []string{"registry", "discovery"}, "Models and systems that use no tools are not in the inventory."},
		{"GOVERN 2.1", "Roles and responsibilities are documented", Partly, []string{"changes"}, "Roles outside of this gateway are the organisation's."},
		{"GOVERN 3.2", "People's oversight of AI is defined", Partly, []string{"approval"}, "Who ought to oversee what is for the organisation to decide."},
		{"GOVERN 4.1", "A culture that puts safety first", Not, nil, "A matter of people and management."},
		{"GOVERN 6.1", "Risks of third parties are addressed", Partly, []string{"registry", "pins", "credentials"}, "Contracts and rights of others are the organisation's."},
		{"MAP 3.5", "Oversight by people is assessed and documented", Partly, []string{"approval", "log"}, "The assessment is the organisation's."},
		{"MAP 4.2", "Controls over third-party components are identified", Partly, []string{"registry", "pins"}, "The code of a server and its dependencies are not scanned."},
		{"MEASURE 2.4", "Behaviour in production is monitored", Partly, []string{"monitoring", "log"}, "The quality of answers is not measured."},
		{"MEASURE 2.7", "Security and resilience are evaluated", Partly, []string{"inspection", "flow", "limits"}, "Tests of the model and of the servers are others'."},
		{"MEASURE 2.8", "Transparency and accountability are examined", Partly, []string{"log", "changes"}, "The examination is the organisation's."},
		{"MEASURE 2.11", "Fairness and bias are evaluated", Not, nil, "The gateway does not judge what a model says of people."},
		{"MANAGE 2.4", "AI systems can be disengaged", Covered, []string{"revocation"}, ""},
		{"MANAGE 4.1", "Monitoring after deployment is planned", Partly, []string{"monitoring", "changes"}, "Plans and feedback of users are the organisation's."},
		{"MANAGE 4.3", "Incidents are communicated and tracked", Partly, []string{"log", "discovery", "monitoring"}, "Whom to tell is for the organisation to decide."},
	}}
}

func iso42001() framework {
	return framework{"iso-42001", "ISO/IEC 42001", "2023, Annex A; the numbers were not verified against the standard, which is not public", []controlOf{
		{"A.2.2", "A policy for AI", Not, nil, "The rules here carry a policy out; they are not it."},
		{"A.3.2", "Roles and responsibilities for AI", Partly, []string{"changes"}, "Roles outside of this gateway are the organisation's."},
		{"A.4.2", "Resources of AI systems are documented", Partly, []string{"registry", "discovery"}, "Models and systems that use no tools are not in the inventory."},
		{"A.4.4", "Tooling resources are documented", Covered, []string{"registry", "pins"}, ""},
		{"A.5.2", "The impact of AI systems is assessed", Not, nil, "A matter for the organisation."},
		{"A.6.2.6", "AI systems are operated and monitored", Partly, []string{"monitoring", "revocation"}, "The quality of answers is not measured."},
		{"A.6.2.8", "Event logs are recorded", Covered, []string{"log"}, ""},
		{"A.7.3", "Data are acquired as documented", Not, nil, "Training data do not pass the gateway."},
		{"A.8.4", "Incidents are communicated", Partly, []string{"log", "monitoring"}, "Whom to tell is for the organisation to decide."},
		{"A.9.2", "Processes for responsible use", Partly, []string{"approval", "rights"}, "Processes outside of this gateway are the organisation's."},
		{"A.9.4", "AI systems are used as intended", Partly, []string{"rights", "arguments", "flow"}, "The intention itself is for the organisation to write down."},
		{"A.10.2", "Responsibilities are allocated among parties", Partly, []string{"identity", "registry"}, "Contracts are the organisation's."},
		{"A.10.3", "Suppliers", Partly, []string{"registry", "pins", "credentials"}, "The choice and audit of suppliers are the organisation's."},
	}}
}

func euAIAct() framework {
	return framework{"eu-ai-act", "EU AI Act, Article 12", "Regulation (EU) 2024/1689 as amended; readiness for the duties on records of high-risk systems, not a statement that they apply or are met", []controlOf{
		{"12(1)", "Events are recorded automatically over the lifetime", Partly, []string{"log"}, "Only what passes the gateway is recorded, not what happens inside a model or an agent."},
		{"12(2)(a)", "Records help to identify risks and substantial changes", Partly, []string{"changes", "pins", "monitoring"}, "Changes of the model are not seen."},
		{"12(2)(b)", "Records help monitoring after placing on the market", Partly, []string{"monitoring", "log"}, "The monitoring system and its plan are the provider's."},
		{"12(2)(c)", "Records help deployers to monitor operation", Partly, []string{"monitoring", "approval"}, "Who monitors is for the deployer to decide."},
		{"12(3)", "Particulars for remote biometric identification", Not, nil, "Such systems need records of their own."},
		{"19(1), 26(6)", "Records are kept for at least six months", Partly, []string{"log"}, "Evidence is kept as long as evidence.retention says, and for good where it says nothing: that this is long enough, and that it is backed up, is for the operator to see to. The command rutile audit retention shows it."},
		{"14", "People can oversee, intervene and stop", Partly, []string{"approval", "revocation"}, "Whether the people who oversee are competent is for the deployer to see to."},
	}}
}
