package policy

import (
	"slices"

	"github.com/cedar-policy/cedar-go/ast"
)

// reads says which parts of the environment a policy looks at, so that only
// those are built. It is bits for the fixed parts, a tree for context.input and
// one for context.derived; of context.facts it is names.
type reads struct {
	bits     readBits
	input    *tree // nil: not read
	derived  *tree // nil: not read
	facts    []string
	touch    bool   // what the session has touched
	risk     bool   // how unusual what the caller does is
	allFacts bool   // context.facts as one value
	hasFacts bool   // only whether it is there, which it is
	paths    []path // as written, for explanations
}

type readBits uint32

const (
	readOwner readBits = 1 << iota
	readRuntime
	readModel
	readClass
	readAgentTier
	readAttested
	readStatus
	readScopes
	readAgentRisk
	readDigest
	readPinned
	readDestructive
	readEgress
	readToolTier
	readLabels
	readKind
	readServer
	readSession
	readSubject
	readGrant
	readNow
	readAncestors
	readInput
	readOutput
	readData        // what is secret or personal in what came back
	readBareContext // context as one value

	readAll = readBareContext<<1 - 1
)

func memberBits(variable, name string) readBits {
	switch variable {
	case "principal":
		return map[string]readBits{"owner": readOwner, "runtime": readRuntime, "model": readModel, "class": readClass,
			"tier": readAgentTier, "attested": readAttested, "status": readStatus, "dataScopes": readScopes, memberRisk: readAgentRisk}[name]
	case "resource":
		return map[string]readBits{"digest": readDigest, "pinned": readPinned, "destructive": readDestructive,
			"egress": readEgress, "tier": readToolTier, "labels": readLabels, "kind": readKind,
			"owner": readServer, "state": readServer}[name]
	case "context":
		return map[string]readBits{"session": readSession, "subject": readSubject, "grant": readGrant,
			"now": readNow, "input": readInput, "output": readOutput}[name]
	}
	return 0
}

// analyse returns what p reads.
func analyse(p *ast.Policy) reads {
	paths, asked, in, ok := readsOf(p)
	r := reads{}
	if !ok {
		r.bits, r.input = readAll, &tree{all: true}
	}
	if in {
		r.bits |= readAncestors
	}
	for i, c := range slices.Concat(paths, asked) {
		if !slices.ContainsFunc(r.paths, func(o path) bool { return slices.Equal(o, c) }) {
			r.paths = append(r.paths, c)
		}
		switch {
		case len(c) >= 2:
			r.bits |= memberBits(c[0], c[1])
			if c[0] == "context" && c[1] == "output" && (len(c) == 2 && i < len(paths) || len(c) > 2 && c[2] != "bytes") {
				r.bits |= readData
			}
		case c[0] == "context":
			r.bits |= readAll
		}
		r.touch = r.touch || touches(c)
		r.risk = r.risk || readsRisk(c)
		at := &r.input
		switch {
		case readsFacts(c):
			r.noteFacts(c, i < len(paths))
			continue
		case readsDerived(c):
			at = &r.derived
		case !readsInput(c):
			continue
		}
		if *at == nil {
			*at = &tree{}
		}
		node := *at
		if len(c) > 2 {
			node = node.below(c[2:])
		}
		node.all = node.all || i < len(paths)
	}
	return r
}

// tree is a set of member chains below context.input or context.derived. A node that is neither read
// whole nor has nodes below is only asked for.
type tree struct {
	all  bool // the whole value is read
	kids map[string]*tree
}

// below returns the node at the end of c, which it makes where there is none.
func (t *tree) below(c path) *tree {
	for _, name := range c {
		if t.kids == nil {
			t.kids = make(map[string]*tree)
		}
		k := t.kids[name]
		if k == nil {
			k = &tree{}
			t.kids[name] = k
		}
		t = k
	}
	return t
}
