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
	steps int
	undo  class // the class of not
}

// ref is one step of one rule, as an index from the classes that take it.
type ref struct {
	rule  uint16
	step  uint16
	state uint16
	gap   int32
}

// partial is how far one rule has come: the words up to a step, if sentence is
// the current one.
type partial struct {
	start, end int32
	sentence   int32
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func (e *Engine) compile() error {
	names, err := e.compileWords()
	if err != nil {
		return err
	}
	e.special.stop, e.special.quoter, e.special.describe = names[stop], names[quoter], names[describe]
	e.special.unbound, e.special.rot13, e.special.reversed = names[unbound], names[rot13ed], names[reversed]
	e.telling = map[class]bool{names["shell"]: true, names["path"]: true, names["secret"]: true, names["dest"]: true, names["sysprompt"]: true}
	e.steps = make([][]ref, len(names))
	seen := map[string]bool{}
	for _, text := range slices.Concat(definitionRules, resultRules) {
		if seen[text.id] || text.why == "" {
			return fmt.Errorf("rule %s is there twice, or does not say why", text.id)
		}
		seen[text.id] = true
		if err := e.addRule(text, names); err != nil {
			return fmt.Errorf("rule %s: %w", text.id, err)
		}
	}
	// The last steps come first, so that one word never takes two steps.
	for _, refs := range e.steps {
		slices.SortStableFunc(refs, func(a, b ref) int { return int(b.step) - int(a.step) })
	}
	return nil
}

func (e *Engine) addRule(text ruleText, names map[string]class) error {
	r := rule{ruleText: text}
	if c, ok := names[text.not]; ok {
		r.undo = c
	} else if text.not != "" {
		return fmt.Errorf("there is no class %q", text.not)
	}
	gap := 0
	for word := range strings.FieldsSeq(text.seq) {
		if n, err := strconv.Atoi(word); err == nil {
			gap = n
			continue
		}
		for name := range strings.SplitSeq(word, "/") {
			c, ok := names[name]
			if !ok {
				return fmt.Errorf("there is no class %q", name)
			}
			e.steps[c] = append(e.steps[c], ref{rule: uint16(len(e.rules)), step: uint16(r.steps), state: uint16(e.states), gap: int32(gap)})
		}
		r.steps++
		e.states++
	}
	if r.steps == 0 {
		return fmt.Errorf("it looks for nothing")
	}
	e.rules = append(e.rules, r)
	return nil
}
