package access

import (
	"fmt"
	"time"
)

// Outcome is what is to happen to a request. The zero value denies.
type Outcome uint8

// The eight outcomes.
const (
	Deny Outcome = iota
	Permit
	Mask
	RequireApproval
	RateLimit
	Quarantine
	Revoke
	Terminate
)

var outcomes = [...]string{"deny", "permit", "mask", "require_approval", "rate_limit", "quarantine", "revoke", "terminate"}

// String returns the outcome's word in policies, evidence and the API.
func (o Outcome) String() string {
	if int(o) < len(outcomes) {
		return outcomes[o]
	}
	return "deny"
}

// Conditional reports whether the same call may still pass: once a window has
// moved, somebody has approved it, or parts of it are masked.
func (o Outcome) Conditional() bool {
	return o == RateLimit || o == RequireApproval || o == Mask
}

// ParseOutcome is the inverse of String. Unknown words are an error and Deny.
func ParseOutcome(s string) (Outcome, error) {
	for i, w := range outcomes {
		if w == s {
			return Outcome(i), nil
		}
	}
	return Deny, fmt.Errorf("unknown outcome %q", s)
}

// Class says what kind of denial it is, so that the reader knows whether
// asking can help.
type Class string

// The classes of a denial (mcp.md 2.6).
const (
	ClassPolicy      Class = "policy"       // a forbid matched
	ClassDefault     Class = "default"      // nothing permits
	ClassPolicyError Class = "policy_error" // a policy could not be evaluated
	ClassAgent       Class = "agent"        // the agent is unknown, suspended, expired or retired
	ClassServer      Class = "server"       // the server is not sanctioned
	ClassTool        Class = "tool"         // the tool's definition is not approved
	ClassHidden      Class = "hidden"       // the target is to look as if it did not exist
	ClassArguments   Class = "arguments"    // the arguments cannot be judged
	ClassTask        Class = "task"         // the task is not one of the caller's that is open
	ClassApproval    Class = "approval"     // a rule asks for an approval
	ClassConnect     Class = "connect"      // the person the agent acts for has not connected the server
	ClassBusy        Class = "busy"         // a grant covers the call, but not at this moment
	ClassRate        Class = "rate"         // a rule limits how often it may be
	ClassMask        Class = "mask"         // a rule wants parts masked that cannot be
)

// Target is what a consequence is about. Its words are those of @target.
type Target string

// The targets (access.md 2.5).
const (
	TargetAgent      Target = "agent"
	TargetServer     Target = "server"
	TargetTool       Target = "tool"
	TargetSession    Target = "session"
	TargetGrant      Target = "grant"
	TargetSubject    Target = "subject"
	TargetCredential Target = "credential"
)

// Consequence is what a rule that matched does besides denying.
type Consequence struct {
	Outcome Outcome // Terminate, Revoke or Quarantine
	Target  Target  // of the request: its agent, its session and so on
	Policy  string  // id of the rule
}

// Limit is a fact that a rule holds a call to.
type Limit struct{ Policy, Fact string }

// Masking is what a rule wants replaced.
type Masking struct {
	Policy string
	Places []string // as in @mask
}

// Decision is the answer to a Request. A denial is a value, not an error. The
// zero value denies.
type Decision struct {
	ID      string // "dec_…", the request's
	Outcome Outcome
	// Would is what enforcing would have decided, where the mode is monitor and
	// Outcome is Permit only because of it.
	Would   Outcome
	Monitor bool // the daemon, or this scope, observes and does not enforce
	Class   Class
	Reason  string   // one sentence for the agent: what happened
	Help    string   // one sentence for the agent: what would help
	Permits []string // ids of the policies that permitted
	Forbids []string // ids of the policies that forbade
	Errors  []string // ids of the policies that could not be evaluated
	Set     string   // digest of the policy set
	Schema  string   // digest of the schema it was validated against
	Facts   string   // digest of the facts judged
	Tool    string   // digest of the approved definition, "" if not a tool
	Tier    int      // of the tool
	Grant   string   // the grant it was permitted under, "" if none
	Request string   // the request for an approval that was opened or joined
	// Shadow is what policies that are only tried would have decided; nil if none of
	// them matched.
	Shadow *Shadow
	// Consequences are to be carried out, strongest first. There are none where the
	// mode is monitor.
	Consequences []Consequence
	// Limits are the facts that keep the call waiting, where Outcome is RateLimit;
	// RetryAfter is when all of them allow it again, 0 if that is not known.
	Limits     []Limit
	RetryAfter time.Duration
	// Masks are what has been masked where Outcome is Permit, else what should be.
	Masks    []Masking
	Duration time.Duration
}

// Shadow is what would have been decided if the policies that are only tried
// counted. It changes nothing.
type Shadow struct {
	Outcome Outcome
	By      []string // ids of those of them that matched or could not be evaluated
}

// Allowed reports whether the request may be dispatched.
func (d *Decision) Allowed() bool { return d.Outcome == Permit }

// Reach says whether the upstream received a request. The zero value is
// unknown: it counts as used.
type Reach uint8

// The answers to "did the upstream get it".
const (
	ReachUnknown Reach = iota
	ReachNo
	ReachYes
)

// String returns the word used in evidence.
func (r Reach) String() string {
	switch r {
	case ReachNo:
		return "no"
	case ReachYes:
		return "yes"
	default:
		return "unknown"
	}
}

// Response is what came back from the upstream: the final message, held by the
// gate until its outcome is durable. Earlier messages of a stream have been
// relayed by the transport under the intent.
type Response struct {
	Body    []byte // final protocol message, as received or as changed by the gate
	Reached Reach  // set on errors too
	Failed  bool   // the upstream answered with a protocol error
	ToolErr bool   // the result says isError
	Started bool   // the call goes on as a task, and what it comes to is not known yet
	Asked   bool   // the answer asks the client for input; the call goes on with a request of its own
	Events  int    // earlier messages relayed
	// Findings are the ids of the rules that something in the exchange broke.
	Findings []string
	// Mask returns body, which is Body as it is by then, with text at every value of
	// the result the paths lead to; ok is false where that cannot be done for each of
	// them. nil: it never can.
	Mask func(body []byte, paths [][]string, text string) (masked []byte, ok bool)
}
