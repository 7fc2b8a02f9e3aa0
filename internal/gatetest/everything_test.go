package gatetest_test

import (
	"fmt"
	"strings"
	"testing"

	"rutile/internal/gatetest"
)

// The public demonstration server asks its client for input, a sample and its
// roots, over stdio and both HTTP transports; real clients of both eras answer.
func TestDemonstrationServerAsks(t *testing.T) {
	t.Parallel()
	npm := gatetest.NewNPM(t)
	r := conformanceRig(t, map[string]string{
		"stdio": granting(overStdio(npm.EverythingServer()...), fmt.Sprintf("{bestEffort: true, read: [%q]}", npm.Dir), ""),
		"http":  overHTTP(gatetest.EverythingNPM(t, npm)),
		"sse":   overSSE(gatetest.EverythingSSE(t, npm)),
	})
	answers := map[string]any{
		"elicitation": map[string]any{"action": "accept", "content": map[string]any{"name": "Ada Lovelace", "check": true}},
		"sampling":    map[string]any{"role": "assistant", "model": "gatetest", "content": map[string]any{"type": "text", "text": "a sampled word"}},
		"roots":       "file:///gatetest/root",
	}
	for _, server := range []string{"stdio", "http", "sse"} {
		for _, c := range []struct {
			tool string
			args map[string]any
			want string
		}{
			{"trigger-elicitation-request", map[string]any{}, "Ada Lovelace"},
			{"trigger-url-elicitation", map[string]any{"url": "https://a.example/x"}, "completed the URL elicitation"},
			{"trigger-sampling-request", map[string]any{"prompt": "say"}, "a sampled word"},
			{"get-roots-list", map[string]any{}, "file:///gatetest/root"},
		} {
			call := gatetest.Call{Tool: c.tool, Arguments: c.args, Answers: answers}
			visits := map[string]func() (gatetest.Visit, error){
				"TypeScript": func() (gatetest.Visit, error) { return npm.Visit(t.Context(), r.url(server), "", call) },
			}
			for _, revision := range []string{v2511, v2026} {
				visits["Go "+revision] = func() (gatetest.Visit, error) {
					return gatetest.VisitWithGo(t.Context(), r.url(server), "", revision, call)
				}
			}
			for name, visit := range visits {
				t.Run(server+" "+c.tool+" "+name, func(t *testing.T) {
					v, err := visit()
					if err != nil {
						t.Fatal(err)
					}
					if v.IsError || !strings.Contains(v.Text, c.want) {
						t.Errorf("saw %+v, want %q in the answer", v, c.want)
					}
				})
			}
		}
	}
}
