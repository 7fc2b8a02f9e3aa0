package pdp

import (
	"slices"
	"strconv"
	"strings"

	"rutile/internal/access"
	"rutile/internal/policy"
)

// explain says in words why policy denies and what would help. It names rules
// and what was asked, never a threshold, a condition or an argument's value.
func explain(f *Facts, r *access.Request, v *policy.Verdict) (class access.Class, reason, help string) {
	what := "agent " + quote(r.Who.Actor.Agent) + " to " + doing(r)
	owner := "ask " + f.owner + ", the agent's owner, "
	switch {
	case v.Outcome == access.RequireApproval:
		help = strings.Join(v.Advice, " ")
		if help == "" {
			help = "wait until it is approved and call again with the same arguments"
		}
		return access.ClassApproval, rules(v.Asks, "asks", "ask") + " for an approval before agent " + quote(r.Who.Actor.Agent) + " may " + doing(r), help
	case v.Outcome == access.RateLimit:
		help = strings.Join(v.Advice, " ")
		if help == "" {
			help = "call again later"
		}
		return access.ClassRate, rules(policiesOf(v.Limits), "limits", "limit") + " how often agent " + quote(r.Who.Actor.Agent) + " may " + doing(r), help
	case v.Outcome == access.Mask:
		return access.ClassMask, rules(maskers(v.Masks), "wants", "want") + " parts masked before agent " + quote(r.Who.Actor.Agent) + " may " + doing(r), owner + "about the rule"
	case len(v.Consequences) > 0:
		return access.ClassPolicy, rules(v.Forbids, "forbids ", "forbid ") + what + ", and " + happens(v.Consequences), owner + "what happened; only a person can undo it"
	case len(v.Forbids) > 0:
		help = strings.Join(v.Advice, " ")
		if help == "" {
			help = owner + "whether the rule is meant for this; calling again as it is will not help"
		}
		return access.ClassPolicy, rules(v.Forbids, "forbids ", "forbid ") + what, help
	case len(v.Errors) > 0:
		why := ""
		if len(v.Lacking) > 0 {
			why = ": " + v.Lacking[0]
		}
		return access.ClassPolicyError, rules(v.Errors, "cannot", "cannot") + " be evaluated for this request, so it is denied" + why,
			"give every argument the rule needs in the form the tool's schema asks for; if that is so already, " + owner + "to correct the rule"
	case v.Maybe && !r.Unknown:
		return access.ClassDefault, "whether a rule permits " + what + " depends on what has been counted or is remembered", "call it, or ask with the values of the facts"
	case v.Maybe:
		return access.ClassDefault, "whether a rule permits " + what + " depends on the arguments", "ask with the arguments"
	default:
		help = owner + "to add " + quote(r.Action()) + " to its tools or to have a policy permit it"
		if r.Kind == access.KindAsk {
			help = owner + "to have a policy permit it"
		}
		return access.ClassDefault, "no rule permits " + what, help
	}
}

// happens says what the consequences come to.
func happens(list []access.Consequence) string {
	done := map[access.Outcome]string{access.Quarantine: "quarantined", access.Revoke: "revoked", access.Terminate: "terminated"}
	var out []string
	for _, c := range list {
		if text := "the " + string(c.Target) + " is " + done[c.Outcome]; !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	return strings.Join(out, ", ")
}

func policiesOf(limits []access.Limit) []string {
	out := make([]string, len(limits))
	for i, l := range limits {
		out[i] = l.Policy
	}
	return out
}

func maskers(masks []access.Masking) []string {
	out := make([]string, len(masks))
	for i, m := range masks {
		out[i] = m.Policy
	}
	return out
}

func doing(r *access.Request) string {
	switch r.Kind {
	case access.KindTool:
		return "call tool " + quote(r.Target) + " of server " + quote(r.Server)
	case access.KindPrompt:
		return "get prompt " + quote(r.Target) + " of server " + quote(r.Server)
	case access.KindResource:
		return "read this resource of server " + quote(r.Server)
	case access.KindAsk:
		return "answer the request " + quote(r.Target) + " of server " + quote(r.Server)
	default:
		return "use " + quote(r.Method) + " of server " + quote(r.Server)
	}
}

// rules names rules with the verb that fits their number.
func rules(ids []string, one, many string) string {
	const shown = 5
	q := make([]string, 0, shown)
	for i, id := range ids {
		if i == shown {
			break
		}
		q = append(q, quote(id))
	}
	switch n := len(ids); {
	case n == 1:
		return "rule " + q[0] + " " + one
	case n <= shown:
		return "rules " + strings.Join(q[:n-1], ", ") + " and " + q[n-1] + " " + many
	default:
		return "rules " + strings.Join(q, ", ") + " and " + strconv.Itoa(n-shown) + " more " + many
	}
}

// quote quotes s for a sentence and shortens what nobody would read.
func quote(s string) string {
	const limit = 128
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return strconv.Quote(s)
}
