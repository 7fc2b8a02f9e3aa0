package audit

import (
	"strconv"
	"time"

	"rutile/internal/access"
)

// unremarkable is the score below which a leaf says nothing of risk: nothing unusual is
// behind it.
const unremarkable = 6

// risk writes how unusual what the caller does was: scores, the largest reasons and what
// the score would be without the first. Measures are texts, since a leaf holds no
// fractions.
func (d *draft) risk(r *access.Risk) {
	if r.Low(unremarkable) {
		return
	}
	mark := d.begin("risk")
	d.int("agent", int64(r.Agent))
	d.int("learned", int64(r.Learned))
	d.text("model", r.Model)
	d.int("person", int64(r.Person))
	d.int("session", int64(r.Session))
	if len(r.Top) > 0 {
		d.enc.key("top")
		d.b = append(d.b, '[')
		for i := range r.Top {
			if i > 0 {
				d.b = append(d.b, ',')
			}
			d.point(&r.Top[i])
		}
		d.b = append(d.b, ']')
		d.int("without", int64(r.Without))
	}
	d.end(mark)
}

func (d *draft) point(p *access.RiskPoint) {
	d.b = append(d.b, '{')
	d.time("at", p.At)
	d.str("exp", measure(p.Expected))
	d.text("family", p.Family)
	d.str("obs", measure(p.Observed))
	d.int("pts", int64(p.Points))
	d.int("sample", int64(p.Sample))
	d.text("signal", p.Signal)
	d.text("unit", p.Unit)
	d.int("window", int64(p.Window/time.Second))
	d.b = append(d.b, '}')
}

func measure(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }

// Risk is how unusual what the caller did was, as the leaf says; nil where it says
// nothing.
func (c *Call) Risk() *access.Risk { return riskOf(c.v.get("risk")) }

func riskOf(v value) *access.Risk {
	if v.kind != '{' {
		return nil
	}
	n := func(v value, key string) int { return int(v.get(key).num) }
	r := &access.Risk{Session: n(v, "session"), Agent: n(v, "agent"), Person: n(v, "person"), Model: v.get("model").str, Learned: n(v, "learned"), Without: n(v, "without")}
	for _, p := range v.get("top").vals {
		at, _ := time.Parse(time.RFC3339Nano, p.get("at").str) // a leaf is checked elsewhere
		obs, _ := strconv.ParseFloat(p.get("obs").str, 64)
		exp, _ := strconv.ParseFloat(p.get("exp").str, 64)
		r.Top = append(r.Top, access.RiskPoint{Family: p.get("family").str, Signal: p.get("signal").str, Unit: p.get("unit").str, Points: n(p, "pts"),
			Observed: obs, Expected: exp, Window: time.Duration(n(p, "window")) * time.Second, Sample: n(p, "sample"), At: at})
	}
	return r
}
