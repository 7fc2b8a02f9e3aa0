package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/store"
)

const origin = "org/rutile/default/n1/1"

func row(i uint64) audit.Row {
	return audit.Row{
		Origin: origin, Index: i, LeafID: fmt.Sprintf("leaf-%d", i), Type: "intent", At: at(int(i)), Decision: fmt.Sprintf("dec_%026d", i),
		Outcome: "permit", Agent: fmt.Sprintf("agent-%d", i%20), Subject: "https://idp.example|ann", Session: fmt.Sprintf("ses_%d", i%100),
		Server: "github", Method: "tools/call", Tool: fmt.Sprintf("tool_%d", i%50), Policies: []string{"baseline", "release-window"},
		TraceID: fmt.Sprintf("%032x", i), Intent: -1, Text: fmt.Sprintf("agent-%d calls github tool_%d for ann: create the release notes of v%d", i%20, i%50, i),
	}
}

func rowsUpTo(n uint64) []audit.Row {
	rows := make([]audit.Row, n)
	for i := range rows {
		rows[i] = row(uint64(i))
	}
	return rows
}

func putRows(t testing.TB, s *store.Store, rows []audit.Row, mark uint64) {
	t.Helper()
	if err := s.PutRows(t.Context(), origin, rows, mark); err != nil {
		t.Fatal(err)
	}
}

func search(t testing.TB, s *store.Store, q audit.Query) []audit.Row {
	t.Helper()
	return must[[]audit.Row](t)(s.Search(t.Context(), q))
}

func indexes(rows []audit.Row) []uint64 {
	out := []uint64{}
	for _, r := range rows {
		out = append(out, r.Index)
	}
	return out
}

func TestRowsAreFoundAsTheyWerePut(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		rows := rowsUpTo(300) // more than one statement's worth
		rows[7] = audit.Row{Origin: origin, Index: 7, LeafID: "bare", Type: "checkpoint", At: at(7), Intent: 3}
		putRows(t, s, rows, 300)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, cfg)
		got := search(t, s, audit.Query{Ascending: true, Limit: 1000})
		if diff := cmp.Diff(rows, got); diff != "" {
			t.Errorf("rows differ (-want +got):\n%s", diff)
		}
		if mark := must[uint64](t)(s.Watermark(t.Context(), origin)); mark != 300 {
			t.Errorf("watermark is %d", mark)
		}
	})
}

func TestRowsAlreadyThereAreLeftAndTheWatermarkNeverGoesBack(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		putRows(t, s, rowsUpTo(10), 10)
		other := rowsUpTo(12)
		for i := range other {
			other[i].Agent, other[i].Text = "intruder", "intruder"
		}
		putRows(t, s, append(other, other[11]), 5)
		got := search(t, s, audit.Query{Ascending: true})
		if diff := cmp.Diff(append(rowsUpTo(10), other[10:]...), got); diff != "" {
			t.Errorf("rows differ (-want +got):\n%s", diff)
		}
		if got := indexes(search(t, s, audit.Query{Text: "intruder"})); !slices.Equal(got, []uint64{11, 10}) {
			t.Errorf("words of a row that was left out are found: %v", got)
		}
		if mark := must[uint64](t)(s.Watermark(t.Context(), origin)); mark != 10 {
			t.Errorf("watermark is %d, want 10", mark)
		}
		putRows(t, s, nil, 12)
		if mark := must[uint64](t)(s.Watermark(t.Context(), origin)); mark != 12 {
			t.Errorf("watermark is %d, want 12", mark)
		}
	})
}

func TestDroppedRowsCanBeBuiltAgain(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		rows := rowsUpTo(300)
		putRows(t, s, rows, 300)
		elsewhere := row(5)
		elsewhere.Origin = "elsewhere"
		if err := s.PutRows(t.Context(), "elsewhere", []audit.Row{elsewhere}, 6); err != nil {
			t.Fatal(err)
		}
		queries := []audit.Query{{Limit: 1000}, {Text: "release agent"}, {Policy: "baseline", Limit: 1000}}
		var before [][]audit.Row
		for _, q := range queries {
			before = append(before, search(t, s, q))
		}
		if err := s.DropRows(t.Context(), origin); err != nil {
			t.Fatal(err)
		}
		for _, q := range queries {
			if got := search(t, s, q); len(got) != 1 || got[0].Origin != "elsewhere" {
				t.Errorf("%d rows are found after they were dropped", len(got))
			}
		}
		if mark := must[uint64](t)(s.Watermark(t.Context(), origin)); mark != 0 {
			t.Errorf("watermark is %d", mark)
		}
		if mark := must[uint64](t)(s.Watermark(t.Context(), "elsewhere")); mark != 6 {
			t.Errorf("watermark of another log is %d", mark)
		}
		putRows(t, s, rows, 300)
		for i, q := range queries {
			if diff := cmp.Diff(before[i], search(t, s, q)); diff != "" {
				t.Errorf("rebuilt rows differ for %+v:\n%s", q, diff)
			}
		}
	})
}

// ended returns the row of a call whose outcomes are the given leaves.
func ended(r audit.Row, status string, leaves ...uint64) audit.Row {
	r.Status, r.Ends, r.Ended, r.Text = status, leaves, at(int(leaves[len(leaves)-1])), r.Text+" "+status
	return r
}

// What was dispatched and has no outcome is found, in its own log only.
func TestOpenIntentsAreFound(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		rows := rowsUpTo(8) // intents
		rows[3].Type = "verdict"
		putRows(t, s, rows, 8)
		putRows(t, s, []audit.Row{ended(rows[1], "ok", 8), ended(rows[5], "ok", 9, 10), ended(rows[6], "ok", 11)}, 12)
		const other = "example.org/rutile/main/n2/1"
		done := ended(row(2), "ok", 3)
		done.Decision = rows[2].Decision // of another log
		if err := s.PutRows(t.Context(), other, []audit.Row{row(0), done}, 4); err != nil {
			t.Fatal(err)
		}
		for name, tt := range map[string]struct {
			q    audit.Query
			want []uint64
		}{
			"all":      {audit.Query{Origin: origin, Ascending: true}, []uint64{0, 2, 4, 7}},
			"agent":    {audit.Query{Origin: origin, Agent: "agent-4"}, []uint64{4}},
			"policy":   {audit.Query{Origin: origin, Policy: "baseline", Limit: 2}, []uint64{7, 4}},
			"text":     {audit.Query{Origin: origin, Text: "tool_2"}, []uint64{2}},
			"others":   {audit.Query{Origin: other}, []uint64{0}},
			"verdicts": {audit.Query{Types: []string{"verdict"}}, []uint64{}},
		} {
			tt.q.Status = string(audit.StatusOpen)
			if got := indexes(search(t, s, tt.q)); !slices.Equal(got, tt.want) {
				t.Errorf("%s: got %v, want %v", name, got, tt.want)
			}
		}
	})
}

// A head that was signed is known for ever: a smaller or another one of the
// same size does not replace it, and dropping the index does not forget it.
func TestNewestHeadIsKept(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		latest := func() audit.Head {
			t.Helper()
			return must[audit.Head](t)(s.LatestHead(t.Context(), origin))
		}
		if got := latest(); got != (audit.Head{}) {
			t.Errorf("before any was put: %v", got)
		}
		want := audit.Head{Size: 7, Root: [32]byte{0, 1, 2}}
		for _, h := range []audit.Head{{Size: 0, Root: [32]byte{9}}, {Size: 3}, want, {Size: 7, Root: [32]byte{5}}, {Size: 6, Root: [32]byte{6}}} {
			if err := s.PutHead(t.Context(), origin, h); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.PutHead(t.Context(), "example.org/rutile/main/n2/1", audit.Head{Size: 70}); err != nil {
			t.Fatal(err)
		}
		if err := s.DropRows(t.Context(), origin); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, cfg)
		if got := latest(); got != want {
			t.Errorf("got %v, want %v", got, want)
		}
		for _, origin := range []string{"", "a\x00b"} {
			if err := s.PutHead(t.Context(), origin, want); access.CodeOf(err) != access.CodeInvalid {
				t.Errorf("origin %q: %v", origin, err)
			}
		}
	})
}

func TestEveryMemberOfAQueryRestricts(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		rows := rowsUpTo(40)
		hit := audit.Row{
			Index: 20, Ends: []uint64{41}, Ended: at(41), LeafID: "x", Type: "round", At: at(20), Decision: "dec_x", Outcome: "deny", Status: "timeout", Agent: "bot", Subject: "iss|bob",
			Session: "ses_x", Task: "task-x", Server: "files", Tool: "write", Policies: []string{"p-x", "p-y"}, TraceID: "ffff", Intent: -1, Text: "Zoë Straße 日本語",
		}
		rows[20] = hit
		putRows(t, s, rows, 40)
		const other = "example.org/rutile/main/n2/1"
		if err := s.PutRows(t.Context(), other, []audit.Row{row(3)}, 4); err != nil {
			t.Fatal(err)
		}
		for name, q := range map[string]audit.Query{"origin": {Origin: other}, "origin and policy": {Origin: other, Policy: "baseline"}} {
			if got := search(t, s, q); len(got) != 1 || got[0].Origin != other {
				t.Errorf("%s: got %v, want the one row of the other log", name, got)
			}
		}
		for name, q := range map[string]audit.Query{
			"type": {Types: []string{"round"}}, "types": {Types: []string{"verdict", "round"}}, "ended": {Types: []string{"outcome"}},
			"ended or": {Types: []string{"verdict", "outcome"}}, "agent": {Agent: "bot"}, "subject": {Subject: "iss|bob"}, "session": {Session: "ses_x"},
			"task": {Task: "task-x"}, "server": {Server: "files"}, "tool": {Tool: "write"}, "decision": {Decision: "dec_x"}, "outcome": {Outcome: "deny"},
			"status": {Status: "timeout"}, "policy": {Policy: "p-y"}, "trace": {Trace: "ffff"}, "text": {Text: "zoë"},
			"time": {Since: at(20), Until: at(21)}, "newest": {From: 40, Ascending: true, Following: true}, "page": {Before: 21, Limit: 1}, "page up": {From: 20, Ascending: true, Limit: 1},
			"all": {Origin: origin, Types: []string{"outcome"}, Outcome: "deny", Agent: "bot", Policy: "p-x", Text: "日本語 straße", Since: at(0), Before: 30},
		} {
			if got := indexes(search(t, s, q)); !slices.Equal(got, []uint64{20}) {
				t.Errorf("%s: got %v, want row 20 only", name, got)
			}
		}
		for name, q := range map[string]audit.Query{
			"agent": {Agent: "BOT"}, "tool": {Tool: "writ"}, "policy": {Policy: "p"}, "both": {Agent: "bot", Outcome: "permit"}, "type": {Types: []string{""}},
			"newest": {From: 42, Ascending: true, Following: true}, "until": {Since: at(20).Add(time.Microsecond), Until: at(21)},
		} {
			if got := indexes(search(t, s, q)); slices.Contains(got, 20) || len(got) > 0 {
				t.Errorf("%s: got %v, want nothing", name, got)
			}
		}
	})
}

func TestPagesCoverEverythingOnce(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		putRows(t, s, rowsUpTo(250), 250)
		if got := len(search(t, s, audit.Query{})); got != 100 {
			t.Errorf("the default page has %d rows", got)
		}
		if got := len(search(t, s, audit.Query{Limit: 1 << 30})); got != 250 {
			t.Errorf("got %d rows", got)
		}
		for _, ascending := range []bool{false, true} {
			var all []uint64
			q := audit.Query{Limit: 99, Ascending: ascending}
			for {
				page := indexes(search(t, s, q))
				if len(page) == 0 {
					break
				}
				all = append(all, page...)
				q.Before, q.From = page[len(page)-1], page[len(page)-1]+1
				if ascending {
					q.Before = 0
				}
				if q.Before == 0 && !ascending {
					break
				}
			}
			want := indexes(rowsUpTo(250))
			if !ascending {
				slices.Reverse(want)
			}
			if !slices.Equal(all, want) {
				t.Errorf("ascending %v: pages hold %d rows, want each of 250 once in order", ascending, len(all))
			}
		}
	})
}

// A text is words to look for and never syntax of the database below.
func TestSearchTextIsNeverSyntax(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		plain := row(0)
		plain.Text = "alpha beta gamma tool_name don't NEAR"
		other := row(1)
		other.Text = "delta or and not 1 2"
		putRows(t, s, []audit.Row{plain, other}, 2)
		for text, want := range map[string][]uint64{
			"alpha": {0}, "ALPHA Beta": {0}, "beta alpha": {0}, "alpha delta": {}, "alpha OR delta": {}, "alpha NOT beta": {}, "alph": {}, "alph*": {}, "alph:*": {},
			"alpha | delta": {}, "alpha & beta": {0}, "!alpha": {0}, "words:alpha": {}, "words : alpha": {}, "^alpha": {0}, `"alpha beta"`: {0}, `"beta`: {0}, "beta'": {0},
			"alpha <-> gamma": {0}, "NEAR(alpha beta, 1)": {}, "near alpha": {0}, "tool_name": {0}, "tool-name": {0}, "name.tool": {0}, "don't": {0}, "or": {1}, "NOT": {1}, "AND not": {1},
			"alpha' OR '1'='1": {}, "'; DROP TABLE evidence; --": {}, "alpha\x00beta": {0}, "alpha\xffbeta": {0}, `alpha\`: {0}, `\' alpha`: {0}, "(alpha": {0}, "{alpha}": {0}, "-alpha": {0}, "+alpha": {0},
			"alpha $1 beta": {}, "%s alpha": {}, "alpha ": {0}, "1": {1},
		} {
			if got := indexes(search(t, s, audit.Query{Text: text})); !slices.Equal(got, want) {
				t.Errorf("%q finds %v, want %v", text, got, want)
			}
		}
		for _, text := range []string{" ", "***", "\x00", `"`, "''", "()", "\xff"} {
			if _, err := s.Search(t.Context(), audit.Query{Text: text}); access.CodeOf(err) != access.CodeInvalid {
				t.Errorf("%q: got %v, want invalid", text, err)
			}
		}
		var many []string
		for i := range 40 {
			many = append(many, fmt.Sprint("w", i))
		}
		if _, err := s.Search(t.Context(), audit.Query{Text: strings.Join(many, " ")}); access.CodeOf(err) != access.CodeInvalid {
			t.Errorf("40 words: got %v, want invalid", err)
		}
		if _, err := s.Search(t.Context(), audit.Query{Types: make([]string, 33)}); access.CodeOf(err) != access.CodeInvalid {
			t.Errorf("33 types: got %v, want invalid", err)
		}
	})
}

func TestEqualTextInOtherFormsIsFound(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		r := row(0)
		r.Text = "cafe\u0301 ＷＩＤＥ ΣΊΣΥΦΟΣ हिन्दी \U0001E922\U0001E923 ⅷ"
		putRows(t, s, []audit.Row{r}, 1)
		for _, text := range []string{"café", "wide", "हिन्दी", "\U0001E922\U0001E923", "viii"} {
			if got := search(t, s, audit.Query{Text: text}); len(got) != 1 {
				t.Errorf("%q is not found", text)
			}
		}
		if got := search(t, s, audit.Query{Text: "cafe"}); len(got) != 0 {
			t.Errorf("another word is found")
		}
	})
}

// An agent chooses names, texts and URIs. None of them may keep evidence out of
// the index, or pass for another.
func TestHostileValuesCannotKeepARowOut(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		random := func(n int) string { // what no compression makes small
			var b strings.Builder
			x := uint32(1)
			for b.Len() < n {
				x = x*1664525 + 1013904223
				b.WriteRune(rune('0' + x>>16%40))
			}
			return b.String()
		}
		long := random(200_000)
		values := []string{"a\x00b", "a\ufffdb", "\xff\xfe", "\x01x", long, long + "x", "' OR 1=1 --", unicode}
		var rows []audit.Row
		for i, v := range values {
			rows = append(rows, audit.Row{Origin: origin, Index: uint64(i), Type: "verdict", At: at(i), Agent: v, Subject: v, Session: v, Task: v, Server: v, Tool: v, Decision: v, TraceID: v, Policies: []string{v, "", v}, Text: v + " needle"})
		}
		rows = append(rows, audit.Row{Origin: origin, Index: 99, At: at(99), Text: random(1<<20) + " " + strings.Repeat("ﷺ ", 30_000)})
		putRows(t, s, rows, 100)
		for i, v := range values {
			for _, q := range []audit.Query{{Agent: v}, {Tool: v, Server: v}, {Policy: v}, {Trace: v}} {
				if got := indexes(search(t, s, q)); !slices.Equal(got, []uint64{uint64(i)}) {
					t.Errorf("value %d %.20q is found as %v", i, v, got)
				}
			}
		}
		got := search(t, s, audit.Query{Ascending: true})
		if got[0].Agent != "a\x00b" || got[4].Agent != long {
			t.Error("the document does not keep the value")
		}
	})
}

func TestImpossibleRowsAreRefused(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		for name, put := range map[string]func() error{
			"index":     func() error { return s.PutRows(t.Context(), origin, []audit.Row{row(0), {Index: 1 << 63}}, 1) },
			"watermark": func() error { return s.PutRows(t.Context(), origin, []audit.Row{row(0)}, 1<<63) },
			"time":      func() error { return s.PutRows(t.Context(), origin, []audit.Row{{At: time.Unix(1<<50, 0)}}, 1) },
			"origin":    func() error { return s.PutRows(t.Context(), "", []audit.Row{row(0)}, 1) },
			"NUL":       func() error { return s.DropRows(t.Context(), "a\x00") },
		} {
			if err := put(); access.CodeOf(err) != access.CodeInvalid {
				t.Errorf("%s: got %v, want invalid", name, err)
			}
		}
		if got := search(t, s, audit.Query{Before: ^uint64(0), From: ^uint64(0)}); len(got) != 0 {
			t.Errorf("a refused batch left %d rows", len(got))
		}
	})
}

func FuzzSearchText(f *testing.F) {
	s := must[*store.Store](f)(store.Open(f.Context(), store.Config{Dir: f.TempDir()}))
	f.Cleanup(func() { s.Close() })
	if err := s.PutRows(f.Context(), origin, []audit.Row{row(0)}, 1); err != nil {
		f.Fatal(err)
	}
	next := uint64(1)
	for _, seed := range []string{"alpha", `"a" OR b*`, "a:b", "\x00\xff", "日本", "NEAR(a b)", "''; --", "e\u0301", "İ", "ﷺ", "'a' & !b | c:*"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r := audit.Row{Origin: origin, Index: next, At: at(0), Text: text}
		next++
		if err := s.PutRows(t.Context(), origin, []audit.Row{r}, next); err != nil {
			t.Fatalf("%q cannot be indexed: %v", text, err)
		}
		got, err := s.Search(t.Context(), audit.Query{Text: text, From: r.Index, Ascending: true, Limit: 1})
		switch {
		case access.CodeOf(err) == access.CodeInvalid: // no words, or too many
		case err != nil:
			t.Fatalf("searching %q: %v", text, err)
		case text != "" && (len(got) != 1 || got[0].Index != r.Index):
			t.Fatalf("%q does not find itself", text)
		}
	})
}

func BenchmarkPutRows(b *testing.B) {
	for _, dialect := range []string{"sqlite", "postgres"} {
		b.Run(dialect, func(b *testing.B) {
			s := must[*store.Store](b)(store.Open(b.Context(), config(b, dialect)))
			defer s.Close()
			next := uint64(0)
			for b.Loop() {
				rows := make([]audit.Row, 256)
				for i := range rows {
					rows[i] = row(next)
					next++
				}
				if err := s.PutRows(b.Context(), origin, rows, next); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(next)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
