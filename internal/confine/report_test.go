package confine_test

import (
	"slices"
	"testing"

	"rutile/internal/confine"
)

// Every kernel from none of Landlock on: what it lacks is named with what it
// would need, and every measure is on exactly one of the two lists.
func TestReportNamesWhatAKernelLacks(t *testing.T) {
	listed := confine.Profile{
		Connect: confine.Ports{List: []int{443}}, Listen: confine.Ports{List: []int{8080}},
		Limits: confine.Limits{Processes: 1, Files: 1, Memory: 1, FileSize: 1},
	}
	for _, c := range []struct {
		name  string
		p     confine.Profile
		k     confine.Kernel
		lacks []confine.Measure
	}{
		{"all", listed, confine.NewKernel(7, true, false), nil},
		{"root", listed, confine.NewKernel(7, true, true), []confine.Measure{confine.Processes}},
		{"Linux 6.7", listed, confine.NewKernel(4, true, false), []confine.Measure{confine.Signals}},
		{"Linux 6.2", listed, confine.NewKernel(3, true, false), []confine.Measure{confine.Connect, confine.Listen, confine.Signals}},
		{"Linux 6.1", confine.Profile{Connect: confine.Ports{Any: true}}, confine.NewKernel(2, true, false), []confine.Measure{confine.Truncate, confine.Signals}},
		{"no Landlock", confine.Profile{}, confine.NewKernel(0, true, false), []confine.Measure{confine.Files, confine.Truncate, confine.Signals}},
		{"no filter", confine.Profile{}, confine.NewKernel(7, false, false), []confine.Measure{confine.Connect, confine.Listen, confine.Sockets, confine.System}},
		{"nothing", confine.Profile{}, confine.NewKernel(0, false, false), []confine.Measure{
			confine.Files, confine.Truncate, confine.Connect, confine.Listen, confine.Sockets, confine.Signals, confine.Tracing, confine.System,
		}},
		{"everything is allowed", confine.Profile{Connect: confine.Ports{Any: true}, Listen: confine.Ports{Any: true}, Sockets: true}, confine.NewKernel(0, false, false), []confine.Measure{
			confine.Files, confine.Truncate, confine.Signals, confine.Tracing, confine.System,
		}},
	} {
		r := c.p.ReportOn(c.k)
		var lacks []confine.Measure
		for _, l := range r.Lacks {
			if lacks = append(lacks, l.Measure); l.Why == "" || slices.Contains(r.Held, l.Measure) {
				t.Errorf("%s: %+v", c.name, r)
			}
		}
		if !slices.Equal(lacks, c.lacks) {
			t.Errorf("%s: lacks %v, want %v", c.name, lacks, c.lacks)
		}
	}
}
