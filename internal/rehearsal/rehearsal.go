// Package rehearsal judges calls by rules that are not in force, and says what
// they would change; of a recorded call it says why it was decided as it was.
//
// Calls come from the gate while they are decided (Stage) or from the evidence
// (Replay). Nothing here decides, spends a grant or a counter, or waits on a
// call's way: what cannot be judged in time is dropped, and the report says how
// often. A report names agents, tools and policies, never an argument.
package rehearsal

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"rutile/internal/access"
)

// Change is how a verdict differs.
type Change string

// The changes.
const (
	NewlyDenied    Change = "newly_denied"    // permitted before, denied after
	NewlyPermitted Change = "newly_permitted" // not permitted before, permitted after
	Changed        Change = "changed"         // another outcome otherwise, such as an approval that is asked for
)

// Report is what rules that are not in force would have changed. Every decision
// that was looked at is counted once: Looked is the sum of all counts but Opened
// and Errors.
type Report struct {
	Candidate string    `json:"candidate"` // digest of the policy set that was tried
	Against   string    `json:"against"`   // what it is compared with: recorded, live or generation N
	Since     time.Time `json:"since"`
	Until     time.Time `json:"until"`

	Looked         int `json:"looked"` // decisions
	Same           int `json:"same"`
	NewlyDenied    int `json:"newlyDenied"`
	NewlyPermitted int `json:"newlyPermitted"`
	Changed        int `json:"changed"`
	// Depends are those whose verdict depends on arguments that are not kept, or that
	// whoever asks may not see.
	Depends int `json:"dependsOnArguments"`
	// Counters are those whose verdict depends on facts nobody looked up then.
	Counters int `json:"dependsOnFacts"`
	// Registry are those no policy decided: the agent, the server or the definition
	// was not in good standing, or its task was not open.
	Registry int `json:"registry"`
	// Unknown are those whose agent, server or tool is registered no more, so that
	// nothing is known of it.
	Unknown int `json:"unknown"`
	Erased  int `json:"erased"`  // those whose key was destroyed
	Dropped int `json:"dropped"` // those there was no time to judge

	// Errors are verdicts for which a policy of the candidate could not be evaluated,
	// which denies; they are counted above too. Erring are those policies.
	Errors int      `json:"errors"`
	Erring []string `json:"erring,omitempty"`
	// Opened is how often kept arguments had to be opened; they are shown to nobody.
	Opened int `json:"opened,omitempty"`

	Groups []Group `json:"groups"` // of changes, the most frequent first
	More   int     `json:"more"`   // changes that are in no group, because there are too many kinds, or kinds that whoever asks may not see
}

// Changes is how many verdicts differ.
func (r *Report) Changes() int { return r.NewlyDenied + r.NewlyPermitted + r.Changed }

// Group are changes of one kind: the same agent, target, outcomes and policies.
type Group struct {
	Change Change      `json:"change"`
	Agent  string      `json:"agent"`
	Server string      `json:"server"`
	Kind   access.Kind `json:"kind"`
	Target string      `json:"target,omitempty"` // a tool or prompt; never the URI of a resource
	Method string      `json:"method,omitempty"` // where there is no target
	Before string      `json:"before"`
	After  string      `json:"after"`
	By     []string    `json:"by"` // policies the verdict after it comes from
	Count  int         `json:"count"`
	First  time.Time   `json:"first"`
	Last   time.Time   `json:"last"`
	// Examples are decisions of the group, for rutile audit show.
	Examples []string `json:"examples,omitempty"`
}

// Bounds of a report.
const (
	maxGroups   = 500
	maxExamples = 3
	maxErring   = 50
)

// trial is one decision that was judged twice.
type trial struct {
	id, agent, server, target, method string
	kind                              access.Kind
	at                                time.Time
	before, after                     access.Outcome
	by, errors                        []string
}

// tally counts. It is safe for concurrent use.
type tally struct {
	mu     sync.Mutex
	report Report
	groups map[string]*Group
	erring map[string]bool
}

func newTally(candidate, against string, since time.Time) *tally {
	return &tally{report: Report{Candidate: candidate, Against: against, Since: since}, groups: map[string]*Group{}, erring: map[string]bool{}}
}

// count notes a decision that was not judged twice in one of the report's counts.
func (t *tally) count(which func(*Report) *int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.report.Looked++
	*which(&t.report)++
}

// opened notes that kept arguments were opened.
func (t *tally) opened() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.report.Opened++
}

// judged notes a decision that was judged twice.
func (t *tally) judged(x trial) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := &t.report
	r.Looked++
	if len(x.errors) > 0 {
		r.Errors++
		for _, id := range x.errors {
			if len(t.erring) < maxErring {
				t.erring[id] = true
			}
		}
	}
	var change Change
	switch {
	case x.before == x.after:
		r.Same++
		return
	case x.after == access.Permit:
		change = NewlyPermitted
		r.NewlyPermitted++
	case x.before == access.Permit && !x.after.Conditional():
		change = NewlyDenied
		r.NewlyDenied++
	default:
		change = Changed
		r.Changed++
	}
	t.group(change, x)
}

func (t *tally) group(change Change, x trial) {
	if x.kind == access.KindResource {
		x.target = ""
	}
	if x.target != "" {
		x.method = ""
	}
	by := slices.Clone(x.by)
	slices.Sort(by)
	key := strings.Join([]string{string(change), x.agent, x.server, string(x.kind), x.target, x.method, x.before.String(), x.after.String(), strings.Join(by, "\x01")}, "\x00")
	g := t.groups[key]
	if g == nil {
		if len(t.groups) == maxGroups {
			t.report.More++
			return
		}
		g = &Group{Change: change, Agent: x.agent, Server: x.server, Kind: x.kind, Target: x.target, Method: x.method, Before: x.before.String(), After: x.after.String(), By: by, First: x.at}
		t.groups[key] = g
	}
	g.Count++
	g.Last = x.at
	if len(g.Examples) < maxExamples {
		g.Examples = append(g.Examples, x.id)
	}
}

// result returns the report as it stands.
func (t *tally) result(until time.Time) Report {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.report
	r.Until = until
	r.Groups = []Group{}
	for _, g := range t.groups {
		c := *g
		c.Examples = slices.Clone(g.Examples)
		r.Groups = append(r.Groups, c)
	}
	slices.SortFunc(r.Groups, func(a, b Group) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Agent, b.Agent), cmp.Compare(a.Server, b.Server), cmp.Compare(a.Target, b.Target),
			cmp.Compare(a.Method, b.Method), cmp.Compare(a.After, b.After), slices.Compare(a.By, b.By), cmp.Compare(a.Before, b.Before))
	})
	r.Erring = nil
	for id := range t.erring {
		r.Erring = append(r.Erring, id)
	}
	slices.Sort(r.Erring)
	return r
}

// byPolicy reports whether a decision of this class is one that policies made:
// what the registry or a task refuses no policy changes.
func byPolicy(c access.Class) bool {
	switch c {
	case access.ClassAgent, access.ClassServer, access.ClassTool, access.ClassHidden, access.ClassTask, access.ClassArguments:
		return false
	}
	return true
}
