package gatetest

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path"
	"strconv"
	"strings"
)

// ClientScenario is one run of one scenario of a suite's client side: the suite
// is the server, and what stands behind Rutile.
type ClientScenario struct {
	Suite    string // "0.1" or "0.2"
	Name     string
	Revision string // of the suite's server; the 0.1 line knows none and has "-", and an extension none
}

func (s ClientScenario) String() string { return s.Suite + " " + s.Name + " " + s.Revision }

// ClientTable is testdata/client-suite.txt.
type ClientTable struct {
	Expected map[ClientScenario]map[string]Tally // by the revision the agent speaks
	Inapt    map[string]string                   // pattern of names → why they do not apply
}

//go:embed testdata/client-suite.txt
var clientSuite string

// ReadClientTable reads the table.
func ReadClientTable() (ClientTable, error) {
	t := ClientTable{map[ClientScenario]map[string]Tally{}, map[string]string{}}
	err := table(clientSuite, 3, func(f []string) error {
		if f[0] == "not" {
			t.Inapt[f[1]] = strings.Join(f[2:], " ")
			return nil
		}
		if len(f) != 6 {
			return fmt.Errorf("a run has six columns, not %d", len(f))
		}
		s := ClientScenario{f[0], f[4], f[5]}
		passed, errP := strconv.Atoi(f[2])
		failed, errF := strconv.Atoi(f[3])
		if t.Expected[s] == nil {
			t.Expected[s] = map[string]Tally{}
		}
		t.Expected[s][f[1]] = Tally{passed, failed}
		return errors.Join(errP, errF)
	})
	return t, err
}

// Applies tells whether a scenario is one that Rutile has to pass. The pattern
// that says it does not is returned.
func (t ClientTable) Applies(s ClientScenario) (pattern string, ok bool) {
	for p := range t.Inapt {
		if match, err := path.Match(p, s.Name); err == nil && match {
			return p, false
		}
	}
	return "", true
}

// ClientScenarios asks a suite what it has: every scenario once for each
// revision it runs at.
func ClientScenarios(ctx context.Context, n NPM, suite string) ([]ClientScenario, error) {
	out, err := exec.CommandContext(ctx, n.Node, n.Package("conformance-"+suite, "dist/index.js"), "list", "--client").Output()
	if err != nil {
		return nil, fmt.Errorf("asking the suite for its scenarios: %w", err)
	}
	var all []ClientScenario
	for line := range strings.Lines(string(out)) {
		name, versions, ok := strings.Cut(strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "- ")), " [")
		if !ok {
			continue
		}
		if suite == "0.1" { // it serves one revision, whatever the scenario is about
			versions = "-]"
		}
		for v := range strings.SplitSeq(strings.TrimSuffix(versions, "]"), ",") {
			all = append(all, ClientScenario{suite, name, v})
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("the suite lists nothing: %s", out)
	}
	return all, nil
}

// Run runs the scenario. The suite starts command, with the address of its
// server after it.
func (s ClientScenario) Run(ctx context.Context, n NPM, dir, command string) (Result, error) {
	args := []string{"client", "--command", command, "--scenario", s.Name, "--timeout", "120000"}
	if s.Revision != "-" && s.Revision != "extension" {
		args = append(args, "--spec-version", s.Revision)
	}
	return runSuite(ctx, n, s.Suite, dir, args)
}

// ClientCommand is the first argument of a test binary that a suite starts as
// the client under test. It is none: it tells the test that waits at the address
// in the second argument where the suite's server is, which is the third, and
// ends when that test says so.
const ClientCommand = "conformance-client"

// Arrival is what the suite tells the client it starts.
type Arrival struct {
	URL     string          // of the suite's server
	Context json.RawMessage // what the scenario asks for
}

// ClientMain is that client. It returns the exit code.
func ClientMain(waiting, url string) int {
	raw, err := json.Marshal(Arrival{url, json.RawMessage(os.Getenv("MCP_CONFORMANCE_CONTEXT"))})
	if err != nil { // without a context
		raw, err = json.Marshal(Arrival{URL: url})
	}
	if err == nil {
		var resp *http.Response
		if resp, err = http.Post(waiting, "application/json", bytes.NewReader(raw)); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusNoContent {
				return 0
			}
			err = errors.New(resp.Status)
		}
	}
	fmt.Fprintln(os.Stderr, "the test behind the scenario:", err)
	return 1
}
