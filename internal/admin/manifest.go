package admin

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"rutile/internal/access"
	"rutile/internal/credential"
	"rutile/internal/fact"
	"rutile/internal/grant"
	"rutile/internal/notice"
	"rutile/internal/policy"
	"rutile/internal/registry"
	"rutile/internal/signal"
	"rutile/internal/sink"
	"rutile/internal/webhook"
)

// manifest is one declared object. Exactly one of the pointers is set.
type manifest struct {
	kind, id string
	place    Problem // where it starts, for messages
	state    string  // as written; "" changes none
	why      string
	agent    *registry.Agent
	expires  bool // the agent's end date is written
	enrolled bool // and its enrolled keys
	server   *registry.Server
	pins     []registry.Tool
	baseline map[registry.Kind]time.Time
	policy   *policy.Policy
	team     *registry.Team
	right    *grant.Entitlement
	fact     *fact.Fact
	user     *registry.User
	source   *credential.Source
	hook     *webhook.Webhook
	sink     *sink.Sink
	signal   *signal.Source
	mail     *notice.Mail
	label    *registry.Label
	accounts *yaml.Node // localUsers of the user
}

func (m *manifest) key() string { return m.kind + "/" + m.id }

// The kinds of manifest.
const (
	kindAgent       = "Agent"
	kindServer      = "Server"
	kindPolicy      = "Policy"
	kindTeam        = "Team"
	kindEntitlement = "Entitlement"
	kindFact        = "Fact"
	kindCredential  = "Credential"
	kindWebhook     = "Webhook"
	kindSink        = "Sink"
	kindMail        = "Mail"
	kindLabel       = "Label"

	kindWords = "Agent, Server, Policy, Team, User, Entitlement, Fact, Credential, Webhook, Sink, Signal, Mail or Label"
)

// parseAll parses every document and reports everything that is wrong in any.
func parseAll(docs []Document) ([]*manifest, Problems) {
	var out []*manifest
	var problems Problems
	if len(docs) > MaxFiles {
		return nil, Problems{{Line: 1, Column: 1, Msg: fmt.Sprintf("more than %d files at once: apply them in parts", MaxFiles)}}
	}
	first := map[string]Problem{}
	for _, doc := range docs {
		d := &decoder{file: doc.File, keys: doc.Keys}
		for _, n := range d.documents(doc.Text) {
			m := d.manifest(n)
			if m == nil {
				continue
			}
			if prior, dup := first[m.key()]; dup && m.id != "" {
				d.fail(n, "id", "%s %q is declared twice, first at %s:%d: remove one", m.kind, m.id, prior.File, prior.Line)
				continue
			}
			first[m.key()] = m.place
			out = append(out, m)
		}
		problems = append(problems, d.problems...)
	}
	if len(out) > MaxManifests {
		problems = append(problems, Problem{Line: 1, Column: 1, Msg: fmt.Sprintf("more than %d manifests at once: apply them in parts", MaxManifests)})
	}
	return out, problems
}

// manifest reads one document. It returns nil if not even its kind is known.
func (d *decoder) manifest(n *yaml.Node) *manifest {
	if n.Kind != yaml.MappingNode {
		d.fail(n, "", "a manifest is a mapping that starts with kind: %s", kindWords)
		return nil
	}
	var kind *yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == "kind" {
			kind = n.Content[i+1]
			break
		}
	}
	if kind == nil {
		d.fail(n, "kind", "is required: add kind: %s", kindWords)
		return nil
	}
	m := &manifest{kind: kind.Value, place: Problem{File: d.file, Line: n.Line, Column: n.Column}}
	switch m.kind {
	case kindAgent:
		d.agent(n, m)
	case kindServer:
		d.server(n, m)
	case kindPolicy:
		d.policy(n, m)
	case kindTeam:
		d.team(n, m)
	case kindUser:
		d.user(n, m)
	case kindEntitlement:
		d.entitlement(n, m)
	case kindFact:
		d.fact(n, m)
	case kindCredential:
		d.credential(n, m)
	case kindWebhook:
		d.webhook(n, m)
	case kindSink:
		d.sink(n, m)
	case kindSignal:
		d.signal(n, m)
	case kindMail:
		d.mail(n, m)
	case kindLabel:
		d.label(n, m)
	case "Issuer":
		d.fail(kind, "kind", "%s is not supported by this version: remove the document or upgrade", m.kind)
		return nil
	default:
		d.fail(kind, "kind", "unknown kind %q: use %s", clip(m.kind), kindWords)
		return nil
	}
	return m
}

// id reads the id every manifest has.
func (o object) id() string {
	o.required("id", "a-name")
	id := o.text("id")
	if id != "" && !access.ValidID(id) {
		o.fail("id", "%q cannot be an id: use at most 63 lower-case letters, digits and -, starting with a letter or digit", clip(id))
		return ""
	}
	return id
}

// owner reads who is accountable: a team's id or a person. It need not exist as
// a Team, because people are known to the identity provider and not to us; Plan
// warns where it does not.
func (o object) owner() string {
	owner := o.text("owner")
	if len(owner) > 256 || strings.TrimSpace(owner) != owner {
		o.fail("owner", "must be the id of a team or a person: at most 256 characters, no spaces around it")
	}
	return owner
}

// choice reads one of a few words.
func (o object) choice(key string, words ...string) string {
	s := o.text(key)
	if s != "" && !slices.Contains(words, s) {
		o.fail(key, "%q is unknown: use %s", clip(s), strings.Join(words, ", "))
		return ""
	}
	return s
}

// maxYear is the last year every form we keep times in can hold with the day after.
const maxYear = 9998

// date reads a day; the time is the end of it, UTC.
func (o object) date(key string) time.Time {
	n := o.members[key]
	if n == nil {
		return time.Time{}
	}
	t, err := time.Parse(time.DateOnly, n.Value)
	if n.Kind != yaml.ScalarNode || err != nil || t.Year() < 2000 || t.Year() > maxYear {
		o.fail(key, "must be a day such as 2027-06-30")
		return time.Time{}
	}
	return t.AddDate(0, 0, 1)
}

func (d *decoder) agent(n *yaml.Node, m *manifest) {
	o := d.object(n, "", "kind", "id", "owner", "purpose", "runtime", "model", "class", "riskTier", "expires", "tools", "dataScopes", "keys", "enrolled", "wrapped", "state", "stateWhy")
	o.required("owner", "team-name")
	m.id = o.id()
	a := &registry.Agent{
		ID: m.id, Owner: o.owner(), Purpose: o.text("purpose"), Runtime: o.text("runtime"), Model: o.text("model"), Class: o.text("class"),
		RiskTier: o.integer("riskTier", 0, 3, 1), Expires: o.date("expires"), Tools: o.set("tools"), DataScopes: o.scopes(), Keys: o.agentKeys(), Enrolled: o.enrolledKeys(),
		Wrapped: o.flag("wrapped"),
	}
	if a.Class != "" && !access.ValidID(a.Class) {
		o.fail("class", "%q cannot be a class: use lower-case letters, digits and -", clip(a.Class))
	}
	for i, t := range o.texts("tools") {
		if t == "" {
			continue
		}
		if _, err := policy.ParsePattern(t); err != nil {
			o.d.fail(o.members["tools"].Content[i], fmt.Sprintf("tools[%d]", i), "%s", err)
		}
	}
	m.expires, m.enrolled = o.has("expires"), o.has("enrolled")
	m.state = o.choice("state", string(registry.AgentActive), string(registry.AgentSuspended), string(registry.AgentQuarantined), string(registry.AgentRetired))
	m.why = o.text("stateWhy")
	m.agent = a
}

// scopes reads dataScopes: labels of data, kind:name.
func (o object) scopes() []string {
	list := o.set("dataScopes")
	for _, s := range list {
		if s != "" && !scope(s) {
			o.fail("dataScopes", "%q is not a data scope: write kind:name, for example source:code", clip(s))
		}
	}
	return list
}

// scope reports whether s is written as a data scope.
func scope(s string) bool {
	kind, name, ok := strings.Cut(s, ":")
	return ok && kind != "" && name != "" && !strings.ContainsAny(s, " *,")
}

func (d *decoder) team(n *yaml.Node, m *manifest) {
	o := d.object(n, "", "kind", "id", "members")
	m.id = o.id()
	m.team = &registry.Team{ID: m.id, Members: o.set("members")}
}

func (d *decoder) policy(n *yaml.Node, m *manifest) {
	o := d.object(n, "", "kind", "id", "cedar", "layer", "state")
	m.id = o.id()
	m.state = o.choice("state", "active", policy.Retired)
	p := &policy.Policy{ID: m.id, Layer: o.choice("layer", "organisation", "team"), File: d.file}
	if m.state == policy.Retired {
		p.State = policy.Retired // the text it had stands for what is not written
	} else {
		o.required("cedar", "the policy's text")
	}
	if c := o.members["cedar"]; c != nil {
		p.Cedar, p.Line = d.cedar(c), c.Line
		if c.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
			p.Line++ // the text starts on the line after the sign
		}
	}
	m.policy = p
}

// cedar reads policy text. Line breaks and tabs may be in it, nothing else that
// a reader does not see.
func (d *decoder) cedar(n *yaml.Node) string {
	switch {
	case n.Kind != yaml.ScalarNode:
		d.fail(n, "cedar", "must be text, not %s: write cedar: | and the policy below it", what(n))
	case n.Tag != "!!str" || strings.TrimSpace(n.Value) == "":
		d.fail(n, "cedar", "is empty: write the policy or remove the document")
	case n.Style&yaml.FoldedStyle != 0:
		d.fail(n, "cedar", "must not be folded, because line breaks matter: write cedar: | instead of >")
	default:
		for i, line := range strings.Split(n.Value, "\n") {
			if r, bad := unseen(strings.ReplaceAll(line, "\t", "")); bad {
				at := *n
				at.Line += i + 1
				at.Column = 1
				d.fail(&at, "cedar", "holds the invisible character %U: remove it", r)
				return ""
			}
		}
		return n.Value
	}
	return ""
}
