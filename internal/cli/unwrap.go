package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"rutile/internal/access"
	"rutile/internal/discovery/wrap"
)

// unwrapping is what unwrap was asked for.
type unwrapping struct {
	clients    []string
	all, yes   bool
	fromBackup string
}

func (a *app) unwrap() *cobra.Command {
	in := unwrapping{}
	c := a.command("unwrap", "Give clients their own servers back, to the byte", "rutile unwrap --all", []access.Code{access.CodePartial}, func(ctx context.Context, _ []string) error {
		return a.unwrapAll(ctx, in)
	})
	c.Long = `Undo rutile wrap. A file that nobody changed since is restored to its original
bytes. In one that was changed only our entries are put back, after showing the
edits and asking; later edits and removed entries stay as they are, and so does an
entry that leads elsewhere by now.

It needs no gateway and nothing but the folder wrap in the data directory, or the
copy of it --from-backup names. What was registered at the gateway stays there:
see rutile server list. The status is 5 when a file could not be restored; the
others are done.`
	f := c.Flags()
	f.StringArrayVar(&in.clients, "client", nil, "a `client` to unwrap; may be repeated")
	f.BoolVar(&in.all, "all", false, "every client")
	f.BoolVar(&in.yes, "yes", false, "do not ask where a file was changed since")
	f.StringVar(&in.fromBackup, "from-backup", "", "a `folder` with a copy of the folder wrap, or of the data directory")
	_ = c.RegisterFlagCompletionFunc("client", completeClients)
	return c
}

// unwrapLine is what became of one entry.
type unwrapLine struct {
	Client string `json:"client"`
	File   string `json:"file"`
	Entry  string `json:"entry,omitempty"`
	Result string `json:"result"` // restored, merged, removed, reverted, failed or declined
	Why    string `json:"why,omitempty"`
}

type unwrapResult struct {
	Entries []unwrapLine `json:"entries"`
}

func (a *app) unwrapAll(ctx context.Context, in unwrapping) error {
	if in.all == (len(in.clients) > 0) {
		return access.Errorf(access.CodeUsage, "say which client with --client, or --all")
	}
	d, err := a.desk()
	if err != nil {
		return err
	}
	if in.fromBackup != "" {
		if d.book.Dir, err = filepath.Abs(in.fromBackup); err != nil {
			return access.Errorf(access.CodeUsage, "--from-backup: %w", err)
		}
		if filepath.Base(d.book.Dir) != "wrap" {
			if names, err := (wrap.System{}).List(filepath.Join(d.book.Dir, "wrap")); err == nil && len(names) > 0 {
				d.book.Dir = filepath.Join(d.book.Dir, "wrap")
			}
		}
	}
	free, err := d.book.Lock()
	if err != nil {
		return access.Errorf(access.CodeConflict, "%w", err)
	}
	defer free()
	bad := d.book.Settle()
	records, _ := d.book.Records()
	out := unwrapResult{Entries: []unwrapLine{}}
	ask := bufio.NewReader(a.in)
	for _, r := range records {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if in.all || slices.Contains(in.clients, r.Client) {
			a.unwrapFile(d, in, ask, r, &out)
		}
	}
	if bad != nil {
		out.Entries = append(out.Entries, unwrapLine{Result: resultFailed, Why: bad.Error()})
	}
	if err := a.print(out, func(w io.Writer) {
		if len(out.Entries) == 0 {
			a.say("nothing is wrapped")
			return
		}
		t := a.table("CLIENT", "FILE", "ENTRY", "RESULT", "WHY")
		for _, l := range out.Entries {
			t.add(l.Client, l.File, l.Entry, l.Result, l.Why)
		}
		t.write(w)
	}); err != nil {
		return err
	}
	if slices.ContainsFunc(out.Entries, func(l unwrapLine) bool { return l.Result == resultFailed || l.Result == resultDeclined }) {
		return ended(access.CodePartial)
	}
	return nil
}

const resultDeclined = "declined"

func (a *app) unwrapFile(d *desk, in unwrapping, ask *bufio.Reader, r wrap.Record, out *unwrapResult) {
	line := unwrapLine{Client: r.Client, File: d.paths.Show(r.Path)}
	if !in.yes && len(r.Pieces()) > 0 {
		before, after, exact, err := d.book.UndonePreview(r.Path)
		if err == nil && !exact && string(before) != string(after) && !a.agreed(d, ask, r, before, after) {
			line.Result, line.Why = resultDeclined, "it was changed since it was wrapped: give --yes to put back our entries and keep the changes"
			out.Entries = append(out.Entries, line)
			return
		}
	}
	entries, err := d.book.Unwrap(r.Path)
	if err != nil {
		line.Result, line.Why = resultFailed, err.Error()
		out.Entries = append(out.Entries, line)
		return
	}
	for _, e := range entries {
		l := line
		l.Entry, l.Result, l.Why = e.Name, e.Result, e.Why
		out.Entries = append(out.Entries, l)
	}
}

// agreed shows how a file would change that somebody changed since, and asks. Only
// a person at a terminal can agree.
func (a *app) agreed(d *desk, ask *bufio.Reader, r wrap.Record, before, after []byte) bool {
	if !isTerminal(a.in) {
		return false
	}
	fmt.Fprintln(a.err, lines(diffText(d.paths.Show(r.Path), string(before), string(after), func(s string) string { return blanked(s, nil) })))
	fmt.Fprint(a.err, "it was changed since it was wrapped; put our entries back and keep the changes? [y/N] ")
	answer, err := ask.ReadString('\n')
	return err == nil && strings.EqualFold(strings.TrimSpace(answer), "y")
}

func (a *app) status() *cobra.Command {
	in := scope{}
	c := a.command("status", "Say which servers of clients go through the gateway", "rutile status", []access.Code{access.CodeFindings, access.CodePartial}, func(ctx context.Context, _ []string) error {
		return a.statusAll(ctx, in)
	})
	c.Long = `Say of every server that a client on this machine is configured with whether it
goes through the gateway:
  wrapped        it does
  bypassed       it does not, and the same server goes through it elsewhere
  reverted       it did, and its client or somebody wrote the entry anew
  new-unwrapped  it never did
  missing        it did, and the entry or its file is not there any more
It needs no gateway. The status is 3 when an entry is bypassed, reverted or missing.`
	in.flags(c)
	return c
}

// statusResult is what status says.
type statusResult struct {
	Entries []wrap.Standing `json:"entries"`
	Routed  int             `json:"routed"`
	Total   int             `json:"total"`
}

func (a *app) statusAll(ctx context.Context, in scope) error {
	d, err := a.desk()
	if err != nil {
		return err
	}
	a.registered(ctx, d.describe) // so that an address of the gateway is known as one
	files, err := a.files(ctx, d, in)
	if err != nil {
		return err
	}
	records, bad := d.book.Records()
	out := statusResult{Entries: wrap.Compare(files, records, d.describe, in.wants, d.paths.Show)}
	off := false
	for _, e := range out.Entries {
		switch e.Status {
		case wrap.StatusWrapped:
			out.Routed++
		case wrap.StatusNew:
		default:
			off = true
		}
		if e.Status != wrap.StatusMissing {
			out.Total++
		}
	}
	if err := a.print(out, func(w io.Writer) {
		t := a.table("CLIENT", "FILE", "ENTRY", "STATUS", "SERVER", "WHY")
		for _, e := range out.Entries {
			t.add(e.Client, e.File, e.Entry, e.Status, e.Server, e.Why)
		}
		t.write(w)
		a.say("%d of %d entries go through the gateway", out.Routed, out.Total)
	}); err != nil {
		return err
	}
	switch {
	case bad != nil:
		return access.Errorf(access.CodePartial, "%w", bad)
	case off:
		return ended(access.CodeFindings)
	}
	return nil
}
