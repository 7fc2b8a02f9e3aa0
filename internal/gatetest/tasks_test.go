package gatetest_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"rutile/internal/gatetest"
)

// taskScenarios are the suite's scenarios about the tasks extension, which the
// SDK's server does not have.
var taskScenarios = []string{
	"tasks-lifecycle", "tasks-capability-negotiation", "tasks-wire-fields", "tasks-request-state-removal", "tasks-mrtr-input",
	"tasks-request-headers", "tasks-dispatch-and-envelope", "tasks-required-task-error", "tasks-mrtr-composition",
}

// TestConformanceTasksFixture measures what our fixture reaches by itself.
func TestConformanceTasksFixture(t *testing.T) {
	npm := gatetest.NewNPM(t)
	s := httptest.NewServer(&gatetest.TaskServer{})
	t.Cleanup(s.Close)
	runTaskScenarios(t, npm, s.URL)
}

func runTaskScenarios(t *testing.T, npm gatetest.NPM, url string) {
	t.Helper()
	for _, name := range taskScenarios {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := gatetest.Cell{Suite: "0.2", Args: []string{"--scenario", name}}.Run(t.Context(), npm, url, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			if r.Failed > 0 || r.Passed == 0 {
				t.Errorf("%v:\n%s", r.Tally, strings.Join(r.Failures, "\n"))
			}
		})
	}
}

// TestConformanceTasksThroughTheGateway is the same through the gateway.
func TestConformanceTasksThroughTheGateway(t *testing.T) {
	t.Parallel()
	npm := gatetest.NewNPM(t)
	s := httptest.NewServer(&gatetest.TaskServer{})
	t.Cleanup(s.Close)
	r := conformanceRig(t, map[string]string{"tasks": overHTTP(s.URL)})
	runTaskScenarios(t, npm, r.url("tasks"))
}
