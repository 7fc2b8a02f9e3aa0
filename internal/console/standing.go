package console

import (
	"time"
	"unicode"
	"unicode/utf8"

	"rutile/internal/admin"
	"rutile/internal/grant"
)

// standing says what is so now and what happens next.
func (c *Console) standing(w words, s session, k admin.Card, now time.Time) []string {
	switch k.State {
	case grant.RequestPending:
		return pending(w, s, k, now)
	case grant.RequestIssued:
		return issued(w, k)
	case grant.RequestDenied:
		return []string{w.t("Denied by %s at %s.", line(k.DecidedBy), stamp(k.Changed)+because(k.Why)), w.t("The call is refused. The agent may ask again, which is another request.")}
	case grant.RequestExpired:
		return []string{w.t("Nobody answered until %s, so it is over.", stamp(k.Expires)), w.t("The call is refused. The agent must ask again.")}
	case grant.RequestWithdrawn:
		return []string{w.t("Withdrawn at %s.", stamp(k.Changed)+because(k.Why)), w.t("There is nothing to answer any more.")}
	case grant.RequestInvalid:
		return []string{w.t("Void since %s.", stamp(k.Changed)+because(k.Why)), w.t("What the agent asked for is not what there is now. It must ask again.")}
	case grant.RequestSuperseded:
		return []string{w.t("Another request took its place%s.", because(k.Why))}
	default:
		return []string{w.t("It is %s, which this version does not know. There is nothing to answer.", line(string(k.State)))}
	}
}

func pending(w words, s session, k admin.Card, now time.Time) []string {
	if !now.Before(k.Expires) {
		return []string{w.t("Nobody answered until %s, so it is over.", stamp(k.Expires)), w.t("The call is refused. The agent must ask again.")}
	}
	var out []string
	if !k.Current {
		out = append(out, w.t("The definition changed since the agent asked. An approval makes the request void, and the agent must ask again."))
	}
	missing := k.Rule.People() - len(k.Approvals)
	switch {
	case by(k, s.actor.String()):
		out = append(out, w.t("You have approved. It has %d of %d approvals; it waits for somebody else to open this page.", len(k.Approvals), k.Rule.People()))
	case missing > 1:
		out = append(out, w.t("It waits for an answer. It has %d of %d approvals; yours would not be the last.", len(k.Approvals), k.Rule.People()))
	default:
		out = append(out, w.t("It waits for an answer. With your approval the grant is issued at once."))
	}
	return out
}

func issued(w words, k admin.Card) []string {
	out := []string{w.t("Approved%s. The last to answer was %s at %s.", because(k.Why), line(k.DecidedBy), stamp(k.Changed))}
	g := k.Issued
	if g == nil {
		return append(out, w.t("Its grant cannot be found: see rutile grant show %s", line(k.Grant)))
	}
	return append(out, stands(w, g)...)
}

// stands says what a grant permits, what happens next, and what can be done.
func stands(w words, g *grant.Grant) []string {
	id := line(g.ID)
	back := w.t("To take it back: rutile grant revoke %s", id)
	until, spent := stamp(g.Expires), w.t("%d spent", g.Counts.Spent)
	covers := w.t("for %d calls; %s", g.UsesMax, spent)
	switch g.UsesMax {
	case 0:
		covers = w.t("for any number of calls; %s", spent)
	case 1:
		covers = w.t("for one call")
	}
	switch g.State {
	case grant.GrantScheduled:
		return []string{w.t("Grant %s begins at %s and stands until %s %s. Before that the agent's call is denied and told when to come again; nobody is asked anew.", id, stamp(g.NotBefore), until, covers), back}
	case grant.GrantActive:
		return []string{w.t("Grant %s stands until %s %s. The agent's call goes through when it comes again.", id, until, covers), back}
	case grant.GrantSuspended:
		return []string{w.t("Grant %s is suspended%s; %s. It permits nothing until that is mended, and ends at %s.", id, because(g.Why), spent, until), back}
	case grant.GrantRevoking:
		return []string{w.t("Grant %s was revoked%s; %s. It permits nothing any more. The issuers of credentials made under it are being asked to end them.", id, because(g.Why), spent)}
	case grant.GrantRevokePartial:
		return []string{w.t("Grant %s was revoked%s; %s. It permits nothing any more.", id, because(g.Why), spent), w.t("Not ended yet: %s. It is tried again until it has ended.", line(grant.Remains(g.Left)))}
	default:
		return []string{w.t("Grant %s is %s%s; %s.", id, w.t(line(string(g.State))), because(g.Why), spent)}
	}
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + line(why)
}

// sentence begins with a capital and ends with a stop.
func sentence(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + s[n:] + "."
}
