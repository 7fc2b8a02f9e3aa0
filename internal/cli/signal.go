package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rutile/internal/access"
	"rutile/internal/api"
	"rutile/internal/signal"
	"rutile/internal/sink"
)

func (a *app) signal() *cobra.Command {
	return a.group("signal", "Shared Signals: who tells us, and whom we tell", "rutile signal list", a.signalList(), a.signalShow(), a.signalTest())
}

func (a *app) signalList() *cobra.Command {
	var o api.ListOptions
	c := a.command("list", "List sources and receivers of signals, the last event, what waits and why", "rutile signal list", calling(), func(ctx context.Context, _ []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		page, err := client.Signals(ctx, o)
		if err != nil {
			return err
		}
		defer a.more(page.More, page.Next)
		return a.print(page, func(w io.Writer) {
			if len(page.Items) == 0 {
				a.say("no signals; declare a source (kind Signal) or a receiver (kind Sink, form ssf) and run: rutile apply -f FILE")
				return
			}
			t := a.table("ID", "WAY", "OWNER", "HOW", "STATE", "LAST", "WAITING", "WHY")
			for i := range page.Items {
				t.add(signalRow(&page.Items[i])...)
			}
			t.write(w)
		})
	})
	c.Flags().StringVar(&o.State, "state", "", "only those in this `state`: active, retired")
	paging(c, &o)
	return c
}

// signalRow is one line of the list.
func signalRow(v *api.SignalView) []string {
	if v.Direction == api.SignalIn {
		how := "push"
		switch {
		case v.Source.Form == signal.FormWebhook:
			how = "webhook"
		case v.Source.Poll != "":
			how = "poll"
		}
		why := v.Why
		if why == "" && v.Refused.N > 0 {
			why = fmt.Sprintf("%d refused, the last: %s", v.Refused.N, v.Refused.Why)
		}
		return []string{v.ID, v.Direction, v.Source.Owner, how, v.Source.State, when(v.Kept.Last), strconv.Itoa(v.Kept.Waiting), why}
	}
	how, last, waiting := "push", v.Status.LastTaken, behind(v.Status.Oldest)
	if v.Sink.URL == sink.PollURL {
		how, last, waiting = "poll", v.Stream.Fetched, strings.TrimSpace(fmt.Sprintf("%d %s", v.Stream.Waiting, behind(v.Stream.Oldest)))
	}
	state := v.Sink.State
	if state == sink.Active {
		state = v.Status.State
		if st := v.Stream.Status; st != signal.Enabled {
			state = st
		}
	}
	why := v.Why
	if why == "" && v.Stream.Refused != "" {
		why = "refused " + v.Stream.Refused
	}
	return []string{v.ID, v.Direction, v.Sink.Owner, how, state, when(last), cmp.Or(waiting, "0"), why}
}

// bothWays returns the source and the receiver of an id, which may have one name.
func (a *app) bothWays(ctx context.Context, client *api.Client, id string) ([]api.SignalView, error) {
	var out []api.SignalView
	o := api.ListOptions{Limit: 500}
	for {
		page, err := client.Signals(ctx, o)
		if err != nil {
			return nil, err
		}
		for _, v := range page.Items {
			if v.ID == id {
				out = append(out, v)
			}
		}
		if page.Next == "" {
			break
		}
		o.Cursor = page.Next
	}
	if len(out) == 0 {
		return nil, access.Errorf(access.CodeNotFound, "there is no source or receiver of signals %.100q: see rutile signal list", id)
	}
	return out, nil
}

func (a *app) signalShow() *cobra.Command {
	return a.command("show SIGNAL", "Show a source or a receiver of signals: what is declared, and how it fares", "rutile signal show idp", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		list, err := a.bothWays(ctx, client, args[0])
		if err != nil {
			return err
		}
		return a.print(list, func(w io.Writer) {
			for i := range list {
				a.showSignal(w, &list[i])
			}
		})
	})
}

func (a *app) showSignal(w io.Writer, v *api.SignalView) {
	t := a.table(strings.ToUpper(v.Direction), v.ID)
	if s := v.Source; s != nil {
		t.add("owner", s.Owner)
		t.add("form", s.Form)
		t.add("issuer", s.Issuer)
		t.add("audience", s.Audience)
		t.add("asked at", s.Poll)
		t.add("may", strings.Join(s.May, " "))
		t.add("events", strings.Join(s.Events, " "))
		t.add("subjects", strconv.Itoa(len(s.Subjects)))
		t.add("state", s.State)
		t.add("last event", when(v.Kept.Last))
		t.add("not acted on yet", strconv.Itoa(v.Kept.Waiting))
		t.add("refused", strconv.Itoa(v.Refused.N))
		t.add("refused last", v.Refused.Why)
	}
	if s := v.Sink; s != nil {
		t.add("owner", s.Owner)
		t.add("told by", s.URL)
		t.add("audience", s.Audience)
		t.add("people are named by", s.Naming)
		t.add("events", strings.Join(s.Events, " "))
		t.add("state", s.State)
		t.add("stream", v.Stream.Status+" "+v.Stream.Reason)
		if v.Stream.Requested != nil {
			t.add("asked for", strings.Join(v.Stream.Requested, " "))
		}
		t.add("subjects taken out", strconv.Itoa(len(v.Stream.Without)))
		t.add("leaf", fmt.Sprintf("%d of %d", v.Status.Next, v.Status.Size))
		t.add("waits to be fetched", strings.TrimSpace(fmt.Sprintf("%d %s", v.Stream.Waiting, behind(v.Stream.Oldest))))
		t.add("fetched last", when(v.Stream.Fetched))
		t.add("refused last", v.Stream.Refused)
	}
	t.add("why", v.Why)
	t.write(w)
}

func (a *app) signalTest() *cobra.Command {
	return a.command("test SIGNAL", "Try a source (its keys can be read) and a receiver (it takes a verification event)", "rutile signal test idp", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		list, err := a.bothWays(ctx, client, args[0])
		if err != nil {
			return err
		}
		var out []api.Attempt
		for _, v := range list {
			tried, err := client.TestSignal(ctx, v.Direction, v.ID)
			if err != nil {
				return err
			}
			out = append(out, tried)
		}
		return a.print(out, func(w io.Writer) {
			for _, x := range out {
				fmt.Fprintln(w, x.Said)
			}
		})
	})
}

func (a *app) mail() *cobra.Command {
	return a.group("mail", "Receivers of mail: who is told what waits for people", "rutile mail list", a.mailList(), a.mailTest())
}

func (a *app) mailList() *cobra.Command {
	var o api.ListOptions
	c := a.command("list", "List receivers of mail, the last mail and why one cannot be sent", "rutile mail list", calling(), func(ctx context.Context, _ []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		page, err := client.Mails(ctx, o)
		if err != nil {
			return err
		}
		defer a.more(page.More, page.Next)
		return a.print(page, func(w io.Writer) {
			if len(page.Items) == 0 {
				a.say("no receivers of mail; declare one in a manifest of kind Mail and run: rutile apply -f FILE")
				return
			}
			t := a.table("MAIL", "OWNER", "SERVER", "TO", "ABOUT", "EVERY", "STATE", "LAST", "WHY")
			for _, m := range page.Items {
				t.add(m.ID, m.Owner, m.Server, strings.Join(m.To, " "), strings.Join(m.About, " "), m.Every.Round(time.Second).String(), m.State, when(m.Sent), m.Why)
			}
			t.write(w)
		})
	})
	c.Flags().StringVar(&o.State, "state", "", "only those in this `state`: active, retired")
	paging(c, &o)
	return c
}

func (a *app) mailTest() *cobra.Command {
	return a.command("test MAIL", "Send a mail that says it is a test to every address of a receiver", "rutile mail test ops", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		tried, err := client.TestMail(ctx, args[0])
		if err != nil {
			return err
		}
		return a.print(tried, func(w io.Writer) { fmt.Fprintln(w, tried.Said) })
	})
}
