// Package sink hands evidence on to other systems: to a file, a syslog receiver or
// an HTTP endpoint, in the forms those systems read.
//
// Each sink is fed from the durable log, in its order, from a cursor that is kept
// in the store and moves only after what lies before it was taken. So nothing is
// dropped, however long a receiver is away, and what is sent again after a crash
// has the id it had. A sink MUST NOT delay a call or another sink, MUST read no more
// of an answer than tells whether it was taken, and MUST follow no redirect. What a
// receiver refuses waits until it takes it or a person says to leave it out. A
// receiver that says it took what it did not keep cannot be told from one that did.
package sink

import (
	"context"
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
)

// Sink is a declared receiver of evidence.
type Sink struct {
	ID    string `json:"id"`
	Owner string `json:"owner"`
	Form  string `json:"form"`
	// URL is https://…, http://… on loopback, syslog+tls://host:port, syslog://host:port
	// on loopback, FileURL, or PollURL of FormSSF.
	URL    string   `json:"url"`
	Events []string `json:"events"`           // kinds, sorted; of FormSSF short names of events
	From   string   `json:"from"`             // where a new sink begins
	Header string   `json:"header,omitempty"` // carries the credential
	Value  string   `json:"value,omitempty"`  // template with {secret}
	Secret string   `json:"secret,omitempty"` // sealed credential, "" for none
	State  string   `json:"state"`
	// Of FormSSF: aud of what is told, how people are named in it, and the sealed credential
	// that the receiver shows where it sees to its stream or fetches.
	Audience string `json:"audience,omitempty"`
	Naming   string `json:"naming,omitempty"`
	Receiver string `json:"receiver,omitempty"`

	Created time.Time `json:"created"`
	Changed time.Time `json:"changed"`
}

// The states of a sink.
const (
	Active  = "active"
	Retired = "retired" // gets nothing; its cursor stays
)

// Where a new sink begins.
const (
	FromNow   = "now"
	FromStart = "start" // of the log
)

// FileURL is the URL of a sink that writes into the data directory.
const FileURL = "file:"

// The forms.
const (
	FormOCSF        = "ocsf"        // OCSF 1.8, one JSON object a line
	FormCloudEvents = "cloudevents" // CloudEvents 1.0 in JSON
	FormCEF         = "cef"         // Common Event Format, one line an event
	FormOTLP        = "otlp"        // OpenTelemetry log records
	FormLeaf        = "leaf"        // the leaf as it is in the log, one JSON object a line
)

// Forms lists the forms of evidence.
func Forms() []string { return []string{FormCEF, FormCloudEvents, FormLeaf, FormOCSF, FormOTLP} }

// The kinds of events.
const (
	KindCall    = "call"    // a call that ended
	KindRefusal = "refusal" // a call or a token that was refused
	KindList    = "list"    // a list or a handshake
	KindChange  = "change"  // what an operator did or was refused
	KindLog     = "log"     // of the log itself: opened, closed, what could not be recorded
)

// Kinds lists the kinds, sorted.
func Kinds() []string { return []string{KindCall, KindChange, KindList, KindLog, KindRefusal} }

// kindOf returns the kind of what the log tells.
func kindOf(x *audit.Told) string {
	switch {
	case x.End != nil:
		return KindCall
	case x.Change != nil:
		return KindChange
	case x.Call == nil:
		return KindLog
	case x.Call.Outcome == access.Permit.String() || x.Call.Outcome == access.Mask.String():
		return KindList
	}
	return KindRefusal
}

// wants reports whether a sink is to get x.
func (s *Sink) wants(x *audit.Told) bool { return slices.Contains(s.Events, kindOf(x)) }

// Scheme returns how a sink is reached: https, http, syslog+tls, syslog, file or poll.
func (s *Sink) Scheme() string {
	scheme, _, _ := strings.Cut(s.URL, ":")
	return scheme
}

// Cursor is how far a sink got in one log.
type Cursor struct {
	Next    uint64    // index of the leaf to go on with
	Changed time.Time // when it moved
}

// Cursors keeps how far sinks got.
type Cursors interface {
	// SinkCursor returns the cursor of a sink in the log of that origin, false if it
	// has none yet.
	SinkCursor(ctx context.Context, sink, origin string) (Cursor, bool, error)
	// MoveSinkCursor keeps c, unless the cursor stands elsewhere than at from; a sink
	// without one stands at 0. The error is then an access.CodeConflict.
	MoveSinkCursor(ctx context.Context, sink, origin string, from uint64, c Cursor) error
}
