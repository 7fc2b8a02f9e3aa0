// Command gotest runs go test and says which tests were skipped and why, which
// go test itself only says in verbose mode. With CI=true a skip is a failure: a
// machine without a tool must not pass for a machine with it.
//
// It prints what go test prints: the output of tests that failed and one line
// for each package; at the end the tests that took longest, because the time of
// the whole is a bound that is kept. It exits as go test does, or with 1 for a
// skip under CI.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

func main() {
	cmd := exec.Command("go", append([]string{"test", "-json"}, os.Args[1:]...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
		os.Exit(1)
	}
	r := report{w: os.Stdout, strict: os.Getenv("CI") == "true", output: map[test][]string{}, passed: map[string][]string{}, blamed: map[string]bool{}}
	readErr := r.read(out)
	err = cmd.Wait()
	r.slowest(15)
	switch {
	case readErr != nil:
		fmt.Fprintln(os.Stderr, "gotest:", readErr)
		os.Exit(1)
	case err != nil || r.refused:
		os.Exit(1)
	}
}

// event is one line of go test -json (go doc test2json).
type event struct {
	Action, Package, Test, Output, ImportPath string
	Elapsed                                   float64 // seconds
	FailedBuild                               string
}

type test struct{ pkg, name string }

type report struct {
	w       io.Writer
	strict  bool
	refused bool
	output  map[test][]string   // of what has not ended yet
	passed  map[string][]string // by package, until it ends: the blame may come late
	blamed  map[string]bool     // packages with a test that failed
	times   []timed             // of the tests that ended, without their subtests
}

// timed is how long a test took. Tests that run beside others wait for them, so
// their times say more than they used.
type timed struct {
	test
	seconds float64
}

func (r *report) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			r.line(line)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading go test: %w", err)
		}
	}
}

func (r *report) line(line []byte) {
	var e event
	if json.Unmarshal(line, &e) != nil {
		r.w.Write(line) // not an event: the go command speaks
		return
	}
	t := test{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		io.WriteString(r.w, e.Output)
	case "output":
		if e.Test == "" && (strings.HasPrefix(e.Output, "=== ") || e.Output == "PASS\n") {
			return
		}
		r.output[t] = append(r.output[t], e.Output)
	case "skip", "fail", "pass":
		if e.Test != "" && !strings.Contains(e.Test, "/") {
			r.times = append(r.times, timed{t, e.Elapsed})
		}
		r.end(t, e.Action)
	}
}

func (r *report) end(t test, action string) {
	lines := r.output[t]
	delete(r.output, t)
	switch {
	case t.name == "":
		// A race or an exit after the last line of a test fails the package and
		// no test; what to read is then among the output of those that passed.
		if action == "fail" && !r.blamed[t.pkg] {
			r.print(r.passed[t.pkg])
		}
		delete(r.passed, t.pkg)
		r.unfinished(t.pkg, action)
		r.print(lines)
	case action == "fail":
		r.blamed[t.pkg] = true
		r.print(lines)
	case action == "skip":
		r.skip(t, lines)
	default:
		r.passed[t.pkg] = append(r.passed[t.pkg], lines...)
	}
}

// unfinished prints what tests said that never ended: a package that runs out of
// its time, or exits, says so among the words of the test that spoke last.
func (r *report) unfinished(pkg, action string) {
	var left []test
	for t := range r.output {
		if t.pkg == pkg {
			left = append(left, t)
		}
	}
	slices.SortFunc(left, func(a, b test) int { return cmp.Compare(a.name, b.name) })
	for _, t := range left {
		if action == "fail" {
			fmt.Fprintf(r.w, "--- not finished: %s\n", t.name)
			r.print(r.output[t])
		}
		delete(r.output, t)
	}
}

func (r *report) print(lines []string) {
	for _, l := range lines {
		if !strings.HasPrefix(l, "=== ") {
			io.WriteString(r.w, l)
		}
	}
}

// slowest prints the n tests that took longest, those of a second and more.
func (r *report) slowest(n int) {
	slices.SortStableFunc(r.times, func(a, b timed) int { return cmp.Compare(b.seconds, a.seconds) })
	for _, t := range r.times[:min(n, len(r.times))] {
		if t.seconds >= 1 {
			fmt.Fprintf(r.w, "slow\t%6.1fs\t%s %s\n", t.seconds, t.pkg, t.name)
		}
	}
}

func (r *report) skip(t test, lines []string) {
	var why []string
	for _, l := range lines {
		if l = strings.TrimSpace(l); !strings.HasPrefix(l, "=== ") && !strings.HasPrefix(l, "--- ") && l != "" {
			why = append(why, l)
		}
	}
	word := "skipped"
	if r.strict {
		r.refused, word = true, "skipped, which CI=true does not allow"
	}
	fmt.Fprintf(r.w, "%s: %s %s: %s\n", word, t.pkg, t.name, strings.Join(why, " "))
}
