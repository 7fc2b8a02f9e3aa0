package daemon

import (
	"cmp"
	"net/url"
	"slices"

	"rutile/internal/admin"
	"rutile/internal/finding"
	"rutile/internal/webhook"
)

// maxTold is how many findings of one change are told, the worst first: the first look at
// a machine may raise hundreds.
const maxTold = 20

// tellFindings tells the webhooks what is wrong, and what is not any more.
func (d *Daemon) tellFindings(opened, ended []finding.Finding) {
	if d.hooks == nil {
		return // nothing is served yet
	}
	for _, x := range []struct {
		event string
		list  []finding.Finding
	}{{webhook.FindingOpened, opened}, {webhook.FindingResolved, ended}} {
		slices.SortStableFunc(x.list, func(a, b finding.Finding) int { return cmp.Compare(b.Severity.Rank(), a.Severity.Rank()) })
		for i := range x.list[:min(len(x.list), maxTold)] {
			e := webhook.Event{Type: x.event, Finding: d.aboutFinding(&x.list[i])}
			if e.At = e.Finding.Since; i == 0 {
				e.Finding.More = max(0, len(x.list)-maxTold)
			}
			d.hooks.Tell(e)
		}
	}
}

func (d *Daemon) aboutFinding(f *finding.Finding) *webhook.Finding {
	out := &webhook.Finding{
		ID: f.ID, Rule: f.Rule, Severity: string(f.Severity), Kind: f.Subject.Kind, Subject: f.Subject.ID, Place: f.Place,
		Tier: f.Tier, Owner: f.Owner, State: string(f.State), Since: f.Opened, URL: d.page("findings"),
	}
	if f.State == finding.Resolved {
		out.Since = f.Resolved
	}
	if out.Since.IsZero() { // it was raised before that was kept
		out.Since = f.First
	}
	return out
}

// tellReceipt tells the webhooks what a revocation came to.
func (d *Daemon) tellReceipt(r admin.Receipt) {
	if d.hooks == nil {
		return
	}
	e := webhook.Event{Type: webhook.RevocationDone, At: r.At, Revocation: &webhook.Revocation{
		ID: r.Revocation, Epoch: r.Epoch, Kind: r.Kind, Target: r.ID, By: r.Actor, State: r.State, Sessions: len(r.Sessions), Grants: len(r.Grants),
		Requests: len(r.Requests), Calls: r.Calls, DeniedUS: r.DeniedUS, Amended: r.Amended, URL: d.page("receipts/" + url.PathEscape(r.Revocation)),
	}}
	if r.State == admin.ReceiptPartial {
		e.Type = webhook.RevocationPartial
	}
	d.hooks.Tell(e)
}
