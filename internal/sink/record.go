package sink

import (
	"encoding/base64"
	"time"

	"rutile/internal/audit"
)

// record is what the log tells of an event, for forms with room for all of it.
// Names are what agents, servers and people chose: a receiver MUST treat them as
// text. Arguments and results are never in it.
type record struct {
	Kind   string    `json:"kind"`
	ID     string    `json:"id"` // of the leaf
	Origin string    `json:"origin"`
	Index  uint64    `json:"index"`
	Hash   string    `json:"leafHash"` // RFC 6962, unpadded base64url
	Type   string    `json:"type"`
	At     time.Time `json:"at"`

	Decision   string    `json:"decision,omitempty"`
	Outcome    string    `json:"outcome,omitempty"`
	Would      string    `json:"would,omitempty"` // have been enforced, in monitor mode
	Class      string    `json:"class,omitempty"`
	Policies   []string  `json:"policies,omitempty"`
	Grant      string    `json:"grant,omitempty"`
	Agent      string    `json:"agent,omitempty"`
	Subject    string    `json:"subject,omitempty"`
	Issuer     string    `json:"issuer,omitempty"`
	Session    string    `json:"session,omitempty"`
	Task       string    `json:"task,omitempty"`
	Server     string    `json:"server,omitempty"`
	Method     string    `json:"method,omitempty"`
	TargetKind string    `json:"targetKind,omitempty"`
	Target     string    `json:"target,omitempty"`
	Tier       *int      `json:"tier,omitempty"`
	Protocol   string    `json:"protocol,omitempty"`
	Version    string    `json:"version,omitempty"`
	Trace      string    `json:"trace,omitempty"`
	Began      time.Time `json:"began,omitzero"`

	Status   string   `json:"status,omitempty"`
	Reached  string   `json:"reached,omitempty"`
	Micros   int64    `json:"us,omitempty"`
	In       int      `json:"bytesIn,omitempty"`
	Out      int      `json:"bytesOut,omitempty"`
	Findings []string `json:"findings,omitempty"`
	Withheld string   `json:"withheld,omitempty"` // outcome
	Forbids  []string `json:"forbids,omitempty"`
	Masks    []string `json:"masks,omitempty"`

	Actor      string `json:"actor,omitempty"`
	Verb       string `json:"verb,omitempty"`
	ObjectKind string `json:"objectKind,omitempty"`
	Object     string `json:"object,omitempty"`
	Change     string `json:"change,omitempty"`
	Reason     string `json:"reason,omitempty"`

	Lost   int    `json:"lost,omitempty"`
	Stream string `json:"stream,omitempty"`
	Why    string `json:"why,omitempty"`
}

func recordOf(x *audit.Told) record {
	r := record{
		Kind: kindOf(x), ID: x.LeafID, Origin: x.Origin, Index: x.Index, Hash: base64.RawURLEncoding.EncodeToString(x.Hash[:]), Type: x.Type, At: x.At,
		Agent: x.Agent, Subject: x.Subject, Session: x.Session, Task: x.Task, Server: x.Server, Method: x.Method, Target: x.Tool, Trace: x.TraceID,
	}
	if c := x.Call; c != nil {
		tier := c.Tier
		r.Decision, r.Outcome, r.Would, r.Class, r.Policies, r.Grant = c.Decision, c.Outcome, c.Would, string(c.Class), c.Policies, c.Grant
		r.Issuer, r.TargetKind, r.Tier, r.Protocol, r.Version, r.Began = c.Issuer, string(c.Kind), &tier, c.Proto, c.Version, c.At
	}
	if e := x.End; e != nil {
		r.Status, r.Reached, r.Micros, r.In, r.Out, r.Findings = string(e.Status), e.Reached, e.Took.Microseconds(), e.In, e.Out, e.Findings
		r.Withheld, r.Forbids, r.Masks = e.Withheld, e.Forbids, e.Masks
	}
	if c := x.Change; c != nil {
		r.Actor, r.Verb, r.ObjectKind, r.Object, r.Change, r.Reason = x.Actor, c.Verb, c.Kind, x.Object, x.Decision, c.Reason
	}
	if l := x.Loss; l != nil {
		r.Lost, r.Stream, r.Why = l.Count, l.Stream, l.Why
	}
	return r
}

// decided is the outcome in force: that of the release where it is stricter.
func (r *record) decided() string {
	switch {
	case r.Withheld != "":
		return r.Withheld
	case len(r.Masks) > 0 && r.Outcome == "permit":
		return "mask"
	}
	return r.Outcome
}

// failed reports whether what was asked for did not happen as asked.
func (r *record) failed() bool {
	switch r.Kind {
	case KindCall:
		return r.Status != string(audit.StatusOK) && r.Status != string(audit.StatusInputRequired)
	case KindRefusal:
		return true
	case KindChange:
		return r.Verb == "refuse" || r.Verb == "void"
	}
	return r.Lost > 0
}

// severity is 1 informational, 2 low, 3 medium or 4 high.
func (r *record) severity() int {
	switch d := r.decided(); {
	case d == "quarantine", d == "revoke", d == "terminate", r.Lost > 0:
		return 4
	case r.Withheld != "", r.Status == string(audit.StatusLateResult), r.Status == string(audit.StatusUnknown), r.Verb == "refuse":
		return 3
	case r.failed(), d == "deny", d == "rate_limit", d == "require_approval":
		return 2
	}
	return 1
}
