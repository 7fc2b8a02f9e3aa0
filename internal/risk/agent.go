package risk

import (
	"sync"
	"sync/atomic"
	"time"

	"rutile/internal/access"
)

// agent is what is known of one agent: what is usual of it, and how unusual it is now.
// Its exported fields are what is kept.
type agent struct {
	mu    sync.Mutex
	used  atomic.Int64 // on the steady clock
	hot   atomic.Int64 // until then something is held against it or a session of it
	dirty bool

	Learned uint32 // calls it was learned from
	Proven  uint32 // of them, those with an attested identity
	Born    born   // instances never seen before
	Days    uint16 // days it was seen on
	Day     int64  // the last of them, since 1970

	Rates    [3]rate
	Slow     float64 // calls of ten minutes, as they were for long
	Ramp     float64 // how far they have risen over that
	Tools    map[uint64]*tool
	Servers  map[uint64]uint32
	Dests    known
	Shapes   sketch
	Out, In  spread
	Total    total
	Hours    [168]uint16
	Order    order
	Known    [8]uint64 // instances
	Versions [4]uint64

	news    recent // new tools lately
	spread  recent // destinations lately
	probes  recent // targets of denied calls lately
	runs    recent // instances lately
	denied  decayed
	asked   decayed
	quota   quota
	shapes  quota
	runsNow map[uint64]*run // whole numbers in a row

	levels   levels
	sessions map[string]*session
	recent   map[string]held // levels of the last sessions, by the person

	pardoned    time.Time // what was held against it before is forgiven
	pardonedAny time.Time // the last of pardons
	pardons     map[string]time.Time
}

// tool is what is known of one tool.
type tool struct {
	N      uint32 // calls
	Single uint16 // shapes of arguments that came once
	Lists  uint8  // days on which its numbers ran up in a row, up to usualLists
	Listed int64  // the last of them, since 1970
}

// usualLists is on how many days a tool must have been called with number after number
// for that to be usual of it.
const usualLists = 3

// listed notes that the numbers of a call ran up in a row.
func (t *tool) listed(c *call) {
	if day := c.wall.Unix() / 86400; c.row > longRow && t.Lists < usualLists && day != t.Listed {
		t.Lists, t.Listed = t.Lists+1, day
	}
}

// born counts the instances of an agent that were never seen before, by the hour.
type born struct {
	Mean float64 // in an hour with any call
	N    uint32  // hours

	hour int64
	n    uint32 // in this one
}

// learn counts a call among those that are learned.
func (b *born) learn(c *call, fresh bool) {
	if h := int64(c.at / time.Hour); h != b.hour {
		if b.n > 0 || b.N > 0 {
			b.N++
			b.Mean += (min(float64(b.n), 2*b.Mean+4) - b.Mean) / float64(min(b.N, 50))
		}
		b.hour, b.n = h, 0
	}
	if fresh && c.instance != 0 {
		b.n++
	}
}

// held are levels that a later session of the same agent and person begins with.
type held struct {
	levels levels
	last   time.Duration
}

// session is one session of an agent.
type session struct {
	person      string
	levels      levels
	last        time.Duration
	prev, prev2 uint8
	bits        float64 // how surprising the order of its calls is
	calls       uint32
	dirty       bool
}

func newAgent() *agent {
	return &agent{
		Tools: map[uint64]*tool{}, Servers: map[uint64]uint32{}, sessions: map[string]*session{}, recent: map[string]held{},
		Shapes: newSketch(), Order: newOrder(), runsNow: map[uint64]*run{},
	}
}

// maxRecent bounds the persons an agent's last levels are remembered of.
const maxRecent = 64

// session returns a session; a new one begins with what the last ones of the same
// agent and person had, so that opening another washes nothing.
func (a *agent) session(who *access.Identity, at time.Duration) *session {
	s := a.sessions[who.Session]
	if s == nil {
		if len(a.sessions) >= maxSessions {
			delete(a.sessions, coldest(a.sessions, at, func(s *session) (hot, last time.Duration) { return s.levels.hot(scopeSession), s.last }))
		}
		s = newSession(personOf(who), a)
		a.sessions[who.Session] = s
	}
	s.last = at
	return s
}

func newSession(person string, a *agent) *session {
	return &session{person: person, levels: a.recent[person].levels}
}

// take adds evidence to the session and the agent.
func (a *agent) take(s *Seen, ev *evidence) {
	a.dirty = true
	s.session.dirty = s.session.levels.raise(scopeSession, ev, s.at) || s.session.dirty
	a.levels.raise(scopeAgent, ev, s.at)
	h, ok := a.recent[s.session.person]
	if !ok && len(a.recent) >= maxRecent {
		delete(a.recent, coldest(a.recent, s.at, func(h held) (hot, last time.Duration) { return h.levels.hot(scopeSession), h.last }))
	}
	h.levels.merge(scopeSession, &s.session.levels, s.at)
	h.last = s.at
	a.recent[s.session.person] = h
	a.hot.Store(int64(max(a.levels.hot(scopeAgent), h.levels.hot(scopeSession), time.Duration(a.hot.Load()))))
}

// incident is the score from which on nothing is learned.
const incident = 60

// young reports whether too little is known of an agent for statistics to hold it.
func (a *agent) young() bool { return a.Learned < youngCalls || a.Days < youngDays }

// frozen reports whether an incident lasts.
func (a *agent) frozen(s *Seen) bool {
	young := a.young()
	return s.session.levels.score(scopeSession, s.at, young) >= incident || a.levels.score(scopeAgent, s.at, young) >= incident
}

// score finds what is unusual about a call before it is made. known says that some
// other agent uses the tool.
func (a *agent) score(s *Seen, known bool, ev *evidence) {
	c := &s.call
	a.asked.add(c.at, probeHalf)
	a.burst(c, ev)
	a.novelty(c, known, ev)
	a.destinations(c, ev)
	a.arguments(c, ev)
	a.volume(c, ev)
	a.hour(c, ev)
	a.sequence(s, ev)
	a.identity(c, ev)
}

// after finds what is unusual about what came of a call.
func (a *agent) after(s *Seen, e *End, ev *evidence) {
	if e.Denied {
		a.probing(&s.call, ev)
	}
	if e.Found > 0 {
		ev.add(famRegistry, []float64{0, 0.8, 1.5}[min(e.Found, 2)], why{Signal: sigFinding, Observed: float32(e.Found)})
	}
	if !e.Denied && e.Bytes > 0 {
		a.received(&s.call, e.Bytes, ev)
	}
}

// learn takes a call into what is usual, and reports whether it did: of one hour no
// more than some times what is usual is learned, so that a flood does not become it.
func (a *agent) learn(s *Seen, e *End) bool {
	c := &s.call
	a.usual(c) // a rate is trimmed by itself
	a.Born.learn(c, !among(a.Known[:], c.instance))
	if !a.quota.take(c.at, max(300, 3*uint32(a.Rates[2].Mean*6))) {
		return false
	}
	a.Learned++
	if c.attested {
		a.Proven++
	}
	if day := c.wall.Unix() / 86400; day != a.Day {
		if a.Day = day; a.Days < 1<<15 {
			a.Days++
		}
	}
	t := a.Tools[c.tool]
	if t == nil && len(a.Tools) < maxTools {
		t = &tool{}
		a.Tools[c.tool] = t
	}
	if len(a.Servers) < maxTools || a.Servers[c.server] > 0 {
		a.Servers[c.server]++
	}
	if t != nil {
		t.N++
		t.listed(c)
		if c.size > 0 && (a.Shapes.count(mix(c.tool, c.shape)) > 0 || a.shapes.take(c.at, 64)) {
			switch a.Shapes.add(mix(c.tool, c.shape)) {
			case 1:
				t.Single++
			case 2:
				t.Single -= min(t.Single, 1)
			}
		}
	}
	if c.sends {
		for _, d := range c.dests[:c.nDests] {
			a.Dests.learn(d)
		}
		a.Out.add(c.size)
		a.Total.clean += float64(c.size)
	}
	if e.Bytes > 0 {
		a.In.add(e.Bytes)
	}
	learnHour(&a.Hours, c.wall)
	a.Order.learn(c, s.session)
	learnOf(a.Known[:], c.instance)
	learnOf(a.Versions[:], c.version)
	return true
}

// maxTools bounds the tools and servers of one agent.
const maxTools = 256

// learnOf puts a value first of a short list.
func learnOf(list []uint64, v uint64) {
	if v == 0 || list[0] == v {
		return
	}
	i := 1
	for i < len(list)-1 && list[i] != v {
		i++
	}
	copy(list[1:i+1], list[:i])
	list[0] = v
}

func among(list []uint64, v uint64) bool {
	for _, x := range list {
		if x == v {
			return true
		}
	}
	return false
}

// quota bounds how often something is done in an hour.
type quota struct {
	hour int64
	n    uint32
}

func (q *quota) take(at time.Duration, most uint32) bool {
	if h := int64(at / time.Hour); h != q.hour {
		*q = quota{hour: h}
	}
	q.n++
	return q.n <= most
}

// decayed is a count that decays.
type decayed struct {
	n  float64
	at time.Duration
}

func (d *decayed) add(at, half time.Duration) { d.n, d.at = d.now(at, half)+1, max(d.at, at) }
