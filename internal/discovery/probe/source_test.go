package probe_test

import (
	"strings"
	"testing"
	"time"

	"rutile/internal/discovery"
	"rutile/internal/discovery/probe"
)

func TestWhatAnswersIsToldWithItsFindings(t *testing.T) {
	t.Parallel()
	open := serve(t, "127.0.5.110", false, rpc("/mcp", map[string]string{"server/discover": discovered, "tools/list": listed}))
	known := serve(t, "127.0.5.111", false, rpc("/mcp", map[string]string{"server/discover": discovered}))
	card := serve(t, "127.0.5.112", false, rpc("", map[string]string{"server/discover": `"result":{}`}))
	describe := &discovery.Describer{Paths: &discovery.Paths{}}
	targets := []string{open.URL + "/mcp", known.URL + "/mcp", card.URL + "/mcp", "http://no.such.name.invalid/mcp"}
	var told []discovery.Coverage
	seen := discovery.Run(t.Context(), []discovery.Source{probe.Source{Config: probe.Config{Enumerate: true, CheckOrigin: true}, Targets: targets, Describe: describe}}, time.Now, func(c discovery.Coverage) { told = append(told, c) })
	report := seen.Report(discovery.Registry{Known: true, Servers: []discovery.Registered{{ID: "known", Key: known.URL + "/mcp"}}})
	got := map[string]string{}
	for _, f := range report.Findings {
		got[f.Key] += string(f.Rule) + " " + string(f.Severity) + "; "
	}
	if want := "ORIGIN_NOT_CHECKED high; SHADOW_SERVER high; OPEN_SERVER low; "; got[open.URL+"/mcp"] != want {
		t.Errorf("%q, want %q", got[open.URL+"/mcp"], want)
	}
	if want := "ORIGIN_NOT_CHECKED high; "; got[known.URL+"/mcp"] != want {
		t.Errorf("a registered server has %q, want %q", got[known.URL+"/mcp"], want)
	}
	if len(report.Servers) != 2 || report.Servers[0].Score < 0.9 {
		t.Errorf("%+v", report.Servers)
	}
	if len(report.Failed()) != 1 || !strings.Contains(told[0].Why, "3 of 3 ports: 3 answer") {
		t.Errorf("%+v", told)
	}
}
