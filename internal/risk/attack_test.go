package risk_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"rutile/internal/risk"
)

// Whoever makes a little more of it every day is told from what was usual for long,
// though no day is unusual beside the one before.
func TestWhatRisesSlowlyIsSeen(t *testing.T) {
	t.Parallel()
	day := func(w *world, calls float64) (worst int, signals map[string]bool) {
		signals = map[string]bool{}
		begin := w.wall
		for range 8 {
			for range int(calls) {
				s := w.call(act{})
				worst = max(worst, s.Session)
				for _, p := range s.Top {
					signals[p.Signal] = true
				}
				w.wait(10 * time.Minute / time.Duration(calls))
			}
			w.wait(50 * time.Minute)
		}
		w.wait(begin.Add(24 * time.Hour).Sub(w.wall))
		return worst, signals
	}
	for _, c := range []struct {
		name   string
		growth float64
		seen   bool
	}{{"the same every day", 1, false}, {"eight in a hundred more every day", 1.08, true}} {
		w := newWorld(t)
		for range 10 {
			day(w, 20)
		}
		calls, seen := 20.0, false
		for range 30 {
			calls *= c.growth
			_, signals := day(w, calls)
			seen = seen || signals["ramp"]
			if signals["burst"] {
				t.Errorf("%s: a day of %.0f calls is taken for a burst", c.name, calls)
			}
		}
		if seen != c.seen {
			t.Errorf("%s, at last %.0f calls: seen is %v", c.name, calls, seen)
		}
	}
}

// Arguments of ever other names, servers, tools, places, instances and persons take no
// more room than a few of them do.
func TestNothingAnAgentSendsTakesMoreRoom(t *testing.T) {
	t.Parallel()
	w := learned(t, 4)
	m := rows{}
	key := risk.Key{Kind: risk.KindAgent, ID: "bot"}
	size := func() int {
		t.Helper()
		if err := w.book.Save(t.Context(), m, "n1"); err != nil {
			t.Fatal(err)
		}
		return len(m["n1"][key])
	}
	for i := range 1500 {
		w.call(act{session: fmt.Sprint("ses_", i), person: fmt.Sprint("p", i), server: fmt.Sprint("s", i), tool: fmt.Sprint("t", i), class: "egress",
			instance: fmt.Sprint("run", i), version: fmt.Sprint("v", i), args: fmt.Sprintf(`{"k%d":{"x%d":%d,"to":"u%d@d%d.example"},"%s":[%d]}`, i, i, i, i, i, strings.Repeat("n", i%300+1), i)})
		w.wait(time.Minute)
	}
	if n := size(); n > 96<<10 {
		t.Errorf("the agent takes %d bytes", n)
	}
	deep := strings.Repeat(`{"a":`, 60) + "1" + strings.Repeat("}", 60)
	wide := "{"
	for i := range 5000 {
		wide += fmt.Sprintf(`"k%d":%d,`, i, i)
	}
	for _, args := range []string{deep, wide + `"z":1}`, `{"a":"` + strings.Repeat("x", 1<<20) + `"}`} {
		w.call(act{args: args})
	}
}

// An agent pushes nobody else's sessions out, and somebody who has thousands of agents
// pushes out those that were used least lately: who is watched and at work stays.
func TestOthersAreNotPushedOut(t *testing.T) {
	t.Parallel()
	w := learned(t, 4)
	exfiltrate(w, act{session: "ses_bad"})
	was := w.book.Of("bot", "ses_bad", "")
	for i := range 500 {
		w.call(act{agent: "other", session: fmt.Sprint("ses_o", i), person: fmt.Sprint("o", i)})
	}
	if is := w.book.Of("bot", "ses_bad", ""); is.Session != was.Session || is.Learned != was.Learned {
		t.Errorf("another agent's sessions make %d of %d", is.Session, was.Session)
	}
	for i := range 2500 {
		w.call(act{agent: fmt.Sprint("a", i)})
		if w.wait(time.Millisecond); i%500 == 0 { // it goes on with its work
			w.call(act{session: "ses_bad", end: risk.End{Flagged: true}})
		}
	}
	if is := w.book.Of("bot", "ses_bad", ""); is.Session < was.Session-2 || is.Learned != was.Learned {
		t.Errorf("thousands of agents make %d of %d, %d calls learned of %d", is.Session, was.Session, is.Learned, was.Learned)
	}
}

// Whoever acts for many people, or has many sessions and agents, pushes nothing out that
// is held against somebody: tables are full of what nothing is held against before.
func TestAFullTableForgetsNoScore(t *testing.T) {
	t.Parallel()
	w := learned(t, 4)
	exfiltrate(w, act{session: "ses_bad", person: "ann"})
	was := w.book.Of("bot", "ses_bad", "https://idp.example|ann")
	if was.Session < 75 {
		t.Fatalf("it comes to %d", was.Session)
	}
	for i := range 200 { // of the same agent, for other people
		w.call(act{session: fmt.Sprint("ses_o", i), person: fmt.Sprint("p", i), end: risk.End{Flagged: true}})
	}
	if is := w.book.Of("bot", "ses_next", "https://idp.example|ann"); is.Session < was.Session-3 || is.Person < was.Person-1 {
		t.Errorf("after sessions for 200 people it begins with %d, was %d; the person has %d, had %d", is.Session, was.Session, is.Person, was.Person)
	}
	for i := range 4500 { // of other agents, for more people than are remembered
		w.call(act{agent: fmt.Sprint("a", i), session: fmt.Sprint("ses_a", i), person: fmt.Sprint("q", i)})
	}
	if is := w.book.Of("bot", "ses_bad", "https://idp.example|ann"); is.Session < was.Session-3 || is.Agent < was.Agent-1 || is.Person < was.Person-1 {
		t.Errorf("after 4500 agents and people it is %d, %d, %d; was %d, %d, %d", is.Session, is.Agent, is.Person, was.Session, was.Agent, was.Person)
	}
}

// A call that is sent again and again is work like any other: it makes nothing usual
// faster than other calls do, and what came of one call counts once.
func TestReplayedCallsTeachNoMore(t *testing.T) {
	t.Parallel()
	w := learned(t, 4)
	was := w.book.Of("bot", "", "").Learned
	r := w.request(act{session: "ses_r"})
	s := w.book.Arrive(r, []string{"read"}, false)
	for range 1000 {
		w.book.Ended(s, risk.End{Bytes: 1 << 20})
	}
	if is := w.book.Of("bot", "", "").Learned; is != was+1 {
		t.Errorf("one call that ends a thousand times counts %d times", is-was)
	}
	for range 5000 {
		w.call(act{session: "ses_r"})
		w.wait(time.Millisecond)
	}
	if is := w.book.Of("bot", "", "").Learned; is > was+1200 {
		t.Errorf("five seconds of the same call teach %d calls", is-was)
	}
	if s := w.book.Of("bot", "ses_r", ""); s.Session < 10 {
		t.Errorf("five thousand calls in five seconds come to %d", s.Session)
	}
}

// A clock that is set forth and back ages no agent into being known, and makes no calls of
// an honest day unusual.
func TestASetClockAccusesNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := rand.New(rand.NewPCG(5, 6))
	worst := 0
	for d := range 8 {
		worst = max(worst, w.day(r, act{session: fmt.Sprint("ses_", d)}))
		w.wall = w.wall.Add([]time.Duration{time.Hour, -time.Hour, 0, 400 * 24 * time.Hour}[d%4])
	}
	if worst >= 40 {
		t.Errorf("it comes to %d", worst)
	}
}
