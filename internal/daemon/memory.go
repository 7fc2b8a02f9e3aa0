package daemon

import (
	"os"
	"runtime/debug"
)

// gcPercent lets the heap grow further between collections than Go does by
// default: what lives is small (policies, the registry's view, buffers), what a
// call leaves behind is not, and a collection costs as much as what lives.
const gcPercent = 200

// TuneMemory sets how often memory is collected. It is for a process that does
// nothing else; whoever set GOGC knows better.
func TuneMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
