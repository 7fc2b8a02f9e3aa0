package gate_test

import (
	"context"
	"testing"

	"rutile/internal/access"
	"rutile/internal/conduct"
	"rutile/internal/gate"
)

// told is who is told how tools behave.
type told struct{ calls []conduct.Call }

func (w *told) Saw(c *conduct.Call)        { w.calls = append(w.calls, *c) }
func (w *told) Checks(string, string) bool { return true }

// What a tool did is told of calls that were answered: as the server sent it, flagged
// where something was found in it, and not at all where nothing was asked of the tool.
func TestHowAToolBehavedIsTold(t *testing.T) {
	w := &told{}
	g := newGate(t, &outcomes{})
	g.Watch(w)
	run := func(fwd gate.Forward, change func(r *access.Request)) *conduct.Call {
		t.Helper()
		w.calls = nil
		r := request()
		if change != nil {
			change(r)
		}
		_, _, _ = g.Do(t.Context(), r, fwd)
		if len(w.calls) == 0 {
			return nil
		}
		return &w.calls[0]
	}
	c := run(returns(nil, nil, answer("Rain in Lyon.")), nil)
	if c == nil || c.Server != "up" || c.Tool != "echo" || c.Flagged || c.Failed || c.Revision != "sha256:1" || string(c.Body) != answer("Rain in Lyon.") || !c.Result.Get("content").Exists() {
		t.Fatalf("a harmless answer is told as %+v", c)
	}
	if c := run(returns(nil, nil, answer(hostile)), nil); c == nil || !c.Flagged || string(c.Body) != answer(hostile) {
		t.Errorf("a hostile answer is told as %+v", c)
	}
	if c := run(func(_ context.Context, d *gate.Dispatch) (access.Response, error) {
		d.Told()
		return access.Response{Body: []byte(answer("x")), ToolErr: true, Reached: access.ReachYes}, nil
	}, nil); c == nil || !c.Told || !c.Failed {
		t.Errorf("an error is told as %+v", c)
	}
	if c := run(func(context.Context, *gate.Dispatch) (access.Response, error) {
		return access.Response{}, access.Errorf(access.CodeUpstream, "not there")
	}, nil); c != nil {
		t.Errorf("no answer is told as %+v", c)
	}
	if c := run(returns(nil, nil, answer("x")), func(r *access.Request) { r.Target = "other" }); c != nil {
		t.Errorf("a denied call is told as %+v", c)
	}
}
