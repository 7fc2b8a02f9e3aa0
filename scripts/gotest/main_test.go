package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The tests reach the report directly: what surrounds it is go test itself.
func TestReport(t *testing.T) {
	const (
		start   = `{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}`
		why     = `{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:3: there is no tool\n"}`
		skip    = `{"Action":"output","Package":"p","Test":"TestA","Output":"--- SKIP: TestA (0.00s)\n"}` + "\n" + `{"Action":"skip","Package":"p","Test":"TestA"}`
		pass    = `{"Action":"pass","Package":"p","Test":"TestA"}`
		fail    = `{"Action":"fail","Package":"p","Test":"TestA"}`
		ok      = `{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}` + "\n" + `{"Action":"pass","Package":"p"}`
		notOK   = `{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}` + "\n" + `{"Action":"fail","Package":"p"}`
		message = "    a_test.go:3: there is no tool\n"
	)
	for name, c := range map[string]struct {
		lines   []string
		strict  bool
		want    string
		refused bool
	}{
		"passed": {[]string{start, why, pass, ok}, true, "ok  \tp\t0.1s\n", false},
		"skipped": {[]string{start, why, skip, ok}, false,
			"skipped: p TestA: a_test.go:3: there is no tool\nok  \tp\t0.1s\n", false},
		"skipped where nothing may be": {[]string{start, why, skip, ok}, true,
			"skipped, which CI=true does not allow: p TestA: a_test.go:3: there is no tool\nok  \tp\t0.1s\n", true},
		"failed":                 {[]string{start, why, fail, notOK}, false, message + "FAIL\tp\t0.1s\n", false},
		"failed after its tests": {[]string{start, why, pass, notOK}, false, message + "FAIL\tp\t0.1s\n", false},
		"out of time": {[]string{start, why, notOK}, false,
			"--- not finished: TestA\n" + message + "FAIL\tp\t0.1s\n", false},
		"words of the command itself": {[]string{"go: no such package"}, false, "go: no such package\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			r := report{w: &out, strict: c.strict, output: map[test][]string{}, passed: map[string][]string{}, blamed: map[string]bool{}}
			if err := r.read(strings.NewReader(strings.Join(c.lines, "\n") + "\n")); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, out.String()); diff != "" {
				t.Errorf("printed (-want +got):\n%s", diff)
			}
			if r.refused != c.refused {
				t.Errorf("refused: %v, want %v", r.refused, c.refused)
			}
		})
	}
}

// What is slow is named, slowest first: no subtest, nothing under a second, and
// no more than was asked for.
func TestSlowestAreNamed(t *testing.T) {
	var out strings.Builder
	r := report{w: &out, output: map[test][]string{}, passed: map[string][]string{}, blamed: map[string]bool{}}
	err := r.read(strings.NewReader(`{"Action":"pass","Package":"p","Test":"TestQuick","Elapsed":0.4}
{"Action":"pass","Package":"p","Test":"TestSlow","Elapsed":2.5}
{"Action":"fail","Package":"p","Test":"TestSlower","Elapsed":31}
{"Action":"pass","Package":"p","Test":"TestSlower/part","Elapsed":30}
{"Action":"pass","Package":"q","Test":"TestThird","Elapsed":1.5}
{"Action":"pass","Package":"p","Elapsed":40}
`))
	if err != nil {
		t.Fatal(err)
	}
	out.Reset()
	r.slowest(2)
	if diff := cmp.Diff("slow\t  31.0s\tp TestSlower\nslow\t   2.5s\tp TestSlow\n", out.String()); diff != "" {
		t.Errorf("printed (-want +got):\n%s", diff)
	}
	out.Reset()
	r.slowest(10)
	if strings.Contains(out.String(), "TestQuick") || !strings.Contains(out.String(), "q TestThird") {
		t.Errorf("printed %q", out.String())
	}
}
