package sink

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/revocation"
	"rutile/internal/signal"
)

// FormSSF is security event tokens of OpenID Shared Signals, one a request or fetched. It
// is no form of evidence: what is not of its events is not told.
const FormSSF = "ssf"

// PollURL is the URL of a sink of FormSSF whose receiver fetches (RFC 8936).
const PollURL = "poll:"

// How people are named to receivers.
const (
	NameIssSub = "iss_sub" // as their identity providers know them, else by our id
	NameEmail  = "email"   // by their address, where it is known
	NameOpaque = "opaque"  // by our id
)

// Namings lists how people are named.
func Namings() []string { return []string{NameEmail, NameIssSub, NameOpaque} }

// Events that no specification has, about what only we have.
const (
	RightRevoked = "right-revoked" // a grant, a server, a tool, a credential or an approver
	StateChanged = "state-change"  // of a server or a tool
	ownEvents    = "urn:rutile:secevent:"
)

// Told lists the short names of events that are told, sorted.
func Told() []string {
	return []string{signal.AccountDisabled, signal.AccountEnabled, signal.AccountPurged, signal.CredentialChange, RightRevoked, signal.RiskChange, signal.SessionRevoked, StateChanged}
}

// EventType is the type of an event that is told, by its short name.
func EventType(name string) string {
	if name == RightRevoked || name == StateChanged {
		return ownEvents + name
	}
	return signal.TypeOf(name)
}

// Names says who those are whom leaves name.
type Names interface {
	// Person returns as whom identity providers know a user, each an issuer and a
	// subject, and their address of mail.
	Person(id string) (subjects [][2]string, email string)
	// Session returns whose a session is: an agent, and for whom it acts, an issuer and
	// an id with | between them, "" for nobody.
	Session(ctx context.Context, id string) (agent, subject string, err error)
}

// happening is what a leaf tells to receivers of signals.
type happening struct {
	event string // short name
	about string // kind of what it is about
	id    string
	words map[string]string
}

// happened is what a leaf tells, false for nothing. What a signal of somebody else did is
// not told on: two gateways that tell each other would go on for ever.
func happened(x *audit.Told) (happening, bool) {
	c := x.Change
	if c == nil || strings.HasPrefix(x.Actor, "signal:") {
		return happening{}, false
	}
	h := happening{about: c.Kind, id: x.Object}
	switch c.Kind + " " + c.Verb {
	case audit.KindRevocation + " revoke":
		kind, id, ok := strings.Cut(x.Object, " ")
		if !ok {
			return happening{}, false // its name was erased
		}
		h.about, h.id, h.event = kind, id, signal.SessionRevoked
		switch revocation.Kind(kind) {
		case revocation.Session, revocation.Agent, revocation.User, revocation.Tenant:
		default:
			h.event, h.words = RightRevoked, map[string]string{"kind": kind, "id": id}
		}
	case "Session revoke", "Session terminate", "Grant revoke":
		if x.Actor != "system" { // else a Revocation says it, of all it is about
			return happening{}, false
		}
		if h.event = signal.SessionRevoked; c.Kind == "Grant" {
			h.event, h.words = RightRevoked, map[string]string{"kind": "grant", "id": x.Object}
		}
	case "Session quarantine", "Session release":
		h.event, h.words = signal.RiskChange, map[string]string{"principal": "SESSION", "current_level": "HIGH"}
		if c.Verb == "release" {
			h.words["current_level"] = "LOW"
		}
	case "Agent quarantine", "Agent release":
		h.event, h.words = signal.RiskChange, map[string]string{"principal": "USER", "current_level": "HIGH"}
		if c.Verb == "release" {
			h.words["current_level"] = "LOW"
		}
	case "Agent suspend", "User suspend":
		h.event = signal.AccountDisabled
	case "Agent resume", "User resume":
		h.event = signal.AccountEnabled
	case "Agent retire", "User retire":
		h.event = signal.AccountPurged
	case "Agent enroll":
		h.event, h.words = signal.CredentialChange, map[string]string{"credential_type": "urn:rutile:key", "change_type": "create"}
	case "Agent unenroll":
		h.event, h.words = signal.CredentialChange, map[string]string{"credential_type": "urn:rutile:key", "change_type": "revoke"}
	case "User issue-token":
		h.event, h.words = signal.CredentialChange, map[string]string{"credential_type": "urn:rutile:token", "change_type": "create"}
	case "User revoke-token":
		h.event, h.words = signal.CredentialChange, map[string]string{"credential_type": "urn:rutile:token", "change_type": "revoke"}
	case "User add-factor":
		h.event, h.words = signal.CredentialChange, map[string]string{"credential_type": "fido2-platform", "change_type": "create"}
	case "User remove-factor":
		h.event, h.words = signal.CredentialChange, map[string]string{"credential_type": "fido2-platform", "change_type": "delete"}
	case "Server quarantine", "Server block", "Server release", "Server retire", "Tool quarantine", "Tool block", "Tool release", "Tool retire":
		h.event, h.words = StateChanged, map[string]string{"kind": strings.ToLower(c.Kind), "id": x.Object, "change": c.Verb}
	default:
		return happening{}, false
	}
	h.about = strings.ToLower(h.about)
	return h, h.id != ""
}

// teller makes parcels of what happened, for one receiver.
type teller struct {
	issuer string
	names  Names
	naming string
}

// parcel is what a leaf tells, and whom it is about, as JSON and read.
func (t teller) parcel(ctx context.Context, x *audit.Told, h *happening) (signal.Parcel, signal.Subject, error) {
	about, err := t.subject(ctx, h)
	if err != nil {
		return signal.Parcel{}, signal.Subject{}, err
	}
	event := map[string]any{
		"event_timestamp": x.At.Unix(), "initiating_entity": initiator(x.Actor),
		"reason_admin": map[string]string{"en": x.Change.Verb + " of " + h.about}, // never what a person wrote
	}
	for k, v := range h.words {
		event[k] = v
	}
	read, who, err := readable(about)
	if err != nil { // a name that no receiver could read: the event is told, not whom it is about
		if read, who, err = readable(opaque(x.LeafID)); err != nil {
			return signal.Parcel{}, signal.Subject{}, err
		}
	}
	body, err := json.Marshal(map[string]any{"sub_id": who, "events": map[string]any{EventType(h.event): event}, "toe": x.At.Unix()})
	return signal.Parcel{ID: x.LeafID, Body: body, At: x.At}, read, err
}

// readable is a subject as a receiver reads it.
func readable(about identifier) (read signal.Subject, raw json.RawMessage, err error) {
	if raw, err = json.Marshal(about); err != nil {
		return read, nil, err
	}
	read, err = signal.ReadSubject(raw)
	return read, raw, err
}

// initiator is who had it done, in the words of CAEP 1.0, section 2.
func initiator(actor string) string {
	kind, id, _ := strings.Cut(actor, ":")
	switch {
	case kind == "system":
		return "policy"
	case id == "":
		return "system"
	}
	return "admin"
}

// identifier is one of RFC 9493, or a complex subject of SSF.
type identifier map[string]any

func opaque(id string) identifier { return identifier{"format": "opaque", "id": id} }

func (t teller) ours(id string) identifier {
	return identifier{"format": "iss_sub", "iss": t.issuer, "sub": id}
}

// subject is whom a happening is about, as its receiver knows them.
func (t teller) subject(ctx context.Context, h *happening) (identifier, error) {
	switch h.about {
	case "session":
		return t.session(ctx, h.id)
	case "agent":
		return identifier{"format": "complex", "application": t.ours(h.id)}, nil
	case "user":
		return t.person(h.id), nil
	case "tenant":
		return identifier{"format": "complex", "tenant": opaque(t.issuer)}, nil
	}
	return opaque(h.about + ":" + h.id), nil
}

func (t teller) session(ctx context.Context, id string) (identifier, error) {
	agent, subject, err := t.names.Session(ctx, id)
	if err != nil {
		return nil, err
	}
	out := identifier{"format": "complex", "session": opaque(id)}
	if agent != "" {
		out["application"] = t.ours(agent)
	}
	if subject != "" {
		out["user"] = t.person(subject)
	}
	return out, nil
}

// person is a user by id, or by issuer and id with | between them.
func (t teller) person(name string) identifier {
	issuer, id := t.issuer, name
	if i := strings.LastIndexByte(name, '|'); i > 0 {
		issuer, id = name[:i], name[i+1:]
	}
	if issuer != t.issuer { // another's, and known as that
		return identifier{"format": "iss_sub", "iss": issuer, "sub": id}
	}
	subjects, mail := t.names.Person(id)
	switch {
	case t.naming == NameOpaque:
		return opaque(id)
	case t.naming == NameEmail && mail != "":
		return identifier{"format": "email", "email": mail}
	case len(subjects) == 0:
		return t.ours(id)
	case len(subjects) == 1:
		return identifier{"format": "iss_sub", "iss": subjects[0][0], "sub": subjects[0][1]}
	}
	var all []identifier
	for _, s := range subjects[:min(len(subjects), 16)] {
		all = append(all, identifier{"format": "iss_sub", "iss": s[0], "sub": s[1]})
	}
	return identifier{"format": "aliases", "identifiers": all}
}

// wanted returns which of what the log tells a receiver of signals is to get. It says that
// the stream is paused as errPaused.
func (l *lane) wanted(ctx context.Context, told []audit.Told) ([]audit.Told, error) {
	if l.sink.Form != FormSSF {
		return slices.DeleteFunc(told, func(x audit.Told) bool { return !l.sink.wants(&x) }), nil
	}
	stream, _, err := l.cfg.Streams.Stream(ctx, l.sink.ID)
	if err != nil {
		return nil, err
	}
	state := stream.State()
	if state == signal.Paused {
		return nil, errPaused
	}
	var out []audit.Told
	for i := range told {
		h, ok := happened(&told[i])
		if !ok || state == signal.Disabled || !slices.Contains(l.sink.Events, h.event) {
			continue
		}
		_, about, err := l.tell.parcel(ctx, &told[i], &h)
		if err != nil {
			return nil, err
		}
		if stream.Wants(h.event, &about) {
			out = append(out, told[i])
		}
	}
	return out, nil
}

// parcels makes a batch: of one event where it is pushed, of several where they wait to be
// fetched.
func (l *lane) parcels(ctx context.Context, list []audit.Told) (batch, error) {
	if l.sink.URL != PollURL {
		list = list[:1]
	}
	b := batch{mime: "application/secevent+jwt", n: len(list)}
	for i := range list {
		h, ok := happened(&list[i])
		if !ok {
			return batch{}, access.Errorf(access.CodeInternal, "leaf %d tells nothing", list[i].Index)
		}
		p, _, err := l.tell.parcel(ctx, &list[i], &h)
		if err != nil {
			return batch{}, err
		}
		b.parcels = append(b.parcels, p)
	}
	if l.sink.URL == PollURL {
		return b, nil
	}
	raw, err := l.cfg.token(&l.sink, &b.parcels[0])
	b.body = []byte(raw)
	return b, err
}

// token is a parcel as it is told.
func (c *Config) token(s *Sink, p *signal.Parcel) (string, error) {
	claims, err := p.Claims(c.Issuer, s.Audience, c.Now())
	if err != nil {
		return "", err
	}
	return c.Sign(claims)
}
