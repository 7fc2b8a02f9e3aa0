package gatetest_test

import (
	"slices"
	"strings"
	"testing"

	"rutile/internal/gatetest"
)

// shortCells are the cells of the short form: together they touch both suites
// and both eras.
var shortCells = []string{"0.1 active", "0.2 spec 2025-11-25", "0.2 spec 2026-07-28"}

// TestConformanceDispatcherReachesCeiling measures the ceiling itself.
func TestConformanceDispatcherReachesCeiling(t *testing.T) {
	t.Parallel()
	npm := gatetest.NewNPM(t)
	url := gatetest.DualEra(t)
	conform(t, npm, func(*testing.T) string { return url })
}

// conform runs the cells and requires their ceilings. The target is asked for
// once per cell: a cell may change the lists of its server.
func conform(t *testing.T, npm gatetest.NPM, target func(*testing.T) string) {
	cells, err := gatetest.Cells()
	if err != nil {
		t.Fatal(err)
	}
	ran := map[string]map[string]bool{}
	for _, c := range cells {
		if testing.Short() && !slices.Contains(shortCells, c.Name()) {
			continue
		}
		t.Run(c.Name(), func(t *testing.T) {
			r, err := c.Run(t.Context(), npm, target(t), t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%-28s %8v  ceiling %8v  %v", c.Name(), r.Tally, c.Tally, r.Took.Round(1e7))
			short, err := c.Shortfalls(r)
			if err != nil {
				t.Fatal(err)
			}
			if len(short) > 0 {
				t.Errorf("%s\nfailed checks:\n%s", strings.Join(short, "\n"), strings.Join(r.Failures, "\n"))
			}
			if ran[c.Suite] == nil {
				ran[c.Suite] = map[string]bool{}
			}
			for name := range r.Scenarios {
				ran[c.Suite][name] = true
			}
		})
	}
	if testing.Short() || t.Failed() {
		return
	}
	for suite, scenarios := range ran { // what no cell runs any more is stale too
		expected, err := gatetest.ExpectedFailures(suite)
		if err != nil {
			t.Fatal(err)
		}
		for name := range expected {
			if !scenarios[name] {
				t.Errorf("expected-failures.txt names %s %s, which no cell runs", suite, name)
			}
		}
	}
}

func TestShortfallsNameWhatChanged(t *testing.T) {
	cells, err := gatetest.Cells()
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(cells, func(c gatetest.Cell) bool { return c.Name() == "0.2 pending" })
	if at < 0 {
		t.Fatal("no cell 0.2 pending")
	}
	expected, err := gatetest.ExpectedFailures("0.2")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(scenarios map[string]gatetest.Tally)
		want   []string
	}{
		"equal":  {func(map[string]gatetest.Tally) {}, nil},
		"better": {func(s map[string]gatetest.Tally) { s["tasks-wire-fields"] = gatetest.Tally{Passed: 3} }, []string{"stale", "51/27, the table says 48/30"}},
		"worse":  {func(s map[string]gatetest.Tally) { s["other"] = gatetest.Tally{Passed: 47, Failed: 1} }, []string{"other: 1 checks fail", "47/31"}},
		"fewer":  {func(s map[string]gatetest.Tally) { s["other"] = gatetest.Tally{Passed: 47} }, []string{"47/30"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := gatetest.Result{Scenarios: map[string]gatetest.Tally{"other": {Passed: 48}}}
			for scenario, failed := range expected {
				r.Scenarios[scenario] = gatetest.Tally{Failed: failed}
			}
			c.change(r.Scenarios)
			for _, s := range r.Scenarios {
				r.Passed += s.Passed
				r.Failed += s.Failed
			}
			got, err := cells[at].Shortfalls(r)
			if err != nil {
				t.Fatal(err)
			}
			if (len(got) > 0) != (len(c.want) > 0) {
				t.Errorf("shortfalls %q", got)
			}
			for _, w := range c.want {
				if !strings.Contains(strings.Join(got, "\n"), w) {
					t.Errorf("%q is not in %q", w, got)
				}
			}
		})
	}
}
