package webhook

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"
)

// Event is what happened, without any value of an argument.
type Event struct {
	Type string
	At   time.Time
	Data Data
	// Finding and Revocation are what it is about instead of Data, where it is.
	Finding    *Finding
	Revocation *Revocation
	// Until is when it is no longer worth telling, zero if that never is.
	Until time.Time
}

// Data names what an event is about. Names are what agents, servers and people
// chose: a receiver MUST treat them as text.
type Data struct {
	Request     string    `json:"request,omitempty"`
	Grant       string    `json:"grant,omitempty"`
	Agent       string    `json:"agent"`
	Subject     string    `json:"subject,omitempty"` // the agent acts for
	Server      string    `json:"server"`
	Kind        string    `json:"kind"` // tool, prompt or resource
	Name        string    `json:"name"`
	Tier        int       `json:"tier"`
	Scope       string    `json:"scope,omitempty"`
	Constrained []string  `json:"constrained,omitempty"` // pointers of the arguments that are bound, never what they must be
	Entitlement string    `json:"entitlement,omitempty"`
	Owner       string    `json:"owner,omitempty"` // of the entitlement, of a break-glass
	Needs       string    `json:"needs,omitempty"` // who must approve
	State       string    `json:"state"`
	By          string    `json:"by,omitempty"` // who answered or issued
	Expires     time.Time `json:"expires,omitzero"`
	URL         string    `json:"url,omitempty"` // of the page on which people answer; it gives no right
}

// ID is the webhook-id: the same for every delivery of one event, also after a
// restart, so that a receiver knows a repetition.
func (e Event) ID() string {
	sum := sha256.Sum256([]byte(e.Type + "\x00" + e.key()))
	return "evt_" + hex.EncodeToString(sum[:16])
}

// Body is what is sent in a form.
func (e Event) Body(form string) ([]byte, error) {
	if form == FormSlack {
		return json.Marshal(struct {
			Text   string `json:"text"`
			Links  bool   `json:"unfurl_links"`
			Media  bool   `json:"unfurl_media"`
			Markup bool   `json:"mrkdwn"`
		}{Text: e.text(), Markup: true})
	}
	return json.Marshal(struct {
		Type      string    `json:"type"`
		Timestamp time.Time `json:"timestamp"`
		Data      any       `json:"data"`
	}{e.Type, e.At.UTC(), e.data()})
}

// text is the event as one line. Every name is in a code span, where no link,
// mention or markup of somebody else's has an effect.
func (e Event) text() string {
	switch {
	case e.Finding != nil:
		return e.Finding.line(e.Type == FindingResolved)
	case e.Revocation != nil:
		return e.Revocation.line()
	}
	d := e.Data
	who := code(d.Agent)
	if d.Subject != "" {
		who += " for " + code(d.Subject)
	}
	what := code(d.Server+"/"+d.Name) + fmt.Sprintf(" (tier %d)", d.Tier)
	switch e.Type {
	case RequestPending:
		return fmt.Sprintf("%s asks for %s. It needs %s and waits until %s. Answer here: <%s>", who, what, escape(d.Needs), d.Expires.UTC().Format("15:04 UTC"), d.URL)
	case RequestAnswered:
		return fmt.Sprintf("The request of %s for %s is %s: <%s>", who, what, escape(d.State), d.URL)
	case GlassBroken:
		return fmt.Sprintf("%s broke the glass for %s to use %s: %s. Entitlement %s of %s. Somebody else must review it by %s", code(d.By), who, what, code(d.Grant), code(d.Entitlement), code(d.Owner), d.Expires.UTC().Format(time.DateTime+" UTC"))
	case GlassOverdue:
		return fmt.Sprintf("Nobody reviewed in time that %s broke the glass for %s to use %s: %s. Entitlement %s of %s is locked until somebody does", code(d.By), who, what, code(d.Grant), code(d.Entitlement), code(d.Owner))
	case GlassReviewed:
		return fmt.Sprintf("The break-glass %s for %s to use %s is reviewed by %s", code(d.Grant), who, what, code(d.By))
	default:
		return fmt.Sprintf("%s has a grant for %s until %s: %s, by %s", who, what, d.Expires.UTC().Format(time.DateTime+" UTC"), code(d.Grant), code(d.By))
	}
}

// maxShown is how many characters of a name are shown in text.
const maxShown = 100

func code(name string) string {
	n := 0
	name = strings.Map(func(r rune) rune {
		switch n++; {
		case n > maxShown:
			return -1
		case r == '`' || r == unicode.ReplacementChar || !unicode.IsPrint(r):
			return '·'
		}
		return r
	}, name)
	if n > maxShown {
		name += "…"
	}
	return "`" + escape(name) + "`"
}

func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}
