package gatetest

import (
	"bufio"
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Cell is one run of one conformance suite and what it can reach.
type Cell struct {
	Suite string   // "0.1" or "0.2"
	Args  []string // which scenarios, in the suite's own words
	Tally          // the ceiling
}

// Tally counts checks.
type Tally struct{ Passed, Failed int }

func (t Tally) String() string { return fmt.Sprintf("%d/%d", t.Passed, t.Failed) }

// Name is the cell in words.
func (c Cell) Name() string {
	return c.Suite + " " + strings.NewReplacer("--suite all --spec-version", "spec", "--suite ", "", "--", "").Replace(strings.Join(c.Args, " "))
}

//go:embed testdata/ceilings.txt
var ceilings string

//go:embed testdata/expected-failures.txt
var expectedFailures string

// Cells are all cells with their ceilings.
func Cells() ([]Cell, error) {
	var cells []Cell
	err := table(ceilings, 5, func(f []string) (err error) {
		c := Cell{Suite: f[0], Args: f[3:]}
		var errP, errF error
		c.Passed, errP = strconv.Atoi(f[1])
		c.Failed, errF = strconv.Atoi(f[2])
		cells = append(cells, c)
		return errors.Join(errP, errF)
	})
	return cells, err
}

//go:embed testdata/cross-era.txt
var crossEra string

// CrossCell is a cell that crosses eras or transports: nobody knows its ceiling,
// so it holds what was measured, scenario by scenario.
type CrossCell struct {
	Cell
	Upstream string         // stateless, stateful or stdio
	Fails    map[string]int // scenarios that fail, with the number of checks
}

// CrossCells are the cells of testdata/cross-era.txt.
func CrossCells() ([]CrossCell, error) {
	var cells []CrossCell
	err := table(crossEra, 3, func(f []string) (err error) {
		if f[0] == "fails" { // of the cell above
			if len(cells) == 0 {
				return errors.New("a failure before any cell")
			}
			cells[len(cells)-1].Fails[f[2]], err = strconv.Atoi(f[1])
			return err
		}
		if len(f) < 6 {
			return fmt.Errorf("a cell has six columns or more, not %d", len(f))
		}
		c := CrossCell{Upstream: f[0], Cell: Cell{Suite: f[1], Args: f[4:]}, Fails: map[string]int{}}
		var errP, errF error
		c.Passed, errP = strconv.Atoi(f[2])
		c.Failed, errF = strconv.Atoi(f[3])
		cells = append(cells, c)
		return errors.Join(errP, errF)
	})
	return cells, err
}

// Differences says in which way a result differs from the table, in either
// direction.
func (c CrossCell) Differences(r Result) []string { return differences(c.Cell, c.Fails, r) }

// ExpectedFailures are the scenarios of a suite that fail at the ceiling, with
// the number of checks.
func ExpectedFailures(suite string) (map[string]int, error) {
	want := map[string]int{}
	err := table(expectedFailures, 3, func(f []string) (err error) {
		if f[0] == suite {
			want[f[2]], err = strconv.Atoi(f[1])
		}
		return err
	})
	return want, err
}

func table(text string, columns int, row func([]string) error) error {
	for n, line := range strings.Split(text, "\n") {
		f := strings.Fields(line)
		if len(f) == 0 || f[0][0] == '#' {
			continue
		}
		if len(f) < columns {
			return fmt.Errorf("line %d has %d columns, not %d", n+1, len(f), columns)
		}
		if err := row(f); err != nil {
			return fmt.Errorf("line %d: %w", n+1, err)
		}
	}
	return nil
}

// Result is what a suite said about a server.
type Result struct {
	Tally
	Warnings  int // of a single scenario; the suites count them as neither
	Scenarios map[string]Tally
	Failures  []string // the checks that failed, with the suite's reason
	Took      time.Duration
}

// Run runs one cell against a URL. An error means that the suite itself could
// not be run or understood; failed checks are in the result.
func (c Cell) Run(ctx context.Context, n NPM, url, dir string) (Result, error) {
	return runSuite(ctx, n, c.Suite, dir, slices.Concat([]string{"server", "--url", url}, c.Args))
}

func runSuite(ctx context.Context, n NPM, suite, dir string, args []string) (Result, error) {
	args = slices.Concat([]string{n.Package("conformance-"+suite, "dist/index.js")}, args, []string{"-o", dir})
	cmd := exec.CommandContext(ctx, n.Node, args...)
	cmd.Env = append(os.Environ(), "NO_COLOR=1")
	cmd.Dir = dir
	start := time.Now()
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) { // 1 where a check failed
		return Result{}, fmt.Errorf("running the suite: %w", err)
	}
	r, err := parseSummary(string(out))
	if err != nil {
		return Result{}, fmt.Errorf("%w in what the suite said:\n%s", err, tail(string(out), 4000))
	}
	r.Took = time.Since(start)
	r.Failures, err = failures(dir)
	return r, err
}

var (
	scenarioLine = regexp.MustCompile(`(?m)^[✓✗] ([^ :]+): (\d+) passed, (\d+) failed`)
	totalLine    = regexp.MustCompile(`(?m)^Total: (\d+) passed, (\d+) failed`)
	singleLine   = regexp.MustCompile(`(?m)^Passed: (\d+)/\d+, (\d+) failed(?:, (\d+) warnings)?`) // of a single scenario
)

func parseSummary(out string) (Result, error) {
	r := Result{Scenarios: map[string]Tally{}}
	total := totalLine.FindStringSubmatch(out)
	if total == nil {
		if total = singleLine.FindStringSubmatch(out); total == nil {
			return r, errors.New("no total")
		}
		r.Passed, r.Failed, r.Warnings = number(total[1]), number(total[2]), number(total[3])
		return r, nil
	}
	r.Passed, r.Failed = number(total[1]), number(total[2])
	var sum Tally
	for _, m := range scenarioLine.FindAllStringSubmatch(out, -1) {
		t := Tally{number(m[2]), number(m[3])}
		r.Scenarios[m[1]] = t
		sum.Passed += t.Passed
		sum.Failed += t.Failed
	}
	if sum != r.Tally {
		return r, fmt.Errorf("the scenarios make %v, the total is %v", sum, r.Tally)
	}
	return r, nil
}

func number(digits string) int {
	n, _ := strconv.Atoi(digits) // matched as digits
	return n
}

// failures reads the checks that failed from the files the suite left.
func failures(dir string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*", "checks.json"))
	if err != nil {
		return nil, err
	}
	var all []string
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var checks []struct{ ID, Status, Description, ErrorMessage string }
		if err := json.Unmarshal(raw, &checks); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Base(filepath.Dir(file)), err)
		}
		scenario := strings.TrimPrefix(filepath.Base(filepath.Dir(file)), "server-")
		scenario = scenario[:max(0, len(scenario)-len("-2026-01-02T15-04-05-000Z"))]
		for _, c := range checks {
			if c.Status == "FAILURE" {
				all = append(all, fmt.Sprintf("%s: %s: %s", scenario, c.ID, firstLine(cmp.Or(c.ErrorMessage, c.Description))))
			}
		}
	}
	slices.Sort(all)
	return all, nil
}

func firstLine(s string) string {
	sc := bufio.NewScanner(strings.NewReader(s))
	sc.Buffer(nil, 1<<20)
	sc.Scan()
	return tail(sc.Text(), 300)
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// Shortfalls says in which way a result differs from the ceiling: scenario by
// scenario where failures are expected, as a whole otherwise. No line: equal.
func (c Cell) Shortfalls(r Result) ([]string, error) {
	expected, err := ExpectedFailures(c.Suite)
	if err != nil {
		return nil, err
	}
	return differences(c, expected, r), nil
}

func differences(c Cell, expected map[string]int, r Result) []string {
	var lines []string
	for name, t := range r.Scenarios {
		switch want := expected[name]; {
		case t.Failed > want:
			lines = append(lines, fmt.Sprintf("%s: %d checks fail, expected %d", name, t.Failed, want))
		case t.Failed < want:
			lines = append(lines, fmt.Sprintf("%s: %d checks fail, expected %d: the list of expected failures is stale", name, t.Failed, want))
		}
	}
	// A gateway may answer a check the server behind it cannot: more passes are
	// welcome, more failures and fewer passes are not.
	if r.Passed < c.Passed || r.Failed != c.Failed {
		lines = append(lines, fmt.Sprintf("%s: %v, the table says %v", c.Name(), r.Tally, c.Tally))
	}
	slices.Sort(lines)
	return lines
}
