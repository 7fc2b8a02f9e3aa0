// Package audit appends evidence to a tamper-evident log and proves what it
// holds.
//
// The log is an RFC 6962 Merkle tree kept as a directory of files in C2SP
// tlog-tiles form (docs/evidence.md). Append MUST NOT return before the leaf is
// durable; a caller MUST NOT dispatch before it returned without error. Once a
// write or a sync failed the log is dead: every later Append fails until the
// process restarts and recovers from what is really on disk. The package knows
// no database; the search index is package store's, derived from the log.
package audit

import (
	"context"
	"errors"
	"slices"
	"time"

	"rutile/internal/access"
)

// Ref names a leaf of this log: its index and leaf hash.
type Ref struct {
	Index uint64
	Hash  [32]byte
}

// Intent is written before a call is dispatched; Verdict, with the same
// members, when it is refused (evidence.md 2.2). Both are made from the request
// and its decision.
type Intent struct {
	Request  *access.Request
	Decision *access.Decision
	Cred     string // id of the credential to be leased
	CredVer  int    // of a sealed one; 0 where it is minted, which follows the intent
	CredKind string // of source it is minted from, "" if it is sealed
	// Arguments are what is sent, where that is not what Request has; else nil.
	Arguments []byte
	// Restored are the arguments with values in place of placeholders, where that is
	// what is sent; for a commitment, never in clear nor sealed beside the log.
	Restored []byte
}

// Status is how a dispatched call ended.
type Status string

// The statuses of an outcome.
const (
	StatusOK            Status = "ok"
	StatusToolError     Status = "tool_error"
	StatusProtocolError Status = "protocol_error"
	StatusTimeout       Status = "timeout"
	StatusCancelled     Status = "cancelled"
	StatusRevoked       Status = "revoked"
	StatusWithheld      Status = "withheld"
	StatusLateResult    Status = "late_result"
	StatusRefused       Status = "refused"
	StatusUnknown       Status = "unknown"
	StatusOrphaned      Status = "orphaned"
	StatusInputRequired Status = "input_required" // the client was asked for input; the call goes on with its retry
	StatusAbandoned     Status = "abandoned"      // after input_required: no retry came, and the call was ended
)

// Outcome is written after a call, before its result is released.
type Outcome struct {
	Request  *access.Request
	Intent   Ref
	Status   Status
	Reached  string // yes, no, unknown: whether the upstream got it
	Took     time.Duration
	In, Out  int      // bytes received from and sent to the agent's side
	Result   []byte   // for the commitment and the payload; never in clear
	Findings []string // rule ids
	Masks    []string // rules that had parts of the result masked
	Withheld string   // the outcome that kept the result from the agent, "" if it went on
	Forbids  []string // the rules that did
	Dropped  []Drop   // messages before the final one that did not reach the agent
	Unlocks  []Unlock
	Seen     []Seen   // what inspection found
	Labels   []string // taints and labels of the session that are new by it
}

// Answered reports whether the server answered as one that works, also with an error of
// the tool.
func (s Status) Answered() bool {
	return s == StatusOK || s == StatusToolError || s == StatusInputRequired
}

// Seen is one finding in what a server sent: where, never what.
type Seen struct {
	Rule       string
	At         string // JSON pointer in the message
	Start, End int    // bytes of the unescaped text there
	Tier       string // "", review or block
	Text       []byte // for the commitment; never in clear
}

// Drop is messages of a call that were kept from the agent by the same rules. Which
// they were is counted from 1 among those the call was to show before its final one.
type Drop struct {
	Out         string   // the outcome that kept them
	By          []string // the rules, none where something stood against the caller
	N           int      // how many
	First, Last int      // which
}

// Unlock records that a secret was opened: its version, never its value.
type Unlock struct {
	Cred    string
	Version int
	At      time.Time
	// Of a minted one:
	Kind     string    // of its source
	Minted   string    // version of what was minted: a digest, not secret
	Narrowed string    // to what, in one sentence
	Expires  time.Time // zero if its issuer did not say
}

// Admin is a change of configuration, manifest, state or key.
type Admin struct {
	ID     string // "chg_…"
	Actor  string // user:… , system
	Verb   string // apply, approve, suspend …
	Kind   string // agent, server, tool, policy, credential, token …
	Object string
	Before string // digest of the object before, "" if it was not there
	After  string // digest after, "" if it is gone
	Reason string
	Detail []byte // JSON, sealed as payload
	// Signed is what a passkey signed to approve Object, a request, nil if none did. It
	// stands in the leaf in clear, so that whoever verifies it needs nobody.
	Signed *access.Assertion
}

// KeyStore keeps the wrapped evidence keys. They are deliberately not
// rebuildable from the log: destroying one is how erasure works.
type KeyStore interface {
	// EvidenceKey returns the wrapped key for name, storing make()'s result if
	// there is none. It is atomic: two callers get the same key.
	EvidenceKey(ctx context.Context, name string, make func() ([]byte, error)) ([]byte, error)
	// EvidenceKeys returns the wrapped keys that exist, by name.
	EvidenceKeys(ctx context.Context) (map[string][]byte, error)
}

// Row is one index entry, derived from the durable leaves of one event: a call,
// which has an intent and, once it ended, an outcome; a verdict; a change; a
// loss. Its members are those of the first leaf but for Ends, Ended and Status.
type Row struct {
	Origin   string    `json:"origin"`
	Index    uint64    `json:"index"`          // of the first leaf
	Ends     []uint64  `json:"ends,omitempty"` // of the outcomes of a call
	Ended    time.Time `json:"ended,omitzero"` // when the newest of them was written
	LeafID   string    `json:"leaf"`
	Type     string    `json:"type"`
	At       time.Time `json:"at"`
	Decision string    `json:"decision,omitempty"` // "dec_…"
	Outcome  string    `json:"outcome,omitempty"`  // word of access.Outcome
	Would    string    `json:"would,omitempty"`
	Status   string    `json:"status,omitempty"` // of the newest outcome
	Agent    string    `json:"agent,omitempty"`
	Subject  string    `json:"subject,omitempty"`
	Session  string    `json:"session,omitempty"`
	Task     string    `json:"task,omitempty"`
	Server   string    `json:"server,omitempty"`
	Method   string    `json:"method,omitempty"`
	Tool     string    `json:"tool,omitempty"`
	Policies []string  `json:"policies,omitempty"`
	TraceID  string    `json:"trace,omitempty"`
	Grant    string    `json:"grant,omitempty"`  // it was permitted under, or that was changed
	Labels   []string  `json:"labels,omitempty"` // its session had touched, and those its answer added
	Intent   int64     `json:"intent"`           // of the row of an outcome leaf: the index of its intent; else -1
	Actor    string    `json:"actor,omitempty"`
	Object   string    `json:"object,omitempty"`
	Text     string    `json:"text,omitempty"`   // what full-text search reads
	Erased   bool      `json:"erased,omitempty"` // the key of what the leaf seals was destroyed
}

// Last returns the index of the newest leaf of the row.
func (r *Row) Last() uint64 {
	if n := len(r.Ends); n > 0 {
		return r.Ends[n-1]
	}
	return r.Index
}

// Leaves returns the indexes of the leaves of the row, in order.
func (r *Row) Leaves() []uint64 { return append([]uint64{r.Index}, r.Ends...) }

// LeavesOf returns the indexes of the leaves of rows, in log order.
func LeavesOf(rows []Row) []uint64 {
	var leaves []uint64
	for i := range rows {
		leaves = append(leaves, rows[i].Leaves()...)
	}
	slices.Sort(leaves)
	return leaves
}

// StatusOpen is what a Query selects calls without an outcome by.
const StatusOpen Status = "open"

// TypeOutcome is what a Query selects calls with an outcome by; the type of
// their rows is that of their intents.
const TypeOutcome = typeOutcome

// Query selects rows. Zero members do not restrict. Times are those at which an
// event began.
type Query struct {
	Origin                                         string // of one log; several may share a database
	Types                                          []string
	Agent, Subject, Session, Task, Server, Tool    string
	Decision, Outcome, Status, Policy, Trace, Text string
	Grant, Label                                   string
	Since, Until                                   time.Time
	Before                                         uint64 // index below which rows begin, for paging; 0 = newest
	From                                           uint64 // with Ascending: index at which rows begin at the earliest
	Ascending                                      bool
	Following                                      bool // with Ascending: Before, From and the order go by the newest leaf of a row
	Limit                                          int  // default 100, at most 1000
}

// Part is what a search found that looks at a bounded number of rows.
type Part struct {
	Rows  []Row
	Below uint64    // not 0: the rows below this index were not looked at, all others were
	Back  time.Time // with Below: when the last event that was looked at began
}

// ErrRowsLost says that an index went back behind what it stored: its database failed
// over to a copy without the last rows, or lost what nobody waited for.
var ErrRowsLost = errors.New("the database has lost rows of the search index that were stored")

// Index keeps rows for search. It can be dropped and rebuilt from the log.
type Index interface {
	// PutRows stores rows and the watermark (the size of the log indexed so far)
	// in one transaction. A row already there is replaced by one whose newest
	// leaf is newer, and else left as it is. Where rows and a watermark it stored
	// before are gone, it stores nothing and the error is ErrRowsLost.
	PutRows(ctx context.Context, origin string, rows []Row, watermark uint64) error
	// Watermark returns how much of the log is indexed.
	Watermark(ctx context.Context, origin string) (uint64, error)
	Search(ctx context.Context, q Query) ([]Row, error)
	// SearchPart is Search, newest first, that gives up after so many rows that it
	// looked at and says how far it came.
	SearchPart(ctx context.Context, q Query) (Part, error)
	// Count returns how many rows q selects, whatever its limit, and counts no
	// further than most.
	Count(ctx context.Context, q Query, most int) (int, error)
	// DropRows removes the watermark of origin, then all its rows; not what is
	// known of its heads. If it is interrupted rows may be left: without a
	// watermark it is called again before any row is put or found.
	DropRows(ctx context.Context, origin string) error
}

// Loss is written when the program knows of something it could not record.
type Loss struct {
	Stream      string // what it belonged to
	Count       int
	First, Last time.Time
	Why         string
}
