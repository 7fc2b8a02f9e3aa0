package daemon

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/url"
	"strings"
	"time"

	"rutile/internal/api"
	"rutile/internal/console"
	"rutile/internal/finding"
	"rutile/internal/grant"
	"rutile/internal/notice"
)

// buildNotices makes what tells people by mail.
func (d *Daemon) buildNotices(roots *x509.CertPool) error {
	var err error
	d.notices, err = notice.New(notice.Config{
		Mails: func() map[string]notice.Mail { return d.states.admin.Load().Current().Mails }, Waiting: d.waiting, Notices: d.store, Secrets: hookSecrets{d.vault},
		Dial: d.egress().Dialer().DialContext, Roots: roots, Home: d.page(""), Log: d.log, Now: time.Now, Trouble: d.mailTrouble,
	})
	if err != nil {
		return err
	}
	d.closing("notices", func(context.Context) error { d.notices.Close(); return nil })
	return nil
}

// page is the address of a page of the console.
func (d *Daemon) page(path string) string {
	return strings.TrimSuffix(d.OperatorsURL, "/") + console.Home + path
}

// waiting is what waits for people.
func (d *Daemon) waiting(ctx context.Context, m *notice.Mail) ([]notice.Item, error) {
	out, err := d.openFindings(ctx, finding.Severity(m.Least))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	for _, r := range d.broker.Pending(func(r *grant.Request) bool { return r.State == grant.RequestPending && now.Before(r.Expires) }) {
		out = append(out, notice.Item{Key: "request " + r.ID, About: notice.AboutRequest, Rank: 10, Since: r.Created, URL: d.ApprovalURL(r.ID), Owner: d.ownerOf(r.Entitlement),
			Title: fmt.Sprintf("Agent %s asks for %s, of tier %d, until %s", notice.Name(r.Party.Agent), notice.Name(r.Target.Server+"/"+r.Target.Name), r.Target.Tier, r.Expires.UTC().Format(time.DateTime+" UTC"))})
	}
	for _, state := range []grant.State{grant.ReviewDue, grant.ReviewOverdue} {
		owed, err := d.broker.Archive().Reviews(ctx, grant.Filter{State: state, Limit: maxAsked})
		if err != nil {
			return nil, err
		}
		for _, r := range owed {
			out = append(out, notice.Item{Key: "glass " + r.Grant + " " + string(r.State), About: notice.AboutGlass, Rank: 20, Since: r.Changed, URL: d.page("grants/" + url.PathEscape(r.Grant)), Owner: r.Owner,
				Title: fmt.Sprintf("Somebody broke the glass for agent %s; a review is %s, by %s", notice.Name(r.Party.Agent), r.State, r.Due.UTC().Format(time.DateTime+" UTC"))})
		}
	}
	return out, nil
}

// ownerOf is who owns an entitlement, "" for none.
func (d *Daemon) ownerOf(entitlement string) string {
	return d.states.admin.Load().Current().Rights[entitlement].Owner
}

func (d *Daemon) openFindings(ctx context.Context, least finding.Severity) ([]notice.Item, error) {
	list, err := d.Findings.List(ctx, finding.Filter{State: finding.Open, From: least})
	if err != nil {
		return nil, err
	}
	out := make([]notice.Item, 0, len(list))
	for i := range list {
		f := &list[i]
		out = append(out, notice.Item{
			Key: fmt.Sprintf("%s %d", f.ID, f.Opened.UnixMilli()), About: notice.AboutFinding, Rank: f.Severity.Rank(), Since: f.Opened, Owner: f.Owner, URL: d.page("findings"),
			Title: fmt.Sprintf("%s: %s, about %s %s", f.Severity, notice.Name(strings.ReplaceAll(f.Rule, ".", "/")), notice.Name(f.Subject.Kind), notice.Name(f.Subject.ID)),
		})
	}
	return out, nil
}

// mailTrouble makes a finding of a receiver that cannot be told, and lets go of it.
func (d *Daemon) mailTrouble(m *notice.Mail, why string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	says := finding.Says{Source: "mail:" + m.ID + "/" + d.node(), Covers: finding.Everything}
	if why != "" {
		says.Raised = []finding.Raised{{
			Rule: "mail.failing", Subject: finding.Subject{Kind: finding.SubjectMail, ID: m.ID}, Place: d.node(), Severity: finding.High, Owner: m.Owner,
			Why: "mail is not taken, so people are not told: " + why, Next: "rutile doctor",
		}}
	}
	if err := d.Findings.Tell(ctx, says); err != nil {
		d.log.Warn("a finding about mail cannot be kept", "mail", m.ID, "why", why, "error", err)
	}
}

func (d *Daemon) checkMails() []api.Check {
	var out []api.Check
	for id, m := range d.states.admin.Load().Current().Mails {
		if m.State != notice.Active {
			continue
		}
		if why := d.notices.Why(id); why != "" {
			out = append(out, api.Check{Name: "mail " + id, Level: api.LevelBroken, Reason: why, Mend: "see to the server and its credential; what waits is told then"})
		} else {
			out = append(out, good("mail "+id, "%s, at most one mail in %s to an address", m.Server, m.Every))
		}
	}
	return out
}
