package rehearsal

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/pdp"
	"rutile/internal/policy"
	"rutile/internal/risk"
)

// Alarms is what the model of risk comes to over recorded calls. A day is one of UTC on
// which an agent made a call; a crossing is a call that meets a rung which the call before
// it in its session did not meet.
type Alarms struct {
	Model     string    `json:"model"`
	Since     time.Time `json:"since"` // what was asked for
	First     time.Time `json:"first,omitzero"`
	Last      time.Time `json:"last,omitzero"` // of the calls
	Agents    int       `json:"agents"`
	AgentDays int       `json:"agentDays"`
	// Known are the agent-days that began when enough was learned for statistics to count
	// in full.
	Known int `json:"knownAgentDays"`
	Calls int `json:"calls"`

	Erased int `json:"erased"` // decisions whose agent or person can no longer be told
	Partly int `json:"partly"` // calls whose arguments are not kept whole: nothing of them was looked at

	Rungs      []RungAlarms `json:"rungs"`      // the ladder as it is shipped, the mildest first
	Thresholds []Threshold  `json:"thresholds"` // what other bounds would come to
	// StepUps is how many crossings of the first rung there are on an agent-day that is not
	// among the worst twentieth.
	StepUps   int        `json:"stepUpsP95"`
	Crossings []Crossing `json:"crossings"` // in the order of the log
	More      int        `json:"more"`      // that are not listed
}

// RungAlarms is what one rule of the ladder comes to.
type RungAlarms struct {
	Rule      string `json:"rule"`
	Session   int    `json:"session,omitempty"` // it counts from these scores on
	Agent     int    `json:"agent,omitempty"`
	Person    int    `json:"person,omitempty"`
	Calls     int    `json:"calls"` // it would have stopped
	Crossings int    `json:"crossings"`
	Days      Share  `json:"days"` // agent-days with a crossing
}

// Threshold is what one bound would come to: the agent-days on which a score reached it.
type Threshold struct {
	Score   int   `json:"score"`
	Session Share `json:"session"`
	Agent   Share `json:"agent"`
	Person  Share `json:"person"`
}

// Share is k of n with its Wilson interval at 95 %.
type Share struct {
	K    int     `json:"k"`
	N    int     `json:"n"`
	Rate float64 `json:"rate"`
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Interval is the interval in hundredths, as people read it.
func (s Share) Interval() string {
	return fmt.Sprintf("%.2f–%.2f %%", 100*s.Low, 100*s.High)
}

func shareOf(k, n int) Share {
	s := Share{K: k, N: n, High: 1}
	if n == 0 {
		return s
	}
	const z = 1.959964
	m, p := float64(n), float64(k)/float64(n)
	middle, half := p+z*z/(2*m), z*math.Sqrt(p*(1-p)/m+z*z/(4*m*m))
	s.Rate, s.Low, s.High = fraction(p), fraction(max(0, (middle-half)/(1+z*z/m))), fraction(min(1, (middle+half)/(1+z*z/m)))
	return s
}

// fraction keeps four digits.
func fraction(x float64) float64 { return math.Round(x*1e4) / 1e4 }

// Crossing is a call that takes a score over a rung.
type Crossing struct {
	Decision string       `json:"decision"` // for rutile explain
	Index    uint64       `json:"index"`    // of its leaf
	At       time.Time    `json:"at"`
	Agent    string       `json:"agent"`
	Session  string       `json:"session,omitempty"`
	Action   string       `json:"action"`
	Rules    []string     `json:"rules"` // it newly meets
	Risk     *access.Risk `json:"risk"`  // with the largest reasons
}

// gravity orders crossings: what is listed where not all are.
func (c *Crossing) gravity() int { return max(c.Risk.Session, c.Risk.Agent, c.Risk.Person) }

// Bounds of a report on alarms.
const (
	maxCrossings = 200
	maxSeen      = 32768 // sessions of one half of what is remembered
)

// bounds are those of the table of thresholds.
var bounds = [...]int{40, 50, 60, 70, 75, 80, 90} //nolint:gochecknoglobals // a table

// Alarming says how recorded calls are scored again.
type Alarming struct {
	State *pdp.State // what is registered now: classes, tiers and labels are taken from it
	Held  Held
	Agent string // only its calls are counted; "" for all
	From  time.Time
}

// CountAlarms scores recorded calls from nothing, in their order, with the model that is
// shipped, and counts what the ladder would have done. What it would have stopped is
// scored as it went on. It keeps nothing, and holds no more in memory than what is known
// of so many agents as a gateway scores. Whoever reads the report MUST be allowed to
// read evidence.
func CountAlarms(ctx context.Context, log iter.Seq2[audit.Moment, error], o Alarming) (Alarms, error) {
	var clock Clock
	book, err := risk.New(risk.Config{Now: clock.Wall, Steady: clock.Steady})
	if err != nil {
		return Alarms{}, err
	}
	c := &counter{o: o, t: newTeller(book, o.State), agents: map[string]*agentDay{}, rungs: policy.Rungs(), held: player{o: Replaying{Held: o.Held}, held: map[string]*policy.GrantFacts{}}}
	c.out = Alarms{Model: risk.Model, Since: o.From, Crossings: []Crossing{}}
	for _, g := range c.rungs {
		c.out.Rungs = append(c.out.Rungs, RungAlarms{Rule: g.Rule, Session: g.Session, Agent: g.Agent, Person: g.Person})
	}
	for m, err := range log {
		if err != nil {
			return Alarms{}, err
		}
		clock.to(&m)
		if err := c.moment(ctx, &m); err != nil {
			return Alarms{}, err
		}
	}
	return c.result(), nil
}

// counter counts what scores come to.
type counter struct {
	o      Alarming
	t      *teller
	held   player
	rungs  []policy.Rung
	agents map[string]*agentDay
	seen   sessions
	out    Alarms
	over   [len(bounds)][3]int // agent-days
	steps  map[int]int         // agent-days by their crossings of the first rung
}

// agentDay is a day of an agent.
type agentDay struct {
	day       int64
	most      [3]int
	crossings []int // by rung
}

func (c *counter) moment(ctx context.Context, m *audit.Moment) error {
	switch {
	case m.End != nil:
		c.t.ends(m.End)
	case m.Act != nil:
		c.t.act(m.Act)
	case m.Call == nil:
	case m.Call.Erased():
		c.out.Erased++
	case scored(m.Call):
		r, err := c.t.call(ctx, m.Call)
		if err != nil || c.o.Agent != "" && m.Call.Agent != c.o.Agent {
			return err
		}
		return c.count(ctx, m.Call, r)
	}
	return nil
}

func (c *counter) count(ctx context.Context, call *audit.Call, r *access.Risk) error {
	if c.out.Calls++; c.out.First.IsZero() {
		c.out.First = call.At
	}
	c.out.Last = call.At
	approved := false
	if g, err := c.held.grant(ctx, call); err != nil {
		return err
	} else if g != nil {
		approved = g.Quorum >= 1
	}
	day := c.dayOf(call, r)
	for i, score := range []int{r.Session, r.Agent, r.Person} {
		day.most[i] = max(day.most[i], score)
	}
	q := request(call)
	server, _ := c.o.State.View.Server(call.Server)
	guarded := call.Tier >= 1 || len(server.LabelsOf(q.Action()[len(call.Server)+1:])) > 0
	s := c.seen.of(call.Agent, call.Session)
	was := s.met
	s.met = 0
	var rules []string
	for i := range c.rungs {
		if !c.rungs[i].Meets(r, guarded, approved) {
			continue
		}
		c.out.Rungs[i].Calls++
		if s.met |= 1 << i; was&(1<<i) == 0 {
			rules = append(rules, c.rungs[i].Rule)
			c.out.Rungs[i].Crossings++
			day.crossings[i]++
		}
	}
	if c.rungs[0].Asks && !guarded { // a call that is never asked about tells nothing of what the next ones meet
		s.met |= was & 1
	}
	if rules != nil {
		shown := *r
		shown.Of = nil
		x := Crossing{Decision: call.Decision, Index: call.Index, At: call.At, Agent: call.Agent, Session: call.Session, Action: q.Action(), Rules: rules, Risk: &shown}
		if call.Kind == access.KindResource {
			x.Action = call.Server + " " + call.Method // a URI may name a person
		}
		c.list(&x)
	}
	return nil
}

// list keeps a crossing. Where there are too many the gravest stay.
func (c *counter) list(x *Crossing) {
	if len(c.out.Crossings) < maxCrossings {
		c.out.Crossings = append(c.out.Crossings, *x)
		return
	}
	c.out.More++
	least := 0
	for i := range c.out.Crossings {
		if c.out.Crossings[i].gravity() < c.out.Crossings[least].gravity() {
			least = i
		}
	}
	if c.out.Crossings[least].gravity() < x.gravity() {
		c.out.Crossings = append(slices.Delete(c.out.Crossings, least, least+1), *x)
	}
}

// dayOf is the day of an agent that a call falls on. A day that is over does not come
// again where a clock was set back.
func (c *counter) dayOf(call *audit.Call, r *access.Risk) *agentDay {
	day := call.At.Unix() / 86400
	d := c.agents[call.Agent]
	if d == nil {
		d = &agentDay{day: math.MinInt64}
		c.agents[call.Agent] = d
	}
	if day > d.day {
		c.close(d)
		*d = agentDay{day: day, crossings: make([]int, len(c.rungs))}
		c.out.AgentDays++
		if !r.Young {
			c.out.Known++
		}
	}
	return d
}

// close counts a day that is over.
func (c *counter) close(d *agentDay) {
	if d.crossings == nil {
		return
	}
	for i, n := range d.crossings {
		if n > 0 {
			c.out.Rungs[i].Days.K++
		}
	}
	if c.steps == nil {
		c.steps = map[int]int{}
	}
	c.steps[d.crossings[0]]++
	for i, bound := range bounds {
		for j, most := range d.most {
			if most >= bound {
				c.over[i][j]++
			}
		}
	}
}

func (c *counter) result() Alarms {
	for _, d := range c.agents {
		c.close(d)
	}
	out := &c.out
	out.Agents, out.Partly = len(c.agents), c.t.partly
	for i := range out.Rungs {
		out.Rungs[i].Days = shareOf(out.Rungs[i].Days.K, out.AgentDays)
	}
	for i, bound := range bounds {
		n := c.over[i]
		out.Thresholds = append(out.Thresholds, Threshold{bound, shareOf(n[0], out.AgentDays), shareOf(n[1], out.AgentDays), shareOf(n[2], out.AgentDays)})
	}
	sum := 0
	for _, n := range slices.Sorted(maps.Keys(c.steps)) {
		if sum += c.steps[n]; 20*sum >= 19*out.AgentDays {
			out.StepUps = n
			break
		}
	}
	slices.SortFunc(out.Crossings, func(a, b Crossing) int { return cmp.Compare(a.Index, b.Index) })
	return *out
}

// sessions remembers what sessions met last. Of more than it has room for it forgets
// those that made no call for long.
type sessions struct{ young, old map[string]*seenSession }

type seenSession struct {
	agent string
	met   int // rungs, as bits
}

func (s *sessions) of(agent, id string) *seenSession {
	if x := s.young[id]; x != nil && x.agent == agent {
		return x
	}
	x := s.old[id]
	if x == nil || x.agent != agent {
		x = &seenSession{agent: agent}
	}
	if len(s.young) >= maxSeen {
		s.young, s.old = nil, s.young
	}
	if s.young == nil {
		s.young = map[string]*seenSession{}
	}
	s.young[id] = x
	return x
}
