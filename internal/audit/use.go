package audit

import (
	"context"
	"time"
)

// Use is how often an agent was permitted one thing in a time.
type Use struct {
	Agent  string
	Server string
	Method string
	Target string // a tool, a prompt or a template of the server; "" for resources and the server itself
	Calls  int
	Last   time.Time
}

// Usage is what was permitted in a time, by every log that shares the database.
type Usage struct {
	Uses     []Use                  // sorted
	Policies map[string]PolicyUsage // statements that matched, by id
	Oldest   time.Time              // when the oldest evidence in the index is of; zero if there is none
}

// PolicyUsage is how often a statement matched.
type PolicyUsage struct {
	Decisions int       `json:"decisions"`
	Last      time.Time `json:"last"`
}

// Whole runs f, which reads the index, while everything durable at its beginning is
// indexed; f runs again if the index was built anew under it.
func (l *Log) Whole(ctx context.Context, f func() error) error { return l.whole(ctx, f) }
