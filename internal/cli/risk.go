package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"rutile/internal/access"
	"rutile/internal/rehearsal"
)

func (a *app) risk() *cobra.Command {
	return a.group("risk", "See what the scores of agents come to", "rutile risk replay", a.riskReplay())
}

func (a *app) riskReplay() *cobra.Command {
	var since, agent string
	c := a.command("replay", "Score recorded calls anew, and count what the ladder comes to", "rutile risk replay --since 720h", calling(), func(ctx context.Context, _ []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		got, err := client.Alarms(ctx, since, agent)
		if err != nil {
			return err
		}
		return a.print(got, func(w io.Writer) { a.alarms(w, &got) })
	})
	c.Long = `Score recorded calls anew, in the order of the log and with nothing known before them,
and count on how many agent-days they cross each rung of the ladder: where nobody did
wrong, these are the false alarms. Nothing is kept of it, and nobody is held.

A day is one of UTC on which an agent made a call. A crossing is a call that meets a
rung which the call before it in its session did not; each is listed with its three
largest reasons, and rutile explain tells more of it. Intervals are those of Wilson at
95 %. The table of thresholds says on how many agent-days a score reached another bound.

It takes the classes, tiers and labels of tools from what is registered now, and goes on
after a crossing as the agent went on then.`
	f := c.Flags()
	f.StringVar(&since, "since", "720h", "a `time`, a day or a duration")
	f.StringVar(&agent, "agent", "", "count only calls of this `agent`")
	return c
}

// alarms writes what recorded calls come to.
func (a *app) alarms(w io.Writer, r *rehearsal.Alarms) {
	fmt.Fprintf(w, "%d calls of %d agents on %d agent-days, %d of them of agents that are known well enough (model %s)\n", r.Calls, r.Agents, r.AgentDays, r.Known, r.Model)
	if r.Calls > 0 {
		fields(w, "from", exactly(r.First), "to", exactly(r.Last))
	}
	for _, x := range []struct {
		n    int
		text string
	}{{r.Erased, "decisions are of somebody whose key was destroyed"}, {r.Partly, "calls have arguments that are not kept whole, which were not looked at"}} {
		if x.n > 0 {
			fmt.Fprintf(w, "%d %s\n", x.n, x.text)
		}
	}
	fmt.Fprintln(w)
	t := a.table("RUNG", "FROM", "CALLS", "CROSSINGS", "AGENT-DAYS", "OF 100", "INTERVAL")
	for _, x := range r.Rungs {
		var from []string
		for _, b := range []struct {
			name string
			n    int
		}{{"session", x.Session}, {"agent", x.Agent}, {"person", x.Person}} {
			if b.n > 0 {
				from = append(from, fmt.Sprint(b.name, " ", b.n))
			}
		}
		t.add(x.Rule, strings.Join(from, ", "), itoa(x.Calls), itoa(x.Crossings), ofDays(x.Days), percent(x.Days.Rate), x.Days.Interval())
	}
	t.write(w)
	fmt.Fprintf(w, "on 19 of 20 agent-days at most %d crossings of the first rung\n\n", r.StepUps)
	t = a.table("THRESHOLD", "SESSION", "INTERVAL", "AGENT", "INTERVAL", "PERSON", "INTERVAL")
	for _, x := range r.Thresholds {
		t.add(itoa(x.Score), ofDays(x.Session), x.Session.Interval(), ofDays(x.Agent), x.Agent.Interval(), ofDays(x.Person), x.Person.Interval())
	}
	t.write(w)
	if len(r.Crossings) == 0 {
		return
	}
	fmt.Fprintln(w)
	t = a.table("AT", "AGENT", "SESSION", "ACTION", "RUNGS", "SCORES", "BECAUSE OF", "DECISION")
	for _, x := range r.Crossings {
		var why []string
		for _, p := range x.Risk.Top {
			why = append(why, fmt.Sprintf("%s: %s %d", p.Family, p.Signal, p.Points))
		}
		t.add(when(x.At), x.Agent, x.Session, x.Action, strings.Join(x.Rules, " "), fmt.Sprintf("%d/%d/%d", x.Risk.Session, x.Risk.Agent, x.Risk.Person), strings.Join(why, ", "), cmp.Or(x.Decision, itoa(int(x.Index))))
	}
	t.write(w)
	if r.More > 0 {
		fmt.Fprintf(w, "%d more crossings, of lower scores, are not listed\n", r.More)
	}
}

func ofDays(s rehearsal.Share) string { return fmt.Sprintf("%d/%d", s.K, s.N) }

func percent(x float64) string { return strconv.FormatFloat(100*x, 'f', 2, 64) }

// scored is a score in a table, "" for none.
func scored(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// riskLine is the scores of a session, its agent and its person in one line.
func riskLine(r *access.Risk) string {
	if r == nil {
		return ""
	}
	out := fmt.Sprintf("%d of 100, its agent %d", r.Session, r.Agent)
	if level := r.Level(); level != "" {
		out = level + ": " + out
	}
	if r.Person > 0 {
		out += fmt.Sprintf(", the person %d", r.Person)
	}
	if len(r.Top) > 0 {
		out += fmt.Sprintf("; without the first reason %d", r.Without)
	}
	return out + fmt.Sprintf(" (model %s, %d calls learned)", r.Model, r.Learned)
}

// reasons lists where a score comes from.
func (a *app) reasons(w io.Writer, r *access.Risk) {
	if r == nil || len(r.Top) == 0 {
		return
	}
	t := a.table("RISK", "POINTS", "OBSERVED", "USUAL", "WINDOW", "LEARNED FROM", "AT")
	for _, p := range r.Top {
		window := ""
		if p.Window > 0 {
			window = p.Window.String()
		}
		t.add(p.Family+": "+p.Signal, strconv.Itoa(p.Points), amountOf(p.Observed)+" "+p.Unit, amountOf(p.Expected), window, strconv.Itoa(p.Sample), when(p.At))
	}
	t.write(w)
}

func amountOf(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }
