package conduct

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// The rules.
const (
	Writes = "TOOL_WRITES"        // it says that it changes nothing, and changes something
	Erases = "TOOL_REMOVES"       // it says that it only adds, and removes something
	Host   = "TOOL_NEW_HOST"      // its answers name a host they never named
	Misfit = "TOOL_OUTPUT_SCHEMA" // its answers do not fit its output schema
	Size   = "TOOL_SIZE"          // its answers have another length than usual
	Shape  = "TOOL_SHAPE"         // its answers are built otherwise than usual
	Errors = "TOOL_ERRORS"        // it fails more often than usual
)

// Oddity is one thing that is odd about a tool now.
type Oddity struct {
	Key
	Rule     string
	Place    string // "" but where there may be several
	Grave    int    // 1 low, 2 medium, 3 high
	Why      string
	Evidence []string
}

// odd says what is odd about a tool by its last calls. Each rule needs several calls,
// and compares with what was usual only once enough was learned.
func (t *Tally) odd(now time.Time) []Oddity {
	var out []Oddity
	add := func(rule string, grave int, why string, args ...any) {
		out = append(out, Oddity{Rule: rule, Grave: grave, Why: fmt.Sprintf(why, args...)})
	}
	n := len(t.Window)
	claims, removes, told, checked, misfits := t.count(markClaims), t.count(markRemoves), t.count(markTold), t.count(markChecked), t.count(markMisfit)
	switch {
	case t.Claims.ReadOnly && claims >= 3:
		add(Writes, 3, "its definition says that it only reads, and the answers to %d of its last %d calls say that they changed something", claims, n)
	case t.Claims.ReadOnly && told >= 4 && 2*told >= n:
		add(Writes, 2, "its definition says that it only reads, and its server said during %d of its last %d calls that something of its own changed", told, n)
	case !t.Claims.ReadOnly && t.Claims.Additive && removes >= 3:
		add(Erases, 3, "its definition says that it destroys nothing, and the answers to %d of its last %d calls say that they removed something", removes, n)
	}
	if misfits >= 3 && 4*misfits >= checked {
		add(Misfit, 2, "the structured content of %d of %d answers that were checked does not fit its output schema", misfits, checked)
	}
	if usual, last, ok := t.shifted(); ok {
		word := "longer"
		if last < usual {
			word = "shorter"
		}
		add(Size, 1, "its answers are %s than usual: about %s in the last calls, about %s before", word, amount(last), amount(usual))
	}
	if k := t.unknown(); k >= 8 && 2*k >= n {
		add(Shape, 1, "%d of its last %d answers have other members or kinds of content than those before", k, n)
	}
	if t.failing() {
		add(Errors, 2, "%d of its last %d calls failed, %d of %d before", t.count(markFailed), n, t.BaseErrors, t.BaseCalls)
	}
	for _, x := range t.News {
		if now.Sub(x.Last) > newsTime {
			continue
		}
		o := Oddity{Rule: Host, Place: x.Host, Grave: 1, Why: fmt.Sprintf("its answers name the host %s since %s, which none of those before did", x.Host, x.First.UTC().Format(time.DateTime)), Evidence: []string{x.Host}}
		if t.Claims.Closed {
			o.Grave, o.Why = 2, o.Why+"; its definition says that it deals with nothing outside"
		}
		out = append(out, o)
	}
	return out
}

// failing reports whether clearly more of the last calls failed than usual.
func (t *Tally) failing() bool {
	return len(t.Window) == windowSize && t.BaseCalls >= learnTime &&
		lower(t.count(markFailed), windowSize) > upper(int(t.BaseErrors), int(t.BaseCalls))+.15
}

func (t *Tally) count(m mark) (n int) {
	for _, s := range t.Window {
		if s.Marks&m != 0 {
			n++
		}
	}
	return n
}

// Bounds of a shift of length: the middle of the last calls lies so many times the
// usual distance from the usual middle, and at least this factor (as a logarithm).
const (
	shiftTimes = 6
	shiftLeast = 2.08 // eight times
	minSpread  = .2
	shiftCalls = 12 // of the last answers
)

// shifted compares the median length of the last answers with that of what was
// learned, in units of its median absolute deviation: neither moves for a few calls
// that are far off.
func (t *Tally) shifted() (usual, last float64, ok bool) {
	if len(t.Sizes) < learnTime {
		return 0, 0, false
	}
	var now []float64
	for i := range t.Window { // the newest first
		s := t.Window[(t.At-1-i+2*len(t.Window))%len(t.Window)]
		if s.Marks&markFailed == 0 && len(now) < shiftCalls {
			now = append(now, float64(s.Size))
		}
	}
	if len(now) < shiftCalls {
		return 0, 0, false
	}
	base := make([]float64, len(t.Sizes))
	for i, s := range t.Sizes {
		base[i] = float64(s)
	}
	usual, last = median(base), median(now)
	for i := range base {
		base[i] = math.Abs(base[i] - usual)
	}
	far := math.Abs(last - usual)
	return usual, last, far >= shiftLeast && far >= shiftTimes*max(1.4826*median(base), minSpread)
}

func median(list []float64) float64 {
	list = slices.Sorted(slices.Values(list))
	return (list[len(list)/2] + list[(len(list)-1)/2]) / 2
}

func amount(log float64) string {
	switch n := math.Exp(log) - 1; {
	case n >= 10<<20:
		return fmt.Sprintf("%.0f MiB", n/(1<<20))
	case n >= 10<<10:
		return fmt.Sprintf("%.0f KiB", n/(1<<10))
	default:
		return fmt.Sprintf("%.0f bytes", n)
	}
}

// unknown counts the last answers whose shape was never learned.
func (t *Tally) unknown() (n int) {
	if !t.settled(len(t.Shapes), maxShapes, t.ShapeNew) || len(t.Shapes) == 0 {
		return 0
	}
	for _, s := range t.Window {
		if s.Marks&markFailed == 0 && s.Shape != 0 && !slices.Contains(t.Shapes, s.Shape) {
			n++
		}
	}
	return n
}

// lower and upper are the bounds of the Wilson interval (95 %) of k among n.
func lower(k, n int) float64 { lo, _ := wilson(k, n); return lo }
func upper(k, n int) float64 { _, hi := wilson(k, n); return hi }

func wilson(k, n int) (lo, hi float64) {
	if n == 0 {
		return 0, 1
	}
	const z = 1.96
	p, m := float64(k)/float64(n), float64(n)
	mid, wide := (p+z*z/(2*m))/(1+z*z/m), z*math.Sqrt(p*(1-p)/m+z*z/(4*m*m))/(1+z*z/m)
	return mid - wide, mid + wide
}

// Summary is what is shown of a tally.
type Summary struct {
	Since   time.Time `json:"since"` // of the first call that counts
	Last    time.Time `json:"last"`
	Calls   uint64    `json:"calls"`
	Errors  uint64    `json:"errors"`
	Learned uint64    `json:"learned"` // calls that say what is usual
	// Ready says that enough was learned to tell what is unusual.
	Ready  bool      `json:"ready"`
	Bytes  int64     `json:"bytes"`  // of a usual answer
	Shapes int       `json:"shapes"` // of usual answers
	Hosts  int       `json:"hosts"`  // that usual answers name
	Odd    []Strange `json:"odd,omitempty"`
}

// Strange is one thing that is odd, as it is shown.
type Strange struct {
	Rule string `json:"rule"`
	Why  string `json:"why"`
}

func (t *Tally) summary(now time.Time) *Summary {
	out := &Summary{Since: t.Since.UTC(), Last: t.Last.UTC(), Calls: t.Calls, Errors: t.Errors, Learned: t.Learned, Ready: t.Learned >= learnTime, Shapes: len(t.Shapes), Hosts: len(t.Hosts)}
	if len(t.Sizes) > 0 {
		base := make([]float64, len(t.Sizes))
		for i, s := range t.Sizes {
			base[i] = float64(s)
		}
		out.Bytes = int64(math.Round(math.Exp(median(base)) - 1))
	}
	for _, o := range t.odd(now) {
		out.Odd = append(out.Odd, Strange{o.Rule, o.Why})
	}
	return out
}
