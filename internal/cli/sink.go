package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rutile/internal/access"
	"rutile/internal/api"
	"rutile/internal/sink"
)

func (a *app) sink() *cobra.Command {
	return a.group("sink", "Receivers of evidence: SIEMs, collectors, files", "rutile sink list", a.sinkList(), a.sinkSkip())
}

func (a *app) sinkList() *cobra.Command {
	var o api.ListOptions
	c := a.command("list", "List declared sinks, how far each got and why one waits", "rutile sink list", calling(), func(ctx context.Context, _ []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		page, err := client.Sinks(ctx, o)
		if err != nil {
			return err
		}
		defer a.more(page.More, page.Next)
		return a.print(page, func(w io.Writer) {
			if len(page.Items) == 0 {
				a.say("no sinks; declare one in a manifest of kind Sink and run: rutile apply -f FILE")
				return
			}
			t := a.table("SINK", "OWNER", "FORM", "EVENTS", "URL", "STATE", "LEAF", "BEHIND", "SENT", "WHY")
			for _, s := range page.Items {
				t.add(s.ID, s.Owner, s.Form, eventsOf(s.Form, s.Events), s.URL, sinkState(&s), fmt.Sprintf("%d of %d", s.Status.Next, s.Status.Size), behind(s.Status.Oldest),
					strconv.FormatInt(s.Status.Sent, 10), sinkWhy(&s))
			}
			t.write(w)
		})
	})
	c.Flags().StringVar(&o.State, "state", "", "only those in this `state`: active, retired")
	paging(c, &o)
	return c
}

func eventsOf(form string, kinds []string) string {
	if form == sink.FormSSF && len(kinds) == len(sink.Told()) || form != sink.FormSSF && len(kinds) == len(sink.Kinds()) {
		return "all"
	}
	return strings.Join(kinds, " ")
}

func sinkState(s *api.SinkView) string {
	if s.State != sink.Active {
		return s.State
	}
	return s.Status.State
}

// behind is how long the oldest event waits.
func behind(oldest time.Time) string {
	if oldest.IsZero() {
		return ""
	}
	return time.Since(oldest).Round(time.Second).String()
}

func sinkWhy(s *api.SinkView) string {
	if s.Status.Refused == nil {
		return s.Status.Why
	}
	return fmt.Sprintf("leaf %d: %s; to leave it out: rutile sink skip %s %d --reason …", *s.Status.Refused, s.Status.Why, s.ID, *s.Status.Refused)
}

func (a *app) sinkSkip() *cobra.Command {
	var reason string
	c := a.command("skip SINK LEAF", "Leave out the one event that a receiver refuses, so that the rest goes on", "rutile sink skip siem 4711 --reason 'larger than the receiver takes'", calling(), func(ctx context.Context, args []string) error {
		if reason == "" {
			return access.Errorf(access.CodeUsage, "say why with --reason: what a receiver does not get is evidence")
		}
		index, err := strconv.ParseUint(args[1], 10, 64)
		if err != nil {
			return access.Errorf(access.CodeUsage, "%.40q is not the number of a leaf: see rutile sink list", args[1])
		}
		client, err := a.client()
		if err != nil {
			return err
		}
		v, err := client.SkipEvent(ctx, args[0], api.SkipSpec{Leaf: index, Reason: reason})
		if err != nil {
			return err
		}
		return a.print(v, func(w io.Writer) { fmt.Fprintf(w, "sink %s goes on without the event of leaf %d\n", v.ID, index) })
	})
	c.Flags().StringVar(&reason, "reason", "", "why, for the evidence")
	return c
}
