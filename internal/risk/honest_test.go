package risk_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"rutile/internal/risk"
)

// honest is work that nobody should be asked about, on its first day and on later ones.
type honest struct {
	name string
	days int
	// day makes one day's calls by work.
	day func(w *world, r *rand.Rand, day int, work func(act))
}

var honestWork = []honest{
	{"the same call as fast as it goes", 2, func(w *world, _ *rand.Rand, _ int, work func(act)) {
		for range 5000 {
			work(act{unattested: true, tool: "echo"})
			w.wait(time.Millisecond)
		}
	}},
	{"a session for every call", 3, func(w *world, _ *rand.Rand, day int, work func(act)) {
		for i := range 3000 {
			work(act{unattested: true, session: fmt.Sprint("ses_", day, i), instance: fmt.Sprint("run", day, i)})
			w.wait(5 * time.Millisecond)
		}
	}},
	{"a nightly job over every record", 4, func(w *world, r *rand.Rand, day int, work func(act)) {
		for i := range 3000 {
			work(act{unattested: true, server: "crm", tool: "get", args: fmt.Sprintf(`{"id":%d}`, day*3000+i), end: risk.End{Bytes: 500 + r.IntN(5000)}})
			work(act{unattested: true, server: "dwh", tool: "put", class: "write", args: fmt.Sprintf(`{"table":"people","row":"%s"}`, strings.Repeat("x y ", 20+r.IntN(200)))})
			w.wait(20 * time.Millisecond)
		}
	}},
	{"someone who tries out every tool", 2, func(w *world, r *rand.Rand, _ int, work func(act)) {
		for i := range 40 {
			work(act{unattested: true, person: "ann", tool: fmt.Sprint("t", i%4)})
			w.wait(100 * time.Millisecond)
		}
		for i := range 60 {
			class := []string{"read", "write", "egress"}[i%3]
			work(act{unattested: true, person: "ann", server: fmt.Sprint("s", i/8), tool: fmt.Sprint("t", i), class: class,
				args: fmt.Sprintf(`{"n":%d,"to":"x%d@example.com","%s":"%s"}`, i, i%9, strings.Repeat("k", 1+r.IntN(9)), strings.Repeat("word ", 1<<r.IntN(9)))})
			w.wait(time.Duration(100+r.IntN(900)) * time.Millisecond)
		}
	}},
	{"a build that starts an instance a run", 6, func(w *world, r *rand.Rand, day int, work func(act)) {
		for run := range 60 {
			for i := range 12 {
				work(act{unattested: true, session: fmt.Sprint("ses_", day, run), instance: fmt.Sprint("run", day, run), tool: []string{"clone", "build", "test", "note"}[i%4],
					class: []string{"read", "read", "read", "write"}[i%4], args: fmt.Sprintf(`{"repo":"app","n":%d}`, run)})
				w.wait(time.Duration(1+r.IntN(4)) * time.Second)
			}
			w.wait(5 * time.Minute)
		}
	}},
	{"a letter to everybody", 6, func(w *world, r *rand.Rand, day int, work func(act)) {
		for i := range 400 {
			work(act{unattested: true, server: "mail", tool: "send", class: "egress", args: fmt.Sprintf(`{"to":"p%d@c%d.example","body":"%s"}`, i, day*400+i, strings.Repeat("hello ", 40+r.IntN(60)))})
			w.wait(50 * time.Millisecond)
		}
	}},
	{"a support agent that is denied now and then", 6, func(w *world, r *rand.Rand, day int, work func(act)) {
		for i := range 250 {
			x := act{unattested: true, person: fmt.Sprint("p", r.IntN(5)), session: fmt.Sprint("ses_", day, i/10), server: "desk", tool: []string{"ticket", "search", "customer"}[r.IntN(3)], args: fmt.Sprintf(`{"id":%d}`, r.IntN(9000)), end: risk.End{Bytes: 300 << r.IntN(5)}}
			if r.IntN(5) == 0 {
				x.tool, x.class = "reply", "egress"
				x.args = fmt.Sprintf(`{"to":"c%d@mail%d.example","text":"%s"}`, r.IntN(4000), r.IntN(900), strings.Repeat("dear ", 5<<r.IntN(6)))
			}
			if r.IntN(25) == 0 {
				x.tool, x.end = "refund", risk.End{Denied: true}
			}
			work(x)
			w.wait(time.Duration(5+r.IntN(90)) * time.Second)
		}
	}},
	{"research over many pages", 6, func(w *world, r *rand.Rand, day int, work func(act)) {
		for topic := range 10 {
			for page := range 30 {
				work(act{unattested: true, server: "web", tool: "search", args: fmt.Sprintf(`{"q":"%s","page":%d}`, strings.Repeat("w ", 2+topic), page), end: risk.End{Bytes: 2000 << r.IntN(6)}})
				work(act{unattested: true, server: "web", tool: "fetch", class: "egress", args: fmt.Sprintf(`{"url":"https://site%d.example/%s"}`, r.IntN(2000), strings.Repeat("p", r.IntN(90))), end: risk.End{Bytes: 1000 << r.IntN(10)}})
				w.wait(time.Duration(300+r.IntN(3000)) * time.Millisecond)
			}
			w.wait(time.Duration(10+r.IntN(30)) * time.Minute)
		}
	}},
}

// Honest work stays below the first rung of the ladder on its first day too, and below 40
// from the second one on.
func TestHonestWorkIsAskedNothing(t *testing.T) {
	t.Parallel()
	for _, h := range honestWork {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			w, r := newWorld(t), rand.New(rand.NewPCG(3, 4))
			for day := range h.days {
				begin, why := w.wall, ""
				var worst, agent, person int
				h.day(w, r, day, func(a act) {
					s := w.call(a)
					if s.Session > worst {
						worst, why = s.Session, fmt.Sprintf("%+v", s.Top)
					}
					agent, person = max(agent, s.Agent), max(person, s.Person)
				})
				if worst >= 60 || day > 0 && worst >= 40 || agent >= 40 || person >= 40 {
					t.Errorf("day %d: the session comes to %d, the agent to %d, the person to %d: %s", day, worst, agent, person, why)
				}
				w.wait(begin.Add(24 * time.Hour).Sub(w.wall))
			}
		})
	}
}
