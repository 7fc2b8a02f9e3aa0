package mcpproxy

import (
	"time"

	"rutile/internal/confine"
)

// The tests of processes reach them directly: everything above hides them.
type (
	StdioConfig  = stdioConfig
	StdioProcess = stdioProcess
	Supervisor   = supervisor
	ProcessKey   = processKey
)

var (
	StartStdio     = startStdio
	ErrStdioUnsent = errStdioUnsent
	ErrStdioEnded  = errStdioEnded
)

// NewProcessKey makes the key of a session.
func NewProcessKey(session string) ProcessKey { return processKey{session: session} }

func (s *supervisor) MayStart(key ProcessKey, now time.Time) error {
	return s.mayStart("the process", "rutile server show up", key, now)
}
func (s *supervisor) Failed(err error, begun, now time.Time) { s.failed(err, begun, now) }
func (s *supervisor) Began()                                 { s.began(confine.Report{}) }
func (s *supervisor) Started()                               { s.started() }
func (s *supervisor) Prune(now time.Time)                    { s.prune(now) }
func (s *supervisor) Ended(key ProcessKey, err error, wanted bool, now time.Time) {
	s.ended(key, err, wanted, now)
}

// State is what an operator sees at now.
func (s *supervisor) State(now time.Time) (st ProcessState) {
	s.tell(&st, now)
	return st
}

// Held is how many keys the supervisor remembers.
func (s *supervisor) Held() int { return len(s.crashes) }
