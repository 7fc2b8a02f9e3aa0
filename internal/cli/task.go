package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"rutile/internal/api"
)

func (a *app) task() *cobra.Command {
	return a.group("task", "Work agents do under rights that end with it", "rutile task list --state open",
		a.taskList(), a.taskShow(), a.taskOpen(), a.taskClose())
}

func (a *app) taskList() *cobra.Command {
	var o api.HistoryOptions
	c := a.command("list", "List tasks, newest first", "rutile task list --state open", calling(), func(ctx context.Context, _ []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		page, err := client.Tasks(ctx, o)
		if err != nil {
			return err
		}
		defer a.more(page.More, page.Next)
		return a.print(page, func(w io.Writer) {
			if len(page.Items) == 0 {
				a.say("no tasks")
				return
			}
			t := a.table("TASK", "STATE", "AGENT", "FOR", "TICKET", "OPENED", "EXPIRES", "PURPOSE")
			for _, x := range page.Items {
				t.add(x.ID, string(x.State), x.Party.Agent, x.Party.Subject, x.Ticket, when(x.Opened), when(x.Expires), x.Purpose)
			}
			t.write(w)
		})
	})
	history(c, &o, "open, closed, expired")
	return c
}

func (a *app) taskShow() *cobra.Command {
	return a.command("show TASK", "Show one task with its grants", "rutile task show tsk_…", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		x, err := client.Task(ctx, args[0])
		if err != nil {
			return err
		}
		return a.print(x, func(w io.Writer) {
			fields(w, "task", x.ID, "state", string(x.State), "because", x.Why, "agent", x.Party.Agent, "acts for", x.Party.Subject, "purpose", x.Purpose,
				"ticket", x.Ticket, "opened", when(x.Opened), "expires", when(x.Expires))
			for _, g := range x.Grants {
				fields(w, "grant", g.ID+" "+string(g.State)+" "+g.Target.Action()+", "+left(g)+" left")
			}
		})
	})
}

func (a *app) taskOpen() *cobra.Command {
	var s api.TaskSpec
	var ttl time.Duration
	c := a.command("open AGENT", "Open a task for an agent", "rutile task open bot --purpose 'cut release 1.2' --ticket OPS-7", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		s.Agent, s.Seconds = args[0], int64(ttl/time.Second)
		x, err := client.OpenTask(ctx, s)
		if err != nil {
			return err
		}
		return a.print(x, func(w io.Writer) { fmt.Fprintln(w, x.ID) })
	})
	c.Long = `Open a task for an agent and print its id. Agents open their own with the tool
rutile_task_open. Give the id to rutile agent token --task, or let calls name it.`
	f := c.Flags()
	f.StringVar(&s.Purpose, "purpose", "", "what it is for (required)")
	f.StringVar(&s.Ticket, "ticket", "", "`id` of it elsewhere")
	f.DurationVar(&ttl, "ttl", 8*time.Hour, "how long it stays open, at most 24h")
	f.StringVar(&s.Subject, "subject", "", "`person` the agent acts for")
	f.StringVar(&s.Issuer, "issuer", "", "`issuer` that knows the person; this gateway if not given")
	return c
}

func (a *app) taskClose() *cobra.Command {
	var why string
	c := a.command("close TASK", "Close a task: its grants end", "rutile task close tsk_…", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		x, err := client.CloseTask(ctx, args[0], why)
		if err != nil {
			return err
		}
		return a.print(x, func(w io.Writer) { fmt.Fprintf(w, "task %s is closed\n", x.ID) })
	})
	c.Flags().StringVar(&why, "reason", "", "why, for the evidence")
	return c
}
