package registry

import (
	"encoding/json"

	"rutile/internal/access"
)

// ownDefinitions are the tools of the gateway itself (docs/agent-tools.md). They
// are constant, so that their digests are theirs for good.
var ownDefinitions = [...]struct{ name, text string }{
	{"rutile_access_delegate", `{"name":"rutile_access_delegate","title":"Hand on access",` +
		`"description":"Hand a part of a grant of yours to another agent, for the same person: fewer calls, tighter constraints, a shorter time. What you hand on is not yours to use until it ends. It may be handed on only where the entitlement of the grant says so, and to whom it names.",` +
		`"inputSchema":{"type":"object","properties":{` +
		`"grant":{"type":"string","description":"Id of the grant, grt_…"},` +
		`"agent":{"type":"string","description":"Id of the agent that receives it."},` +
		`"constraints":{"type":"array","items":{"type":"object"},"description":"What the arguments of every call must meet; each constraint of yours has to be repeated or narrowed. Yours, if you do not say."},` +
		`"uses":{"type":"integer","minimum":1,"maximum":1000000,"description":"How many calls; all you have left, if you do not say."},` +
		`"limits":{"type":"object","description":"How much less of what else bounds yours, for example {\"budget\":{\"amount\":500}}; also concurrencyMax, window {uses, seconds}, bytesOutMax, idleSeconds."},` +
		`"ttlSeconds":{"type":"integer","minimum":1,"maximum":86400,"description":"How long it lasts; as long as yours, if you do not say."},` +
		`"maxDepth":{"type":"integer","minimum":1,"maximum":3,"description":"How many more times it may be handed on; not at all, if you do not say."},` +
		`"reason":{"type":"string","maxLength":1000,"description":"Why the other agent needs it, in one sentence."}},` +
		`"required":["grant","agent","reason"],"additionalProperties":false},` +
		`"outputSchema":{"type":"object","properties":{"grant":{"type":"object"},"agent":{"type":"string"},"next":{"type":"string"}},"required":["grant","agent","next"]},` +
		`"annotations":{"readOnlyHint":false,"destructiveHint":false,"idempotentHint":false,"openWorldHint":false}}`},
	{"rutile_access_request", `{"name":"rutile_access_request","title":"Ask for access",` +
		`"description":"Ask a person for a right you lack: to call one tool of one server. With arguments you ask for exactly this call, once. With constraints and the scope task or time you ask for every call whose arguments meet them, while your task is open or for a time. The answer names the request; once it is approved, call the tool as you asked. Asking again for the same joins the request that waits.",` +
		`"inputSchema":{"type":"object","properties":{` +
		`"server":{"type":"string","description":"Id of the server, as in /mcp/{server} or before the __ of the tool's name."},` +
		`"tool":{"type":"string","description":"The tool's own name, without its server."},` +
		`"arguments":{"type":"object","description":"For the scope once: the arguments of the call, exactly as it will be made."},` +
		`"constraints":{"type":"array","items":{"type":"object"},"description":"For the scopes task and time: what the arguments of every call must meet, each {\"at\": JSON pointer, operator: operand}, for example {\"at\":\"/path\",\"pathUnder\":\"/srv/reports\"}. None asks for every call of the tool."},` +
		`"scope":{"type":"string","enum":["once","task","time"],"description":"How much you ask for: once is one call, task ends with your open task, time ends after ttlSeconds."},` +
		`"ttlSeconds":{"type":"integer","minimum":1,"maximum":86400,"description":"How long the right is to last from its approval; as long as is allowed, at most, if you do not say."},` +
		`"uses":{"type":"integer","minimum":1,"maximum":1000000,"description":"How many calls, for the scopes task and time."},` +
		`"limits":{"type":"object","description":"For the scopes task and time: how much less than is allowed you need, for example {\"budget\":{\"amount\":5000}}; also concurrencyMax, window {uses, seconds}, bytesOutMax, idleSeconds."},` +
		`"reason":{"type":"string","maxLength":1000,"description":"Why you need it, in one sentence for the person who decides."}},` +
		`"required":["server","tool","scope","reason"],"additionalProperties":false},` +
		`"outputSchema":{"type":"object","properties":{"state":{"type":"string"},"request":{"type":"object"},"grant":{"type":"object"},"next":{"type":"string"}},"required":["state","next"]},` +
		`"annotations":{"readOnlyHint":false,"destructiveHint":false,"idempotentHint":true,"openWorldHint":false}}`},
	{"rutile_access_status", `{"name":"rutile_access_status","title":"See your access",` +
		`"description":"What you asked for, what you were granted and which tasks of yours are open; with the id of a request, how that one stands.",` +
		`"inputSchema":{"type":"object","properties":{"request":{"type":"string","description":"Id of one request of yours, req_…"}},"additionalProperties":false},` +
		`"outputSchema":{"type":"object","properties":{"tasks":{"type":"array","items":{"type":"object"}},"requests":{"type":"array","items":{"type":"object"}},"grants":{"type":"array","items":{"type":"object"}},"more":{"type":"boolean"}},"required":["tasks","requests","grants"]},` +
		`"annotations":{"readOnlyHint":true,"openWorldHint":false}}`},
	{"rutile_access_withdraw", `{"name":"rutile_access_withdraw","title":"Withdraw a request",` +
		`"description":"Take back a request of yours that waits for an answer, so that nobody is asked any more.",` +
		`"inputSchema":{"type":"object","properties":{` +
		`"request":{"type":"string","description":"Id of the request, req_…"},` +
		`"reason":{"type":"string","maxLength":1000,"description":"Why you do not need it any more, in one sentence."}},"required":["request"],"additionalProperties":false},` +
		`"outputSchema":{"type":"object","properties":{"state":{"type":"string"},"request":{"type":"object"},"next":{"type":"string"}},"required":["state","next"]},` +
		`"annotations":{"readOnlyHint":false,"destructiveHint":false,"idempotentHint":false,"openWorldHint":false}}`},
	{"rutile_task_close", `{"name":"rutile_task_close","title":"Close a task",` +
		`"description":"Close a task of yours: the rights that were granted for it end now, and what still waits for an answer is withdrawn.",` +
		`"inputSchema":{"type":"object","properties":{` +
		`"task":{"type":"string","description":"Id of the task, tsk_…; the one this call belongs to, or your only open one, if you do not say."},` +
		`"reason":{"type":"string","maxLength":1000,"description":"What came of it, in one sentence."}},"additionalProperties":false},` +
		`"outputSchema":{"type":"object","properties":{"task":{"type":"object"},"next":{"type":"string"}},"required":["task","next"]},` +
		`"annotations":{"readOnlyHint":false,"destructiveHint":false,"idempotentHint":false,"openWorldHint":false}}`},
	{"rutile_task_open", `{"name":"rutile_task_open","title":"Open a task",` +
		`"description":"Open a task: a piece of work with a purpose that people see when they decide what you may do for it. What is granted for it ends when you close it. Your calls belong to your only open task by themselves; with several, name one in the request's _meta as io.rutile/task or in the header Rutile-Task.",` +
		`"inputSchema":{"type":"object","properties":{` +
		`"purpose":{"type":"string","minLength":1,"maxLength":1000,"description":"What the task is for, in one sentence."},` +
		`"ticket":{"type":"string","maxLength":128,"description":"Where the work is written down, for example OPS-7."},` +
		`"ttlSeconds":{"type":"integer","minimum":1,"maximum":86400,"description":"How long it stays open at most; 8 hours if you do not say."}},` +
		`"required":["purpose"],"additionalProperties":false},` +
		`"outputSchema":{"type":"object","properties":{"task":{"type":"object"},"next":{"type":"string"}},"required":["task","next"]},` +
		`"annotations":{"readOnlyHint":false,"destructiveHint":false,"idempotentHint":false,"openWorldHint":false}}`},
}

// OwnTools returns the gateway's own tools, sorted by name. They need no approval
// by a person: they are pinned by the digests of what this version is made of.
// They count as read, because an agent changes nothing but its own dealings with
// the gateway by them.
func OwnTools() []Tool {
	out := make([]Tool, 0, len(ownDefinitions))
	for _, d := range ownDefinitions {
		def := json.RawMessage(d.text)
		// Without a digest a tool is denied; a test holds the constants to have one.
		canonical, raw, _ := DigestRaw(def)
		out = append(out, Tool{Server: access.OwnServer, Name: d.name, State: ToolApproved, Class: ToolClass{Class: ClassRead}, ClassBy: ownOwner,
			Pinned: def, PinDigest: canonical, PinRaw: raw, Seen: def, SeenDigest: canonical, ApprovedBy: ownOwner})
	}
	return out
}

// ownOwner owns what belongs to the gateway.
const ownOwner = "rutile"

// WithOwn returns the view with the gateway's own server, in place of whatever
// else has its id. Decisions are made on such a view; what is stored, exported and
// compared with manifests never holds it.
func (v *View) WithOwn() *View {
	tools := map[string]*Tool{}
	for name := range v.tools[access.OwnServer] {
		tools[name] = nil
	}
	for _, t := range OwnTools() {
		tools[t.Name] = &t
	}
	return v.With(Delta{
		Servers: map[string]*Server{access.OwnServer: {ID: access.OwnServer, Owner: ownOwner, State: ServerSanctioned}},
		Tools:   map[string]map[string]*Tool{access.OwnServer: tools},
	})
}
