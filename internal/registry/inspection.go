package registry

import (
	"slices"
	"time"

	"rutile/internal/rawjson"
)

// Finding is one thing inspection saw in a definition, without its text.
type Finding struct {
	Rule     string   `json:"rule"`
	Tier     string   `json:"tier,omitempty"` // TierReview or TierBlock, "" for a note
	Pointer  string   `json:"pointer"`        // RFC 6901, into the definition
	Start    int      `json:"start"`          // bytes of the unescaped text there
	End      int      `json:"end"`
	Decoded  []string `json:"decoded,omitempty"`  // what was undone before it was seen, from the outside in
	Position string   `json:"position,omitempty"` // imperative, describing or quoting
	Peer     string   `json:"peer,omitempty"`     // the other server's tool it is about
	Why      string   `json:"why"`
}

// Key is what a finding is known by when it is accepted: the same rule at the
// same place of the same definition.
func (f Finding) Key() string { return f.Rule + " " + f.Pointer }

// The tiers of findings. What has none is a note.
const (
	TierReview = "review"
	TierBlock  = "block"
)

// Inspection is what was found in one revision of a definition.
type Inspection struct {
	Digest   string    `json:"digest"` // canonical, of the revision
	Rules    int       `json:"rules"`  // version of the rules
	Tier     string    `json:"tier,omitempty"`
	Findings []Finding `json:"findings,omitempty"`
	// Judged names the verdict of an outside judge that took part, "" for none.
	Judged string `json:"judged,omitempty"`
}

// Grade is how much a change of a definition matters.
type Grade string

// The grades. Info and low pass, high and critical wait for a person.
const (
	GradeInfo     Grade = "info"
	GradeLow      Grade = "low"
	GradeHigh     Grade = "high"
	GradeCritical Grade = "critical"
)

// Passes reports whether a change of this grade needs nobody to look. An unknown
// grade does not pass.
func (g Grade) Passes() bool { return g == GradeInfo || g == GradeLow }

// DriftChange is one part of a change: what kind, where, how much it matters.
type DriftChange struct {
	Kind    string `json:"kind"`
	Pointer string `json:"pointer"`
	Grade   Grade  `json:"grade"`
	Why     string `json:"why"`
}

// Drift is what lies between the approved definition and the one last listed.
type Drift struct {
	Grade   Grade         `json:"grade"`
	Changes []DriftChange `json:"changes,omitempty"`
	Passed  bool          `json:"passed,omitempty"` // it was let pass, and is what is offered
}

// Subject is the definition an inspection is about.
type Subject struct {
	Server    string
	Name      string // as kept, see NameOf
	Kind      Kind
	Digest    string    // canonical
	FirstSeen time.Time // who has a name first is no imitation of who has it later
	Def       rawjson.Value
	// Approved is when a person or the first listing approved exactly this, zero if it
	// is not approved, and Accepted what they accepted with it: what came later does not
	// speak against it alone.
	Approved time.Time
	Accepted []Finding
	// Siblings are the names its server lists together with it, where that is known.
	Siblings []string
	// Listed are the definitions of its kind its server lists, in that order, and Place
	// is which of them it is; none where that is not known.
	Listed []rawjson.Value
	Place  int
}

// Inspector reads definitions. It MUST be deterministic but for what an outside judge
// says, and an inspection that
// cannot be done to its end MUST be a finding of tier block.
type Inspector interface {
	// Rules is the version of the rules: findings of another one count no more.
	Rules() int
	Inspect(s Subject) Inspection
	// Drift grades the change from the approved definition to s.
	Drift(before rawjson.Value, s Subject) Drift
	// Judged names the verdict of an outside judge there is on s, "" for none: findings
	// made with another count no more.
	Judged(s Subject) string
	// Strict reports whether no change passes, whatever its grade.
	Strict() bool
}

// Unaccepted returns the findings of i at a tier that whoever approved t did not
// accept with it.
func (t Tool) Unaccepted(i Inspection, tier string) []Finding {
	return slices.DeleteFunc(slices.Clone(i.Findings), func(f Finding) bool {
		return f.Tier != tier || slices.ContainsFunc(t.Accepted, func(a Finding) bool { return a.Key() == f.Key() })
	})
}

// Offered returns the definition that agents are shown and its digest: the
// approved one, or what was last listed where that is a change that passed.
func (t Tool) Offered() (def []byte, digest string) {
	if t.passed() {
		return t.Seen, t.SeenDigest
	}
	return t.Pinned, t.PinDigest
}

// passed reports whether what was last listed is another definition than the
// approved one and was let pass.
func (t Tool) passed() bool {
	return t.State == ToolApproved && t.Drift != nil && t.Drift.Passed && t.Drift.Grade.Passes() && t.SeenDigest != t.PinDigest && len(t.Seen) > 0
}

// Waits reports whether t was never approved and nothing in it blocks. A gateway that
// observes shows such definitions of servers that clients were wrapped for: nobody
// calls what they do not see, and there would be nothing to observe.
func (t Tool) Waits() bool {
	return t.State == ToolPending && t.PinDigest == "" && t.Found != nil && t.Found.Tier != TierBlock
}

// Unverified reports whether t counts as approved although what was last listed
// is neither the approved definition nor a change that passed.
func (t Tool) Unverified() bool {
	return t.State == ToolApproved && t.SeenDigest != "" && t.SeenDigest != t.PinDigest && !t.passed()
}

// Approvable reports whether the state of t lets a person approve what was last
// listed: it waits, it passed, or how it changed put it in quarantine.
func (t Tool) Approvable() bool {
	switch t.State {
	case ToolPending, ToolChanged:
		return true
	case ToolQuarantined:
		return t.Drift != nil
	default:
		return t.passed()
	}
}
