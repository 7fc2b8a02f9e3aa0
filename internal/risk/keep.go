package risk

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"
)

// Kinds of rows.
const (
	KindAgent  = "agent"
	KindPerson = "person"
	KindLog    = "log" // up to which leaf of a log what is kept was told
)

// Key names a row of one node.
type Key struct{ Kind, ID string }

// Row is what is kept of one agent or person.
type Row struct {
	Node string // whose it is; "" in what is saved
	Key
	Doc []byte // JSON
}

// Store keeps rows by node.
type Store interface {
	// Risks returns the rows of every node.
	Risks(ctx context.Context) ([]Row, error)
	// SaveRisks replaces the rows of put of one node and removes those of drop.
	SaveRisks(ctx context.Context, node string, put []Row, drop []Key) error
}

// keptLevel is a level of a family at a time on the wall clock.
type keptLevel struct {
	Family int       `json:"f"`
	X      float64   `json:"x"`
	At     time.Time `json:"at"`
	Why    why       `json:"why"`
}

type keptSession struct {
	Person string      `json:"person,omitempty"`
	Levels []keptLevel `json:"levels"`
	Last   time.Time   `json:"last"`
}

// keptAgent is a row of an agent.
type keptAgent struct {
	Version  int                    `json:"v"`
	Usual    *agent                 `json:"usual"`
	Levels   []keptLevel            `json:"levels,omitempty"`
	Sessions map[string]keptSession `json:"sessions,omitempty"`
	Recent   map[string]keptSession `json:"recent,omitempty"`
	// Pardoned is until when what was held against the agent, and its sessions, is
	// forgiven.
	Pardoned time.Time            `json:"pardoned,omitzero"`
	Pardons  map[string]time.Time `json:"pardons,omitempty"` // of sessions
}

type keptPerson struct {
	Version int         `json:"v"`
	Levels  []keptLevel `json:"levels"`
}

// keptLog is a row of a log.
type keptLog struct {
	Version int    `json:"v"`
	Size    uint64 `json:"size"`
}

// Mark says that a Book was told of everything before the leaf of that index of a log.
type Mark struct {
	Log  string // its origin
	Size uint64
}

// farMark is how many leaves a log may grow by before a mark is kept for its own sake.
const farMark = 4096

// docVersion is of the rows: those of another are learned anew.
const docVersion = 1

// longest is how much time may count as gone by between two processes, so that a clock
// that is set forward while none runs does not wash everything.
const longest = 24 * time.Hour

// clocks translates between what is kept and what is counted with.
type clocks struct {
	wall   time.Time
	steady time.Duration
}

func (k clocks) keep(sc int, l *levels) []keptLevel {
	var out []keptLevel
	for i := range l {
		if l[i].now(scopes[sc].half, k.steady) >= negligible/4 {
			out = append(out, keptLevel{i, l[i].x, k.date(l[i].at), l[i].why})
		}
	}
	return out
}

func (k clocks) date(at time.Duration) time.Time {
	return k.wall.Add(at - k.steady).UTC().Truncate(time.Millisecond)
}

func (k clocks) since(at time.Time) time.Duration {
	return k.steady - min(max(k.wall.Sub(at), 0), longest)
}

// take reads levels; those from before a pardon count no more.
func (k clocks) take(list []keptLevel, pardoned time.Time) (l levels) {
	for _, x := range list {
		if x.Family < 0 || x.Family >= families || !(x.X > 0) || x.X > table[x.Family].cap || !x.At.After(pardoned) || int(x.Why.Signal) >= len(signals) {
			continue
		}
		l[x.Family] = level{x.X, k.since(x.At), x.Why}
	}
	return l
}

func (b *Book) clocks() clocks { return clocks{b.cfg.Now(), b.cfg.Steady()} }

// Save writes what changed since the last time, and how far logs were told of before:
// their sizes MUST have been read before it is called. What could not be written is
// written with the next one.
func (b *Book) Save(ctx context.Context, s Store, node string, marks ...Mark) error {
	k := b.clocks()
	agents := b.all()
	b.mu.Lock()
	var put []Row
	var drop []Key
	for id, p := range b.people {
		if p.dirty {
			p.dirty = false
			if doc, err := json.Marshal(keptPerson{docVersion, k.keep(scopePerson, &p.levels)}); err == nil {
				put = append(put, Row{Key: Key{KindPerson, id}, Doc: doc})
			}
		}
	}
	for id := range b.gone {
		drop = append(drop, Key{KindAgent, id})
	}
	b.mu.Unlock()
	for id, a := range agents {
		doc, err := a.document(k)
		if err != nil {
			return fmt.Errorf("writing what is usual of agent %q: %w", id, err)
		}
		if doc != nil {
			put = append(put, Row{Key: Key{KindAgent, id}, Doc: doc})
		}
	}
	far := len(put)+len(drop) > 0
	for _, m := range marks {
		was, known := b.Told(m.Log)
		far = far || !known || m.Size >= was+farMark
	}
	if !far {
		return nil
	}
	for _, m := range marks {
		doc, err := json.Marshal(keptLog{docVersion, m.Size})
		if err != nil {
			return fmt.Errorf("writing how far log %q was told of: %w", m.Log, err)
		}
		put = append(put, Row{Key: Key{KindLog, m.Log}, Doc: doc})
	}
	if err := s.SaveRisks(ctx, node, put, drop); err != nil {
		b.again(put)
		return fmt.Errorf("keeping scores: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, d := range drop {
		delete(b.gone, d.ID)
	}
	for _, m := range marks {
		b.told[m.Log] = m.Size
	}
	return nil
}

// Told is how far what is kept was told of a log; false where nothing says so.
func (b *Book) Told(log string) (size uint64, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	size, ok = b.told[log]
	return size, ok
}

// again marks what could not be written.
func (b *Book) again(rows []Row) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range rows {
		switch a, p := b.agents[r.ID], b.people[r.ID]; {
		case r.Kind == KindAgent && a != nil:
			a.mu.Lock()
			a.dirty = true
			a.mu.Unlock()
		case r.Kind == KindPerson && p != nil:
			p.dirty = true
		}
	}
}

// document is the row of an agent, nil if it has not changed.
func (a *agent) document(k clocks) ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.dirty {
		return nil, nil
	}
	a.dirty = false
	doc := keptAgent{Version: docVersion, Usual: a, Levels: k.keep(scopeAgent, &a.levels), Sessions: map[string]keptSession{}, Recent: map[string]keptSession{}, Pardoned: a.pardoned, Pardons: a.pardons}
	for id, s := range a.sessions {
		if l := k.keep(scopeSession, &s.levels); len(l) > 0 {
			doc.Sessions[id] = keptSession{s.person, l, k.date(s.last)}
		}
	}
	for who, h := range a.recent {
		if l := k.keep(scopeSession, &h.levels); len(l) > 0 {
			doc.Recent[who] = keptSession{who, l, k.date(h.last)}
		}
	}
	return json.Marshal(&doc)
}

// Load takes over what a store keeps: what is usual of this node's rows, or of another's
// where this node knows nothing of an agent; of scores of all nodes the highest. A row
// nobody could have written is passed over. It may be called again and again.
func (b *Book) Load(ctx context.Context, s Store, node string) error {
	rows, err := s.Risks(ctx)
	if err != nil {
		return fmt.Errorf("reading scores: %w", err)
	}
	slices.SortStableFunc(rows, func(x, y Row) int { // its own first
		switch {
		case x.Node == node && y.Node != node:
			return -1
		case x.Node != node && y.Node == node:
			return 1
		}
		return 0
	})
	k := b.clocks()
	for _, r := range rows {
		switch r.Kind {
		case KindAgent:
			doc := keptAgent{Usual: newAgent()}
			if json.Unmarshal(r.Doc, &doc) == nil && doc.Version == docVersion && doc.Usual != nil && doc.Usual.sound() {
				b.takeAgent(k, r.ID, &doc)
			}
		case KindPerson:
			var doc keptPerson
			if json.Unmarshal(r.Doc, &doc) == nil && doc.Version == docVersion {
				b.takePerson(k, r.ID, &doc)
			}
		case KindLog:
			var doc keptLog
			if r.Node == node && json.Unmarshal(r.Doc, &doc) == nil && doc.Version == docVersion {
				b.mu.Lock()
				b.told[r.ID] = max(b.told[r.ID], doc.Size)
				b.mu.Unlock()
			}
		}
	}
	return nil
}

func (b *Book) takePerson(k clocks, id string, doc *keptPerson) {
	l := k.take(doc.Levels, time.Time{})
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.people[id]
	if p == nil {
		if len(b.people) >= maxPeople {
			return
		}
		p = &person{last: k.steady}
		b.people[id] = p
	}
	p.levels.merge(scopePerson, &l, k.steady)
}

func (b *Book) takeAgent(k clocks, id string, doc *keptAgent) {
	b.mu.Lock()
	a := b.agents[id]
	if a == nil {
		if len(b.agents) >= maxAgents {
			b.mu.Unlock()
			return
		}
		a = newAgent()
		b.agents[id] = a
		a.used.Store(int64(k.steady))
	}
	b.mu.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.Learned == 0 && doc.Usual.Learned > 0 {
		a.adopt(doc.Usual)
	}
	if doc.Pardoned.After(a.pardoned) {
		a.pardon(k, doc.Pardoned)
	}
	for sid, at := range doc.Pardons {
		if at.After(a.pardons[sid]) {
			a.pardonSession(k, sid, at)
		}
	}
	l := k.take(doc.Levels, a.pardoned)
	a.levels.merge(scopeAgent, &l, k.steady)
	hot := a.levels.hot(scopeAgent)
	defer func() { a.hot.Store(max(a.hot.Load(), int64(hot))) }()
	for sid, kept := range doc.Sessions {
		l := k.take(kept.Levels, later(a.pardoned, a.pardons[sid]))
		s := a.sessions[sid]
		if s == nil {
			if l == (levels{}) || len(a.sessions) >= maxSessions {
				continue
			}
			s = &session{person: kept.Person, last: k.since(kept.Last)}
			a.sessions[sid] = s
		}
		s.levels.merge(scopeSession, &l, k.steady)
	}
	for who, kept := range doc.Recent {
		if h, ok := a.recent[who]; ok || len(a.recent) < maxRecent {
			l := k.take(kept.Levels, later(a.pardoned, a.pardonedAny))
			h.levels.merge(scopeSession, &l, k.steady)
			h.last = max(h.last, k.since(kept.Last))
			a.recent[who] = h
			hot = max(hot, h.levels.hot(scopeSession))
		}
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// adopt takes over what is usual of an agent.
func (a *agent) adopt(from *agent) {
	a.Learned, a.Days, a.Day, a.Rates, a.Slow, a.Ramp = from.Learned, from.Days, from.Day, from.Rates, from.Slow, from.Ramp
	a.Tools, a.Servers, a.Dests, a.Shapes, a.Out, a.In, a.Total = from.Tools, from.Servers, from.Dests, from.Shapes, from.Out, from.In, from.Total
	a.Hours, a.Order, a.Known, a.Versions = from.Hours, from.Order, from.Known, from.Versions
	a.Proven, a.Born = from.Proven, from.Born
}

// sound reports whether a is within the bounds that learn keeps.
func (a *agent) sound() bool {
	numbers := []float64{a.Slow, a.Ramp, a.Total.Mean, a.Total.Var, a.Order.Mean, a.Order.Var, a.Born.Mean}
	for _, r := range a.Rates {
		numbers = append(numbers, r.Mean, r.Var)
	}
	for _, x := range numbers {
		if math.IsNaN(x) || x < 0 || x > 1e12 {
			return false
		}
	}
	for _, t := range a.Tools {
		if t == nil {
			return false
		}
	}
	o := &a.Order
	return a.Tools != nil && a.Servers != nil && len(a.Tools) <= maxTools && len(a.Servers) <= maxTools && len(a.Dests.List) <= maxKnown && len(a.Dests.List) == len(a.Dests.Counts) &&
		len(a.Shapes) == sketchRows*sketchWidth && len(o.Symbols) < orderSymbols && len(o.Ones) == orderSymbols && len(o.Twos) == orderSymbols*orderSymbols && len(o.Threes) == orderPairs && len(o.Pairs) == orderPairs
}

// Keep forgets agents that are not there any more.
func (b *Book) Keep(there func(agent string) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id := range b.agents {
		if !there(id) {
			delete(b.agents, id)
			b.gone[id] = true
		}
	}
}
