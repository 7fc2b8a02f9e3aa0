package inventory

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"rutile/internal/discovery"
	"rutile/internal/finding"
)

// Standing is one of the four facts about a server (discovery.md 2).
type Standing struct {
	Now   bool      `json:"now"`   // something shows it at present
	Last  time.Time `json:"last"`  // it was seen last
	Count int       `json:"count"` // sightings that show it at present, of which calls through the gateway are none
}

// Condition is what time did to a server, beside its status.
type Condition string

// The conditions.
const (
	Missing    Condition = "missing"    // nothing of it is left, or nobody saw it for long
	Reappeared Condition = "reappeared" // it came back not long ago
)

// StatusGone is that of a server nothing is left of.
const StatusGone discovery.Status = "gone"

// Entry is a server as lists show it, with what was merged into it.
type Entry struct {
	Server
	Status    discovery.Status            `json:"status"`
	Condition Condition                   `json:"condition,omitempty"`
	Facts     map[discovery.Fact]Standing `json:"facts"`
	Sightings int                         `json:"sightings"` // at present
	Gone      int                         `json:"gone"`
	Routed    int                         `json:"routed"` // of the sightings
	Hosts     int                         `json:"hosts"`  // the most that show one fact
	Last      time.Time                   `json:"lastSeen"`
	// Registered is its id at the gateway, "" if it has none, and State its state.
	Registered string   `json:"registered,omitempty"`
	State      string   `json:"state,omitempty"`
	Merged     []string `json:"merged,omitempty"` // keys that count as it
	// Called is when it was called last through the gateway, as far as that is known.
	Called time.Time `json:"called,omitzero"`
	// Findings are open ones, Worst the worst of them, Traits what they make of it.
	Findings int              `json:"findings"`
	Worst    finding.Severity `json:"worst,omitempty"`
	Traits   []Trait          `json:"traits,omitempty"`
	// Users are the accounts of all hosts that have it at present, Ways its variants.
	Users int `json:"users,omitempty"`
	Ways  int `json:"ways,omitempty"`
	// Sources saw it at present; Transports are those of its variants.
	Sources    []string `json:"sources,omitempty"`
	Transports []string `json:"transports,omitempty"`
	// Tier is the risk tier of the server it is registered as, nil where it is none.
	Tier *int `json:"tier,omitempty"`
}

// Roots says for every key that was merged which key it counts as. Merges that
// were undone count for nothing.
func Roots(merges []Merge) map[string]string {
	into := map[string]string{}
	for i := range merges {
		if merges[i].Undone.IsZero() {
			into[merges[i].From] = merges[i].Into
		}
	}
	out := map[string]string{}
	for from := range into {
		to := from
		for range len(into) { // a circle, which nobody can make, ends
			next, ok := into[to]
			if !ok {
				break
			}
			to = next
		}
		out[from] = to
	}
	return out
}

// Root is the key that key counts as.
func Root(roots map[string]string, key string) string {
	if to, ok := roots[key]; ok {
		return to
	}
	return key
}

// Entries draws what is kept together, sorted by key. now and missing say what
// counts as come back not long ago.
func Entries(servers []Server, tallies []Tally, roots map[string]string, reg discovery.Registry, now time.Time, missing time.Duration) []Entry {
	byKey := map[string]*Entry{}
	registered := map[string]discovery.Registered{}
	for _, r := range reg.Servers {
		key := Root(roots, r.Key)
		if _, ok := registered[key]; !ok && r.Key != "" {
			registered[key] = r
		}
	}
	for i := range servers {
		s := servers[i]
		key := Root(roots, s.Key)
		e := byKey[key]
		if e == nil {
			e = &Entry{Facts: map[discovery.Fact]Standing{}}
			e.Key, e.Kind, e.First = key, s.Kind, s.First
			byKey[key] = e
		}
		if s.Key == key {
			e.Kind, e.Owner = s.Kind, cmp.Or(s.Owner, e.Owner)
		} else {
			e.Merged, e.Owner = append(e.Merged, s.Key), cmp.Or(e.Owner, s.Owner)
		}
		if s.First.Before(e.First) {
			e.First = s.First
		}
		e.Names = named(e.Names, s.Names...)
		if r, ok := registered[key]; ok {
			tier := r.Tier
			e.Registered, e.State, e.Tier = r.ID, r.State, &tier
		}
	}
	counts := map[string]*counted{}
	for i := range tallies {
		t := &tallies[i]
		key := Root(roots, t.Server)
		if e := byKey[key]; e != nil {
			if counts[key] == nil {
				counts[key] = &counted{}
			}
			e.add(t, counts[key], now, missing)
		}
	}
	out := make([]Entry, 0, len(byKey))
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		e := byKey[key]
		if c := counts[key]; c != nil {
			e.stand(c)
		} else {
			e.stand(&counted{})
		}
		out = append(out, *e)
	}
	return out
}

// Use says when a server was called last through the gateway, zero for never. A call
// shows that it is used, as a sighting does, for as long as missing; what was called
// within that time is not gone, whatever its configurations say.
func (e *Entry) Use(called, now time.Time, missing time.Duration) {
	if called.IsZero() {
		return
	}
	st := e.Facts[discovery.Used]
	if called.After(st.Last) {
		st.Last = called
	}
	if called.After(e.Last) {
		e.Last = called
	}
	e.Called = called
	if now.Sub(called) < missing {
		st.Now = true
		if e.Status == StatusGone {
			e.Status, e.Condition = discovery.StatusRouted, ""
		}
	}
	e.Facts[discovery.Used] = st
}

// counted is what decides where a server stands.
type counted struct{ direct, traffic, routed, enabled, sourced, other int }

func (e *Entry) add(t *Tally, c *counted, now time.Time, missing time.Duration) {
	st := e.Facts[t.Fact]
	if t.Last.After(st.Last) {
		st.Last = t.Last
	}
	if t.Last.After(e.Last) {
		e.Last = t.Last
	}
	if t.Gone {
		e.Gone += t.Count
		e.Facts[t.Fact] = st
		return
	}
	if !t.Reappeared.IsZero() && now.Sub(t.Reappeared) < missing {
		e.Condition = Reappeared
	}
	st.Now, st.Count = true, st.Count+t.Count
	e.Facts[t.Fact] = st
	e.Sightings += t.Count
	e.Hosts = max(e.Hosts, t.Hosts)
	if !t.Disabled {
		c.enabled += t.Count
	}
	if t.Fact == discovery.Sourced {
		c.sourced += t.Count
	} else {
		c.other += t.Count
	}
	switch {
	case t.Disabled, t.Fact == discovery.Sourced, t.Fact == discovery.Reachable && e.Registered != "":
	case t.Routed:
		c.routed += t.Count
		e.Routed += t.Count
	case t.Fact == discovery.Used:
		c.traffic += t.Count
	default:
		c.direct += t.Count
	}
}

// stand says where a server stands, as discovery.Registry does for one run.
func (e *Entry) stand(c *counted) {
	live := c.direct + c.traffic + c.routed
	switch {
	case e.Sightings == 0:
		e.Status, e.Condition = StatusGone, Missing
	case live == 0 && e.Registered != "" && c.enabled > 0:
		e.Status = discovery.StatusRegistered
	case live == 0 && c.other == 0:
		e.Status = discovery.StatusSource
	case live == 0:
		e.Status = discovery.StatusDisabled
	case c.direct == 0 && c.traffic == 0:
		e.Status = discovery.StatusRouted
	case e.Registered != "" || c.routed > 0:
		e.Status = discovery.StatusBypass
	default:
		e.Status = discovery.StatusShadow
	}
}
