package policy

import (
	"slices"

	"github.com/cedar-policy/cedar-go/ast"
)

// reads says which parts of the environment a policy looks at, so that only
// those are built. It is bits for the fixed parts and a tree for context.input.
type reads struct {
	bits  readBits
	input *tree  // nil: not read
	paths []path // as written, for explanations
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
	readBareContext // context as one value

	readAll = readBareContext<<1 - 1
)

func memberBits(variable, name string) readBits {
	switch variable {
	case "principal":
		return map[string]readBits{"owner": readOwner, "runtime": readRuntime, "model": readModel, "class": readClass,
			"tier": readAgentTier, "attested": readAttested, "status": readStatus, "dataScopes": readScopes}[name]
	case "resource":
		return map[string]readBits{"digest": readDigest, "pinned": readPinned, "destructive": readDestructive,
			"egress": readEgress, "tier": readToolTier, "labels": readLabels, "kind": readKind,
			"owner": readServer, "state": readServer}[name]
	case "context":
		return map[string]readBits{"session": readSession, "subject": readSubject, "grant": readGrant,
			"now": readNow, "input": readInput}[name]
	}
	return 0
}

// analyse returns what p reads.
func analyse(p *ast.Policy) reads {
	paths, in, ok := readsOf(p)
	r := reads{}
	if !ok {
		r.bits, r.input = readAll, &tree{all: true}
	}
	if in {
		r.bits |= readAncestors
	}
	for _, c := range paths {
		if !slices.ContainsFunc(r.paths, func(o path) bool { return slices.Equal(o, c) }) {
			r.paths = append(r.paths, c)
		}
		switch {
		case len(c) >= 2:
			r.bits |= memberBits(c[0], c[1])
		case c[0] == "context":
			r.bits |= readAll
		}
		if readsInput(c) {
			if r.input == nil {
				r.input = &tree{}
			}
			if len(c) == 1 {
				r.input.all = true
			} else {
				r.input.add(c[2:])
			}
		}
	}
	return r
}

// tree is a set of member chains below context.input.
type tree struct {
	all  bool // the whole value is read
	kids map[string]*tree
}

func (t *tree) add(c path) {
	if len(c) == 0 {
		t.all = true
		return
	}
	if t.kids == nil {
		t.kids = make(map[string]*tree)
	}
	k := t.kids[c[0]]
	if k == nil {
		k = &tree{}
		t.kids[c[0]] = k
	}
	k.add(c[1:])
}
