package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/discovery/export"
)

func (a *app) inventoryExport() *cobra.Command {
	var as, rows string
	var identifiable bool
	var filter admin.InventoryFilter
	c := a.command("export", "Write the inventory in a format of others", "rutile inventory export --as csv --rows sightings > sightings.csv", calling(), func(ctx context.Context, _ []string) error {
		if as == "" {
			return access.Errorf(access.CodeUsage, "say what to write it as: --as %s", strings.Join(export.Formats(), ", "))
		}
		o := export.Options{As: export.Format(as), Rows: export.Rows(rows), Identifiable: identifiable}
		if err := o.Check(); err != nil {
			return &access.Error{Code: access.CodeUsage, Msg: err.Error()}
		}
		client, err := a.client()
		if err != nil {
			return err
		}
		doc, err := client.ExportFound(ctx, o, filter)
		if err != nil {
			return err
		}
		_, _ = a.out.Write(doc) // it keeps the error
		return nil
	})
	c.Long = `Write the inventory in a format of others.

The same state gives the same bytes, and the id of the state stands in them as the
snapshot. Text that somebody else wrote is text in every format: what cannot be
seen is spelled out, and a cell a spreadsheet would run begins with a quote.`
	f := c.Flags()
	f.StringVar(&as, "as", "", "write it as this `format`: "+strings.Join(export.Formats(), ", "))
	f.StringVar(&rows, "rows", "", "of csv, one row for each of these `things`: "+strings.Join(export.AllRows(), ", ")+" (default servers)")
	f.BoolVar(&identifiable, "identifiable", false, "name machines and people where the format leaves them out")
	filtering(c, &filter)
	_ = c.RegisterFlagCompletionFunc("as", cobra.FixedCompletions(export.Formats(), cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("rows", cobra.FixedCompletions(export.AllRows(), cobra.ShellCompDirectiveNoFileComp))
	return c
}
