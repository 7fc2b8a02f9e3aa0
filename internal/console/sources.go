package console

import (
	"cmp"
	"slices"
	"time"

	"rutile/internal/discovery"
	"rutile/internal/discovery/inventory"
)

// sourcesPage is where discovery looked, and where it could not.
type sourcesPage struct {
	Search   string
	Outcomes []discovery.Outcome
	Totals   []sourceRow // by source, over the hosts
	Hosts    []hostRow
	Next     string
	Silent   int // hosts that reported nothing for a day
}

type sourceRow struct {
	Source string
	Counts discovery.Counts
	Hosts  int
	Gaps   int
	Last   time.Time
}

type hostRow struct {
	inventory.Host
	Silent bool
	Gaps   int
	Shown  []gapRow
	More   int
}

type gapRow struct {
	Source string
	inventory.Gap
}

// silentAfter is after how long a host that reports nothing is marked.
const silentAfter = 24 * time.Hour

// gapsShown is how many gaps a host's row shows.
const gapsShown = 10

func (c *Console) sources(v *visit) (any, error) {
	around, err := c.work.Inventory.Around(v.Context())
	if err != nil {
		return nil, err
	}
	p := sourcesPage{Search: v.q.Get("q"), Outcomes: discovery.Outcomes()}
	p.Totals = totals(around.Hosts)
	var hosts []inventory.Host
	for _, h := range around.Hosts {
		if v.now.Sub(h.Last) > silentAfter {
			p.Silent++
		}
		if matches(p.Search, h.ID, h.Name, h.System) {
			hosts = append(hosts, h)
		}
	}
	slices.SortFunc(hosts, func(x, y inventory.Host) int { return cmp.Compare(x.ID, y.ID) })
	hosts, p.Next = cut(v, hosts, func(h inventory.Host) string { return h.ID })
	for _, h := range hosts {
		r := hostRow{Host: h, Silent: v.now.Sub(h.Last) > silentAfter}
		for i := range h.Runs {
			r.Gaps += h.Runs[i].Missed()
			for _, g := range h.Runs[i].Gaps {
				if len(r.Shown) < gapsShown {
					r.Shown = append(r.Shown, gapRow{h.Runs[i].Source, g})
				}
			}
		}
		r.More = r.Gaps - len(r.Shown)
		p.Hosts = append(p.Hosts, r)
	}
	return p, nil
}

// totals adds the newest runs up, by source.
func totals(hosts []inventory.Host) []sourceRow {
	by := map[string]*sourceRow{}
	for i := range hosts {
		for j := range hosts[i].Runs {
			r := &hosts[i].Runs[j]
			t := by[r.Source]
			if t == nil {
				t = &sourceRow{Source: r.Source, Counts: discovery.Counts{}}
				by[r.Source] = t
			}
			t.Hosts++
			t.Gaps += r.Missed()
			if r.Ended.After(t.Last) {
				t.Last = r.Ended
			}
			for o, n := range r.Counts {
				t.Counts[o] += n
			}
		}
	}
	var out []sourceRow
	for _, t := range by {
		out = append(out, *t)
	}
	slices.SortFunc(out, func(x, y sourceRow) int { return cmp.Compare(x.Source, y.Source) })
	return out
}

type settingsPage struct {
	Rows []Setting
	Set  int // of them that are set
}

func (c *Console) settings(*visit) (any, error) {
	p := settingsPage{Rows: c.work.Settings()}
	for _, s := range p.Rows {
		if s.Value != "" {
			p.Set++
		}
	}
	return p, nil
}
