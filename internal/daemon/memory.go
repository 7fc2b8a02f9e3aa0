package daemon

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// gcPercent lets the heap grow further between collections than Go does by
// default: what lives is small (policies, the registry's view, buffers), what a
// call leaves behind is not, and a collection costs as much as what lives.
const gcPercent = 200

// When memory is given back: once less than quietBytes were allocated for a
// quietTime, and more than busyBytes since it was done last.
const (
	quietTime  = time.Second
	quietBytes = 128 << 10
	busyBytes  = 8 << 20
)

// TuneMemory sets how often memory is collected and, until ctx ends, gives back
// what a busy time left behind: the start, a change of the rules, many calls. It
// is for a process that does nothing else; whoever set GOGC knows better.
func TuneMemory(ctx context.Context) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
		go giveBack(ctx)
	}
}

func giveBack(ctx context.Context) {
	tick := time.NewTicker(quietTime)
	defer tick.Stop()
	allocated := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	var last, given uint64
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		metrics.Read(allocated)
		now := allocated[0].Value.Uint64()
		if now-last < quietBytes && now-given > busyBytes {
			runtime.GC() // what pools keep goes with the second one
			debug.FreeOSMemory()
			given = now
		}
		last = now
	}
}
