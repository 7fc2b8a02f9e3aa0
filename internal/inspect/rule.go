package inspect

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// ruleText is a rule as it is written in the tables.
type ruleText struct {
	id, family string
	// seq is classes of words in their order, with how many bytes may lie between
	// two of them: "override 30 prior 30 instr". A slash is either of two.
	seq string
	// def and res weigh the rule in definitions and in results, 0 switches it off.
	def, res float64
	hard     bool   // blocks alone while in force
	not      string // class whose words inside undo it
	fixed    bool   // has no position: it counts wherever it stands
	why      string
}

// rule is one compiled rule.
type rule struct {
	ruleText
	undo class // the class of not
}

// ref is one step that a class of words may take: from a state to the next one, or
// to the end of a rule. Rules that begin alike share their states.
type ref struct {
	from  int16 // -1: the step is the first
	to    int16 // -1: the rule ends
	rule  uint16
	depth uint8
	gap   int32
}

// bits is a set of states.
type bits [maxStateWords]uint64

const maxStateWords = 6

func (b *bits) add(n int16)      { b[n>>6] |= 1 << (n & 63) }
func (b *bits) has(n int16) bool { return b[n>>6]&(1<<(n&63)) != 0 }

func (b *bits) meets(o *bits) bool {
	for i := range b {
		if b[i]&o[i] != 0 {
			return true
		}
	}
	return false
}

// partial is how far some rules have come: the words up to a step.
type partial struct{ start, end int32 }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func (e *Engine) compile() error {
	names, err := e.compileWords()
	if err != nil {
		return err
	}
	e.special.stop, e.special.quoter, e.special.describe = names[stop], names[quoter], names[describe]
	e.special.unbound, e.special.rot13, e.special.reversed = names[unbound], names[rot13ed], names[reversed]
	e.telling = map[class]bool{names["shell"]: true, names["path"]: true, names["secret"]: true, names["dest"]: true, names["sysprompt"]: true}
	e.added = map[class]string{
		names["path"]: "an added sentence names a file with secrets", names["shell"]: "an added sentence has a command", names["weblink"]: "an added sentence has an address",
		names["anytool"]: "an added sentence speaks of other tools", names["secretly"]: "an added sentence speaks of secrecy", names["sysprompt"]: "an added sentence speaks of the model's instructions",
	}
	e.quotes = make([]bool, len(e.words.words))
	for n, w := range e.words.words {
		e.quotes[n] = slices.Contains(w.classes, e.special.quoter)
	}
	e.ordering = map[class]bool{}
	for _, name := range []string{"avoid", "before", "must", "alter", "override", "irrespective", "against", "priority", "secretly"} {
		e.ordering[names[name]] = true
	}
	e.first, e.later, e.needs = make([][]ref, len(names)), make([][]ref, len(names)), make([]bits, len(names))
	seen, known := map[string]bool{}, map[string]int16{}
	for _, text := range slices.Concat(definitionRules, resultRules) {
		if seen[text.id] || text.why == "" {
			return fmt.Errorf("rule %s is there twice, or does not say why", text.id)
		}
		seen[text.id] = true
		if err := e.addRule(text, names, known); err != nil {
			return fmt.Errorf("rule %s: %w", text.id, err)
		}
	}
	// The last steps come first, so that one word never takes two steps.
	for _, refs := range e.later {
		slices.SortStableFunc(refs, func(a, b ref) int { return int(b.depth) - int(a.depth) })
	}
	return nil
}

// addRule compiles one rule. known leads from the steps so far, as they are
// written, to the state after them.
func (e *Engine) addRule(text ruleText, names map[string]class, known map[string]int16) error {
	r := rule{ruleText: text}
	if c, ok := names[text.not]; ok {
		r.undo = c
	} else if text.not != "" {
		return fmt.Errorf("there is no class %q", text.not)
	}
	words := strings.Fields(text.seq)
	if len(words)%2 == 0 {
		return fmt.Errorf("it is not classes with distances between them")
	}
	next := ref{from: -1, rule: uint16(len(e.rules))}
	for i := 0; i < len(words); i += 2 {
		next.to, next.depth = -1, uint8(i/2)
		if i > 0 {
			gap, err := strconv.Atoi(words[i-1])
			if err != nil {
				return fmt.Errorf("%q is no distance", words[i-1])
			}
			next.gap = int32(gap)
		}
		prefix, again := strings.Join(words[:i+1], " "), false
		if i+1 < len(words) {
			if next.to, again = known[prefix]; !again {
				if e.states >= maxStateWords*64 {
					return fmt.Errorf("the rules need more than %d states", e.states)
				}
				next.to = int16(e.states)
				known[prefix] = next.to
				e.states++
			}
		}
		if !again {
			if err := e.addStep(words[i], next, names); err != nil {
				return err
			}
		}
		next.from = next.to
	}
	e.rules = append(e.rules, r)
	return nil
}

// addStep lets every class of a step take it.
func (e *Engine) addStep(set string, step ref, names map[string]class) error {
	for name := range strings.SplitSeq(set, "/") {
		c, ok := names[name]
		if !ok {
			return fmt.Errorf("there is no class %q", name)
		}
		if step.from < 0 {
			e.first[c] = append(e.first[c], step)
			continue
		}
		e.later[c] = append(e.later[c], step)
		e.needs[c].add(step.from)
	}
	return nil
}
