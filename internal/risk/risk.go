// Package risk scores how unusual what an agent does is: a decaying, explained score
// for each session, agent and person (access.md 6).
//
// A Book is asked before each call is decided and told afterwards what came of it.
// Every signal is deterministic and has bounded state; each adds evidence as log-odds
// to its family, which is capped, held at its peak and decays. Arrive MUST be cheap
// and MUST NOT block: it does no input or output. What is usual is learned only of
// calls that were permitted and in which nothing was found, and of none while an
// incident lasts. The package decides nothing: policies read the scores.
package risk

import (
	"cmp"
	"errors"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"rutile/internal/access"
)

// Bounds of what one Book holds. What was used least lately goes, and of sessions only
// those of the same agent: nobody pushes out another's by opening many.
const (
	maxAgents   = 2048
	maxSessions = 32 // of one agent
	maxPeople   = 4096
)

// Config is what a Book goes by.
type Config struct {
	// Now is the wall clock: hours of the week and what people are shown go by it.
	Now func() time.Time
	// Steady is how long the process has run. Everything that decays goes by it, so that
	// setting the clock neither washes a score nor holds it.
	Steady func() time.Duration
}

// Book keeps what one node knows. It is safe for concurrent use.
type Book struct {
	cfg Config

	mu     sync.Mutex
	agents map[string]*agent
	people map[string]*person
	gone   map[string]bool // kept in the store and here no more
	told   map[string]uint64
	others map[string]bool // classes and tools seen of any agent: the prior of what is new
}

// person is what is known of a person, whichever agents act for them.
type person struct {
	levels levels
	last   time.Duration
	dirty  bool
}

// New returns an empty Book.
func New(cfg Config) (*Book, error) {
	if cfg.Now == nil || cfg.Steady == nil {
		return nil, errors.New("risk: a clock is missing")
	}
	return &Book{cfg: cfg, agents: map[string]*agent{}, people: map[string]*person{}, gone: map[string]bool{}, told: map[string]uint64{}, others: map[string]bool{}}, nil
}

// Seen is a call that was scored, until Ended is called with what came of it.
type Seen struct {
	call
	agent   *agent
	session *session
	person  *person
	done    bool
}

// Arrive scores a call before it is decided, with the call in it. It returns the same
// for a call that is decided anew, but with the scores of by then.
func (b *Book) Arrive(r *access.Request, classes []string, drift bool) *access.Risk {
	if r.Risk != nil {
		if s, ok := r.Risk.Of.(*Seen); ok {
			return b.of(s)
		}
	}
	s := &Seen{call: see(r, classes, drift, b.cfg.Now(), b.cfg.Steady())}
	s.agent, s.person = b.find(&r.Who)
	a := s.agent
	a.mu.Lock()
	defer a.mu.Unlock()
	s.session = a.session(&r.Who, s.at)
	var ev evidence
	a.score(s, b.known(s), &ev)
	if r.Use != "" { // somebody has approved it: it is learned, and nothing is held against it
		ev = evidence{}
	}
	a.take(s, &ev)
	b.blame(s, &ev)
	return b.shown(s)
}

// Again is a call that Arrive has scored in an earlier process, of which Ended tells what
// came: its arrival is in the levels already.
func (b *Book) Again(r *access.Request, classes []string, drift bool) *access.Risk {
	s := &Seen{call: see(r, classes, drift, b.cfg.Now(), b.cfg.Steady())}
	s.agent, s.person = b.find(&r.Who)
	s.agent.mu.Lock()
	defer s.agent.mu.Unlock()
	s.session = s.agent.session(&r.Who, s.at)
	s.agent.score(s, b.known(s), &evidence{})
	return b.shown(s)
}

// Past tells of a call that is in the levels and in what was learned already, and what
// came of it: what is counted over the last minutes, which is not kept, is counted again,
// and nothing else changes.
func (b *Book) Past(r *access.Request, classes []string, drift bool, e End) {
	s := b.Again(r, classes, drift).Of.(*Seen) //nolint:errcheck,forcetypeassert // it makes one
	s.agent.mu.Lock()
	defer s.agent.mu.Unlock()
	s.agent.after(s, &e, &evidence{})
}

// Peek returns the scores of a caller without a call; nothing of them changes.
func (b *Book) Peek(who *access.Identity) *access.Risk {
	return b.Of(who.Actor.Agent, who.Session, personOf(who))
}

// Of returns the scores of a session of an agent that acts for a person: "issuer|id",
// "" for nobody. Nothing of them changes.
func (b *Book) Of(id, session, person string) *access.Risk {
	s := &Seen{call: call{at: b.cfg.Steady(), wall: b.cfg.Now()}}
	b.mu.Lock()
	s.agent, s.person = b.agents[id], b.people[person]
	b.mu.Unlock()
	if s.agent == nil {
		return &access.Risk{Session: base(scopeSession), Agent: base(scopeAgent), Person: personBase(s.person), Model: Model}
	}
	s.agent.mu.Lock()
	defer s.agent.mu.Unlock()
	if s.session = s.agent.sessions[session]; s.session == nil {
		s.session = newSession(person, s.agent)
	}
	out := b.shown(s)
	out.Of = nil
	return out
}

// of returns the scores of a call as they are now.
func (b *Book) of(s *Seen) *access.Risk {
	s.agent.mu.Lock()
	defer s.agent.mu.Unlock()
	s.at = max(s.at, b.cfg.Steady())
	return b.shown(s)
}

func personBase(p *person) int {
	if p == nil {
		return 0
	}
	return base(scopePerson)
}

// shown makes scores and reasons of the levels of s; s.agent.mu is held.
func (b *Book) shown(s *Seen) *access.Risk {
	out := &access.Risk{Model: Model, Learned: int(s.agent.Learned), Of: s}
	young := s.agent.young()
	out.Young = young
	out.Session = s.session.levels.score(scopeSession, s.at, young)
	out.Agent = s.agent.levels.score(scopeAgent, s.at, young)
	if s.person != nil {
		b.mu.Lock()
		out.Person = s.person.levels.score(scopePerson, s.at, young)
		b.mu.Unlock()
	}
	if out.Session > base(scopeSession) {
		out.Top, out.Without = s.session.levels.top(scopeSession, s.at, young, b.cfg.Now())
	}
	return out
}

// find returns the agent and the person of a caller, made where they are not there.
func (b *Book) find(who *access.Identity) (*agent, *person) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.cfg.Steady()
	a := b.agents[who.Actor.Agent]
	if a == nil {
		if len(b.agents) >= maxAgents {
			b.evict()
		}
		a = newAgent()
		b.agents[who.Actor.Agent] = a
		delete(b.gone, who.Actor.Agent)
	}
	a.used.Store(int64(now))
	if who.Subject.Autonomous() {
		return a, nil
	}
	id := personOf(who)
	p := b.people[id]
	if p == nil {
		if len(b.people) >= maxPeople {
			delete(b.people, coldest(b.people, now, func(p *person) (hot, last time.Duration) { return p.levels.hot(scopePerson), p.last }))
		}
		p = &person{}
		b.people[id] = p
	}
	p.last = now
	return a, p
}

// evict forgets an agent to make room; b.mu is held.
func (b *Book) evict() {
	id := coldest(b.agents, b.cfg.Steady(), func(a *agent) (hot, last time.Duration) {
		return time.Duration(a.hot.Load()), time.Duration(a.used.Load())
	})
	delete(b.agents, id)
	b.gone[id] = true
}

// coldest is the key of what is forgotten first: of that which nothing is held against
// now what was used least lately, and where something is held against all of it what is
// over first. So nobody washes a score by pushing it out.
func coldest[V any](m map[string]V, now time.Duration, of func(V) (hot, last time.Duration)) (key string) {
	least, cold := time.Duration(math.MaxInt64), false
	for k, v := range m {
		at, last := of(v)
		if at <= now {
			if !cold {
				least, cold = math.MaxInt64, true
			}
			at = last
		} else if cold {
			continue
		}
		if at < least || at == least && k < key {
			key, least = k, at
		}
	}
	return key
}

// personOf names whom an agent acts for, "" for nobody.
func personOf(who *access.Identity) string {
	if who.Subject.Autonomous() {
		return ""
	}
	return who.Subject.Issuer + "|" + who.Subject.ID
}

// known reports whether some agent of the node has used the tool of s: what is new to
// one agent is less surprising then. It remembers no more than what is registered.
func (b *Book) known(s *Seen) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.others[s.name]
}

// blame adds evidence to the person; s.agent.mu is held.
func (b *Book) blame(s *Seen, ev *evidence) {
	if s.person == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s.person.dirty = s.person.levels.raise(scopePerson, ev, s.at) || s.person.dirty
}

// End is what came of a call.
type End struct {
	Denied bool // a policy, or the want of one, kept it from being made
	// Flagged says that something was found in it, that a rule had something to say, or
	// that it passed only because nothing is enforced: nothing is learned of it.
	Flagged bool
	Found   int // 0 nothing, 1 something to look at, 2 hidden or injected instructions
	Bytes   int // of what came back
}

// Ended takes what came of a call that Arrive scored, once. What is odd about it counts
// in the scores of the calls that follow.
func (b *Book) Ended(r *access.Risk, e End) {
	if r == nil {
		return
	}
	s, ok := r.Of.(*Seen)
	if !ok {
		return
	}
	a := s.agent
	a.mu.Lock()
	defer a.mu.Unlock()
	if s.done {
		return
	}
	s.done = true
	s.at, s.wall = max(s.at, b.cfg.Steady()), b.cfg.Now()
	var ev evidence
	a.after(s, &e, &ev)
	a.take(s, &ev)
	b.blame(s, &ev)
	if e.Denied || e.Flagged || a.frozen(s) {
		return
	}
	if a.learn(s, &e) {
		b.mu.Lock()
		if len(b.others) < maxOthers {
			b.others[s.name] = true
		}
		b.mu.Unlock()
	}
}

// maxOthers bounds the tools a node remembers that some agent has used.
const maxOthers = 16384

// Standing is a session or an agent whose score is over a bound.
type Standing struct {
	Agent   string
	Session string // "" where it is about the agent
	Person  string // "issuer|id"
	Risk    access.Risk
}

// all are the agents that are known now.
func (b *Book) all() map[string]*agent {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.agents)
}

// Over returns what has a score of at least bound now, by agent and session.
func (b *Book) Over(bound int) []Standing {
	var out []Standing
	for id, a := range b.all() {
		a.mu.Lock()
		now, young := b.cfg.Steady(), a.young()
		add := func(sid, who string, scope int, l *levels) {
			score := l.score(scope, now, young)
			if score < bound {
				return
			}
			r := access.Risk{Session: score, Model: Model, Learned: int(a.Learned)}
			r.Top, r.Without = l.top(scope, now, young, b.cfg.Now())
			if scope == scopeAgent {
				r.Session, r.Agent = 0, score
			}
			out = append(out, Standing{id, sid, who, r})
		}
		add("", "", scopeAgent, &a.levels)
		for sid, s := range a.sessions {
			add(sid, s.person, scopeSession, &s.levels)
		}
		a.mu.Unlock()
	}
	slices.SortFunc(out, func(x, y Standing) int {
		return cmp.Or(cmp.Compare(x.Agent, y.Agent), cmp.Compare(x.Session, y.Session))
	})
	return out
}
