package risk

import (
	"math"
	"time"
)

// total is the bytes sent in ten minutes, as logarithms.
type total struct {
	Mean, Var float64
	N         uint32

	window int64
	bytes  float64 // of this window
	clean  float64 // of them, those that are learned
}

// volume looks for more bytes than usual in what is sent, of one call and of ten minutes.
func (a *agent) volume(c *call, ev *evidence) {
	if !c.sends || c.size == 0 {
		return
	}
	if a.Out.N >= 2*settled {
		z, usual := a.Out.far(c.size)
		if x := 0.3 * (z - 5); x > 0 {
			ev.add(famVolume, x, why{sigOut, float32(c.size), float32(usual), 0, a.Out.N})
		}
	}
	t := &a.Total
	if w := int64(c.at / windows[2]); w > t.window {
		if t.clean > 0 {
			t.N++
			x := math.Log2(t.clean + 1)
			if t.N > 5 {
				x = min(x, t.Mean+2*math.Sqrt(t.Var)+1)
			}
			alpha := 1 / float64(min(t.N, 200))
			d := x - t.Mean
			t.Mean += alpha * d
			t.Var = (1 - alpha) * (t.Var + alpha*d*d)
		}
		t.window, t.bytes, t.clean = w, 0, 0
	}
	t.bytes += float64(c.size)
	if t.N >= settled {
		z := (math.Log2(t.bytes+1) - t.Mean) / max(math.Sqrt(t.Var), 0.5)
		if x := 0.4 * (z - 4); x > 0 {
			ev.add(famVolume, x, why{sigTotal, float32(t.bytes), float32(math.Exp2(t.Mean)), windows[2], t.N})
		}
	}
}

// received looks for more bytes than usual in what came back.
func (a *agent) received(_ *call, n int, ev *evidence) {
	if a.In.N < 2*settled {
		return
	}
	z, usual := a.In.far(n)
	if x := 0.25 * (z - 5); x > 0 {
		ev.add(famVolume, x, why{sigIn, float32(n), float32(usual), 0, a.In.N})
	}
}

// weekDays is how many days an agent must have been seen on before hours say anything.
const weekDays = 10

// hourOf is the hour of the week in UTC.
func hourOf(at time.Time) int { return int(at.UTC().Weekday())*24 + at.UTC().Hour() }

// hour looks for work at hours of the week at which there is none; the hours beside it
// count half, and each is as if something had been seen in it (a Dirichlet prior).
func (a *agent) hour(c *call, ev *evidence) {
	if a.Days < weekDays || a.Learned < youngCalls {
		return
	}
	var sum float64
	for _, n := range a.Hours {
		sum += float64(n)
	}
	h := hourOf(c.wall)
	day := float64(0)
	for i := range 7 { // the same hour of other days says something too
		day += float64(a.Hours[i*24+h%24]) / 7
	}
	near := float64(a.Hours[h]) + 0.5*float64(a.Hours[(h+1)%168]) + 0.5*float64(a.Hours[(h+167)%168]) + 0.5*day
	bits := -math.Log2((near/2.5 + 0.5) / (sum/168 + 0.5))
	if x := 0.2 * (bits - 1.5); x > 0 {
		ev.add(famHours, x, why{sigHour, float32(bits), 0, time.Hour, a.Learned})
	}
}

func learnHour(hours *[168]uint16, at time.Time) {
	h := hourOf(at)
	if hours[h] == math.MaxUint16 {
		for i := range hours {
			hours[i] /= 2
		}
	}
	hours[h]++
}

const (
	probeHalf = 10 * time.Minute
	// honest is the part of its calls that an agent is denied without anybody minding.
	honest = 0.1
)

// probing looks for more denials than honest agents meet, and for many things tried.
// It learns nothing: denied calls must not make denied calls usual.
func (a *agent) probing(c *call, ev *evidence) {
	a.denied.add(c.at, probeHalf)
	denied, all := a.denied.now(c.at, probeHalf), a.asked.now(c.at, probeHalf)
	z := (denied - honest*all - 2) / math.Sqrt(honest*(1-honest)*all+1)
	if x := 0.25 * (z - 3); x > 0 {
		ev.add(famProbing, x, why{sigDenied, float32(denied), float32(honest * all), probeHalf, uint32(all)})
	}
	n := a.probes.see(c.tool, c.at, lately)
	if x := 0.35 * float64(n-3); x > 0 {
		ev.add(famProbing, x, why{sigProbes, float32(n), 3, lately, uint32(all)})
	}
}
