package flow

// Decision is what the shipped rules make of facts.
type Decision uint8

// The decisions.
const (
	Permit Decision = iota
	Ask
	Deny
)

// String returns "permit", "ask" or "deny".
func (d Decision) String() string { return [...]string{"permit", "ask", "deny"}[min(d, Deny)] }

// Decide is the shipped rules in Go: the reference the policies of the baseline are
// compared with. It returns the rule that decided, "" where none did.
func Decide(f Facts) (Decision, string) {
	switch {
	case !f.Sink:
		return Permit, ""
	case f.SourceFinding >= Review && (f.RecipientUntrusted || f.Ordered || f.Carried):
		return Deny, "flow-hostile-source"
	case f.ActionAsked == No && (f.RecipientUntrusted && !f.Pointed || f.Ordered):
		return Deny, "flow-not-asked"
	case f.ActionAsked == No && f.RecipientUntrusted && len(f.ContentLabels) > 0:
		return Deny, "flow-private-out"
	case f.Ordered && f.Replaced:
		return Deny, "flow-recipient-replaced"
	case f.Tainted >= Review && f.ActionAsked == No && f.Asked == No:
		return Deny, "flow-off-task"
	case f.RecipientUntrusted || f.Ordered:
		return Ask, "flow-recipient-untrusted"
	case f.Lost && f.Asked != Yes:
		return Ask, "flow-forgotten"
	case len(f.ContentLabels) > 0 && f.Novel && f.Asked == No && f.ActionAsked == No:
		return Ask, "flow-private-new"
	}
	return Permit, ""
}
