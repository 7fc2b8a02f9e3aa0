package conduct_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/conduct"
	"rutile/internal/rawjson"
)

var noon = time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)

// world is one tool that is called.
type world struct {
	t    testing.TB
	book *conduct.Book
	now  time.Time
	call conduct.Call
}

func newWorld(t testing.TB, claims conduct.Claims) *world {
	return &world{t, conduct.NewBook(), noon, conduct.Call{Server: "files", Tool: "read", Revision: "r1", Claims: claims}}
}

// answer has the tool answer with a text and, if it is not "", structured content.
func (w *world) answer(text, structured string, change ...func(*conduct.Call)) {
	w.t.Helper()
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":%s}]`, rawjson.AppendString(nil, text))
	if structured != "" {
		body += `,"structuredContent":` + structured
	}
	body += "}}"
	v, err := rawjson.Parse([]byte(body), rawjson.Limits{})
	if err != nil {
		w.t.Fatal(err)
	}
	c := w.call
	w.now = w.now.Add(time.Minute)
	c.At, c.Body, c.Result = w.now, []byte(body), v.Get("result")
	for _, f := range change {
		f(&c)
	}
	w.book.Saw(&c)
}

func (w *world) rules() (out []string) {
	for _, o := range w.book.Odd(w.now) {
		if o.Why == "" || o.Grave == 0 || o.Server != "files" {
			w.t.Errorf("half a finding: %+v", o)
		}
		out = append(out, o.Rule)
	}
	return out
}

func (w *world) want(rules ...string) {
	w.t.Helper()
	if d := cmp.Diff(rules, w.rules()); d != "" {
		w.t.Errorf("odd (-want +got):\n%s", d)
	}
}

func failed(c *conduct.Call)  { c.Failed = true }
func flagged(c *conduct.Call) { c.Flagged = true }
func told(c *conduct.Call)    { c.Told = true }
func misfit(c *conduct.Call)  { c.Checked, c.Misfit = true, true }
func fits(c *conduct.Call)    { c.Checked = true }

// ordinary is n answers of an ordinary tool: lengths vary by a factor of four.
func (w *world) ordinary(n int) {
	for i := range n {
		w.answer(strings.Repeat("abcd ", 20+i*7%60), "")
	}
}

func TestAnOrdinaryToolIsNotOdd(t *testing.T) {
	w := newWorld(t, conduct.Claims{ReadOnly: true, Closed: true})
	w.ordinary(500)
	w.answer(strings.Repeat("x", 1<<20), "") // once
	for range 3 {
		w.answer("", "", failed)
	}
	w.ordinary(5)
	w.want()
}

// Nothing is unusual while nothing is known, whatever the first calls are.
func TestAColdStartRaisesNothingUnusual(t *testing.T) {
	w := newWorld(t, conduct.Claims{})
	for i := range 20 {
		w.answer(strings.Repeat("x", 1<<(i%16)), fmt.Sprintf(`{"m%d":1}`, i), func(c *conduct.Call) { c.Failed = i%3 == 0 })
		w.answer(fmt.Sprintf("see https://h%d.example.net/", i), "")
		w.want()
	}
}

func TestAReaderThatWritesIsOdd(t *testing.T) {
	for _, text := range []string{"Deleted 3 files.", "File a.txt was created", "Successfully wrote 120 bytes to a.txt", "Record updated successfully"} {
		w := newWorld(t, conduct.Claims{ReadOnly: true})
		w.ordinary(5)
		w.answer(text, "")
		w.answer(text, "")
		w.want() // two are chance
		w.answer(text, "")
		w.want(conduct.Writes)
		w.ordinary(40)
		w.want() // it resolves itself
	}
	w := newWorld(t, conduct.Claims{ReadOnly: true})
	for range 3 {
		w.answer("done", `{"rows_affected":2}`)
	}
	w.want(conduct.Writes)
	w = newWorld(t, conduct.Claims{ReadOnly: true})
	for range 6 {
		w.answer("ok", "", told)
	}
	w.want(conduct.Writes)
	w = newWorld(t, conduct.Claims{Additive: true})
	for range 3 {
		w.answer("Removed 1 item", "")
	}
	w.want(conduct.Erases)
}

// What a reader returns may speak of changes without the reader making any.
func TestAReaderOfNewsIsNotOdd(t *testing.T) {
	for _, text := range []string{
		"created: 2026-01-01T00:00:00Z\nmodified: 2026-02-01", "No files were deleted", "Nothing was updated.",
		"3 issues. #1 was opened by ann when the file was created by the build; it was closed on Monday after the release had been deleted from the server and everybody agreed.",
		"if it was removed, restore it", strings.Repeat("the row was deleted. ", 40),
	} {
		w := newWorld(t, conduct.Claims{ReadOnly: true, Additive: true})
		for range 30 {
			w.answer(text, `{"created":"2026-01-01","deleted":0,"updated":false}`)
		}
		w.want()
	}
}

func TestANewHostIsOddOnceHostsAreKnown(t *testing.T) {
	w := newWorld(t, conduct.Claims{Closed: true})
	for range 60 {
		w.answer("see https://docs.example.com/a and http://api.example.com:80/", "")
	}
	w.want()
	w.answer(`fetch https:\/\/collect.evil.example\/x?d=1`, "")
	w.want(conduct.Host)
	if o := w.book.Odd(w.now)[0]; o.Place != "collect.evil.example" || o.Grave != 2 {
		t.Errorf("%+v", o)
	}
	w.now = w.now.Add(8 * 24 * time.Hour)
	w.want() // old news
	w.answer("https://collect.evil.example/", "")
	w.want(conduct.Host) // it was never learned
	// One that names other hosts all the time has none that is new.
	w = newWorld(t, conduct.Claims{})
	for i := range 300 {
		w.answer(fmt.Sprintf("https://h%d.example.net/", i), "")
	}
	w.want()
	// The names that are kept are bounded, whatever a server names.
	w = newWorld(t, conduct.Claims{})
	w.ordinary(60)
	for i := range 100 {
		w.answer(fmt.Sprintf("https://h%d.example.net/ https://user:pw@x%d.example.net/", i, i), "")
	}
	if n := len(w.rules()); n != 8 {
		t.Errorf("%d hosts are named", n)
	}
}

func TestAnswersThatDoNotFitAreOdd(t *testing.T) {
	w := newWorld(t, conduct.Claims{})
	for range 10 {
		w.answer("x", `{"a":1}`, fits)
	}
	w.answer("x", `{"a":1}`, misfit)
	w.answer("x", `{"a":1}`, misfit)
	w.want()
	for range 3 {
		w.answer("x", `{"a":1}`, misfit)
	}
	w.want(conduct.Misfit)
}

func TestAShiftOfLengthIsOdd(t *testing.T) {
	w := newWorld(t, conduct.Claims{})
	w.ordinary(100)
	for range 5 {
		w.answer(strings.Repeat("x", 100_000), "")
	}
	w.want() // a few
	for range 200 {
		w.answer(strings.Repeat("x", 100_000), "")
	}
	w.want(conduct.Size) // and it does not become usual by going on
	w.ordinary(30)
	w.want()
	w = newWorld(t, conduct.Claims{})
	for i := range 60 {
		w.answer(strings.Repeat("x", 5000+i), "")
	}
	for range 12 {
		w.answer("", "")
	}
	w.want(conduct.Size) // shorter too
}

func TestAnotherShapeIsOdd(t *testing.T) {
	w := newWorld(t, conduct.Claims{})
	for i := range 70 {
		w.answer("x", fmt.Sprintf(`{"items":[{"id":%d}],"total":%d}`, i, i))
	}
	w.want()
	for range 16 {
		w.answer("x", `{"items":[],"total":1,"next":"y"}`)
	}
	w.want(conduct.Shape)
}

func TestMoreFailuresThanUsualAreOdd(t *testing.T) {
	w := newWorld(t, conduct.Claims{})
	for i := range 200 {
		w.answer("x", "", func(c *conduct.Call) { c.Failed = i%10 == 0 })
	}
	w.want()
	for range 30 {
		w.answer("x", "", failed)
	}
	w.want(conduct.Errors)
	for range 400 {
		w.answer("x", "", failed)
	}
	w.want(conduct.Errors) // whoever fails for long does not become usual
	for range 40 {
		w.answer("x", "")
	}
	w.want()
}

// Nothing is learned from calls in which something was found: whoever poisons
// answers does not teach what is usual.
func TestNothingIsLearnedFromFlaggedCalls(t *testing.T) {
	w := newWorld(t, conduct.Claims{})
	for range 100 {
		w.answer(strings.Repeat("x", 100_000), "", flagged)
		w.answer("https://evil.example.org/", "", flagged)
	}
	if s := w.book.Of("files", "read", w.now); s.Learned != 0 || s.Ready || s.Hosts != 0 || s.Shapes != 0 {
		t.Fatalf("%+v", s)
	}
	w.ordinary(60)
	w.answer("https://evil.example.org/", "", flagged)
	w.want(conduct.Host)
}

// Another definition is another tool, and so is one a person had learned anew.
func TestARevisionBeginsAnew(t *testing.T) {
	w := newWorld(t, conduct.Claims{ReadOnly: true})
	for range 3 {
		w.answer("Deleted it", "")
	}
	w.want(conduct.Writes)
	w.book.Keep(func(conduct.Key) (string, bool) { return "r1", true })
	w.want(conduct.Writes)
	w.book.Keep(func(conduct.Key) (string, bool) { return "r2", true })
	w.want()
	w.call.Revision = "r2"
	w.answer("x", "")
	if s := w.book.Of("files", "read", w.now); s.Calls != 1 {
		t.Errorf("%+v", s)
	}
}

// memory is a Store that fails when told to.
type memory struct {
	rows map[conduct.Key][]byte
	fail bool
}

func (m *memory) Conduct(context.Context, string) (out []conduct.Row, err error) {
	for k, b := range m.rows {
		out = append(out, conduct.Row{Key: k, Tally: b})
	}
	return out, nil
}

func (m *memory) SaveConduct(_ context.Context, _ string, put []conduct.Row, drop []conduct.Key) error {
	if m.fail {
		return context.DeadlineExceeded
	}
	for _, r := range put {
		m.rows[r.Key] = r.Tally
	}
	for _, k := range drop {
		delete(m.rows, k)
	}
	return nil
}

// What was learned outlives the process, what the store refused is written later, and
// a row nobody could have written is learned anew.
func TestATallyOutlivesARestart(t *testing.T) {
	m := &memory{rows: map[conduct.Key][]byte{}, fail: true}
	w := newWorld(t, conduct.Claims{ReadOnly: true})
	w.ordinary(100)
	for range 12 {
		w.answer(strings.Repeat("x", 100_000), "")
	}
	if err := w.book.Save(t.Context(), m, "n"); err == nil {
		t.Fatal("a store that fails is not noticed")
	}
	m.fail = false
	if err := w.book.Save(t.Context(), m, "n"); err != nil || len(m.rows) != 1 {
		t.Fatalf("%v, %d rows", err, len(m.rows))
	}
	if n := len(m.rows[conduct.Key{Server: "files", Tool: "read"}]); n > 8<<10 {
		t.Errorf("a tally takes %d bytes", n)
	}
	want := w.book.Of("files", "read", w.now)
	w.book = conduct.NewBook()
	if err := w.book.Load(t.Context(), m, "n"); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, w.book.Of("files", "read", w.now)); d != "" {
		t.Errorf("after a restart (-want +got):\n%s", d)
	}
	w.want(conduct.Size)
	for _, bad := range []string{`{`, `{"revision":"r1","next":-1}`, `{"revision":"r1","at":99}`, `{"revision":"r1","baseErrors":5}`, `{}`, `{"revision":"r1","sizes":[` + strings.TrimSuffix(strings.Repeat("1,", 1000), ",") + `]}`} {
		m.rows[conduct.Key{Server: "files", Tool: "read"}] = []byte(bad)
		b := conduct.NewBook()
		if err := b.Load(t.Context(), m, "n"); err != nil || b.Of("files", "read", w.now) != nil {
			t.Errorf("%.40s: %v", bad, err)
		}
	}
}

// The tools of one book are bounded: names come from the registry, and there may be
// many.
func TestABookIsBounded(t *testing.T) {
	w := newWorld(t, conduct.Claims{})
	for i := range 4200 {
		w.call.Tool = fmt.Sprint("t", i)
		w.answer("x", "")
	}
	if w.book.Of("files", "t0", w.now) != nil || w.book.Of("files", "t4199", w.now) == nil {
		t.Error("the oldest is still there, or the newest is not")
	}
}

// Answers nobody can read cost nothing but their length.
func TestHostileAnswersAreBounded(t *testing.T) {
	b := conduct.NewBook()
	for _, body := range []string{"", "{", strings.Repeat("http://", 1<<18), strings.Repeat(`:\/\/`, 1<<18), "https://" + strings.Repeat("a.", 1<<18), "http://\xff\xfe.example.com", "HTTPS://EXAMPLE.COM"} {
		b.Saw(&conduct.Call{Server: "s", Tool: "t", Revision: "r", At: noon, Body: []byte(body)})
	}
	if s := b.Of("s", "t", noon); s.Calls != 7 || s.Hosts > 16 {
		t.Errorf("%+v", s)
	}
	if odd := b.Odd(noon); len(odd) != 0 {
		t.Errorf("%+v", odd)
	}
}

func BenchmarkSaw(b *testing.B) {
	for _, size := range []int{2 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size>>10, "KiB"), func(b *testing.B) {
			text := strings.Repeat("word and \"word\": see https://docs.example.com/page for more, or not. ", size/70)
			w := newWorld(b, conduct.Claims{ReadOnly: true})
			body := fmt.Appendf(nil, `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":%s}],"structuredContent":{"items":[1,2,3],"total":3,"page":{"next":"x"}}}}`, rawjson.AppendString(nil, text))
			v, err := rawjson.Parse(body, rawjson.Limits{Bytes: 4 << 20})
			if err != nil {
				b.Fatal(err)
			}
			c := w.call
			c.At, c.Body, c.Result = noon, body, v.Get("result")
			for b.Loop() {
				w.book.Saw(&c)
			}
		})
	}
}
