// Package access is the vocabulary of Rutile: who asks, to do what, to which
// resource, and what was decided.
//
// Every other package speaks in these types; access itself knows no protocol,
// no store and no policy language. The zero value of every decision type
// denies. Nothing here does input or output.
package access

import (
	"net/netip"
	"time"

	"rutile/internal/rawjson"
)

// Kind says what sort of thing a request is about.
type Kind string

// The kinds of resource an agent can name (access.md 2.2).
const (
	KindTool     Kind = "tool"     // tools/call
	KindPrompt   Kind = "prompt"   // prompts/get, completion of a prompt
	KindResource Kind = "resource" // resources/read, subscribe, completion of a template
	KindServer   Kind = "server"   // discover, lists, logging: the server itself
	KindAsk      Kind = "ask"      // a request of the server to the client: sampling, elicitation, roots
)

// Actor is who acts: always an agent.
type Actor struct {
	Agent    string // manifest id
	Version  string // digest of the agent's configuration, where it proved one
	Instance string // one run of it, where it named one
	Class    string
	Source   string // how it proved itself: "private_key_jwt", "development"
	Attested bool   // the source is one of the accepted proofs (access.md 1.1)
}

// Subject is on whose behalf the actor acts. The zero value is an autonomous
// agent: no person stands behind the call.
type Subject struct {
	Issuer string
	ID     string
}

// Autonomous reports whether no person stands behind the call.
func (s Subject) Autonomous() bool { return s.ID == "" }

// Identity is what a presented credential proved. Only package identity makes
// one; the zero value is nobody and is denied everywhere.
type Identity struct {
	Actor   Actor
	Subject Subject
	Session string // sid: the token family we minted (access.md 1.3)
	Task    string // task the token was issued for, if any
	TokenID string // jti
	Scope   string
	Bound   bool      // proof of possession was checked
	Expires time.Time // of the token
	Epoch   uint64    // position of the issuer's view of the revocation log
}

// Principal is the pair (actor, subject) as one comparable key. State keyed by
// it is shared neither by two people of one agent nor by two agents of one
// person (mcp.md, "Principal").
type Principal struct{ Agent, Issuer, Subject string }

// Principal returns the identity's key.
func (i Identity) Principal() Principal {
	return Principal{i.Actor.Agent, i.Subject.Issuer, i.Subject.ID}
}

// Request is one thing an agent wants to do, parsed once.
type Request struct {
	ID        string    // decision id, "dec_…"
	At        time.Time // when it arrived
	Who       Identity
	Protocol  string // "mcp"
	Version   string // protocol revision, for example "2026-07-28"
	Method    string // protocol method, for example "tools/call"
	Server    string // manifest id of the server
	Kind      Kind
	Target    string        // tool or prompt name, or resource URI; "" for KindServer
	Arguments rawjson.Value // parsed arguments; Missing when there are none
	// Unknown says that the arguments are not known yet (a list): a policy that
	// reads them neither matches nor errors (access.md 2.4).
	Unknown bool
	// Look says that the request only looks at its target and does not use it, as
	// a completion does: no grant covers it and nobody is asked to approve it.
	Look    bool
	RPC     string // raw bytes of the JSON-RPC id, for traces only
	Session string // of the transport, where there is one; for traces only
	Client  netip.AddrPort
	Trace   Trace
	Wire    Wire
	BytesIn int
	// Task is the task the request names, "" if it names none. Which one it belongs
	// to is for the gate to say, in Who.Task: a name proves nothing.
	Task string
	// Use is the use of a grant the request runs under. The gate sets it; whoever
	// goes on with the same call later hands it back.
	Use string
	// Follows says that the request asks after a call that has been made, under
	// Use; Held is the right that call was made under, where it still stands. The
	// gate sets it.
	Follows bool
	Held    *Held
	// Placeholders are those its arguments name, of its session. The gate sets them.
	Placeholders []Placeholder
	// Facts are what has been counted and is remembered. The gate sets them.
	Facts *Facts
	// Touched is what the session has touched. The gate sets it.
	Touched *Touched
	// Risk is how unusual what the caller does is. The gate sets it.
	Risk *Risk
}

// Placeholder stands for a value the caller has not seen.
type Placeholder struct {
	Token  string
	Label  string // secret, pii
	Kind   string
	Server string // whose answer the value stood in
}

// Held is the grant an earlier call was made under.
type Held struct {
	Grant  string
	Quorum int
	Bound  bool   // to the arguments of that call
	Depth  int    // how many times it was handed on
	From   string // the session that handed it on
}

// Action is the policy name of what is asked: "server/tool",
// "server/prompts/name", "server/resources/read", "server/requests/sampling".
func (r *Request) Action() string {
	switch r.Kind {
	case KindTool:
		return r.Server + "/" + r.Target
	case KindPrompt:
		return r.Server + "/prompts/" + r.Target
	case KindResource:
		return r.Server + "/resources/read"
	case KindAsk:
		return r.Server + "/requests/" + r.Target
	default:
		return r.Server + "/" + r.Method
	}
}

// Wire is what the transport saw of a request, for traces only. It fills in the
// rest before what it forwarded returns.
type Wire struct {
	HTTP     string // version of HTTP the request came in, "1.1" or "2"
	Upstream string // version of HTTP the server answered in, "" if it is no HTTP server or did not answer
	Code     int64  // JSON-RPC code of the server's answer, 0 if that is no error
}

// Trace is W3C trace context as received: labels, never identity.
type Trace struct{ Parent, State, Baggage string }
