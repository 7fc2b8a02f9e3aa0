package audit

import (
	"slices"
	"strings"
)

// A leaf names nobody, but some names in it are made of an agent's id: the
// policy an allow-list became is called allow.AGENT.SERVER, those of an
// entitlement entitlement.ID.AGENT.SERVER, with .ask after it for the one that
// asks. There the leaf has the agent's pseudonym, and the index, while the key
// exists, the id.

// agentPart is which part of a policy's id, between dots, is an agent's id.
var agentPart = map[string]int{"allow": 1, "entitlement": 2}

// hide returns the ids of policies as a leaf may show them. It changes a copy.
func hide(ids []string, agent, pseudonym string) []string {
	return renamed(ids, agent, pseudonym)
}

// unhide undoes hide once the agent is known.
func unhide(ids []string, agent, pseudonym string) []string {
	if agent == "" {
		return ids
	}
	return renamed(ids, pseudonym, agent)
}

func renamed(ids []string, from, to string) []string {
	copied := false
	for i, id := range ids {
		kind, _, _ := strings.Cut(id, ".")
		at := agentPart[kind]
		if at == 0 {
			continue
		}
		start := 0 // of the part
		for n := at; n > 0 && start >= 0; n-- {
			start = after(id, start)
		}
		if start < 0 {
			continue
		}
		part, _, more := strings.Cut(id[start:], ".")
		if !more || part != from {
			continue
		}
		if !copied {
			ids, copied = slices.Clone(ids), true
		}
		ids[i] = id[:start] + to + id[start+len(part):]
	}
	return ids
}

// after is where the part behind the one at start begins, -1 if that is the last.
func after(id string, start int) int {
	dot := strings.IndexByte(id[start:], '.')
	if dot < 0 {
		return -1
	}
	return start + dot + 1
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
	case "user", "subject", "person", "session", "signin", "task", "revocation", "receipt":
		return true
	}
	return false
}
