// Package finding keeps what is wrong and nobody has put right yet, whoever found
// it: discovery, drift, inspection or risk.
//
// There is one Finding for each rule, subject and place, however often and by how
// many sources it is seen. Sources hold findings: a finding stays while one does
// and is resolved when the last lets go of it, so nobody closes what is still so.
// A person may give it an owner and a due date, and may mute it for a reason and
// until a time. A Finding MUST NOT hold a secret's value. The package reacts to
// nothing it is told.
package finding

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"
)

// Severity of a finding. The zero value is the worst, so that what nobody graded
// is not overlooked.
type Severity string

// The severities, lowest first.
const (
	Info     Severity = "info"
	Low      Severity = "low"
	Medium   Severity = "medium"
	High     Severity = "high"
	Critical Severity = "critical"
)

var severities = []Severity{Info, Low, Medium, High, Critical}

// Severities lists them, lowest first.
func Severities() []Severity { return slices.Clone(severities) }

// AtLeast reports whether s is other or worse.
func (s Severity) AtLeast(other Severity) bool { return s.Rank() >= other.Rank() }

// Rank orders severities; a worse one is greater.
func (s Severity) Rank() int {
	if i := slices.Index(severities, s); i >= 0 {
		return i
	}
	return len(severities)
}

// State is what became of a finding.
type State string

// The states.
const (
	Open     State = "open"
	Muted    State = "muted"    // it is still so, and somebody said to leave it until a time
	Resolved State = "resolved" // it is so no more
)

// States lists them.
func States() []State { return []State{Open, Muted, Resolved} }

// The kinds of subjects.
const (
	SubjectFound  = "found"  // a canonical key of the inventory
	SubjectServer = "server" // of the registry
	SubjectAgent  = "agent"
	SubjectTool   = "tool" // server/name
	SubjectHost   = "host"
	SubjectFile   = "file"
	SubjectSink   = "sink" // of evidence
	SubjectLog    = "log"  // of evidence, by its origin
	SubjectUser   = "user"

	SubjectDecision = "decision"
	SubjectSignal   = "signal" // a source of signals
	SubjectMail     = "mail"   // a receiver of mail
)

// Subject is what a finding is about.
type Subject struct {
	Kind string `json:"kind"`
	ID   string `json:"id"`
}

// Mute is a person's word to leave a finding alone until a time.
type Mute struct {
	By    string    `json:"by"`
	Why   string    `json:"why"`
	At    time.Time `json:"at"`
	Until time.Time `json:"until"`
}

// Finding is one thing that is wrong.
type Finding struct {
	ID       string   `json:"id"` // of rule, subject and place; see ID
	Rule     string   `json:"rule"`
	Subject  Subject  `json:"subject"`
	Place    string   `json:"place,omitempty"` // "" where it is about the subject as a whole
	Severity Severity `json:"severity"`
	State    State    `json:"state"` // as kept; Now says what counts
	Why      string   `json:"why"`
	Evidence []string `json:"evidence,omitempty"` // without secrets
	Next     string   `json:"next,omitempty"`     // the command or the change that resolves it
	// Owner is the person or team who answers for it, "" while nobody does.
	Owner string `json:"owner,omitempty"`
	// Tier is the risk tier of what it is about, 0 where that is not known.
	Tier int `json:"tier,omitempty"`
	// Due is when it should have been dealt with: Within of when it was opened, or the
	// time a person set, who is DueBy then.
	Due    time.Time `json:"due,omitzero"`
	DueBy  string    `json:"dueBy,omitempty"`
	Opened time.Time `json:"opened,omitzero"` // the last time it came up
	Mute   *Mute     `json:"mute,omitempty"`
	// Reopened counts how often it came back after it was resolved.
	Reopened int       `json:"reopened,omitempty"`
	First    time.Time `json:"firstSeen"`
	Last     time.Time `json:"lastSeen"`
	Changed  time.Time `json:"changed"`
	Resolved time.Time `json:"resolved,omitzero"`
	Rev      uint64    `json:"rev"` // of the row, 0 for one that is not kept yet
	// Sources are those that hold it, sorted.
	Sources []string `json:"sources,omitempty"`
}

// Now is the state that counts: a mute ends by itself.
func (f *Finding) Now(now time.Time) State {
	if f.State == Muted && (f.Mute == nil || !now.Before(f.Mute.Until)) {
		return Open
	}
	return f.State
}

// Within is how long there is to deal with a finding, by its severity and by the risk
// tier of what it is about, whichever is less: a day for what is critical or of tier
// 3, five days for what is high or of tier 2, else thirty (discovery.md 16). What is
// for information only has no end, and 0 says so.
func Within(s Severity, tier int) time.Duration {
	const day = 24 * time.Hour
	switch {
	case s == Info:
		return 0
	case s.AtLeast(Critical), tier >= 3:
		return day
	case s.AtLeast(High), tier == 2:
		return 5 * day
	}
	return 30 * day
}

// term sets when a finding is due, unless a person did.
func (f *Finding) term() {
	if f.DueBy != "" {
		return
	}
	f.Due = time.Time{}
	if d := Within(f.Severity, f.Tier); d > 0 {
		f.Due = f.Opened.Add(d)
	}
}

// Promise has a person set when a finding is due; a zero time leaves it, and nobody
// takes the promise back.
func (f *Finding) Promise(by string, due time.Time) {
	switch {
	case by == "":
		f.DueBy = ""
		f.term()
	case !due.IsZero():
		f.Due, f.DueBy = due, by
	}
}

// Overdue reports whether a finding that waits should have been dealt with.
func (f *Finding) Overdue(now time.Time) bool {
	return f.Now(now) == Open && !f.Due.IsZero() && now.After(f.Due)
}

// ID is the id of the finding of a rule about a subject at a place.
func ID(rule string, about Subject, place string) string {
	h := sha256.New()
	for _, w := range []string{rule, about.Kind, about.ID, place} {
		h.Write([]byte(w + "\x00"))
	}
	return "fnd_" + hex.EncodeToString(h.Sum(nil))[:20]
}

// Filter selects findings. Empty members do not restrict.
type Filter struct {
	Rule, Owner, Subject string
	State                State    // as kept
	From                 Severity // this one or worse
	Source               string   // held by it, or resolved and held by it before
	IDs                  []string
	Subjects             []string // about one of these; not together with IDs
	Sources              string   // held by a source that begins so
	After                string   // id below which the page begins, in order of ids
	Limit                int      // at most so many, 0 for all
	// Overdue selects those that are overdue now. A Store, which has no clock, does not
	// look at it.
	Overdue bool
}

// Standing are findings that are not resolved and alike: of one subject, rule and
// severity.
type Standing struct {
	Subject, Rule string
	Severity      Severity
	Until         time.Time // a mute ends, zero for open ones
	Count         int
}

// Revision says which state of all findings is looked at.
type Revision struct{ Count, Changes int64 }

// Store keeps findings.
type Store interface {
	// Findings returns those a filter selects, with who holds them, ordered by id.
	Findings(ctx context.Context, f Filter) ([]Finding, error)
	// Standing returns what is not resolved about one kind of subject, in no order.
	Standing(ctx context.Context, subject string) ([]Standing, error)
	// Revision differs from an earlier one where a finding was added or changed since;
	// that one was seen again changes nothing.
	Revision(ctx context.Context) (Revision, error)
	// CommitFindings applies c in one transaction, with the leaves it owes. If a row
	// is not at the Rev it was read at nothing is changed and the error is an
	// access.CodeConflict.
	CommitFindings(ctx context.Context, c Changes) error
}
