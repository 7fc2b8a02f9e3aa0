package compliance

type figureOf struct {
	name  string
	query Query
}

type measureOf struct {
	does    string
	figures []figureOf
}

// measures are what Rutile does, by the names frameworks call them, with the queries
// that show it. A text query matches words, not places: its name says no more. Names of
// what is counted as it is when the report is made end in "now".
func measures() map[string]measureOf {
	judged := figureOf{"Calls and other requests that were judged", Query{Type: "intent,verdict"}}
	denied := figureOf{"Requests that were denied", Query{Outcome: "deny"}}
	changes := figureOf{"Changes that operators made or tried", Query{Type: "admin"}}
	return map[string]measureOf{
		"identity": {
			does:    "Every request is judged by who sends it and for whom; a token for another gateway, an expired or a replayed one is turned away.",
			figures: []figureOf{judged, denied},
		},
		"rights": {
			does:    "Nothing is permitted unless a rule or a grant says so; grants are narrow, end by time and by use, and what is delegated is never wider.",
			figures: []figureOf{denied, {"Calls that waited for an approval", Query{Outcome: "require_approval"}}, {"Changes that name a grant", Query{Type: "admin", Text: "grant"}}},
		},
		"credentials": {
			does:    "Agents never hold the credentials of servers: they are kept sealed, put into one request at the last moment, and looked for in what comes back.",
			figures: []figureOf{{"Calls that reached a server and ended well", Query{Status: "ok"}}, {"Changes that name a credential", Query{Type: "admin", Text: "credential"}}, {"Answers that were withheld", Query{Status: "withheld"}}},
		},
		"pins": {
			does: "The definition of a tool is pinned when it is approved; one that changed or shows hidden orders is held until a person has looked.",
			figures: []figureOf{
				{"Definitions that wait for an approval, now", Query{Of: Definitions, State: "pending"}},
				{"Definitions that changed since their approval, now", Query{Of: Definitions, State: "changed"}},
				{"Definitions in quarantine, now", Query{Of: Definitions, State: "quarantined"}},
				{"Approvals of tools", Query{Type: "admin", Text: "approve tool"}}, {"Requests that were held in quarantine", Query{Outcome: "quarantine"}},
			},
		},
		"registry": {
			does: "Servers, agents and tools are registered with an owner before they are used; the gateway starts only programs that were approved, and can confine them.",
			figures: []figureOf{
				{"Servers that are approved, now", Query{Of: Servers, State: "sanctioned"}},
				{"Servers that wait for a decision, now", Query{Of: Servers, State: "triaged"}},
				{"Servers in quarantine, now", Query{Of: Servers, State: "quarantined"}},
				{"Agents that are active, now", Query{Of: Agents, State: "active"}},
				{"Agents whose registration has expired, now", Query{Of: Agents, State: "expired"}},
				{"Changes that name a server", Query{Type: "admin", Text: "server"}}, {"Changes that name an agent", Query{Type: "admin", Text: "agent"}},
			},
		},
		"discovery": {
			does: "Agents and servers that nobody registered are looked for in client configurations, processes, networks and logs, and become findings.",
			figures: []figureOf{
				{"Servers that were found, registered or not, now", Query{Of: Found}},
				{"Servers that are known and still reached past the gateway, now", Query{Of: Found, Status: "bypass"}},
				{"Servers that are used and nobody registered, now", Query{Of: Found, Status: "shadow"}},
				{"Found servers that nobody answers for, now", Query{Of: Found, Unowned: true}},
				{"Changes that name a finding", Query{Type: "admin", Text: "finding"}},
			},
		},
		"arguments": {
			does:    "Arguments are read once and strictly, checked against the schema of the tool and by rules over their values; programs are never started from a request.",
			figures: []figureOf{denied, {"Calls that had parts masked", Query{Type: "intent", Text: "masked"}}},
		},
		"inspection": {
			does:    "Definitions, arguments and answers are inspected for secrets, personal data, hidden text and injected orders; what is found is masked, withheld or decided on.",
			figures: []figureOf{{"Calls that had parts masked", Query{Type: "intent", Text: "masked"}}, {"Answers that were withheld", Query{Status: "withheld"}}},
		},
		"flow": {
			does:    "What a session has read is remembered as labels, also over restarts; rules decide where it may go from there.",
			figures: []figureOf{denied, {"Calls that waited for an approval", Query{Outcome: "require_approval"}}},
		},
		"approval": {
			does:    "A person decides what rules leave to people: over the exact arguments, with the narrowest answer first, signed with a passkey where the risk is highest.",
			figures: []figureOf{{"Calls that waited for an approval", Query{Outcome: "require_approval"}}, {"Approvals of requests", Query{Type: "admin", Text: "approve request"}}, {"Denials of requests", Query{Type: "admin", Text: "deny request"}}},
		},
		"limits": {
			does:    "Calls, amounts and calls in flight are bounded by rate and budget; a call that is running counts.",
			figures: []figureOf{{"Requests over a rate", Query{Outcome: "rate_limit"}}, {"Calls that were not answered in time", Query{Status: "timeout"}}},
		},
		"revocation": {
			does:    "An agent, person, session, grant, server, tool or credential is revoked at once, running calls included, and a receipt says what ended.",
			figures: []figureOf{{"Revocations", Query{Type: "revocation"}}, {"Receipts of revocations", Query{Type: "receipt"}}, {"Calls that were cut", Query{Status: "revoked"}}},
		},
		"log": {
			does:    "Every decision is recorded before it has an effect, in a log that shows any later change and that others can verify without this gateway.",
			figures: []figureOf{{"Events recorded", Query{}}, {"Calls without an outcome yet", Query{Status: "open"}}, {"Records the gateway knows it lost", Query{Type: "loss"}}},
		},
		"changes": {
			does:    "Who may change what is decided by role, and every change of rules, rights and registry is recorded with who made it, also where it was refused.",
			figures: []figureOf{changes, {"Changes of the rules in force", Query{Type: "admin", Text: "activate policyset"}}, {"Changes that were refused", Query{Type: "admin", Text: "refuse"}}},
		},
		"monitoring": {
			does: "The log can be searched, followed and sent on to monitoring systems as it grows; findings have an owner and a date.",
			figures: []figureOf{
				{"Findings that are open, now", Query{Of: Findings, State: "open"}},
				{"Open findings that are high or critical, now", Query{Of: Findings, State: "open", Severity: "high"}},
				{"Open findings that are overdue, now", Query{Of: Findings, State: "open", Overdue: true}},
				judged, denied, {"Calls whose tool reported an error", Query{Status: "tool_error"}},
			},
		},
	}
}
