package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"rutile/internal/api"
	"rutile/internal/webhook"
)

func (a *app) webhook() *cobra.Command {
	return a.group("webhook", "Receivers of what people are asked", "rutile webhook list", a.webhookList())
}

func (a *app) webhookList() *cobra.Command {
	var o api.ListOptions
	c := a.command("list", "List declared webhooks and how they fare", "rutile webhook list", calling(), func(ctx context.Context, _ []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		page, err := client.Webhooks(ctx, o)
		if err != nil {
			return err
		}
		defer a.more(page.More, page.Next)
		return a.print(page, func(w io.Writer) {
			if len(page.Items) == 0 {
				a.say("no webhooks; declare one in a manifest of kind Webhook and run: rutile apply -f FILE")
				return
			}
			t := a.table("WEBHOOK", "STATE", "OWNER", "FORM", "EVENTS", "URL", "WAITING", "DELIVERED", "FAILED", "LAST")
			for _, h := range page.Items {
				t.add(h.ID, h.State, h.Owner, h.Form, strings.Join(h.Events, " "), h.URL, itoa(h.Status.Waiting), fmt.Sprint(h.Status.Delivered),
					fmt.Sprint(h.Status.Failed+h.Status.Dropped), lastOf(h.Status.Last))
			}
			t.write(w)
		})
	})
	c.Flags().StringVar(&o.State, "state", "", "only those in this `state`: active, retired")
	paging(c, &o)
	return c
}

// lastOf says how the last delivery went.
func lastOf(d *webhook.Delivery) string {
	switch {
	case d == nil:
		return ""
	case d.State == webhook.Delivered:
		return fmt.Sprintf("delivered %s (%d)", d.About, d.Status)
	}
	return fmt.Sprintf("%s %s, attempt %d: %s", d.State, d.About, d.Attempts, d.Why)
}
