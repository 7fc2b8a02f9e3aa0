package admin

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/discovery"
	"rutile/internal/discovery/inventory"
	"rutile/internal/finding"
)

// InventoryFilter selects servers. Empty members do not restrict; those of other members
// must all hold.
type InventoryFilter struct {
	Kind, Status, Condition, Owner, Text string
	// State is that of the server it is registered as, Tier its risk tier.
	State, Tier string
	// Source saw it, and by this Transport it is reached.
	Source, Transport string
	// Unowned selects what nobody answers for.
	Unowned bool
	// Has and Lacks are words of Marks, each of which must hold, or not hold.
	Has, Lacks []string
}

// Marks are what a filter may ask of servers: the facts that hold at present, and the
// traits.
func Marks() []string {
	return []string{
		string(discovery.Configured), string(discovery.Running), string(discovery.Used), string(discovery.Reachable), string(discovery.Sourced),
		string(inventory.Unpinned), string(inventory.Vulnerable), string(inventory.Secret),
	}
}

// Check returns a CodeInvalid error for a filter that no server could ever meet.
func (f *InventoryFilter) Check() error {
	for _, m := range slices.Concat(f.Has, f.Lacks) {
		if !slices.Contains(Marks(), m) {
			return access.Errorf(access.CodeInvalid, "%q is nothing a server has or lacks: say %s", clip(m), strings.Join(Marks(), ", "))
		}
		if slices.Contains(f.Has, m) && slices.Contains(f.Lacks, m) {
			return access.Errorf(access.CodeInvalid, "no server has %s and lacks it: leave one out", m)
		}
	}
	if f.Owner != "" && f.Unowned {
		return access.Errorf(access.CodeInvalid, "what nobody owns has no owner: leave one out")
	}
	return nil
}

// bears reports whether a word of Marks holds.
func bears(e *inventory.Entry, mark string) bool {
	return e.Facts[discovery.Fact(mark)].Now || slices.Contains(e.Traits, inventory.Trait(mark))
}

// The facets a survey counts, in the order people read them.
const (
	facetStatus = iota
	facetState
	facetTier
	facetOwner
	facetSource
	facetTransport
	facetMarks // not counted by value: every mark is one by itself
	facetRest
	facets
)

// Facet is one value of a facet and how many servers have it that meet the rest of the
// filter.
type Facet struct {
	Value string `json:"value"` // "" stands for none
	Count int    `json:"count"`
}

// Survey is what a filter selects of the inventory and how the rest of it is spread.
type Survey struct {
	Rows  []inventory.Entry
	Total int // servers there are, whatever the filter
	// By facet, what choosing each value in place of the chosen one would leave; the
	// most frequent first.
	Status, State, Tier, Owner, Source, Transport []Facet
	// Marks counts of the selected servers those that have each word of Marks.
	Marks map[string]int
	// Generation of the inventory it is of.
	Generation uint64
}

// Survey returns what a filter selects, sorted by key, with how often each value of each
// facet occurs.
func (v *Inventory) Survey(ctx context.Context, f InventoryFilter) (Survey, error) {
	if err := f.Check(); err != nil {
		return Survey{}, err
	}
	all, around, err := v.entries(ctx)
	if err != nil {
		return Survey{}, err
	}
	s := Survey{Total: len(all), Marks: map[string]int{}, Generation: around.Generation}
	var counts [facets]map[string]int
	for i := range counts {
		counts[i] = map[string]int{}
	}
	text := strings.ToLower(f.Text)
	for i := range all {
		e := &all[i]
		missed, by := f.misses(e, text)
		switch missed {
		case 0:
			s.Rows = append(s.Rows, *e)
			for _, m := range Marks() {
				if bears(e, m) {
					s.Marks[m]++
				}
			}
			for d := range counts {
				tally(counts[d], e, d)
			}
		case 1:
			tally(counts[by], e, by)
		}
	}
	for d, to := range map[int]*[]Facet{facetStatus: &s.Status, facetState: &s.State, facetTier: &s.Tier, facetOwner: &s.Owner, facetSource: &s.Source, facetTransport: &s.Transport} {
		*to = spread(counts[d])
	}
	return s, nil
}

// List returns the servers a filter selects, sorted by key.
func (v *Inventory) List(ctx context.Context, f InventoryFilter) ([]inventory.Entry, error) {
	if err := f.Check(); err != nil {
		return nil, err
	}
	all, _, err := v.entries(ctx)
	if err != nil {
		return nil, err
	}
	text := strings.ToLower(f.Text)
	return slices.DeleteFunc(all, func(e inventory.Entry) bool {
		missed, _ := f.misses(&e, text)
		return missed > 0
	}), nil
}

// misses counts the facets by which a server is not selected, and says which the last of
// them is.
func (f *InventoryFilter) misses(e *inventory.Entry, text string) (missed, by int) {
	miss := func(facet int, is bool) {
		if is {
			missed, by = missed+1, facet
		}
	}
	miss(facetStatus, f.Status != "" && f.Status != string(e.Status))
	miss(facetState, f.State != "" && f.State != e.State)
	miss(facetTier, f.Tier != "" && f.Tier != tierOf(e))
	miss(facetOwner, f.Owner != "" && f.Owner != e.Owner || f.Unowned && e.Owner != "")
	miss(facetSource, f.Source != "" && !slices.Contains(e.Sources, f.Source))
	miss(facetTransport, f.Transport != "" && !slices.Contains(e.Transports, f.Transport))
	miss(facetMarks, slices.ContainsFunc(f.Has, func(m string) bool { return !bears(e, m) }) || slices.ContainsFunc(f.Lacks, func(m string) bool { return bears(e, m) }))
	miss(facetRest, f.Kind != "" && f.Kind != string(e.Kind) || f.Condition != "" && f.Condition != string(e.Condition) || text != "" && !mentions(e, text))
	return missed, by
}

// mentions reports whether the key or a name has a text, which is in lower case.
func mentions(e *inventory.Entry, text string) bool {
	return strings.Contains(strings.ToLower(e.Key), text) || slices.ContainsFunc(e.Names, func(n string) bool { return strings.Contains(strings.ToLower(n), text) })
}

func tierOf(e *inventory.Entry) string {
	if e.Tier == nil {
		return ""
	}
	return strconv.Itoa(*e.Tier)
}

// tally counts the values a server has of a facet.
func tally(counts map[string]int, e *inventory.Entry, facet int) {
	switch facet {
	case facetStatus:
		counts[string(e.Status)]++
	case facetState:
		counts[e.State]++
	case facetTier:
		counts[tierOf(e)]++
	case facetOwner:
		counts[e.Owner]++
	case facetSource:
		for _, s := range e.Sources {
			counts[s]++
		}
	case facetTransport:
		for _, s := range e.Transports {
			counts[s]++
		}
	}
}

// spread lists counts, the most frequent first.
func spread(counts map[string]int) []Facet {
	out := make([]Facet, 0, len(counts))
	for _, value := range slices.Sorted(maps.Keys(counts)) {
		out = append(out, Facet{value, counts[value]})
	}
	slices.SortStableFunc(out, func(a, b Facet) int { return b.Count - a.Count })
	return out
}

// drawn is the inventory as it was put together last: what every list begins with. What
// is in it MUST NOT be changed.
type drawn struct {
	generation uint64
	findings   finding.Revision
	registry   discovery.Registry
	at         time.Time
	all        []inventory.Entry
	around     inventory.Around
}

// drawnTime is how long what was put together counts where nothing was written since:
// only what the clock decides changes then, by days.
const drawnTime = 10 * time.Minute

// entries puts the inventory together, or takes what was put together last where nothing
// was written since. The rows are the caller's; what hangs on them is not.
func (v *Inventory) entries(ctx context.Context) ([]inventory.Entry, inventory.Around, error) {
	now := v.admin.now()
	d, err := v.draw(ctx, now)
	if err != nil {
		return nil, inventory.Around{}, err
	}
	all := slices.Clone(d.all)
	v.answered(all)
	if v.cfg.Used == nil {
		return all, d.around, nil
	}
	used, err := v.cfg.Used(ctx)
	if err != nil {
		return nil, d.around, err
	}
	for i := range all {
		if at := used[all[i].Registered]; !at.IsZero() {
			all[i].Facts = maps.Clone(all[i].Facts)
			all[i].Use(at, now, v.cfg.Missing)
		}
	}
	return all, d.around, nil
}

func (v *Inventory) draw(ctx context.Context, now time.Time) (*drawn, error) {
	v.drawing.Lock()
	defer v.drawing.Unlock()
	reg := v.Registry()
	generation, err := v.store.FoundGeneration(ctx)
	if err != nil {
		return nil, err
	}
	revision, err := v.findings.store.Revision(ctx)
	if err != nil {
		return nil, err
	}
	if d := v.drawn; d != nil && d.generation == generation && d.findings == revision && !now.Before(d.at) && now.Sub(d.at) < drawnTime &&
		slices.EqualFunc(d.registry.Servers, reg.Servers, func(a, b discovery.Registered) bool {
			return a.ID == b.ID && a.State == b.State && a.Key == b.Key && a.Tier == b.Tier
		}) {
		return d, nil
	}
	// What is written while this is read makes the next call read again: the numbers
	// are those from before.
	d := &drawn{generation: generation, findings: revision, registry: reg, at: now}
	if d.around, err = v.store.Around(ctx); err != nil {
		return nil, err
	}
	servers, tallies, err := v.store.Found(ctx, now.Add(-v.cfg.Missing))
	if err != nil {
		return nil, err
	}
	marks, ways, err := v.store.FoundBy(ctx, now.Add(-v.cfg.Missing))
	if err != nil {
		return nil, err
	}
	open, err := v.findings.store.Standing(ctx, finding.SubjectFound)
	if err != nil {
		return nil, err
	}
	roots := inventory.Roots(d.around.Merges)
	d.all = inventory.Entries(servers, tallies, roots, reg, now, v.cfg.Missing)
	inventory.Marked(d.all, marks, ways, roots)
	attach(d.all, open, roots, now)
	v.drawn = d
	return d, nil
}

// attach counts the findings of servers that nobody muted or resolved.
func attach(all []inventory.Entry, list []finding.Standing, roots map[string]string, now time.Time) {
	index := make(map[string]int, len(all))
	for i := range all {
		index[all[i].Key] = i
	}
	for i := range list {
		f := &list[i]
		at, ok := index[inventory.Root(roots, f.Subject)]
		if !ok || now.Before(f.Until) {
			continue
		}
		e := &all[at]
		e.Findings += f.Count
		if e.Worst == "" || f.Severity.AtLeast(e.Worst) {
			e.Worst = f.Severity
		}
		if t := inventory.TraitOf(f.Rule); t != "" && !slices.Contains(e.Traits, t) {
			e.Traits = append(e.Traits, t)
		}
	}
	for i := range all {
		slices.Sort(all[i].Traits)
	}
}
