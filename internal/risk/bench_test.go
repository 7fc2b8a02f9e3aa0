package risk_test

import (
	"testing"

	"rutile/internal/risk"
)

// What one call costs on its way: to be scored, and told of when it has ended. The aim is
// 50 µs (access.md 6).
func BenchmarkArrive(b *testing.B) {
	w := learned(b, 4)
	r := w.request(act{args: `{"path":"src/main.go","text":"some text of a few words that is written","mode":"0644","n":5,"to":"ann@example.com","url":"https://docs.example.com/a/b"}`})
	b.ReportAllocs()
	for b.Loop() {
		r.Risk = nil
		w.book.Ended(w.book.Arrive(r, []string{"write"}, false), risk.End{Bytes: 2000})
	}
}
