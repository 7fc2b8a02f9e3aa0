// Package inspect finds what misleads a model or leaves its scope: hidden text,
// injected instructions, secrets and personal data in definitions, arguments
// and results.
//
// Inspection MUST be deterministic: the same bytes, rules and peers give the same
// findings in the same order; there is no network, no clock and no model. A
// detector never decides: it returns findings, policy turns them into outcomes.
// Every finding MUST explain itself, and MUST NOT hold the text it is about. An
// inspector that reaches a limit or cannot read its input says so by a finding;
// it never means clean. It knows no other server: peers come in as a value.
//
// All offsets are bytes of the text as it was received, after JSON unescaping.
package inspect

import (
	"fmt"
	"sync"

	"rutile/internal/glyph"
)

// RuleSet is the version of the shipped rules. Findings of one version may be
// cached by the digest of what was inspected.
const RuleSet = 3

// Profile says what kind of text is inspected: the same words weigh differently.
type Profile uint8

// The profiles.
const (
	Definition   Profile = iota // what a server says about a tool, prompt or resource
	Instructions                // what a server tells the model outright: the strictest
	Result                      // what a call returned
)

// Tier is what findings together call for.
type Tier uint8

// The tiers, from nothing to all.
const (
	Clean Tier = iota
	Review
	Block
)

// String returns "", "review" or "block".
func (t Tier) String() string {
	switch t {
	case Review:
		return "review"
	case Block:
		return "block"
	default:
		return ""
	}
}

// MarshalText writes what String returns.
func (t Tier) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// Position is how a sentence stands to its reader.
type Position string

// The positions. A finding of a class that has none leaves it empty.
const (
	Imperative Position = "imperative" // orders the reader
	Describing Position = "describing" // says what something does
	Quoting    Position = "quoting"    // shows words of somebody else
)

// Finding is one thing that was seen, without the text itself.
type Finding struct {
	Rule   string `json:"rule"`
	Family string `json:"family"`
	// Hard findings block alone while in force; Tier is what this one calls for.
	Hard bool `json:"hard,omitempty"`
	Tier Tier `json:"tier,omitempty"`
	// Pointer is the RFC 6901 pointer of the text in the definition or result.
	Pointer string `json:"pointer"`
	// Start and End are bytes of the unescaped text at Pointer.
	Start int `json:"start"`
	End   int `json:"end"`
	// Decoded names what was undone before this was seen, from the outside in.
	Decoded  []string `json:"decoded,omitempty"`
	Position Position `json:"position,omitempty"`
	// Peer is the tool of another server this is about, as "server/tool".
	Peer   string  `json:"peer,omitempty"`
	Weight float64 `json:"weight"`
	Why    string  `json:"why"`
}

// Report is everything found in one definition or result.
type Report struct {
	Tier Tier `json:"tier,omitempty"`
	// Score joins the strongest finding of every family: 1 − Π(1 − weight).
	Score    float64   `json:"score"`
	Findings []Finding `json:"findings,omitempty"`
}

// Engine is the compiled rules. It is immutable and safe for concurrent use.
type Engine struct {
	words   *automaton
	rules   []rule
	first   [][]ref // by class: the first steps its words take
	later   [][]ref // by class: the other steps
	needs   []bits  // by class: the states those steps start from
	states  int
	special struct{ stop, quoter, describe, unbound, rot13, reversed class }
	telling map[class]bool   // of which encoded text ought not to speak
	quotes  []bool           // by word: it is a quoter
	added   map[class]string // what is told of an added sentence that has such a word
	// ordering makes an order of a name it stands beside.
	ordering  map[class]bool
	fold      map[rune]rune
	scratch   sync.Pool
	sensitive []compiled
	given     map[string]bool // first names
	kinds     [256]byte       // of bytes, see nextCue
	cues      [256][]cue      // by the byte they are looked for by
}

// New compiles the shipped rules. It fails only where they are written wrongly.
func New() (*Engine, error) { return shared() }

// shared is the one engine of a process: it never changes, and takes 50 ms and 25 MB
// to make.
var shared = sync.OnceValues(build) //nolint:gochecknoglobals // made once for a process, and never changed

func build() (*Engine, error) {
	e := &Engine{fold: glyph.Lookalikes(), kinds: byteKinds(), cues: cuesByByte()}
	if err := e.compile(); err != nil {
		return nil, err
	}
	if err := e.compileSensitive(); err != nil {
		return nil, fmt.Errorf("compiling the detectors of data: %w", err)
	}
	e.scratch.New = func() any { return &scan{e: e, state: make([]partial, e.states)} }
	return e, nil
}

// Limits of one inspection. Reaching one is a finding.
const (
	maxFindings = 64       // kept; the strongest rules come again in later ones anyway
	maxDepth    = 2        // of decoding inside decoded text
	maxDecoded  = 64 << 10 // bytes, and never more than four times the input
	maxLeaves   = 20_000   // strings of one document
	maxNesting  = 64
)
