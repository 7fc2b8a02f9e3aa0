package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/api"
)

// manifests reads what -f names; "-" is standard input.
func (a *app) manifests(paths []string) ([]admin.Document, error) {
	if len(paths) == 0 {
		return nil, access.Errorf(access.CodeUsage, "say which manifests: -f FILE, -f DIRECTORY, or -f - for standard input")
	}
	var files []string
	var docs []admin.Document
	for _, p := range paths {
		if p != "-" {
			files = append(files, p)
			continue
		}
		dir, err := os.Getwd()
		if err != nil {
			return nil, err
		}
		d, err := admin.ParseReader("standard input", dir, a.in)
		if err != nil {
			return nil, err
		}
		docs = append(docs, d...)
	}
	if len(files) > 0 {
		d, err := admin.ParseFiles(files...)
		if err != nil {
			return nil, err
		}
		docs = append(docs, d...)
	}
	return docs, nil
}

func (a *app) apply() *cobra.Command {
	var paths []string
	var dryRun bool
	c := a.command("apply", "Bring the declared objects to the stated form", "rutile apply -f examples/filesystem.yaml", calling(), func(ctx context.Context, _ []string) error {
		docs, err := a.manifests(paths)
		if err != nil {
			return err
		}
		client, err := a.client()
		if err != nil {
			return err
		}
		do := client.Apply
		if dryRun {
			do = client.Diff
		}
		got, err := do(ctx, docs)
		if err != nil {
			return err
		}
		if err := a.print(got, func(w io.Writer) { a.plan(w, got) }); err != nil {
			return err
		}
		a.warn(got.Warnings)
		return nil
	})
	c.Long = `Bring the declared objects to the stated form.

Everything in the files is applied, or nothing is. What is not named stands as it
is. A second apply of the same files changes nothing. Apply never lifts what a
person or the gateway has quarantined, blocked, suspended or retired. A Policy is
text and no standing: state: retired takes it out of force, its id is enough for
that, and its manifest without a state brings it back.`
	c.Flags().StringArrayVarP(&paths, "file", "f", nil, "manifest `file` or directory; - reads standard input; may be repeated")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be done and do nothing")
	return c
}

func (a *app) diff() *cobra.Command {
	var paths []string
	c := a.command("diff", "Show what apply would change", "rutile diff -f examples/filesystem.yaml", append(calling(), access.CodeFindings), func(ctx context.Context, _ []string) error {
		docs, err := a.manifests(paths)
		if err != nil {
			return err
		}
		client, err := a.client()
		if err != nil {
			return err
		}
		got, err := client.Diff(ctx, docs)
		if err != nil {
			return err
		}
		if err := a.print(got, func(w io.Writer) { a.plan(w, got) }); err != nil {
			return err
		}
		if got.Changes() {
			return ended(access.CodeFindings)
		}
		return nil
	})
	c.Long = "Show what apply would change. The status is 0 if nothing would, and 3 if something would."
	c.Flags().StringArrayVarP(&paths, "file", "f", nil, "manifest `file` or directory; - reads standard input; may be repeated")
	return c
}

func (a *app) export() *cobra.Command {
	return a.command("export", "Write the present state as manifests, pins included", "rutile export > state.yaml", calling(), func(ctx context.Context, _ []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		got, err := client.Export(ctx)
		if err != nil {
			return err
		}
		// The manifests spell out by themselves what a reader would not see.
		return a.print(got, func(w io.Writer) { _, _ = io.WriteString(w, got.Manifests) })
	})
}

// plan writes what an apply did or would do.
func (a *app) plan(w io.Writer, got api.Applied) {
	counts := map[admin.Action]int{}
	for _, it := range got.Items {
		counts[it.Action]++
		t := &table{colour: a.coloured()}
		fmt.Fprintf(w, "%s%s %s/%s\n", t.paint(string(it.Action), false), strings.Repeat(" ", 9-len(it.Action)), it.Kind, cell(it.ID))
		if it.Action == admin.ActionUpdate || a.verbose {
			for _, f := range it.Fields {
				fmt.Fprintf(w, "          %s: %s → %s\n", cell(f.Field), value(f.Before), value(f.After))
			}
		}
		if len(it.Runs) > 0 && it.Action != admin.ActionUnchanged {
			fmt.Fprintf(w, "          runs: %s\n", cell(command(it.Runs)))
		}
		for _, d := range it.Dangers {
			fmt.Fprintf(w, "          danger: %s\n", cell(d))
		}
		for _, n := range it.Notes {
			fmt.Fprintf(w, "          note: %s\n", cell(n))
		}
	}
	verb := "would be "
	if got.Applied {
		verb = ""
	}
	if !got.Changes() {
		fmt.Fprintf(w, "nothing changes, %d unchanged\n", counts[admin.ActionUnchanged])
		return
	}
	removed := ""
	if n := counts[admin.ActionDelete]; n > 0 {
		removed = fmt.Sprintf("%d %sremoved, ", n, verb)
	}
	fmt.Fprintf(w, "%d %screated, %d %supdated, %s%d unchanged\n", counts[admin.ActionCreate], verb, counts[admin.ActionUpdate], verb, removed, counts[admin.ActionUnchanged])
}

func (a *app) warn(list []api.Warning) {
	for _, w := range list {
		fmt.Fprintf(a.err, "warning: server %s: %s\n", cell(w.Server), cell(w.Message))
	}
}

// value shows one side of a change.
func value(raw json.RawMessage) string {
	if len(raw) == 0 {
		return "(none)"
	}
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return cell(s)
	}
	return cell(string(raw))
}

// command shows an argument vector as a shell would read it.
func command(argv []string) string {
	out := make([]string, len(argv))
	for i, s := range argv {
		out[i] = shellWord(s)
	}
	return strings.Join(out, " ")
}
