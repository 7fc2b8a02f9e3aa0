package daemon

// This test is inside the package: ten thousand servers are too many to
// register.

import (
	"fmt"
	"io"
	"log/slog"
	"testing"

	"rutile/internal/access"
)

// However many servers and tools are called, the series of a metric are bounded:
// those over it are one, without a name.
func TestSeriesAreBounded(t *testing.T) {
	tm, err := newTelemetry(t.Context(), Telemetry{}, "test", slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 * maxSeries {
		tm.set(setKey{method: "tools/call", server: fmt.Sprint("s", i), target: "t", outcome: "permit"}, access.KindTool)
	}
	n := 0
	tm.sets.Range(func(any, any) bool { n++; return true })
	if n != maxSeries+1 {
		t.Errorf("%d series are kept, want %d", n, maxSeries+1)
	}
}
