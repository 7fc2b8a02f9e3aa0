// Package admin is every change an operator can make, authorised and recorded
// the same way.
//
// A change is planned against the current state, validated whole, recorded as
// evidence, committed in one transaction and then installed; it happens
// entirely or not at all. The command line, the API and the console all come
// through here.
package admin

import (
	"context"

	"rutile/internal/policy"
	"rutile/internal/registry"
)

// Changes is one set of changes, committed together. A nil value in a map
// deletes the object.
type Changes struct {
	Base     uint64 // the generation the changes were planned on
	Agents   map[string]*registry.Agent
	Servers  map[string]*registry.Server
	Tools    map[ToolKey]*registry.Tool
	Teams    map[string]*registry.Team
	Policies map[string]*policy.Policy
}

// ToolKey names a tool.
type ToolKey struct{ Server, Tool string }

// Store commits changes.
type Store interface {
	// Commit applies c in one transaction and returns the new generation. If the
	// stored generation is not c.Base it changes nothing and returns an
	// access.CodeConflict error.
	Commit(ctx context.Context, c Changes) (uint64, error)
	// LoadPolicies returns the stored policies sorted by id.
	LoadPolicies(ctx context.Context) ([]policy.Policy, error)
	// Meta reads and SetMeta writes a small named value (node id, boot state).
	Meta(ctx context.Context, key string) (value string, ok bool, err error)
	SetMeta(ctx context.Context, key, value string) error
}
