package api

import (
	"context"
	"net/url"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/rehearsal"
)

// Rehearsal lets rules that are not in force judge what is or was decided.
type Rehearsal interface {
	// Simulate lets a draft judge every call from now on, for so long; sealed says
	// that who asks may read the arguments of calls.
	Simulate(ctx context.Context, by string, d admin.Draft, last time.Duration, sealed bool) (rehearsal.Status, error)
	// Simulated says how the newest simulation fares; Stop ends it.
	Simulated(sealed bool) rehearsal.Status
	Stop(sealed bool) rehearsal.Status
	// Replay lets a draft judge recorded decisions; sealed says that kept arguments
	// may be opened for it.
	Replay(ctx context.Context, r Replay, sealed bool) (rehearsal.Report, error)
	// Explain says why a recorded decision was made; sealed says that who asks may see
	// evidence.
	Explain(ctx context.Context, decision string, sealed bool) (rehearsal.Explained, error)
	// Alarms scores what was recorded since a time anew, and counts what the ladder comes
	// to; agent is whose calls are counted, "" for all.
	Alarms(ctx context.Context, since time.Time, agent string) (rehearsal.Alarms, error)
	// Try lets a draft judge made-up calls.
	Try(ctx context.Context, d admin.Draft, calls []ExplainRequest) (Tried, error)
}

// Simulate asks for a simulation.
type Simulate struct {
	Draft   admin.Draft `json:"draft"`
	Seconds int64       `json:"seconds,omitempty"` // how long; default 600
}

// Replay asks for a replay.
type Replay struct {
	Draft   admin.Draft `json:"draft"`
	Against string      `json:"against,omitempty"` // recorded (the default), live or the number of a generation
	Since   string      `json:"since,omitempty"`   // a time, a day or a duration; default 24h
	Agent   string      `json:"agent,omitempty"`
}

// Try asks what a draft would decide about made-up calls.
type Try struct {
	Draft admin.Draft      `json:"draft"`
	Calls []ExplainRequest `json:"calls"`
}

// Tried is what was and what would be decided about made-up calls, in their order.
type Tried struct {
	Candidate string      `json:"candidate"` // digest of the policy set that was tried
	Items     []TriedCall `json:"items"`
}

// TriedCall is one of them.
type TriedCall struct {
	Agent  string   `json:"agent"`
	Action string   `json:"action"`
	Before string   `json:"before"` // what enforcing decides now
	After  string   `json:"after"`
	By     []string `json:"by"` // policies the verdict after it comes from
}

// maxTried bounds how many made-up calls one request may bring.
const maxTried = 10_000

// DefaultSimulation is how long a simulation lasts that says nothing else.
const DefaultSimulation = 10 * time.Minute

func (a *API) simulate(c *call) (any, error) {
	var in Simulate
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	last := DefaultSimulation
	if in.Seconds != 0 {
		last = time.Duration(min(max(in.Seconds, -1), 1<<31)) * time.Second
	}
	return answerOf(a.deps.Rehearsal.Simulate(c.Context(), c.actor.String(), in.Draft, last, a.readsSealed(c)))
}

func (a *API) simulated(c *call) (any, error) {
	return a.deps.Rehearsal.Simulated(a.readsSealed(c)), nil
}

func (a *API) stopSimulation(c *call) (any, error) {
	return a.deps.Rehearsal.Stop(a.readsSealed(c)), nil
}

func (a *API) replay(c *call) (any, error) {
	var in Replay
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	return answerOf(a.deps.Rehearsal.Replay(c.Context(), in, a.readsSealed(c)))
}

// readsSealed reports whether who asks may read the arguments of calls: what a rule of
// one's own making matches tells what it was matched with.
func (a *API) readsSealed(c *call) bool {
	return a.deps.Admin.Authorize(c.Context(), c.actor, admin.OpEvidence) == nil
}

func (a *API) try(c *call) (any, error) {
	var in Try
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if len(in.Calls) == 0 || len(in.Calls) > maxTried {
		return nil, access.Errorf(access.CodeInvalid, "give between 1 and %d calls to try", maxTried)
	}
	return answerOf(a.deps.Rehearsal.Try(c.Context(), in.Draft, in.Calls))
}

// defaultAlarms is how far back recorded calls are scored that says nothing else: an
// agent is known after some days.
const defaultAlarms = "720h"

func (a *API) alarms(c *call) (any, error) {
	v, _, err := c.query("since", "agent")
	if err != nil {
		return nil, err
	}
	since, err := moment("since", or(v.Get("since"), defaultAlarms), a.cfg.Now())
	if err != nil {
		return nil, err
	}
	return answerOf(a.deps.Rehearsal.Alarms(c.Context(), since, v.Get("agent")))
}

// Alarms scores recorded calls anew, and says what the ladder comes to: since a time, a
// day or a duration, default 720h; of one agent, or "" for all.
func (c *Client) Alarms(ctx context.Context, since, agent string) (rehearsal.Alarms, error) {
	v := url.Values{}
	for k, s := range map[string]string{"since": since, "agent": agent} {
		if s != "" {
			v.Set(k, s)
		}
	}
	path := "risk/replay"
	if len(v) > 0 {
		path += "?" + v.Encode()
	}
	return ask[rehearsal.Alarms](ctx, c, "GET", path, nil)
}

// ParseMoment reads a time, a day or a duration that counts back from now.
func ParseMoment(name, s string, now time.Time) (time.Time, error) { return moment(name, s, now) }

// Simulate lets a draft judge every call from now on.
func (c *Client) Simulate(ctx context.Context, in Simulate) (rehearsal.Status, error) {
	return ask[rehearsal.Status](ctx, c, "POST", "policies/simulate", in)
}

// Simulated says how the newest simulation fares.
func (c *Client) Simulated(ctx context.Context) (rehearsal.Status, error) {
	return ask[rehearsal.Status](ctx, c, "GET", "policies/simulate", nil)
}

// StopSimulation ends it.
func (c *Client) StopSimulation(ctx context.Context) (rehearsal.Status, error) {
	return ask[rehearsal.Status](ctx, c, "POST", "policies/simulate/stop", struct{}{})
}

// Replay lets a draft judge recorded decisions.
func (c *Client) Replay(ctx context.Context, in Replay) (rehearsal.Report, error) {
	return ask[rehearsal.Report](ctx, c, "POST", "policies/replay", in)
}

// Try lets a draft judge made-up calls.
func (c *Client) Try(ctx context.Context, in Try) (Tried, error) {
	return ask[Tried](ctx, c, "POST", "policies/try", in)
}
