package mcpregistry

import (
	"fmt"
	"time"

	"rutile/internal/registry"
)

// schema is the published form of what stands in Entry.Server.
const schema = "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"

// latest is the version that stands for the newest one.
const latest = "latest"

// MetaKey is our key in an entry's _meta. What stands under the official
// registry's key is said by the official registry alone.
const MetaKey = "io.rutile/registry"

// List is a page of entries.
type List struct {
	Servers  []Entry  `json:"servers"`
	Metadata Metadata `json:"metadata"`
}

// Metadata says how a page stands in the whole.
type Metadata struct {
	Next  string `json:"nextCursor,omitempty"`
	Count int    `json:"count"`
}

// Entry is one version of a server.
type Entry struct {
	Server Detail          `json:"server"`
	Meta   map[string]Meta `json:"_meta"`
}

// Detail is a server as server.schema.json has it.
type Detail struct {
	Schema      string   `json:"$schema"`
	Name        string   `json:"name"`
	Description string   `json:"description"` // 1 to 100 characters
	Version     string   `json:"version"`
	Remotes     []Remote `json:"remotes"`
}

// Remote is where a server is reached.
type Remote struct {
	Type string `json:"type"`
	URL  string `json:"url"`
}

// Meta is what this registry says of an entry.
type Meta struct {
	Status      string    `json:"status"` // active or deprecated
	Message     string    `json:"statusMessage,omitempty"`
	Replacement string    `json:"replacement,omitempty"` // name of the entry to use instead
	Ends        string    `json:"ends,omitempty"`        // day from which it may be gone
	Published   time.Time `json:"publishedAt"`
	Updated     time.Time `json:"updatedAt"`
	Latest      bool      `json:"isLatest"`
}

// maxDescription is the schema's, in characters.
const maxDescription = 100

// entry shows a server. What a manifest says for readers is all it takes of it.
// What is to be used instead is named only where it may be shown itself.
func (a *API) entry(view *registry.View, s registry.Server) Entry {
	d := Detail{
		Schema: schema, Name: a.cfg.Namespace + "/" + s.ID, Description: s.Description, Version: version(s),
		Remotes: []Remote{{Type: "streamable-http", URL: a.cfg.URL + "/mcp/" + s.ID}},
	}
	if d.Description == "" {
		d.Description = "Reached through the gateway, which decides and records every call."
	}
	m := Meta{Status: "active", Published: s.Created.UTC(), Updated: s.Changed.UTC(), Latest: true}
	if s.State == registry.ServerDeprecated {
		m.Status, m.Message = "deprecated", "This server is going away."
		if s.Replacement != "" && view.ServerStanding(s.Replacement).OK {
			m.Replacement = a.cfg.Namespace + "/" + s.Replacement
			m.Message = fmt.Sprintf("This server is going away: use %s.", m.Replacement)
		}
		if !s.Ends.IsZero() {
			m.Ends = s.Ends.UTC().Format(time.DateOnly)
		}
		// Clients that know nothing of our key show at least the description.
		d.Description = clip("Deprecated. "+d.Description, maxDescription)
	}
	return Entry{Server: d, Meta: map[string]Meta{MetaKey: m}}
}

// version is an exact version: what the manifest says, else one that grows with
// every change of the entry. Nothing of where the server is can be guessed of it.
func version(s registry.Server) string {
	if s.Version != "" {
		return s.Version
	}
	return "0.0.0-" + s.Changed.UTC().Format("t20060102150405")
}

func clip(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
