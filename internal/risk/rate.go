package risk

import (
	"math"
	"time"
)

// windows are those in which calls are counted.
var windows = [3]time.Duration{10 * time.Second, time.Minute, 10 * time.Minute} //nolint:gochecknoglobals // a table

// priors are the calls an agent nobody knows makes in a window in which it does
// anything; they weigh as much as priorWeight windows.
var priors = [3]float64{10, 30, 150} //nolint:gochecknoglobals // a table

const priorWeight = 5

// rate is the calls of one window: as they come now, and as they usually are in windows
// with any.
type rate struct {
	Mean, Var float64
	N         uint32 // windows

	window int64
	calls  uint32 // of this window
	good   uint32 // of them, those that are learned
}

func sq(x float64) float64 { return x * x }

// expected is the mean and the variance of what is learned and the prior together. No
// rate is so even that half of it more or less says anything.
func (r *rate) expected(prior float64) (mean, variance float64) {
	n := float64(min(r.N, 200))
	mean = (n*r.Mean + priorWeight*prior) / (n + priorWeight)
	variance = (n*(r.Var+sq(r.Mean-mean)) + priorWeight*(prior*prior+sq(prior-mean))) / (n + priorWeight)
	return mean, max(variance, 1.2*mean, sq(mean/2))
}

// roll ends windows that are over; what was good of the last is learned, and of an agent
// that is known no more than three deviations over what is usual.
func (r *rate) roll(at, window time.Duration, prior float64, young bool) (ended uint32) {
	w := int64(at / window)
	if w <= r.window {
		return 0
	}
	ended = r.good
	if r.good > 0 {
		mean, variance := r.expected(prior)
		x := float64(r.good)
		if !young {
			x = min(x, mean+3*math.Sqrt(variance))
		}
		r.N++
		alpha := 1 / float64(min(r.N, 200))
		d := x - r.Mean
		r.Mean += alpha * d
		r.Var = (1 - alpha) * (r.Var + alpha*d*d)
	}
	r.window, r.calls, r.good = w, 0, 0
	return ended
}

// tail is -log10 of how likely k calls or more are, by a negative binomial distribution.
func tail(k, mean, variance float64) float64 {
	if k <= mean {
		return 0
	}
	q := 1 - mean/variance // of a success
	r := mean * mean / (variance - mean)
	a, _ := math.Lgamma(k + r)
	b, _ := math.Lgamma(k + 1)
	c, _ := math.Lgamma(r)
	logp := a - b - c + r*math.Log(1-q) + k*math.Log(q)
	if ratio := q * (k + r) / (k + 1); ratio < 1 {
		logp -= math.Log(1 - ratio)
	}
	return max(0, -logp/math.Ln10)
}

// burst looks for more calls than usual, in each window, and for a rise that is too slow
// for that.
func (a *agent) burst(c *call, ev *evidence) {
	young := a.young()
	for i := range a.Rates {
		r := &a.Rates[i]
		ended := r.roll(c.at, windows[i], priors[i], young)
		if i == 2 && ended > 0 {
			a.ramp(float64(ended))
		}
		r.calls++
		mean, variance := r.expected(priors[i])
		if x := 0.5 * (tail(float64(r.calls), mean, variance) - 2.5); x > 0 {
			ev.add(famRate, x, why{sigBurst, float32(r.calls), float32(mean), windows[i], r.N})
		}
	}
	if x := 0.4 * (a.Ramp - 2); x > 0 {
		ev.add(famRate, x, why{sigRamp, float32(a.Rates[2].Mean), float32(a.Slow), windows[2], a.Rates[2].N})
	}
}

// ramp compares ten minutes with what they were for long (a cumulative sum): whoever
// raises what is usual bit by bit raises it over the slow mean.
func (a *agent) ramp(calls float64) {
	n := a.Rates[2].N
	if n <= 20 {
		a.Slow += (calls - a.Slow) / float64(max(n, 1))
		return
	}
	a.Ramp = min(max(0, a.Ramp+math.Log((calls+5)/(a.Slow+5))-0.8), 10)
	a.Slow += (min(max(calls, a.Slow/2), 2*a.Slow+5) - a.Slow) / 1000
}

// usual counts a call among those that are learned.
func (a *agent) usual(c *call) {
	for i := range a.Rates {
		if r := &a.Rates[i]; r.window == int64(c.at/windows[i]) {
			r.good = min(r.good+1, r.calls)
		}
	}
}
