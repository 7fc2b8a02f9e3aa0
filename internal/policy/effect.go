package policy

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/cedar-policy/cedar-go/types"

	"rutile/internal/access"
)

// effect is what a forbid that matches does besides denying (access.md 2.5). The
// zero effect only denies. A remedy (rate_limit, require_approval, mask) says how
// the call may pass after all, a consequence (terminate, revoke, quarantine) what
// happens to something else.
type effect struct {
	outcome access.Outcome
	target  access.Target // of a consequence
	fact    string        // of rate_limit
	places  []string      // of mask
}

// targetsOf is what a consequence can be about.
func targetsOf(o access.Outcome) []access.Target {
	switch o {
	case access.Quarantine:
		return []access.Target{access.TargetAgent, access.TargetServer, access.TargetSession, access.TargetTool}
	case access.Revoke:
		return []access.Target{access.TargetAgent, access.TargetCredential, access.TargetGrant, access.TargetSession, access.TargetSubject}
	case access.Terminate:
		return []access.Target{access.TargetAgent, access.TargetSession}
	default:
		return nil
	}
}

// parameterOf is the annotation an outcome needs besides, "" if none.
func parameterOf(o access.Outcome) string {
	switch o {
	case access.Mask:
		return "mask"
	case access.RateLimit:
		return "fact"
	case access.Quarantine, access.Revoke, access.Terminate:
		return "target"
	default:
		return ""
	}
}

var factName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

// effectOf reads the annotations that belong to @outcome. wrong records a mistake
// at an annotation.
func effectOf(s *statement, notes types.Annotations, wrong func(key, format string, args ...any)) effect {
	word, has := notes["outcome"]
	var e effect
	if has {
		var err error
		if e.outcome, err = access.ParseOutcome(string(word)); err != nil || e.outcome == access.Permit {
			wrong("outcome", "unknown @outcome(%q); known are deny, require_approval, rate_limit, mask, quarantine, revoke and terminate", string(word))
			return effect{}
		}
	}
	if permits(s.full) {
		for _, key := range []string{"outcome", "mask", "fact", "target"} {
			if _, has := notes[types.AnnotationKey(key)]; has {
				wrong(key, "a permit cannot have @%s: an outcome other than permit is a forbid with an annotation", key)
			}
		}
		return effect{}
	}
	for _, key := range []string{"mask", "fact", "target"} {
		value, has := notes[types.AnnotationKey(key)]
		switch needed := parameterOf(e.outcome) == key; {
		case needed && !has:
			wrong("outcome", "@outcome(%q) needs @%s besides", e.outcome.String(), key)
		case has && !needed:
			wrong(key, "@%s does not belong to @outcome(%q)", key, e.outcome.String())
		case has:
			if msg := e.parameter(string(value)); msg != "" {
				wrong(key, "%s", msg)
			}
		}
	}
	if msg := e.misplaced(s); msg != "" {
		wrong("outcome", "%s", msg)
	}
	return e
}

// parameter takes the value of the annotation the outcome needs and says what is
// wrong with it.
func (e *effect) parameter(value string) string {
	switch e.outcome {
	case access.RateLimit:
		if e.fact = value; !factName.MatchString(value) {
			return fmt.Sprintf("@fact(%q) must be the name of one fact: lower-case letters, digits and '_'", value)
		}
	case access.Mask:
		return e.masks(value)
	default:
		e.target = access.Target(value)
		switch known := targetsOf(e.outcome); {
		case slices.Contains(known, e.target):
		case e.outcome == access.Quarantine && (value == "version" || value == "instance"):
			return fmt.Sprintf("@target(%q) is not supported by this version: an agent is quarantined whole, with @target(\"agent\")", value)
		default:
			return fmt.Sprintf("unknown @target(%q) of @outcome(%q); known are %s", value, e.outcome.String(), wordsOf(known))
		}
	}
	return ""
}

func wordsOf(known []access.Target) string {
	out := make([]string, len(known))
	for i, t := range known {
		out[i] = string(t)
	}
	return strings.Join(out, ", ")
}

// Bounds of @mask, so that masking stays cheap.
const (
	maxPlaces = 32
	maxTokens = 16
)

// What @mask names besides places.
const (
	// MaskLabels stands for every part with a label outside of principal.dataScopes.
	MaskLabels = "labels"
	// MaskBlocked and MaskReview stand for every string with findings that call for
	// that much, MaskMark for a note before every string with a finding.
	MaskBlocked = "blocked"
	MaskReview  = "review"
	MaskMark    = "mark"
	// MaskPII and MaskSecret stand for every value that was found of that kind.
	MaskPII    = "pii"
	MaskSecret = "secret"
)

// IsMaskSet reports whether a place of @mask stands for what inspection finds.
func IsMaskSet(place string) bool {
	switch place {
	case MaskBlocked, MaskReview, MaskMark, MaskPII, MaskSecret:
		return true
	}
	return false
}

// masksData reports whether values are to be masked that have to be looked for.
func (e *effect) masksData() bool {
	return slices.Contains(e.places, MaskPII) || slices.Contains(e.places, MaskSecret)
}

// masks reads "args/POINTER, result/POINTER, labels, blocked, review, mark, pii, secret".
func (e *effect) masks(value string) string {
	for text := range strings.SplitSeq(value, ",") {
		place := strings.TrimSpace(text)
		if place != MaskLabels && !IsMaskSet(place) {
			if _, _, err := ParsePlace(place); err != nil {
				return fmt.Sprintf("@mask(%q): %v", value, err)
			}
		}
		if !slices.Contains(e.places, place) {
			e.places = append(e.places, place)
		}
	}
	if len(e.places) > maxPlaces {
		return fmt.Sprintf("@mask names %d places, more than %d", len(e.places), maxPlaces)
	}
	return ""
}

// ParsePlace reads one place of @mask: "args" or "result" with an RFC 6901
// pointer, in which "*" stands for every member and item. path is what to follow,
// unescaped.
func ParsePlace(place string) (result bool, path []string, err error) {
	root, pointer, ok := strings.Cut(place, "/")
	if !ok || root != "args" && root != "result" {
		return false, nil, fmt.Errorf("%q is neither args/POINTER, result/POINTER, labels, blocked, review, mark, pii nor secret", place)
	}
	for token := range strings.SplitSeq(pointer, "/") {
		for i := 0; i < len(token); i++ {
			if token[i] == '~' && (i+1 == len(token) || token[i+1] != '0' && token[i+1] != '1') {
				return false, nil, fmt.Errorf("%q has a '~' that is neither ~0 nor ~1", place)
			}
		}
		path = append(path, strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~"))
	}
	switch {
	case pointer == "":
		return false, nil, fmt.Errorf("%q is all of it: deny instead", place)
	case len(path) > maxTokens:
		return false, nil, fmt.Errorf("%q is more than %d levels deep", place, maxTokens)
	}
	return root == "result", path, nil
}

// misplaced says why the effect cannot happen where the conditions of s put it: a
// call is judged before it is made, and a policy that reads context.output on what
// came back.
func (e *effect) misplaced(s *statement) string {
	if !e.outcome.Conditional() {
		return ""
	}
	output := readsOutput(s)
	if output && e.outcome != access.Mask {
		return fmt.Sprintf("@outcome(%q) cannot stand on context.output: the call has been made then; deny or mask what came back, or judge resource.labels before", e.outcome.String())
	}
	for _, place := range e.places {
		switch args := strings.HasPrefix(place, "args/"); {
		case args && output:
			return fmt.Sprintf("@mask cannot mask %q on context.output: the arguments have been sent then", place)
		case !args && !output:
			return fmt.Sprintf("@mask(%q) is about what comes back: begin the conditions with context has output", place)
		}
	}
	return ""
}

// readsOutput reports whether s names context.output.
func readsOutput(s *statement) bool {
	r := analyse(s.full)
	return slices.ContainsFunc(r.paths, func(p path) bool { return len(p) > 1 && p[0] == "context" && p[1] == "output" })
}

// matched notes a statement that matched. masked are the rules whose masks have
// been applied.
func (v *Verdict) matched(st *statement, masked []string) {
	if st.permit {
		v.Permits = append(v.Permits, st.id)
		return
	}
	e := &st.effect
	if e.outcome == access.Mask && slices.Contains(masked, st.id) {
		v.Met = append(v.Met, st.id)
		return
	}
	v.Forbids = append(v.Forbids, st.id)
	if st.advice != "" {
		v.Advice = append(v.Advice, st.advice)
	}
	switch e.outcome {
	case access.RequireApproval:
		v.Asks = append(v.Asks, st.id)
	case access.RateLimit:
		v.Limits = append(v.Limits, access.Limit{Policy: st.id, Fact: e.fact})
	case access.Mask:
		v.Masks = append(v.Masks, access.Masking{Policy: st.id, Places: e.places})
	case access.Quarantine, access.Revoke, access.Terminate:
		v.Consequences = append(v.Consequences, access.Consequence{Outcome: e.outcome, Target: e.target, Policy: st.id})
	}
}

// settle turns what matched into the outcome: default deny, forbid wins, and an
// error denies. Consequences happen whatever else matched. Where all that forbids
// has a remedy, and something permits, the remedies are tried in the order
// rate_limit, require_approval, mask (access.md 2.5).
func (v *Verdict) settle(maybe maybeOf) {
	v.sort()
	conditional := len(v.Asks) + len(v.Limits) + len(v.Masks)
	permitted := len(v.Permits) > 0 && !maybe.deny
	v.Outcome = access.Deny
	switch {
	case len(v.Consequences) > 0:
		v.Outcome = v.Consequences[0].Outcome
	case len(v.Errors) > 0 || len(v.Forbids) > conditional:
	case permitted && len(v.Limits) > 0:
		v.Outcome = access.RateLimit
	case permitted && len(v.Asks) > 0:
		v.Outcome = access.RequireApproval
	case permitted && len(v.Masks) > 0:
		v.Outcome = access.Mask
	case permitted:
		v.Outcome = access.Permit
	case len(v.Permits) > 0 || maybe.permit:
		v.Maybe = true
	}
}

func (v *Verdict) sort() {
	for _, l := range [][]string{v.Permits, v.Forbids, v.Errors, v.Asks, v.Met, v.Open} {
		slices.Sort(l)
	}
	if len(v.Limits) > 1 {
		slices.SortFunc(v.Limits, func(x, y access.Limit) int { return strings.Compare(x.Policy, y.Policy) })
	}
	if len(v.Masks) > 1 {
		slices.SortFunc(v.Masks, func(x, y access.Masking) int { return strings.Compare(x.Policy, y.Policy) })
	}
	if len(v.Consequences) > 1 {
		slices.SortFunc(v.Consequences, func(x, y access.Consequence) int {
			return cmp.Or(cmp.Compare(y.Outcome, x.Outcome), strings.Compare(x.Policy, y.Policy))
		})
	}
}
