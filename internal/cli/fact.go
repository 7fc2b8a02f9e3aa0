package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rutile/internal/api"
	"rutile/internal/fact"
)

func (a *app) fact() *cobra.Command {
	return a.group("fact", "Counters and memories policies read", "rutile fact list", a.factList(), a.factShow())
}

func (a *app) factList() *cobra.Command {
	var o api.ListOptions
	c := a.command("list", "List declared facts", "rutile fact list", calling(), func(ctx context.Context, _ []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		page, err := client.Facts(ctx, o)
		if err != nil {
			return err
		}
		defer a.more(page.More, page.Next)
		return a.print(page, func(w io.Writer) {
			if len(page.Items) == 0 {
				a.say("no facts; declare one in a manifest of kind Fact and run: rutile apply -f FILE")
				return
			}
			t := a.table("FACT", "TYPE", "STATE", "OWNER", "ON", "WINDOW", "KEY", "COUNTS", "PURPOSE")
			for _, f := range page.Items {
				t.add(f.ID, string(f.Type), f.State, f.Owner, about(f), window(f), strings.Join(f.Key, " "), f.Agg.String(), f.Purpose)
			}
			t.write(w)
		})
	})
	c.Flags().StringVar(&o.State, "state", "", "only those in this `state`: active, retired")
	paging(c, &o)
	return c
}

// about names the calls a fact is about.
func about(f fact.Fact) string {
	var out []string
	for _, p := range [][2]string{{"server", f.On.Server}, {"tool", f.On.Tool}, {"action", f.On.Action}, {"result", f.On.ResultLabel}} {
		if p[1] != "" {
			out = append(out, p[0]+":"+p[1])
		}
	}
	return strings.Join(out, " ")
}

func window(f fact.Fact) string {
	if f.Seconds == 0 {
		return ""
	}
	return (time.Duration(f.Seconds) * time.Second).String()
}

func (a *app) factShow() *cobra.Command {
	return a.command("show FACT", "Show a declared fact and what it holds now", "rutile fact show transfers_1h", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		v, err := client.Fact(ctx, args[0])
		if err != nil {
			return err
		}
		return a.print(v, func(w io.Writer) {
			read := "no policy, so nothing is counted or remembered"
			if v.Read {
				read = "policies"
			}
			var bind []string
			for _, b := range v.Bind {
				bind = append(bind, b.Earlier+" equals "+b.Now)
			}
			fields(w, "fact", v.ID, "type", string(v.Type), "state", v.State, "owner", v.Owner, "purpose", v.Purpose, "on", about(v.Fact), "window", window(v.Fact),
				"key", strings.Join(v.Key, " "), "counts", v.Agg.String(), "bound by", strings.Join(bind, ", "), "read by", read, "changed", when(v.Changed))
			if len(v.Values) == 0 {
				return
			}
			fmt.Fprintln(w)
			t := a.table("KEY", "VALUE", "UNDER WAY", "UNTIL")
			for _, x := range v.Values {
				value, until := itoa(int(x.Total)), ""
				if !v.Counts() {
					value, until = "true", when(x.Ends)
				}
				t.add(string(x.Key), value, itoa(int(x.Reserved)), until)
			}
			t.write(w)
			if v.More {
				a.say("there are more; these are the first %d", len(v.Values))
			}
		})
	})
}
