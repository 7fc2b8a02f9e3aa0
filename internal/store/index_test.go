package store_test

import (
	"fmt"
	"testing"
	"time"

	"rutile/internal/audit"
	"rutile/internal/store"
)

func row(i uint64) audit.Row {
	return audit.Row{
		Origin: "org/1", Index: i, LeafID: fmt.Sprintf("leaf-%d", i), Type: "intent", At: at(int(i)), Decision: fmt.Sprintf("dec_%026d", i),
		Outcome: "permit", Agent: fmt.Sprintf("agent-%d", i%20), Subject: "https://idp.example|ann", Session: fmt.Sprintf("ses_%d", i%100),
		Server: "github", Method: "tools/call", Tool: fmt.Sprintf("tool_%d", i%50), Policies: []string{"baseline", "release-window"},
		TraceID: fmt.Sprintf("%032x", i), Intent: -1, Text: fmt.Sprintf("agent-%d calls github tool_%d for ann: create the release notes of v%d", i%20, i%50, i),
	}
}

func BenchmarkPutRows(b *testing.B) {
	for _, dialect := range []string{"sqlite", "postgres"} {
		b.Run(dialect, func(b *testing.B) {
			s := must[*store.Store](b)(store.Open(b.Context(), config(b, dialect)))
			defer s.Close()
			next := uint64(0)
			start := time.Now()
			for b.Loop() {
				rows := make([]audit.Row, 256)
				for i := range rows {
					rows[i] = row(next)
					next++
				}
				if err := s.PutRows(b.Context(), "org/1", rows, next); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(next)/time.Since(start).Seconds(), "rows/s")
		})
	}
}
