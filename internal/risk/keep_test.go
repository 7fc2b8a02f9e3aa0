package risk_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"rutile/internal/risk"
)

// rows is a Store that several nodes share.
type rows map[string]map[risk.Key][]byte

func (m rows) Risks(context.Context) (out []risk.Row, err error) {
	for node, of := range m {
		for k, doc := range of {
			out = append(out, risk.Row{Node: node, Key: k, Doc: doc})
		}
	}
	return out, nil
}

func (m rows) SaveRisks(_ context.Context, node string, put []risk.Row, drop []risk.Key) error {
	if m[node] == nil {
		m[node] = map[risk.Key][]byte{}
	}
	for _, r := range put {
		m[node][r.Key] = r.Doc
	}
	for _, k := range drop {
		delete(m[node], k)
	}
	return nil
}

// What is known outlives the process, on another node too, and a clock that was set
// forward meanwhile washes no agent's score.
func TestScoresOutliveARestart(t *testing.T) {
	t.Parallel()
	m := rows{}
	w := learned(t, 4)
	exfiltrate(w, act{session: "ses_bad", person: "ann"})
	was := w.book.Of("bot", "ses_bad", "https://idp.example|ann")
	if err := w.book.Save(t.Context(), m, "n1"); err != nil {
		t.Fatal(err)
	}
	if n := len(m["n1"][risk.Key{Kind: risk.KindAgent, ID: "bot"}]); n > 32<<10 {
		t.Errorf("an agent takes %d bytes", n)
	}
	for _, node := range []string{"n1", "n2"} {
		w.steady = 0
		w.open()
		if err := w.book.Load(t.Context(), m, node); err != nil {
			t.Fatal(err)
		}
		is := w.book.Of("bot", "ses_bad", "https://idp.example|ann")
		if is.Session != was.Session || is.Agent != was.Agent || is.Person != was.Person || is.Learned != was.Learned || len(is.Top) != 3 {
			t.Errorf("on %s it is %+v, was %+v", node, is, was)
		}
	}
	w.wall = w.wall.Add(10 * 365 * 24 * time.Hour)
	w.open()
	if err := w.book.Load(t.Context(), m, "n1"); err != nil {
		t.Fatal(err)
	}
	if is := w.book.Of("bot", "ses_bad", ""); is.Agent < 20 {
		t.Errorf("ten years on the clock wash it to %d", is.Agent)
	}
	for _, bad := range []string{`{`, `{}`, `{"v":1}`, `{"v":1,"usual":{"Tools":{"1":null}}}`, `{"v":1,"usual":{"Shapes":"AA=="}}`} {
		m["n1"][risk.Key{Kind: risk.KindAgent, ID: "worse"}] = []byte(bad)
		if err := w.book.Load(t.Context(), m, "n1"); err != nil || w.book.Of("worse", "s", "").Learned != 0 {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// What a person lets go is forgiven, and no other node brings it back.
func TestAPardonIsNotTakenBack(t *testing.T) {
	t.Parallel()
	m := rows{}
	w := learned(t, 4)
	exfiltrate(w, act{session: "ses_bad"})
	if err := w.book.Save(t.Context(), m, "n2"); err != nil {
		t.Fatal(err)
	}
	w.wait(time.Second)
	w.book.Pardon("bot")
	for range 2 {
		if s := w.book.Of("bot", "ses_bad", ""); s.Session > 10 || s.Agent > 10 || s.Learned < 200 {
			t.Errorf("it is still held against it: %+v", s)
		}
		if err := w.book.Load(t.Context(), m, "n1"); err != nil {
			t.Fatal(err)
		}
	}
}

// Denied calls teach nothing: whoever is denied often stays a stranger.
func TestDeniedCallsTeachNothing(t *testing.T) {
	t.Parallel()
	w := learned(t, 4)
	was := w.book.Of("bot", "", "").Learned
	for i := range 300 {
		w.call(act{session: "ses_p", tool: fmt.Sprint("t", i%5), end: risk.End{Denied: true}})
		w.call(act{session: "ses_p", end: risk.End{Flagged: true}})
		w.wait(time.Minute)
	}
	if is := w.book.Of("bot", "", "").Learned; is != was {
		t.Errorf("%d calls were learned", is-was)
	}
}
