package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/api"
	"rutile/internal/conduct"
	"rutile/internal/registry"
)

func (a *app) tool() *cobra.Command {
	return a.group("tool", "Tools, their approved definitions and what changed", "rutile tool list",
		a.toolList(), a.toolShow(), a.toolDiff(), a.toolApprove(), a.toolRelease(),
		a.toolVerb(registry.VerbQuarantine, "Stop a tool until it is released", "rutile tool quarantine files write_file --reason 'it deletes'"),
		a.toolVerb("relearn", "Learn anew how a tool usually behaves", "rutile tool relearn files read_file --reason 'longer files since the move'"))
}

func (a *app) toolList() *cobra.Command {
	var count bool
	var o api.ListOptions
	c := a.command("list [SERVER]", "List the definitions servers offer", "rutile tool list files", calling(), func(ctx context.Context, args []string) error {
		if len(args) == 1 {
			o.Server = args[0]
		}
		client, err := a.client()
		if err != nil {
			return err
		}
		page, err := client.Tools(ctx, o)
		if err != nil {
			return err
		}
		if count {
			return total(a, page)
		}
		defer a.more(page.More, page.Next)
		return a.print(page, func(w io.Writer) {
			if len(page.Items) == 0 {
				a.say("%s", nothingListed(o))
				return
			}
			t := a.table("SERVER", "NAME", "KIND", "STATE", "CLASS", "TIER", "FOUND", "APPROVED BY")
			for _, x := range page.Items {
				t.add(x.Server, listedName(x), string(x.Kind), string(x.State), x.Class.Class, itoa(x.Class.Tier), foundIn(x), x.ApprovedBy)
			}
			t.write(w)
		})
	})
	c.Flags().StringVar(&o.State, "state", "", "only in this `state`: pending, approved, changed, absent, quarantined, blocked, retired")
	c.Flags().StringVar(&o.Kind, "kind", "", "only of this `kind`: tool, prompt, resource, template, instructions, capabilities")
	paging(c, &o)
	counting(c, &count)
	return c
}

// listedName is what a definition is called on the command line. Instructions and
// capabilities have no name of their own.
func listedName(t api.Tool) string {
	if t.Kind.OfServer() {
		return registry.NameOf(t.Kind, t.Name)
	}
	return t.Name
}

// kindFlag adds --kind of one definition.
func kindFlag(c *cobra.Command, kind *string) {
	c.Flags().StringVar(kind, "kind", "tool", "`kind` of the definition: tool, prompt, resource, template, instructions, capabilities")
}

// nothingListed says why a list may be empty.
func nothingListed(o api.ListOptions) string {
	switch {
	case o.State != "":
		return "nothing is in state " + o.State
	case o.Server != "":
		return "nothing is listed; a server lists its tools once it is approved and can be reached: rutile server show " + o.Server
	}
	return "nothing is listed; a server lists its tools once it is approved and can be reached: rutile server list"
}

func (a *app) toolShow() *cobra.Command {
	var kind string
	c := a.command("show SERVER NAME", "Show one definition", "rutile tool show files read_file", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		x, err := client.Tool(ctx, args[0], registry.Kind(kind), args[1])
		if err != nil {
			return err
		}
		return a.print(x, func(w io.Writer) {
			fields(w, string(x.Kind), x.Name, "server", x.Server, "state", string(x.State), "not callable", x.Why, "class", x.Class.Class, "tier", itoa(x.Class.Tier),
				"class by", x.ClassBy, "approved by", x.ApprovedBy, "approved", when(x.ApprovedAt), "pin", x.PinDigest, "listed", x.SeenDigest, "first seen", when(x.FirstSeen), "last change", when(x.LastSeen))
			if len(x.Findings) > 0 {
				fmt.Fprintf(w, "\nfound in the listed definition%s:\n", map[bool]string{true: ", which calls for " + x.Tier}[x.Tier != ""])
				writeFindings(w, x.Findings)
			}
			if d := x.Drift; d != nil {
				writeDrift(w, d.Grade, d.Changes, d.Passed)
			}
			writeConduct(w, x.Conduct)
			writeDefinition(w, "approved definition", x.Pinned)
			if x.SeenDigest != x.PinDigest {
				writeDefinition(w, "listed definition", x.Seen)
			}
		})
	})
	kindFlag(c, &kind)
	return c
}

// writeConduct shows how a tool behaved, nil if it was not called.
func writeConduct(w io.Writer, c *conduct.Summary) {
	if c == nil {
		return
	}
	usual := fmt.Sprintf("not known yet, learned from %d calls", c.Learned)
	if c.Ready {
		usual = fmt.Sprintf("%d bytes, %d forms, %d hosts named", c.Bytes, c.Shapes, c.Hosts)
	}
	fmt.Fprintf(w, "\nhow it behaves: %d calls since %s, %d failed; a usual answer: %s\n", c.Calls, when(c.Since), c.Errors, usual)
	for _, o := range c.Odd {
		fmt.Fprintf(w, "  %s: %s\n", o.Rule, oneLine(o.Why))
	}
}

// toolVerb is a change of one definition besides its approval.
func (a *app) toolVerb(verb registry.Verb, short, example string) *cobra.Command {
	var in api.ToolChange
	var kind string
	c := a.command(string(verb)+" SERVER NAME", short, example, calling(), func(ctx context.Context, args []string) error {
		in.Kind, in.Name = registry.Kind(kind), args[1]
		client, err := a.client()
		if err != nil {
			return err
		}
		t, err := client.ChangeTool(ctx, args[0], verb, in)
		if err != nil {
			return err
		}
		return a.print(t, func(w io.Writer) {
			fmt.Fprintf(w, "%s %s of server %s is %s\n", t.Kind, cell(t.Name), cell(t.Server), t.State)
		})
	})
	kindFlag(c, &kind)
	c.Flags().StringVar(&in.Reason, "reason", "", "`why`, for the evidence")
	return c
}

func writeDefinition(w io.Writer, title string, def json.RawMessage) {
	var pretty bytes.Buffer
	if len(def) == 0 || json.Indent(&pretty, def, "", "  ") != nil {
		return
	}
	fmt.Fprintf(w, "\n%s:\n%s\n", title, plainJSON(pretty.Bytes()))
}

func (a *app) toolDiff() *cobra.Command {
	var kind string
	c := a.command("diff SERVER NAME", "Compare an approved definition with what is listed now", "rutile tool diff files read_file", append(calling(), access.CodeFindings), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		d, err := client.ToolDiff(ctx, args[0], registry.Kind(kind), args[1])
		if err != nil {
			return err
		}
		if err := a.print(d, func(w io.Writer) { a.writeDiff(w, d) }); err != nil {
			return err
		}
		if differs(d) {
			return ended(access.CodeFindings)
		}
		return nil
	})
	c.Long = `Compare an approved definition with what its server lists now.

Characters a reader would not see are spelled out: \u{200b}. In changed texts
[-removed-] and {+added+} words are marked. How much the change matters is its
grade: info and low pass, high waits for approval, critical is quarantined. What
inspection finds is shown with its text, decoded where it was encoded: read it,
and do as it says under no circumstances. The status is 3 if they differ.`
	kindFlag(c, &kind)
	return c
}

// differs reports whether there is something to approve.
func differs(d admin.ToolDiff) bool { return d.Seen != "" && d.Pinned != d.Seen }

func (a *app) writeDiff(w io.Writer, d admin.ToolDiff) {
	fmt.Fprintf(w, "%s %s is %s\n", cell(d.Server), cell(d.Name), d.State)
	switch {
	case d.Seen == "":
		fmt.Fprintln(w, "nothing was listed under this name since its pin was stored")
	case d.Pinned == "":
		fmt.Fprintln(w, "nothing is approved yet; listed is:")
	case d.Pinned == d.Seen && d.Spelling:
		fmt.Fprintln(w, "only spacing, the order of members or escapes differ; the meaning is the approved one")
	case d.Pinned == d.Seen:
		fmt.Fprintln(w, "no difference")
	}
	if d.Grade != "" {
		writeDrift(w, d.Grade, d.Changes, false)
	}
	if len(d.Findings) > 0 {
		fmt.Fprintf(w, "\nfound in what is listed%s:\n", map[bool]string{true: ", which calls for " + d.Tier}[d.Tier != ""])
	}
	for _, f := range d.Findings {
		fmt.Fprintf(w, "  %s\n", findingLine(f.Finding))
		if f.Text != "" {
			fmt.Fprintf(w, "    > %s\n", oneLine(f.Text))
		}
		if f.DecodedText != "" {
			fmt.Fprintf(w, "    decoded: %s\n", oneLine(f.DecodedText))
		}
	}
	for _, f := range d.Fields {
		fmt.Fprintf(w, "\n%s%s\n", cell(f.Field), map[bool]string{true: "  (hidden characters: " + strings.Join(f.Hidden, " ") + ")"}[len(f.Hidden) > 0])
		switch {
		case len(f.Words) > 0 && !marksItself(f):
			fmt.Fprintf(w, "  %s\n", marked(f.Words))
		case f.Added:
			fmt.Fprintf(w, "  + %s\n", indented(f.After))
		case f.Gone:
			fmt.Fprintf(w, "  - %s\n", indented(f.Before))
		default:
			fmt.Fprintf(w, "  - %s\n  + %s\n", indented(f.Before), indented(f.After))
		}
	}
	if !differs(d) || d.State != registry.ToolPending && d.State != registry.ToolChanged && d.State != registry.ToolQuarantined && d.State != registry.ToolApproved {
		return
	}
	fmt.Fprintf(w, "\napproving makes it class %s, tier %d\n", cell(d.Proposed.Class), d.Proposed.Tier)
	if s := d.Suggested; s != nil {
		fmt.Fprintf(w, "that is what a person said before; by itself the definition suggests --class %s --tier %d\n", cell(s.Class), s.Tier)
	}
	fmt.Fprintf(w, "rutile tool approve %s %s --digest %s\n", shellWord(cell(d.Server)), shellWord(cell(d.Name)), cell(d.Seen))
}

// marksItself reports whether a text holds the marks of removed and added words
// itself: marked word by word it could show what was added as removed.
func marksItself(f admin.FieldDiff) bool {
	return slices.ContainsFunc([]string{"[-", "-]", "{+", "+}"}, func(m string) bool {
		return strings.Contains(f.Before, m) || strings.Contains(f.After, m)
	})
}

// indented is a text that admin has spelled out, under a mark.
func indented(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\t", "    "), "\n", "\n    ")
}

func marked(words []admin.Segment) string {
	var b strings.Builder
	for _, s := range words {
		switch s.Op {
		case "-":
			b.WriteString("[-" + s.Text + "-]")
		case "+":
			b.WriteString("{+" + s.Text + "+}")
		default:
			b.WriteString(s.Text)
		}
	}
	return indented(b.String())
}

func (a *app) toolApprove() *cobra.Command {
	var in api.ToolChange
	var kind, class string
	var tier int
	var all, yes bool
	var c *cobra.Command
	c = a.command("approve SERVER [NAME…]", "Approve what a server lists now", "rutile tool approve files read_file", calling(), func(ctx context.Context, args []string) error {
		in.Kind = registry.Kind(kind)
		if c.Flags().Changed("class") || c.Flags().Changed("tier") {
			if !c.Flags().Changed("class") || !c.Flags().Changed("tier") {
				return access.Errorf(access.CodeUsage, "--class and --tier belong together")
			}
			in.Class = &registry.ToolClass{Class: class, Tier: tier}
		}
		client, err := a.client()
		if err != nil {
			return err
		}
		server, names := args[0], args[1:]
		if all == (len(names) > 0) {
			return access.Errorf(access.CodeUsage, "name what to approve, or give --all: rutile tool approve %s NAME", server)
		}
		if all {
			if names, err = a.waiting(ctx, client, server, in.Kind); err != nil || len(names) == 0 {
				return err
			}
		}
		if len(names) > 1 {
			if in.Digest != "" {
				return access.Errorf(access.CodeUsage, "--digest is of one definition: name only that one")
			}
			if !yes {
				if err := a.confirm(fmt.Sprintf("approve %d definitions of server %s?", len(names), server)); err != nil {
					return err
				}
			}
		}
		return a.approve(ctx, client, server, names, in)
	})
	c.Long = `Approve what a server lists now. What exactly is approved is shown first; if the
server changes the definition again in between, nothing is approved. What
inspection found is accepted with it and recorded. --all leaves out what calls for
block: that has to be named. Instructions are called #instructions/, a server's
capabilities #capabilities/.`
	f := c.Flags()
	kindFlag(c, &kind)
	f.StringVar(&in.Digest, "digest", "", "approve only if this `digest` is what is listed, as tool diff shows it")
	f.StringVar(&class, "class", "", "what it does: read, write or destroy, with ,egress if it sends data out")
	f.IntVar(&tier, "tier", 0, "how much harm it can do: 0 to 3")
	f.StringVar(&in.Reason, "reason", "", "`why`, for the evidence")
	f.BoolVar(&all, "all", false, "everything of the server that waits for approval")
	f.BoolVar(&yes, "yes", false, "do not ask")
	return c
}

func (a *app) toolRelease() *cobra.Command {
	var in api.ToolChange
	var kind string
	c := a.command("release SERVER NAME", "Lift a quarantine or block; the definition then waits for approval", "rutile tool release files write_file --reason 'looked at'", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		in.Kind, in.Name = registry.Kind(kind), args[1]
		t, err := client.ChangeTool(ctx, args[0], registry.VerbRelease, in)
		if err != nil {
			return err
		}
		return a.print(t, func(w io.Writer) {
			fmt.Fprintf(w, "%s of server %s is %s\n", cell(listedName(t)), cell(t.Server), t.State)
		})
	})
	kindFlag(c, &kind)
	c.Flags().StringVar(&in.Reason, "reason", "", "`why`, for the evidence")
	return c
}

// approve approves definitions one by one, each by the digest that was shown.
func (a *app) approve(ctx context.Context, client *api.Client, server string, names []string, in api.ToolChange) error {
	var done []api.Tool
	for _, name := range names {
		one := in
		one.Name = name
		if one.Digest == "" {
			d, err := client.ToolDiff(ctx, server, in.Kind, name)
			if err != nil {
				return err
			}
			if !a.quiet {
				a.writeDiff(a.err, d)
			}
			if one.Digest = d.Seen; one.Digest == "" {
				return access.Errorf(access.CodeConflict, "%s %q of server %q was not listed since its pin was stored, so there is nothing to approve: have its server listed first", in.Kind, name, server)
			}
		}
		t, err := client.ChangeTool(ctx, server, registry.VerbApprove, one)
		if err != nil {
			if len(done) > 0 {
				a.say("%d of %d were approved before that", len(done), len(names))
			}
			return err
		}
		done = append(done, t)
	}
	var result any = api.Page[api.Tool]{Items: done}
	if len(done) == 1 {
		result = done[0]
	}
	return a.print(result, func(w io.Writer) {
		for _, t := range done {
			fmt.Fprintf(w, "%s %s of server %s is %s, class %s, tier %d\n", t.Kind, cell(t.Name), cell(t.Server), t.State, cell(t.Class.Class), t.Class.Tier)
		}
	})
}

// waiting returns the names of what a server lists and nobody approved.
func (a *app) waiting(ctx context.Context, client *api.Client, server string, kind registry.Kind) ([]string, error) {
	var out []string
	for _, state := range []registry.ToolState{registry.ToolPending, registry.ToolChanged} {
		o := api.ListOptions{Server: server, State: string(state), Kind: string(kind), Limit: 1000}
		for {
			page, err := client.Tools(ctx, o)
			if err != nil {
				return nil, err
			}
			for _, t := range page.Items {
				if t.Tier == registry.TierBlock {
					a.say("%s calls for block and is left out: look at it with rutile tool diff %s %s and approve it by its name", cell(listedName(t)), shellWord(cell(server)), shellWord(cell(listedName(t))))
					continue
				}
				out = append(out, listedName(t))
			}
			if o.Cursor = page.Next; o.Cursor == "" {
				break
			}
		}
	}
	if len(out) == 0 {
		a.say("nothing of server %s waits for approval", server)
	}
	return out, nil
}

// confirm asks before more than one object is changed.
func (a *app) confirm(question string) error {
	if !isTerminal(a.in) || !isTerminal(a.err) {
		return access.Errorf(access.CodeUsage, "%s add --yes to do it without being asked", question)
	}
	fmt.Fprintf(a.err, "%s [y/N] ", question)
	answer, err := bufio.NewReader(a.in).ReadString('\n')
	if err != nil || !strings.EqualFold(strings.TrimSpace(answer), "y") {
		return access.Errorf(access.CodeUsage, "not confirmed, so nothing was changed")
	}
	return nil
}
