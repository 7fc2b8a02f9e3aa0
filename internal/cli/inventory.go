package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rutile/internal/admin"
	"rutile/internal/api"
	"rutile/internal/discovery"
	"rutile/internal/discovery/inventory"
)

// keepTime bounds how long the gateway may take to keep what was found.
const keepTime = 2 * time.Minute

// keep gives what was found to the gateway that runs, if one does, and returns
// what to say about it, nil for nothing. An interrupted run keeps what it has too.
func (a *app) keep(ctx context.Context, b inventory.Batch, gateway bool) *string {
	if !gateway {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepTime)
	defer cancel()
	client, err := a.client()
	if err == nil {
		var res inventory.Result
		if res, err = client.Report(ctx, b); err == nil {
			said := fmt.Sprintf("kept in the inventory: %d new, %d changed, %d as before, %d gone", res.Sightings, res.Changed, res.Seen, res.Gone)
			return &said
		}
	}
	said := "not kept in the inventory: " + a.message(err)
	return &said
}

// batch is what a run saw, as it is kept and reported.
func (a *app) batch(seen *discovery.Seen, sources []discovery.Source, paths *discovery.Paths, system string) inventory.Batch {
	var names []string
	for _, s := range sources {
		if !slices.Contains(names, s.Name()) {
			names = append(names, s.Name())
		}
	}
	return inventory.NewBatch(seen, paths.Host(), system, a.version, names)
}

func (a *app) inventory() *cobra.Command {
	return a.group("inventory", "What was found, wherever it was", "rutile inventory list --status shadow", a.inventoryList(), a.inventoryShow(), a.inventoryExport(), a.inventoryOwn(), a.inventoryOwners(), a.inventorySuggest(), a.inventoryMerge(), a.inventorySplit(), a.inventoryHosts(), a.inventoryAgents(), a.inventoryCredentials(), a.inventoryEnroll(), a.inventoryDevices(), a.inventoryRevoke())
}

func (a *app) inventoryList() *cobra.Command {
	var count bool
	var o api.InventoryOptions
	c := a.command("list", "List the servers that were found", "rutile inventory list --status shadow", calling(), func(ctx context.Context, _ []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		page, err := client.Inventory(ctx, o)
		if err != nil {
			return err
		}
		if count {
			return total(a, page)
		}
		defer a.more(page.More, page.Next)
		return a.print(page, func(w io.Writer) {
			if len(page.Items) == 0 {
				a.say("nothing of the kind was found; look for servers with: rutile discover")
				return
			}
			t := a.table("STATUS", "SERVER", "KEY", "OWNER", "PLACES", "HOSTS", "USERS", "VARIANTS", "FACTS", "FINDINGS", "LAST SEEN")
			for i := range page.Items {
				e := &page.Items[i]
				t.add(statusOf(e), cmp.Or(strings.Join(e.Names, ", "), e.Registered), e.Key, e.Owner, itoa(e.Sightings), itoa(e.Hosts), itoa(e.Users), itoa(e.Ways), factsOf(e), worstOf(e), when(e.Last))
			}
			t.write(w)
		})
	})
	f := c.Flags()
	filtering(c, &o.InventoryFilter)
	f.IntVar(&o.Limit, "limit", 100, "at most so many, up to 1000")
	f.StringVar(&o.Cursor, "cursor", "", "go on after this `entry`")
	counting(c, &count)
	return c
}

// filtering gives a command the flags that select servers of the inventory.
func filtering(c *cobra.Command, o *admin.InventoryFilter) {
	f := c.Flags()
	f.StringVar(&o.Status, "status", "", "only those that are `shadow`, bypass, routed, registered, disabled, source or gone")
	f.StringVar(&o.Kind, "kind", "", "only this `kind`: package, image, remote, local, hub, agent")
	f.StringVar(&o.Condition, "condition", "", "only those that are `missing` or reappeared")
	f.StringVar(&o.Owner, "owner", "", "only those of this `owner`")
	f.BoolVar(&o.Unowned, "unowned", false, "only those nobody answers for")
	f.StringVar(&o.Text, "text", "", "only those whose key or name has this `text`")
	f.StringVar(&o.State, "state", "", "only those registered in this `state`, such as sanctioned")
	f.StringVar(&o.Tier, "tier", "", "only those registered with this risk `tier`, 0 to 3")
	f.StringVar(&o.Source, "source", "", "only those this `source` sees, such as client or process")
	f.StringVar(&o.Transport, "transport", "", "only those with a variant of this `transport`: stdio, http, sse, ws")
	f.StringSliceVar(&o.Has, "has", nil, "only those that have each of these `marks`: "+strings.Join(admin.Marks(), ", "))
	f.StringSliceVar(&o.Lacks, "lacks", nil, "only those that have none of these `marks`")
}

func statusOf(e *inventory.Entry) string {
	s := string(e.Status)
	if e.Condition != "" && !(e.Status == inventory.StatusGone && e.Condition == inventory.Missing) {
		s += ", " + string(e.Condition)
	}
	return s
}

// factsOf are the facts that are so at present.
func factsOf(e *inventory.Entry) string {
	var out []string
	for _, f := range []discovery.Fact{discovery.Configured, discovery.Running, discovery.Used, discovery.Reachable, discovery.Sourced} {
		if e.Facts[f].Now {
			out = append(out, string(f))
		}
	}
	return strings.Join(out, " ")
}

func worstOf(e *inventory.Entry) string {
	if e.Findings == 0 {
		return ""
	}
	return fmt.Sprintf("%d, %s", e.Findings, e.Worst)
}

func (a *app) inventoryShow() *cobra.Command {
	return a.command("show SERVER", "Show one server: its variants, where it was seen and what is wrong", "rutile inventory show pkg:npm/notes", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		got, err := client.Found(ctx, args[0])
		if err != nil {
			return err
		}
		return a.print(got, func(w io.Writer) { a.foundServer(w, &got) })
	})
}

func (a *app) foundServer(w io.Writer, e *admin.Found) {
	fields(w, "key", e.Key, "names", strings.Join(e.Names, ", "), "kind", string(e.Kind), "status", statusOf(&e.Entry), "registered", strings.TrimSpace(e.Registered+" "+e.State),
		"owner", e.Owner, "first seen", when(e.First), "last seen", when(e.Last), "counts as it", strings.Join(e.Merged, " "))
	for _, f := range []discovery.Fact{discovery.Configured, discovery.Running, discovery.Used, discovery.Reachable, discovery.Sourced} {
		if s, ok := e.Facts[f]; ok {
			now := "not any more"
			if s.Now {
				now = fmt.Sprintf("in %d places", s.Count)
			}
			if f == discovery.Used && s.Now && s.Count == 0 {
				now = "through the gateway"
			}
			fields(w, string(f), now+", last seen "+when(s.Last))
		}
	}
	fmt.Fprintln(w)
	t := a.table("VARIANT", "VERSION", "PINNED", "THROUGH", "WHAT", "ARGUMENTS")
	for i := range e.Variants {
		x := &e.Variants[i].Target
		t.add(e.Variants[i].ID, x.Version, fmt.Sprint(x.Pinned), strings.Join(x.Launchers, " "), firstOf(x.Package, x.URL, x.Command, string(x.Kind)), strings.Join(x.Args, " "))
	}
	t.write(w)
	fmt.Fprintln(w)
	t = a.table("SEEN", "HOST", "SOURCE", "CLIENT", "PLACE", "VARIANT", "ROUTED", "LAST")
	for i := range e.Places {
		s := &e.Places[i]
		seen := string(s.Fact)
		switch {
		case !s.Gone.IsZero():
			seen += ", gone"
		case s.Disabled:
			seen += ", disabled"
		}
		t.add(seen, s.Host, s.Source, strings.Join(s.Clients, " "), s.Place.String(), s.Variant, fmt.Sprint(s.Routed), when(s.Last))
	}
	t.write(w)
	if len(e.Problems) > 0 {
		fmt.Fprintln(w)
		t = a.table("FINDING", "SEVERITY", "RULE", "WHY", "NEXT")
		for i := range e.Problems {
			f := &e.Problems[i]
			t.add(f.ID, string(f.Severity), f.Rule, f.Why, f.Next)
		}
		t.write(w)
	}
}

// firstOf is the first of some texts that is not empty.
func firstOf(s ...string) string {
	for _, x := range s {
		if x != "" {
			return x
		}
	}
	return ""
}
