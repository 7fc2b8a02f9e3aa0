// Package flow tells where the values of a call come from: which earlier result, under
// which labels, and whether the user asked for them.
//
// An Index belongs to one family of sessions (a session and the agents it started) and
// grows with every result. It keeps keyed fingerprints (SipHash-2-4 under a key derived
// from the family's), never the values themselves, so that what is kept tells nothing to
// whoever has no key. At a sink, a tool that sends or changes something, Look finds every
// argument again and returns facts; Decide is what the shipped rules make of them.
//
// The package MUST stay pure: no store, no clock, no network. The same calls in the same
// order give the same facts. Whatever it had to forget or could not read MUST show as
// Lost, never as clean. It decides nothing by itself: policy reads the facts.
package flow

import (
	"slices"

	"rutile/internal/access"
	"rutile/internal/rawjson"
)

// Tier is what inspection says of a text.
type Tier uint8

// The tiers.
const (
	Clean Tier = iota
	Review
	Block
)

// String returns "", "review" or "block".
func (t Tier) String() string { return [...]string{"", "review", "block"}[min(t, Block)] }

// Answer is yes, no, or that nobody can know: a gateway sees the user's words only
// where a client shows them.
type Answer uint8

// The answers.
const (
	Unknown Answer = iota
	No
	Yes
)

// String returns "unknown", "no" or "yes".
func (a Answer) String() string { return [...]string{"unknown", "no", "yes"}[min(a, Yes)] }

// Finding is a place of a result in which inspection found something.
type Finding struct {
	Pointer    string // RFC 6901, of a string of the result; "" is all of it
	Start, End int    // bytes of the unescaped string; End 0 is all of it
	Tier       Tier
}

// Origin is where a result comes from.
type Origin struct {
	Call         string // the id of the call, as in evidence
	Server, Tool string
	// Untrusted is set where others than the user and the organisation write what the
	// tool returns: pages, mail, files, issues.
	Untrusted bool
	Scopes    []string // the private scopes its data belong to
	Findings  []Finding
	// Arguments are those of the call. Where they repeat the user's words, the user
	// pointed at the source.
	Arguments rawjson.Value
}

// Traits are what a tool does.
type Traits struct {
	Sends   bool // something leaves: mail, payments, posts, requests
	Changes bool // something is not as it was before
}

// Sink reports whether a call of the tool is looked at.
func (t Traits) Sink() bool { return t.Sends || t.Changes }

// Call is one call that waits for a decision.
type Call struct {
	Server, Tool string
	Traits       Traits
	Description  string // of the tool, "" if there is none; it helps to know what it acts on
	Arguments    rawjson.Value
}

// Role is what an argument is for.
type Role string

// The roles.
const (
	Recipient Role = "recipient" // where something goes, or on whose behalf or account it works
	Content   Role = "content"   // what goes there
	Selector  Role = "selector"  // which thing, how many, when
)

// Source is a result a value was found in.
type Source struct {
	Call, Server, Tool string
	Untrusted          bool
	Pointed            bool // the user named it
	Scopes             []string
	Tier               Tier // of what inspection found in it
}

// Leaf is one value of the arguments.
type Leaf struct {
	Pointer string // RFC 6901, in the arguments
	Role    Role
	Kind    string // email, url, host, account, phone, path, id, name, text, number
	// Start and End are the bytes of the unescaped value that were found again.
	Start, End int
	From       *Source // the worst of the results it was found in, nil if none
	Scopes     []string
	Asked      Answer // the value stands in the user's words
	Trusted    bool   // it also stands in a result nobody else writes
	Ordered    bool   // it stands in an order that an untrusted result gives
	Hostile    bool   // it stands where inspection found something
	Novel      bool   // no earlier call of the family went there
	Lost       bool   // what it could have been found in was forgotten
}

// Facts are what policy reads of a call, as context.facts.flow_*. All are zero for a
// tool that is no sink.
type Facts struct {
	Sink               bool
	RecipientUntrusted bool     // a recipient comes from an untrusted result, unasked
	Carried            bool     // what is sent has an address or number out of an untrusted result, unasked
	ContentLabels      []string // private scopes of what is sent; sorted
	Asked              Answer   // every recipient stands in the user's words
	ActionAsked        Answer   // the user asked for something of this kind
	SourceFinding      Tier     // of the results its unasked values come from
	Ordered            bool     // an order in an untrusted result describes this call
	Pointed            bool     // the user named the results its unasked values come from
	Replaced           bool     // the user named another recipient of the same kind
	Novel              bool     // a recipient no earlier call of the family went to
	Tainted            Tier     // the worst inspection found in any untrusted result so far
	Lost               bool     // something was forgotten that it could come from
}

// Report is everything known of a call.
type Report struct {
	Facts  Facts
	Leaves []Leaf
	// Order is the result that orders the call, nil if none does.
	Order *Source
}

// Fact names, as policies read them.
const (
	FactRecipientUntrusted = "flow_recipient_untrusted" // Bool
	FactCarried            = "flow_carried"             // Bool
	FactContentLabels      = "flow_content_labels"      // Set of scopes
	FactAsked              = "flow_asked"               // Set of one: yes, no, unknown
	FactActionAsked        = "flow_action_asked"        // Set of one: yes, no, unknown
	FactSourceFinding      = "flow_source_finding"      // Set: review; review and block
	FactOrdered            = "flow_ordered"             // Bool
	FactPointed            = "flow_pointed"             // Bool
	FactReplaced           = "flow_replaced"            // Bool
	FactNovel              = "flow_novel"               // Bool
	FactTainted            = "flow_tainted"             // Set: review; review and block
	FactLost               = "flow_lost"                // Bool
)

// Values are the facts in the form the gate hands to policy.
func (f Facts) Values() map[string]access.FactValue {
	return map[string]access.FactValue{
		FactRecipientUntrusted: {Bool: f.RecipientUntrusted},
		FactCarried:            {Bool: f.Carried},
		FactContentLabels:      {Set: slices.Clone(f.ContentLabels)},
		FactAsked:              {Set: []string{f.Asked.String()}},
		FactActionAsked:        {Set: []string{f.ActionAsked.String()}},
		FactSourceFinding:      {Set: f.SourceFinding.words()},
		FactOrdered:            {Bool: f.Ordered},
		FactPointed:            {Bool: f.Pointed},
		FactReplaced:           {Bool: f.Replaced},
		FactNovel:              {Bool: f.Novel},
		FactTainted:            {Set: f.Tainted.words()},
		FactLost:               {Bool: f.Lost},
	}
}

// words are the tiers up to t, sorted.
func (t Tier) words() []string {
	switch t {
	case Review:
		return []string{Review.String()}
	case Block:
		return []string{Block.String(), Review.String()}
	}
	return nil
}
