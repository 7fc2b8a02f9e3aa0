package console

import (
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"

	"rutile/internal/admin"
	"rutile/internal/grant"
)

// standing says what is so now and what happens next.
func (c *Console) standing(s session, k admin.Card, now time.Time) []string {
	switch k.State {
	case grant.RequestPending:
		return pending(s, k, now)
	case grant.RequestIssued:
		return issued(k)
	case grant.RequestDenied:
		return []string{"Denied by " + line(k.DecidedBy) + " at " + stamp(k.Changed) + because(k.Why) + ".", "The call is refused. The agent may ask again, which is another request."}
	case grant.RequestExpired:
		return []string{"Nobody answered until " + stamp(k.Expires) + ", so it is over.", "The call is refused. The agent must ask again."}
	case grant.RequestWithdrawn:
		return []string{"Withdrawn at " + stamp(k.Changed) + because(k.Why) + ".", "There is nothing to answer any more."}
	case grant.RequestInvalid:
		return []string{"Void since " + stamp(k.Changed) + because(k.Why) + ".", "What the agent asked for is not what there is now. It must ask again."}
	case grant.RequestSuperseded:
		return []string{"Another request took its place" + because(k.Why) + "."}
	default:
		return []string{"It is " + line(string(k.State)) + ", which this version does not know. There is nothing to answer."}
	}
}

func pending(s session, k admin.Card, now time.Time) []string {
	if !now.Before(k.Expires) {
		return []string{"Nobody answered until " + stamp(k.Expires) + ", so it is over.", "The call is refused. The agent must ask again."}
	}
	var out []string
	if !k.Current {
		out = append(out, "The definition changed since the agent asked. An approval makes the request void, and the agent must ask again.")
	}
	missing := k.Rule.People() - len(k.Approvals)
	switch {
	case by(k, s.actor.String()):
		out = append(out, fmt.Sprintf("You have approved. It has %d of %d approvals; it waits for somebody else to open this page.", len(k.Approvals), k.Rule.People()))
	case missing > 1:
		out = append(out, fmt.Sprintf("It waits for an answer. It has %d of %d approvals; yours would not be the last.", len(k.Approvals), k.Rule.People()))
	default:
		out = append(out, "It waits for an answer. With your approval the grant is issued at once.")
	}
	return out
}

func issued(k admin.Card) []string {
	out := []string{"Approved" + because(k.Why) + ". The last to answer was " + line(k.DecidedBy) + " at " + stamp(k.Changed) + "."}
	g := k.Issued
	if g == nil {
		return append(out, "Its grant cannot be found: see rutile grant show "+line(k.Grant))
	}
	return append(out, stands(g)...)
}

// stands says what a grant permits, what happens next, and what can be done.
func stands(g *grant.Grant) []string {
	id := line(g.ID)
	back := "To take it back: rutile grant revoke " + id
	until, spent := stamp(g.Expires), fmt.Sprintf("%d spent", g.Counts.Spent)
	covers := "for " + calls(g.UsesMax) + " calls; " + spent
	switch g.UsesMax {
	case 0:
		covers = "for any number of calls; " + spent
	case 1:
		covers = "for one call"
	}
	switch g.State {
	case grant.GrantScheduled:
		return []string{"Grant " + id + " begins at " + stamp(g.NotBefore) + " and stands until " + until + " " + covers + ". Before that the agent's call is denied and told when to come again; nobody is asked anew.", back}
	case grant.GrantActive:
		return []string{"Grant " + id + " stands until " + until + " " + covers + ". The agent's call goes through when it comes again.", back}
	case grant.GrantSuspended:
		return []string{"Grant " + id + " is suspended" + because(g.Why) + "; " + spent + ". It permits nothing until that is mended, and ends at " + until + ".", back}
	case grant.GrantRevoking:
		return []string{"Grant " + id + " was revoked" + because(g.Why) + "; " + spent + ". It permits nothing any more. The issuers of credentials made under it are being asked to end them."}
	case grant.GrantRevokePartial:
		return []string{"Grant " + id + " was revoked" + because(g.Why) + "; " + spent + ". It permits nothing any more.", "Not ended yet: " + line(grant.Remains(g.Left)) + ". It is tried again until it has ended."}
	default:
		return []string{"Grant " + id + " is " + line(string(g.State)) + because(g.Why) + "; " + spent + "."}
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
