package audit

import (
	"slices"
	"strings"
)

// A leaf names nobody, but some names in it are made of an agent's id: the
// policy an allow-list became is called allow.AGENT.SERVER. There the leaf has
// the agent's pseudonym, and the index, while the key exists, the id.

func allowPrefix(agent string) string { return "allow." + agent + "." }

// hide returns the ids of policies as a leaf may show them. It changes a copy.
func hide(ids []string, agent, pseudonym string) []string {
	return renamed(ids, allowPrefix(agent), allowPrefix(pseudonym))
}

// unhide undoes hide once the agent is known.
func unhide(ids []string, agent, pseudonym string) []string {
	if agent == "" {
		return ids
	}
	return renamed(ids, allowPrefix(pseudonym), allowPrefix(agent))
}

func renamed(ids []string, from, to string) []string {
	copied := false
	for i, id := range ids {
		rest, ok := strings.CutPrefix(id, from)
		if !ok {
			continue
		}
		if !copied {
			ids, copied = slices.Clone(ids), true
		}
		ids[i] = to + rest
	}
	return ids
}

// ofAgent reports whether an object of this kind is called like the agent it
// belongs to.
func ofAgent(kind string) bool {
	return strings.EqualFold(kind, "agent") || strings.EqualFold(kind, "token")
}

// personal reports whether the ids of this kind of object say something about a
// person.
func personal(kind string) bool {
	switch strings.ToLower(kind) {
	case "user", "subject", "person", "session", "task":
		return true
	}
	return false
}
