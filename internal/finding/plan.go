package finding

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
)

// Raised is what a source says is wrong now.
type Raised struct {
	Rule     string
	Subject  Subject
	Place    string
	Severity Severity
	Tier     int // the risk tier of the subject, 0 where that is not known
	Why      string
	Evidence []string
	Next     string
	// Owner answers for it while nobody said who does; "" is nobody.
	Owner string
}

// ID is the id of the finding it is.
func (r *Raised) ID() string { return ID(r.Rule, r.Subject, r.Place) }

// Says is what one source says at one time.
type Says struct {
	// Source is who says it: a word, or words with slashes such as "host:hst_1/client".
	Source string
	At     time.Time
	Raised []Raised
	// Covers tells of what Source holds whether it looked there this time: what it
	// covers and does not raise, it lets go. Nil covers nothing.
	Covers func(f *Finding) bool
	// About are the subjects Covers is true of at most, where that is known. Then
	// nothing else that Source holds is looked through.
	About []string
}

// Everything is a Covers of a source that looked everywhere.
func Everything(*Finding) bool { return true }

// Changes are what is to be written, together.
type Changes struct {
	At     time.Time
	Put    []Finding // new, or changed besides when they were seen last
	Seen   []string  // ids that are held on and seen again: only the time moves
	Hold   []Hold    // who holds what from now on
	LetGo  []Hold
	Owed   []access.Owed
	Opened []string // ids that were not open before, of Put
	Ended  []string // ids resolved by this, of Put
}

// Hold says that a source holds a finding.
type Hold struct{ Finding, Source string }

// Empty reports whether there is nothing to write.
func (c *Changes) Empty() bool {
	return len(c.Put)+len(c.Seen)+len(c.Hold)+len(c.LetGo)+len(c.Owed) == 0
}

// Bounds of what a source may say in one finding.
const (
	maxText     = 1000
	maxEvidence = 50
)

// Plan says what changes when sources say something. have are the findings they
// raise and those they hold, with their holders; others are left alone. Two that
// raise the same are one finding with the worse severity.
func Plan(have []Finding, says []Says) Changes {
	p := planner{have: map[string]*Finding{}, was: map[string]Finding{}, touched: map[string]bool{}}
	for _, f := range have {
		p.was[f.ID] = f
		f.Sources = slices.Clone(f.Sources)
		p.have[f.ID] = &f
	}
	for i := range says {
		if says[i].At.After(p.out.At) {
			p.out.At = says[i].At
		}
		p.say(&says[i])
	}
	p.settle()
	return p.out
}

type planner struct {
	have    map[string]*Finding
	was     map[string]Finding
	touched map[string]bool // raised this time
	out     Changes
}

func (p *planner) say(s *Says) {
	raised := map[string]bool{}
	for i := range s.Raised {
		id := s.Raised[i].ID()
		raised[id] = true
		p.raise(id, &s.Raised[i], s)
	}
	if s.Covers == nil {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(p.have)) {
		f := p.have[id]
		if i := slices.Index(f.Sources, s.Source); i >= 0 && !raised[id] && s.Covers(f) {
			f.Sources = slices.Delete(f.Sources, i, i+1)
			p.out.LetGo = append(p.out.LetGo, Hold{id, s.Source})
		}
	}
}

func (p *planner) raise(id string, r *Raised, s *Says) {
	f := p.have[id]
	if f == nil {
		f = &Finding{ID: id, Rule: r.Rule, Subject: r.Subject, Place: r.Place, State: Open, First: s.At, Severity: r.Severity, Owner: r.Owner}
		p.have[id] = f
	}
	if f.State == Resolved {
		f.State, f.Resolved = Open, time.Time{}
		f.Reopened++
		f.Opened, f.DueBy = s.At, "" // what was promised was kept
		if f.Mute != nil && s.At.Before(f.Mute.Until) {
			f.State = Muted
		}
	}
	if !slices.Contains(f.Sources, s.Source) {
		f.Sources = append(f.Sources, s.Source)
		slices.Sort(f.Sources)
		p.out.Hold = append(p.out.Hold, Hold{id, s.Source})
	}
	// What several sources raise is described by the first of them and has the worst
	// severity any of them gave it, so that they do not rewrite it in turns.
	describes := len(f.Sources) == 0 || f.Sources[0] == s.Source
	if describes {
		f.Why, f.Next, f.Evidence, f.Tier = clip(r.Why), clip(r.Next), evidence(r.Evidence), r.Tier
	}
	if len(f.Sources) == 1 && !p.touched[id] || r.Severity.Rank() > f.Severity.Rank() {
		f.Severity = r.Severity
	}
	p.touched[id] = true
	if s.At.After(f.Last) {
		f.Last = s.At
	}
	if f.Opened.IsZero() { // new, or kept by an earlier version, whose promises stand
		f.Opened = s.At
		if !f.Due.IsZero() {
			f.DueBy = f.Owner
		}
	}
	f.term()
}

// settle resolves what nobody holds and says what is to be written.
func (p *planner) settle() {
	for _, id := range slices.Sorted(maps.Keys(p.have)) {
		f := p.have[id]
		old, known := p.was[id]
		if len(f.Sources) == 0 && f.State != Resolved {
			f.State, f.Resolved = Resolved, p.out.At
		}
		switch {
		case !known || !same(f, &old):
			f.Changed = p.out.At
			p.out.Put = append(p.out.Put, *f)
			if f.State == Open && (!known || old.State == Resolved) {
				p.out.Opened = append(p.out.Opened, id)
			}
			if f.State == Resolved && old.State != Resolved {
				p.out.Ended = append(p.out.Ended, id)
			}
		case f.Last.After(old.Last):
			p.out.Seen = append(p.out.Seen, id)
		}
	}
	order := func(a, b Hold) int {
		return cmp.Or(strings.Compare(a.Finding, b.Finding), strings.Compare(a.Source, b.Source))
	}
	slices.SortFunc(p.out.Hold, order)
	slices.SortFunc(p.out.LetGo, order)
}

// same reports whether two differ in nothing that a row's document keeps.
func same(a, b *Finding) bool {
	return a.State == b.State && a.Severity == b.Severity && a.Why == b.Why && a.Next == b.Next && a.Owner == b.Owner &&
		a.Due.Equal(b.Due) && a.DueBy == b.DueBy && a.Tier == b.Tier && a.Opened.Equal(b.Opened) && a.Reopened == b.Reopened && a.Mute == b.Mute && slices.Equal(a.Evidence, b.Evidence)
}

func evidence(list []string) []string {
	out := make([]string, 0, min(len(list), maxEvidence))
	for _, s := range list {
		if len(out) == maxEvidence {
			break
		}
		out = append(out, clip(s))
	}
	slices.Sort(out)
	if out = slices.Compact(out); len(out) == 0 {
		return nil
	}
	return out
}

// clip bounds a text and keeps it whole characters.
func clip(s string) string {
	if len(s) > maxText {
		s = s[:maxText] + "…"
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}
