package gate_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/gate"
	"rutile/internal/policy"
)

// The evidence says how many messages of a stream the agent did not get, which, and
// by which rule, also where the final one goes on or the continuation panics.
func TestDroppedMessagesAreInTheOutcome(t *testing.T) {
	rules := `
@id("large") forbid (principal, action == Mcp::Action::"up/echo", resource) when { context has output && context.output.bytes > 250 && context.output.bytes < 600 };
@id("odd") forbid (principal, action == Mcp::Action::"up/echo", resource) when { context has output && context.output.findings.contains("odd") };
@id("hide") @outcome("mask") @mask("result/x") forbid (principal, action == Mcp::Action::"up/echo", resource) when { context has output && context.output.findings.contains("hide") };`
	for name, tt := range map[string]struct {
		run  func(t *testing.T, m *moving, d *gate.Dispatch)
		want []audit.Drop
	}{
		"none": {func(_ *testing.T, _ *moving, d *gate.Dispatch) { d.Passes(context.Background(), message(100), nil) }, nil},
		"by one and by two": {func(t *testing.T, _ *moving, d *gate.Dispatch) {
			for i, findings := range [][]string{nil, nil, nil, {"odd"}, nil, {"odd"}, nil, {"hide"}} {
				if got, want := d.Passes(context.Background(), message(100), findings), i < 2 || i == 6; got != want {
					t.Errorf("message %d passes: %v", i+1, got)
				}
			}
		}, []audit.Drop{{Out: "deny", By: []string{"large"}, N: 2, First: 3, Last: 5}, {Out: "deny", By: []string{"large", "odd"}, N: 1, First: 4, Last: 4},
			{Out: "deny", By: []string{"odd"}, N: 1, First: 6, Last: 6}, {Out: "mask", By: []string{"hide"}, N: 1, First: 8, Last: 8}}},
		"by what stands against the session": {func(_ *testing.T, m *moving, d *gate.Dispatch) {
			d.Passes(context.Background(), message(1), nil)
			m.refused.Store(true)
			d.Passes(context.Background(), message(1), nil)
			d.Passes(context.Background(), message(1), nil)
			m.refused.Store(false)
		}, []audit.Drop{{Out: "revoke", N: 2, First: 2, Last: 3}}},
		"and a panic": {func(_ *testing.T, _ *moving, d *gate.Dispatch) {
			d.Passes(context.Background(), message(1), []string{"odd"})
			panic("boom")
		}, []audit.Drop{{Out: "deny", By: []string{"odd"}, N: 1, First: 1, Last: 1}}},
	} {
		t.Run(name, func(t *testing.T) {
			log, m := &endings{}, &moving{}
			m.state.Store(stateWith(t, nil, policy.Policy{ID: "p", Cedar: rules}))
			g := m.gate(t, log)
			func() {
				defer func() { _ = recover() }()
				_, _, _ = g.Do(t.Context(), request(), func(_ context.Context, d *gate.Dispatch) (access.Response, error) {
					tt.run(t, m, d)
					return access.Response{Body: []byte(`{}`), Reached: access.ReachYes}, nil
				})
			}()
			if d := cmp.Diff(tt.want, log.out.Load().Dropped); d != "" {
				t.Errorf("dropped (-want +got):\n%s", d)
			}
		})
	}
}

// message is n bytes of JSON in which there is nothing to find.
func message(n int) []byte { return append(bytes.Repeat([]byte(" "), n-1), '1') }

// However many reasons there are, the outcome counts every message and names a
// bounded number of them.
func TestReasonsOfDroppedMessagesAreBounded(t *testing.T) {
	var rules string
	for i := range 40 {
		id := string(rune('A' + i))
		if i >= 26 {
			id = "z" + string(rune('A'+i-26))
		}
		rules += `@id("` + id + `") forbid (principal, action == Mcp::Action::"up/echo", resource) when { context has output && context.output.findings.contains("` + id + `") };` + "\n"
	}
	log, m := &endings{}, &moving{}
	m.state.Store(stateWith(t, nil, policy.Policy{ID: "p", Cedar: rules}))
	_, _, err := m.gate(t, log).Do(t.Context(), request(), func(_ context.Context, d *gate.Dispatch) (access.Response, error) {
		for i := range 40 {
			id := string(rune('A' + i))
			if i >= 26 {
				id = "z" + string(rune('A'+i-26))
			}
			d.Passes(context.Background(), message(1), []string{id})
		}
		return access.Response{Body: []byte(`{}`), Reached: access.ReachYes}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	n, drops := 0, log.out.Load().Dropped
	for _, x := range drops {
		n += x.N
	}
	if n != 40 || len(drops) > 16 || drops[len(drops)-1].Last != 40 {
		t.Errorf("%d messages in %d parts: %+v", n, len(drops), drops)
	}
}
