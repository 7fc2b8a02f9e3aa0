package store_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"rutile/internal/audit"
	"rutile/internal/store"
)

// events makes rows as the indexer makes them: some agents, tools and people do most,
// and what is rare is rare. They are of 90 days.
type events struct {
	rand     *rand.Rand
	zipf     [4]*rand.Zipf // agents, people, servers, tools of a server
	sessions []sessionOf
	total    uint64
}

type sessionOf struct {
	id, task, agent, subject, grant string
	labels                          []string
}

func newEvents(total uint64) *events {
	r := rand.New(rand.NewPCG(1, 2))
	e := &events{rand: r, total: total}
	for i, n := range []uint64{200, 2000, 40, 25} {
		e.zipf[i] = rand.NewZipf(r, 1.2, 3, n-1)
	}
	e.sessions = make([]sessionOf, 300)
	for i := range e.sessions {
		e.sessions[i] = e.session(uint64(i))
	}
	return e
}

func (e *events) session(n uint64) sessionOf {
	s := sessionOf{
		id: fmt.Sprintf("ses_%026d", n), agent: fmt.Sprintf("agent-%d", e.zipf[0].Uint64()),
		subject: fmt.Sprintf("person-%d@example.com", e.zipf[1].Uint64()),
	}
	if n%3 == 0 {
		s.task = fmt.Sprintf("task-%d", n/5)
	}
	if e.rand.IntN(5) == 0 {
		s.grant = fmt.Sprintf("grt_%026d", e.rand.IntN(5000))
	}
	for _, l := range []string{"pii", "secret", "customer", "payroll", "source", "mail"} {
		if e.rand.IntN(12) == 0 {
			s.labels = append(s.labels, l)
		}
	}
	slices.Sort(s.labels)
	return s
}

func (e *events) row(i uint64) audit.Row {
	at := exploreBegin.Add(time.Duration(float64(90*24*time.Hour) * float64(i) / float64(e.total)))
	if e.rand.IntN(100) == 0 {
		verb := []string{"create", "approve", "apply", "revoke", "activate"}[e.rand.IntN(5)]
		object := fmt.Sprintf("req_%026d", i)
		return audit.Row{
			Origin: origin, Index: i, LeafID: fmt.Sprintf("%026d", i), Type: "admin", At: at, Decision: fmt.Sprintf("chg_%026d", i), Intent: -1,
			Actor: "operator-1", Object: object, Text: verb + " Request " + object + " operator-1 weekly change",
		}
	}
	n := e.rand.IntN(len(e.sessions))
	s := &e.sessions[n]
	if e.rand.IntN(60) == 0 {
		e.sessions[n] = e.session(i + 1000)
		s = &e.sessions[n]
	}
	server, tool := fmt.Sprintf("server-%d", e.zipf[2].Uint64()), fmt.Sprintf("tool_%d", e.zipf[3].Uint64())
	r := audit.Row{
		Origin: origin, Index: i, LeafID: fmt.Sprintf("%026d", i), Type: "intent", At: at, Decision: fmt.Sprintf("dec_%026d", i), Outcome: "permit",
		Agent: s.agent, Subject: s.subject, Session: s.id, Task: s.task, Grant: s.grant, Labels: s.labels, Server: server, Method: "tools/call",
		Tool: server + "_" + tool, Policies: []string{"baseline", "allow-" + server}, TraceID: fmt.Sprintf("%032x", i), Intent: -1, Status: "ok",
	}
	reason := ""
	switch k := e.rand.IntN(1000); {
	case k < 40:
		r.Type, r.Outcome, r.Status = "verdict", "deny", ""
		r.Policies = []string{"baseline", fmt.Sprintf("forbid-%d", e.rand.IntN(60))}
		reason = "no permit covers this call of " + r.Tool
	case k < 60:
		r.Type, r.Outcome, r.Status = "verdict", "require_approval", ""
		reason = "needs an approval of a person"
	case k < 85:
		r.Status = "tool_error"
	case k < 86:
		r.Status = "timeout"
	}
	text := []string{server, r.Method, r.Tool, r.Agent, r.Subject, r.Outcome, reason}
	r.Text = strings.Join(append(append(text, r.Policies...), r.Status), " ")
	if r.Status != "" {
		r.Ends, r.Ended = []uint64{i}, at
	}
	return r
}

var exploreBegin = time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC)

// fill puts n events and returns the last second of them.
func fill(tb testing.TB, s *store.Store, n uint64) {
	e := newEvents(n)
	rows := make([]audit.Row, 0, 1000)
	for i := range n {
		if rows = append(rows, e.row(i)); len(rows) == cap(rows) || i == n-1 {
			putRows(tb, s, rows, i+1)
			rows = rows[:0]
		}
	}
}

// page is a query of the evidence explorer.
type page struct {
	name  string
	query audit.Query
}

// pages are what people ask: each filter for what is common and what is rare,
// combinations, and what is not there at all.
func pages(n uint64) []page {
	day := func(d float64) time.Time { return exploreBegin.Add(time.Duration(d * float64(24*time.Hour))) }
	return []page{
		{"all", audit.Query{}},
		{"agent/common", audit.Query{Agent: "agent-0"}}, {"agent/rare", audit.Query{Agent: "agent-199"}}, {"agent/none", audit.Query{Agent: "nobody"}},
		{"person/common", audit.Query{Subject: "person-0@example.com"}}, {"person/rare", audit.Query{Subject: "person-1900@example.com"}},
		{"server/common", audit.Query{Server: "server-0"}}, {"server/rare", audit.Query{Server: "server-39"}},
		{"tool/common", audit.Query{Tool: "server-0_tool_0"}}, {"tool/rare", audit.Query{Tool: "server-39_tool_24"}},
		{"server+tool", audit.Query{Server: "server-5", Tool: "server-5_tool_7"}},
		{"outcome/permit", audit.Query{Outcome: "permit"}}, {"outcome/deny", audit.Query{Outcome: "deny"}}, {"outcome/none", audit.Query{Outcome: "terminate"}},
		{"status/ok", audit.Query{Status: "ok"}}, {"status/timeout", audit.Query{Status: "timeout"}}, {"status/none", audit.Query{Status: "late_result"}},
		{"status/open", audit.Query{Status: string(audit.StatusOpen)}},
		{"type/admin", audit.Query{Types: []string{"admin"}}}, {"type/several", audit.Query{Types: []string{"admin", "revocation", "loss"}}},
		{"type/calls", audit.Query{Types: []string{"intent", "verdict"}}}, {"type/none", audit.Query{Types: []string{"loss"}}},
		{"label/common", audit.Query{Label: "pii"}}, {"label/none", audit.Query{Label: "nothing"}},
		{"policy/common", audit.Query{Policy: "baseline"}}, {"policy/rare", audit.Query{Policy: "forbid-59"}},
		{"task", audit.Query{Task: fmt.Sprintf("task-%d", (n/2+1000)/5)}}, {"grant", audit.Query{Grant: fmt.Sprintf("grt_%026d", 77)}},
		{"session", audit.Query{Session: fmt.Sprintf("ses_%026d", 7)}}, {"decision", audit.Query{Decision: fmt.Sprintf("dec_%026d", n/2)}},
		{"time/day", audit.Query{Since: day(89)}}, {"time/old-hour", audit.Query{Since: day(10), Until: day(10.04)}}, {"time/before", audit.Query{Until: day(30)}},
		{"time/future", audit.Query{Since: day(91)}},
		{"text/common", audit.Query{Text: "permit"}}, {"text/server", audit.Query{Text: "server-3"}}, {"text/words", audit.Query{Text: "needs approval person"}},
		{"text/reason", audit.Query{Text: "covers call server 39 tool 24"}}, {"text/one", audit.Query{Text: fmt.Sprintf("req_%026d", n/3)}},
		{"text/rare", audit.Query{Text: "person-1900"}}, {"text/none", audit.Query{Text: "xylophone"}},
		{"agent+deny", audit.Query{Agent: "agent-0", Outcome: "deny"}}, {"agent/rare+deny", audit.Query{Agent: "agent-150", Outcome: "deny"}},
		{"agent+tool", audit.Query{Agent: "agent-3", Tool: "server-5_tool_7"}}, {"agent+person", audit.Query{Agent: "agent-1", Subject: "person-3@example.com"}},
		{"agent+person/none", audit.Query{Agent: "agent-1", Subject: "nobody"}}, {"agent+server/rare", audit.Query{Agent: "agent-0", Server: "server-39"}},
		{"agent+label+deny", audit.Query{Agent: "agent-0", Label: "payroll", Outcome: "deny"}}, {"agent+label", audit.Query{Agent: "agent-60", Label: "payroll"}},
		{"policy+label", audit.Query{Policy: "forbid-3", Label: "secret"}}, {"server+policy/none", audit.Query{Server: "server-0", Policy: "allow-server-9"}},
		{"agent+text", audit.Query{Agent: "agent-0", Text: "approval"}}, {"agent+text/none", audit.Query{Agent: "agent-0", Text: "xylophone"}},
		{"agent+text/cross", audit.Query{Agent: "agent-0", Text: "agent-1"}}, {"deny+text", audit.Query{Outcome: "deny", Text: "server-39"}},
		{"agent+old-hour", audit.Query{Agent: "agent-0", Since: day(10), Until: day(10.04)}}, {"deny+before", audit.Query{Outcome: "deny", Until: day(30)}},
		{"tool+timeout", audit.Query{Tool: "server-0_tool_0", Status: "timeout"}}, {"agent+tool_error", audit.Query{Agent: "agent-0", Status: "tool_error"}},
		{"text+old-hour", audit.Query{Text: "approval", Since: day(10), Until: day(10.04)}}, {"text+before", audit.Query{Text: "server-39", Until: day(30)}},
		{"person+server+since", audit.Query{Subject: "person-0@example.com", Server: "server-2", Since: day(60)}},
	}
}

// BenchmarkExplore measures the pages of the evidence explorer, 51 rows each as the
// console asks for, the first and deep ones. RUTILE_EVENTS says over how many events,
// RUTILE_EVENTS_STORE in which database (postgres is one that is made and removed again,
// postgres://… one that is kept), and RUTILE_EVENTS_DIR keeps those of SQLite.
func BenchmarkExplore(b *testing.B) {
	n := uint64(20_000)
	if s := os.Getenv("RUTILE_EVENTS"); s != "" {
		var err error
		if n, err = strconv.ParseUint(s, 10, 32); err != nil {
			b.Fatal(err)
		}
	}
	cfg := store.Config{Dir: b.TempDir()}
	if dir := os.Getenv("RUTILE_EVENTS_DIR"); dir != "" {
		cfg.Dir = dir
	}
	switch dsn := os.Getenv("RUTILE_EVENTS_STORE"); dsn {
	case "":
	case "postgres":
		cfg.DSN = cluster.DSN(b)
	default:
		cfg.DSN = dsn
	}
	s := open(b, cfg)
	if mark := must[uint64](b)(s.Watermark(b.Context(), origin)); mark < n {
		fill(b, s, n)
	}
	for _, p := range pages(n) {
		for _, deep := range []bool{false, true} {
			name := p.name
			q := p.query
			q.Origin, q.Limit = origin, 51
			if deep {
				name, q.Before = name+"/deep", n/3
			}
			b.Run(name, func(b *testing.B) {
				var took []time.Duration
				rows, below := 0, uint64(0)
				for b.Loop() {
					begin := time.Now()
					p := must[audit.Part](b)(s.SearchPart(b.Context(), q))
					took = append(took, time.Since(begin))
					rows, below = len(p.Rows), p.Below
				}
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, "p95-ms")
				b.ReportMetric(float64(rows), "rows")
				b.ReportMetric(float64(below), "below") // not 0: it ended there
			})
		}
	}
}
