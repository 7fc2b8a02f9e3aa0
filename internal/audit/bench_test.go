package audit_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rutile/internal/audit"
)

func BenchmarkEncodeIntent(b *testing.B) {
	for _, payloads := range []bool{false, true} {
		b.Run(fmt.Sprintf("payloads=%v", payloads), func(b *testing.B) {
			r := request(b, 1)
			d := permit(r)
			encode, err := audit.EncodeIntentForTest(newMemory(), newSealer(), payloads)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := encode(audit.Intent{Request: r, Decision: d}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkAppend measures one durable wait with real syncs.
func BenchmarkAppend(b *testing.B) {
	for _, callers := range []int{1, 16, 64} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			cfg := config(b.TempDir())
			cfg.WALBytes, cfg.SealEvery, cfg.Payloads = 16<<20, 2*time.Second, false
			l := start(b, cfg, newMemory())
			r := request(b, 1)
			i := audit.Intent{Request: r, Decision: permit(r)}
			var left atomic.Int64
			left.Store(int64(b.N))
			waits := make([][]time.Duration, callers)
			var wg sync.WaitGroup
			b.ResetTimer()
			for c := range callers {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						at := time.Now()
						if _, err := l.Verdict(context.Background(), i); err != nil {
							b.Error(err)
							return
						}
						waits[c] = append(waits[c], time.Since(at))
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			all := slices.Concat(waits...)
			slices.Sort(all)
			b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "leaves/s")
		})
	}
}
