package risk

import (
	"cmp"
	"math"
	"slices"
	"time"

	"rutile/internal/access"
)

// Model is the version of the table below. It stands in every leaf.
const Model = "1"

// The families of signals. Their order is that of the table and of what is kept.
const (
	famRate = iota
	famTool
	famDestination
	famArguments
	famVolume
	famHours
	famProbing
	famSequence
	famIdentity
	famRegistry
	families
)

// family is what a family may add. Values are starting values, not fitted (access.md 6).
type family struct {
	name string
	cap  float64 // log-odds
	// statistic says that it is about what is usual: on such families alone nobody is
	// suspended before enough is known.
	statistic bool
}

var table = [families]family{ //nolint:gochecknoglobals // a table
	famRate:        {"rate", 1.5, true},
	famTool:        {"tool", 1.5, true},
	famDestination: {"destination", 2.0, true},
	famArguments:   {"arguments", 1.5, true},
	famVolume:      {"volume", 2.0, true},
	famHours:       {"hours", 0.7, true},
	famProbing:     {"probing", 2.0, true},
	famSequence:    {"sequence", 1.5, true},
	famIdentity:    {"identity", 2.0, false},
	famRegistry:    {"registry", 1.5, false},
}

// Scopes of a score.
const (
	scopeSession = iota
	scopeAgent
	scopePerson
)

// scope says how evidence becomes a score. Over a day more coincides than in a session,
// so that the same evidence weighs less in it.
type scope struct {
	bias, gain float64
	half       time.Duration
}

var scopes = [...]scope{ //nolint:gochecknoglobals // a table
	scopeSession: {-3, 1, 15 * time.Minute},
	scopeAgent:   {-4, 0.75, 24 * time.Hour},
	scopePerson:  {-4, 0.75, 24 * time.Hour},
}

const (
	// youngCalls is how many calls must be learned, on youngDays different days, before
	// statistics alone may bring a score over youngMost, which is below the first rung:
	// of whom nothing is usual yet nothing is unusual.
	youngCalls = 200
	youngDays  = 3
	youngMost  = 59
	// certain is the evidence of other families from which on it is no more statistics
	// alone.
	certain = 1.5
	// negligible is what no reason is made of.
	negligible = 0.05
)

// why is what was seen, in numbers: words are made of it when somebody reads them.
type why struct {
	Signal             uint8
	Observed, Expected float32
	Window             time.Duration
	Sample             uint32
}

// level is the evidence of one family: X log-odds at a time, less since.
type level struct {
	x   float64
	at  time.Duration
	why why
}

// levels is the evidence of one session, agent or person.
type levels [families]level

// evidence is what one call adds, by family.
type evidence [families]struct {
	x   float64
	why why
}

// add notes evidence; of one family the largest counts.
func (e *evidence) add(fam int, x float64, w why) {
	if x = min(x, table[fam].cap); x > e[fam].x {
		e[fam].x, e[fam].why = x, w
	}
}

// now is what is left of a level. Time that runs back changes nothing.
func (l *level) now(half, at time.Duration) float64 {
	if l.x == 0 {
		return 0
	}
	return l.x * math.Exp2(-float64(max(at-l.at, 0))/float64(half))
}

// raise takes evidence in and reports whether any of it counts.
func (l *levels) raise(sc int, ev *evidence, at time.Duration) (raised bool) {
	for i := range ev {
		if x := ev[i].x; x > 0 && x >= l[i].now(scopes[sc].half, at) {
			l[i] = level{x, max(at, l[i].at), ev[i].why} // of two calls at once the later may have come first
			raised = true
		}
	}
	return raised
}

// hot is until when something counts.
func (l *levels) hot(sc int) (until time.Duration) {
	for i := range l {
		if l[i].x > negligible {
			until = max(until, l[i].at+time.Duration(float64(scopes[sc].half)*math.Log2(l[i].x/negligible)))
		}
	}
	return until
}

// merge takes over what is higher in other: as of the same times.
func (l *levels) merge(sc int, other *levels, at time.Duration) {
	for i := range other {
		if other[i].now(scopes[sc].half, at) > l[i].now(scopes[sc].half, at) {
			l[i] = other[i]
		}
	}
}

// points sums up evidence, without one family (-1: with all).
func (l *levels) points(sc int, at time.Duration, young bool, without int) float64 {
	s := &scopes[sc]
	sum, sure := s.bias, 0.0
	for i := range l {
		if i == without || l[i].x == 0 {
			continue
		}
		x := l[i].now(s.half, at)
		sum += s.gain * x
		if !table[i].statistic {
			sure += x
		}
	}
	score := 100 / (1 + math.Exp(-sum))
	if young && sure < certain {
		score = min(score, youngMost)
	}
	return score
}

func (l *levels) score(sc int, at time.Duration, young bool) int {
	return int(math.Round(l.points(sc, at, young, -1)))
}

// base is the score of who did nothing unusual.
func base(sc int) int { return (&levels{}).score(sc, 0, false) }

// top are the three largest reasons for a score, and what it would be without the first.
// The points of all reasons together are what the score is over that of who does nothing
// unusual.
func (l *levels) top(sc int, at time.Duration, young bool, wall time.Time) (out []access.RiskPoint, without int) {
	over, all, largest, most := float64(l.score(sc, at, young)-base(sc)), 0.0, 0.0, -1
	var left [families]float64
	for i := range l {
		left[i] = l[i].now(scopes[sc].half, at)
		if all += left[i]; left[i] > largest {
			largest, most = left[i], i
		}
	}
	out = make([]access.RiskPoint, 0, 4)
	for i := range l {
		if left[i] < negligible {
			continue
		}
		w := &l[i].why
		sig := &signals[min(int(w.Signal), len(signals)-1)]
		out = append(out, access.RiskPoint{
			Family: table[i].name, Signal: sig.name, Unit: sig.unit, Points: int(math.Round(over * left[i] / all)),
			Observed: round(w.Observed), Expected: round(w.Expected), Window: w.Window, Sample: int(w.Sample), At: wall.Add(-max(at-l[i].at, 0)).UTC().Truncate(time.Second),
		})
		slices.SortStableFunc(out, func(x, y access.RiskPoint) int { return cmp.Compare(y.Points, x.Points) })
		out = out[:min(len(out), 3)]
	}
	return out, int(math.Round(l.points(sc, at, young, most)))
}

// round keeps three digits, so that what people read is short.
func round(f float32) float64 {
	x := float64(f)
	if x == 0 || math.IsNaN(x) || math.IsInf(x, 0) {
		return 0
	}
	p := math.Pow(10, 2-math.Floor(math.Log10(math.Abs(x))))
	return math.Round(x*p) / p
}

// The signals. Numbers are kept: new ones come last.
const (
	sigBurst = iota
	sigRamp
	sigNewTool
	sigNewServer
	sigNewDestination
	sigSpread
	sigShape
	sigBlob
	sigEnumeration
	sigPaging
	sigOut
	sigIn
	sigTotal
	sigHour
	sigDenied
	sigProbes
	sigOrder
	sigUnattested
	sigVersion
	sigInstances
	sigFinding
	sigDrift
	sigOther
)

// signals says what each is and in what it is measured.
var signals = [...]struct{ name, unit string }{ //nolint:gochecknoglobals // a table
	sigBurst:          {"burst", "calls"},
	sigRamp:           {"ramp", "calls"},
	sigNewTool:        {"new-tool", "bits"},
	sigNewServer:      {"new-server", "bits"},
	sigNewDestination: {"new-destination", "bits"},
	sigSpread:         {"spread", "destinations"},
	sigShape:          {"shape", "bits"},
	sigBlob:           {"encoded", "bytes"},
	sigEnumeration:    {"enumeration", "in a row"},
	sigPaging:         {"paging", "pages"},
	sigOut:            {"sent", "bytes"},
	sigIn:             {"received", "bytes"},
	sigTotal:          {"sent-total", "bytes"},
	sigHour:           {"hour", "bits"},
	sigDenied:         {"denied", "calls"},
	sigProbes:         {"probes", "targets"},
	sigOrder:          {"order", "bits"},
	sigUnattested:     {"unattested", "calls"},
	sigVersion:        {"new-version", "versions"},
	sigInstances:      {"new-instances", "instances"},
	sigFinding:        {"finding", "tier"},
	sigDrift:          {"drift", "definitions"},
	sigOther:          {"other", ""},
}
