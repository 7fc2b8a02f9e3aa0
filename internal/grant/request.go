package grant

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"rutile/internal/access"
	"rutile/internal/rawjson"
)

// Call is one call as far as grants are concerned.
type Call struct {
	Party   Party
	Session string
	Task    string
	Target  Target
	Args    rawjson.Value
	Unknown bool // the arguments are: what they must be is not looked at
	At      time.Time
	Use     string // it runs under already, "" if it begins
}

// Ask is a call that needs a right nobody holds, or a right asked for ahead.
type Ask struct {
	Call
	Entitlement *Entitlement      // that lets it be asked for; nil where a policy asks
	Rule        Rule              // who must approve
	RuleBy      []string          // policies about the action "request" that say so
	Flow        []access.FlowLeaf // where values of the arguments came from
	Risk        *access.Risk      // how unusual what its caller did was, nil where nobody looked
	Set         string            // digest of the policy set all of it was judged with
	Bound       bool              // who asks proved possession of a key
	Policies    []string          // that ask
	Scope       Scope             // wanted; "" is once
	Wanted      Constraints       // of a scope wider than once
	Uses        int64             // wanted, 0: what the ceiling allows
	Limits      Limits            // wanted besides; what is not wanted is as the ceiling says
	Life        time.Duration
	Reason      string
}

// Extent is how many seconds the right would live and how many calls it would let
// through, 0 for any number.
func (a *Ask) Extent() (seconds, uses int64) {
	c := Ceiling{}
	if a.Entitlement != nil {
		c = a.Entitlement.Ceiling
	}
	life, uses := a.Life, a.Uses
	if life == 0 {
		life = c.life()
	}
	if uses == 0 {
		uses = c.Uses
	}
	if a.Scope == "" || a.Scope == ScopeOnce {
		uses = 1
	}
	return int64(life / time.Second), uses
}

// Request is an ask on its way.
type Request struct {
	ID          string      `json:"id"`
	State       State       `json:"state"`
	Why         string      `json:"why,omitempty"` // it is in its state
	Party       Party       `json:"party"`
	Session     string      `json:"session,omitempty"`
	Task        string      `json:"task,omitempty"`
	Target      Target      `json:"target"`
	Scope       Scope       `json:"scope"`
	Args        Constraints `json:"args"` // what a grant would be bound to
	ArgsDigest  string      `json:"argsDigest,omitempty"`
	Arguments   []byte      `json:"-"` // sealed; open with Broker.Arguments
	Entitlement string      `json:"entitlement,omitempty"`
	Policies    []string    `json:"policies,omitempty"`
	Rule        Rule        `json:"rule"`
	RuleBy      []string    `json:"ruleBy,omitempty"` // policies about the action "request" that say so
	// Flow is where values of the arguments came from, as far as that was asked about.
	Flow []access.FlowLeaf `json:"flow,omitempty"`
	// Risk is how unusual what its caller did was when it was asked; nil where nobody
	// looked. It is for people: agents MUST NOT be told.
	Risk      *access.Risk `json:"risk,omitempty"`
	Set       string       `json:"set,omitempty"`      // digest of the policy set it was asked under
	Bound     bool         `json:"bound,omitempty"`    // who asked proved possession of a key
	Life      int64        `json:"seconds"`            // of the grant
	NotBefore time.Time    `json:"notBefore,omitzero"` // it begins, as who approved said; zero: with the last approval
	Uses      int64        `json:"uses"`               // of the grant; 0: without limit
	Limits                 // of the grant, besides
	MaxDepth  int          `json:"maxDepth,omitempty"` // of what may be carved out of the grant
	Reason    string       `json:"reason,omitempty"`
	Approvals []Approval   `json:"approvals,omitempty"`
	Grant     string       `json:"grant,omitempty"` // issued for it
	DecidedBy string       `json:"decidedBy,omitempty"`
	Created   time.Time    `json:"created"`
	Expires   time.Time    `json:"expires"` // while pending
	Changed   time.Time    `json:"changed"`
	Rev       int64        `json:"-"`
	Identity  [32]byte     `json:"-"` // two pending requests never share it
}

// identity is what makes two asks the same one: who, for what, with which
// arguments, in which task. The wire form of the arguments does not count.
func (r *Request) identity() [32]byte {
	h := sha256.New()
	var n [8]byte
	for _, s := range []string{r.Party.Agent, r.Party.Issuer, r.Party.Subject, r.Task, r.Target.Server, string(r.Target.Kind),
		r.Target.Name, r.Target.Digest, string(r.Scope), textOf(r.Args)} {
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	return [32]byte(h.Sum(nil))
}

// Use is one call under a grant, or one that only counters count.
type Use struct {
	ID       string    `json:"id"`
	Grant    string    `json:"grant"` // "" where none was needed
	Decision string    `json:"decision"`
	State    State     `json:"state"`
	Node     string    `json:"node"`
	Boot     string    `json:"boot"`
	At       time.Time `json:"at"`
	Amount   int64     `json:"amount,omitempty"` // of the grant's budget
	Bytes    int64     `json:"bytes,omitempty"`  // of the result
	// Charges are what the call adds to counters, while it is reserved.
	Charges []access.Charge `json:"-"`
}

// stored reports whether the store knows the use.
func (u *Use) stored() bool { return u.Grant != "" || len(u.Charges) > 0 }

// Task is a piece of work an agent does under rights that end with it.
type Task struct {
	ID      string    `json:"id"`
	Party   Party     `json:"party"`
	Session string    `json:"session,omitempty"` // it was opened in, for the record
	Purpose string    `json:"purpose"`
	Ticket  string    `json:"ticket,omitempty"`
	State   State     `json:"state"`
	Why     string    `json:"why,omitempty"`
	Opened  time.Time `json:"opened"`
	Expires time.Time `json:"expires"`
	Changed time.Time `json:"changed"`
	Rev     int64     `json:"-"`
}
