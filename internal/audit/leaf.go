package audit

import (
	"context"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"rutile/internal/access"
)

// Types of leaf written now (docs/evidence.md).
const (
	typeOpen    = "log.open"
	typeClose   = "log.close"
	typeIntent  = "intent"
	typeOutcome = "outcome"
	typeVerdict = "verdict"
	typeAdmin   = "admin"
	typeLoss    = "loss"

	typeRevocation = "revocation" // something was revoked
	typeReceipt    = "receipt"    // what that came to
	typeErasure    = "erasure"    // keys of a person are destroyed, or were
	typeRetention  = "retention"  // how long evidence is kept, or what goes for being that old
)

// Retention classes.
const (
	classDecision = "decision"
	classAdmin    = "admin"
	classSystem   = "system"
)

// maxExcerpt bounds what a payload keeps of arguments or a result.
const maxExcerpt = 8 << 10

// entry is one leaf on its way into the log.
type entry struct {
	buf     []byte // 0x00 || leaf: what the leaf hash is computed over
	hash    [32]byte
	plain   []byte // room for what is to be sealed, which is wiped again
	sealed  []byte // room for ciphertexts, payload among them
	ad      []byte // room for their associated data
	draft   draft
	payload []byte // ciphertext, nil if none
	payHash [32]byte
	class   string
	month   int
	row     *Row
	era     uint64 // of the keys it was written with
	relaxed bool   // the caller does not await the sync
	urgent  bool   // to be sealed at once
	listed  bool   // nobody waits; it holds a slot of Log.listed

	index uint64
	err   error
	done  chan struct{}
}

func (e *entry) leaf() []byte { return e.buf[1:] }

// scribe turns what happened into entries. Its methods are safe for concurrent
// use.
type scribe struct {
	keys         *keyring
	node, tenant string
	boot         uint64
	payloads     bool
	now          func() time.Time
	rand         io.Reader
	pool         sync.Pool
}

// draft is a leaf being written.
type draft struct {
	enc
	s     *scribe
	entry *entry
	id    string
	at    time.Time
	class string
	key   *dataKey
	ids   sealedIDs
}

// sealedIDs is what the index shows in clear and a leaf only seals.
type sealedIDs struct {
	Client   string `json:"client,omitempty"`
	Instance string `json:"instance,omitempty"`
	Method   string `json:"method,omitempty"`
	Narrowed string `json:"narrowed,omitempty"`
	Object   string `json:"object,omitempty"`
	Reason   string `json:"reason,omitempty"`
	Server   string `json:"server,omitempty"`
	Session  string `json:"session,omitempty"`
	Target   string `json:"target,omitempty"`
	Task     string `json:"task,omitempty"`
	Token    string `json:"token,omitempty"`
}

// Bounds of sealed texts.
const (
	maxTarget = 1024
	maxReason = 256
)

func (s *sealedIDs) appendTo(b []byte) []byte {
	e := enc{append(b, '{')}
	e.str("client", s.Client)
	e.text("instance", s.Instance)
	e.text("method", s.Method)
	e.str("narrowed", cut(s.Narrowed, maxReason))
	e.text("object", s.Object)
	e.str("reason", cut(s.Reason, maxReason))
	e.text("server", s.Server)
	e.text("session", s.Session)
	e.str("target", cut(s.Target, maxTarget))
	e.text("task", s.Task)
	e.text("token", s.Token)
	return append(e.b, '}')
}

// show returns v if a leaf may show it, and otherwise leaves it to be sealed.
func show(v string, sealed *string) string {
	if plain(v) {
		return v
	}
	*sealed = v
	return ""
}

// start begins a leaf. owner is whose data key it uses, nil for none.
func (s *scribe) start(ctx context.Context, class string, owner *entity) (*draft, error) {
	en, _ := s.pool.Get().(*entry)
	if en == nil {
		en = &entry{done: make(chan struct{}, 1), buf: make([]byte, 0, 2048)}
	}
	*en = entry{era: s.keys.now(), buf: append(en.buf[:0], 0), plain: en.plain[:0], sealed: en.sealed[:0], ad: en.ad[:0], done: en.done}
	at := s.now().UTC().Truncate(time.Microsecond)
	id, err := ulid.New(ulid.Timestamp(at), s.rand)
	if err != nil {
		return nil, fmt.Errorf("making a leaf id: %w", err)
	}
	d := &en.draft
	*d = draft{enc: enc{append(en.buf, '{')}, s: s, entry: en, id: id.String(), at: at, class: class}
	en.class, en.month = class, monthOf(at)
	if owner != nil {
		if d.key, err = s.keys.dataKey(ctx, *owner, class, at); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// common writes "at", "boot" and "class".
func (d *draft) common(of ...*access.Touched) {
	d.time("at", d.at)
	d.int("boot", int64(d.s.boot))
	for _, t := range of {
		d.causes(t)
	}
	d.str("class", d.class)
}

// commit writes one commitment of "com".
func (d *draft) commit(tag string, value []byte) {
	if len(value) == 0 {
		return
	}
	sum := d.key.commit(d.id, tag, value)
	d.bytes(tag, sum[:])
}

// name writes "id"; keyID "key"; the members between them differ by type.
func (d *draft) name() { d.str("id", d.id) }

func (d *draft) keyID() {
	if d.key != nil {
		d.str("key", d.key.id)
	}
}

// payload seals the excerpt beside the log and writes "pay", which commits to
// the ciphertext: deleting or shredding it leaves the proof whole.
func (d *draft) payload(content []byte) error {
	if d.key == nil || len(content) == 0 || !d.s.payloads {
		return nil
	}
	kept := content[:min(len(content), maxExcerpt)]
	plain := binary.BigEndian.AppendUint64(d.entry.plain[:0], uint64(len(content)))
	plain = append(plain, kept...)
	aead, month := d.key.aead, ""
	if p := d.key.payload; p != nil {
		aead, month = p.aead, p.id
	}
	ct, err := d.seal(aead, sealPayload, plain)
	if err != nil {
		return err
	}
	d.entry.payload, d.entry.payHash = ct, sha256.Sum256(ct)
	mark := d.begin("pay")
	d.bytes("h", d.entry.payHash[:])
	d.str("k", month)
	d.int("n", int64(len(ct)))
	d.end(mark)
	return nil
}

// sealIDs writes "sealed".
func (d *draft) sealIDs() error {
	if d.key == nil || d.ids == (sealedIDs{}) {
		return nil
	}
	ct, err := d.seal(d.key.aead, sealIDs, d.ids.appendTo(d.entry.plain[:0]))
	if err != nil {
		return err
	}
	d.bytes("sealed", ct)
	return nil
}

// seal returns the ciphertext of plain, which lies in the entry's room for it.
func (d *draft) seal(aead cipher.AEAD, what string, plain []byte) ([]byte, error) {
	en := d.entry
	en.ad = d.key.appendAssociated(en.ad[:0], d.s.tenant, d.id, d.class, what)
	at := len(en.sealed)
	out, err := seal(aead, en.sealed, d.s.rand, en.ad, plain)
	clear(plain)
	en.plain = plain
	if err != nil {
		return nil, err
	}
	en.sealed = out
	return out[at:len(out):len(out)], nil
}

// finish closes the leaf and hashes it. row becomes its index entry.
func (d *draft) finish(typ string, row Row) (*entry, error) {
	d.b = append(d.b, '}')
	en := d.entry
	en.buf = d.b
	if len(en.leaf()) > maxLeaf {
		return nil, access.Errorf(access.CodeEvidence, "a %s leaf of %d bytes is over the bound of %d, so nothing was done", typ, len(en.leaf()), maxLeaf)
	}
	en.hash = sha256.Sum256(en.buf)
	row.LeafID, row.Type, row.At = d.id, typ, d.at
	en.row = &row
	return en, nil
}

// release returns an entry nobody refers to any more.
func (s *scribe) release(e *entry) {
	if cap(e.buf) <= 8<<10 {
		e.row, e.payload, e.draft = nil, nil, draft{}
		s.pool.Put(e)
	}
}

// call writes an intent or a verdict.
func (s *scribe) call(ctx context.Context, typ string, i *Intent, relaxed bool) (*entry, error) {
	r := i.Request
	owner := ownerOf(r)
	d, err := s.start(ctx, classDecision, &owner)
	if err != nil {
		return nil, err
	}
	who, err := s.actors(ctx, r)
	if err != nil {
		return nil, err
	}
	shown := *i.Decision
	dec := &shown
	agent := r.Who.Actor.Agent
	dec.Permits, dec.Forbids, dec.Errors = hide(dec.Permits, agent, who.agent), hide(dec.Forbids, agent, who.agent), hide(dec.Errors, agent, who.agent)
	row := callRow(r, dec)
	row.Policies = unhide(row.Policies, agent, who.agent)
	tool := d.classify(r)
	if !dec.Allowed() {
		d.ids.Reason = dec.Reason
	}
	args := r.Arguments.Raw()
	if i.Arguments != nil {
		args = i.Arguments
	}

	d.common(r.Touched)
	mark := d.begin("com")
	d.commit("arguments", args)
	d.commit("client", []byte(d.ids.Client))
	d.commit("sent", i.Restored)
	d.commit("target", []byte(d.ids.Target))
	d.end(mark)
	if i.Cred != "" {
		mark = d.begin("cred")
		d.text("id", i.Cred)
		d.text("kind", i.CredKind)
		d.int("ver", int64(i.CredVer))
		d.end(mark)
	}
	d.decision(dec, row.Decision)
	if relaxed {
		d.str("dur", "written")
		d.entry.relaxed = true
	}
	d.name()
	d.keyID()
	d.str("node", s.node)
	if err := d.payload(args); err != nil {
		return nil, err
	}
	d.risk(r.Risk)
	if err := d.sealIDs(); err != nil {
		return nil, err
	}
	d.str("tenant", s.tenant)
	d.touched(r.Touched)
	d.str("trace", row.TraceID)
	d.str("type", typ)
	d.int("v", 1)
	d.what(r, dec, tool)
	d.who(r, who)
	mark = d.begin("why")
	d.text("grant", dec.Grant)
	d.text("request", dec.Request)
	d.end(mark)
	row.Text = callText(&row, maskers(dec), string(dec.Class), cut(d.ids.Reason, maxReason))
	return d.finish(typ, row)
}

// classify decides what of the request is shown and what is sealed, and returns
// the target to show.
func (d *draft) classify(r *access.Request) (tool string) {
	if r.Client.IsValid() {
		d.ids.Client = r.Client.String()
	}
	d.ids.Instance, d.ids.Token = r.Who.Actor.Instance, r.Who.TokenID
	d.ids.Session, d.ids.Task = r.Who.Session, r.Who.Task
	show(r.Method, &d.ids.Method)
	show(r.Server, &d.ids.Server)
	if r.Kind == access.KindResource { // a URI may name a person
		d.ids.Target = r.Target
		return ""
	}
	return show(r.Target, &d.ids.Target)
}

// pseudonyms of one call.
type actors struct{ agent, subject, session string }

func (s *scribe) actors(ctx context.Context, r *access.Request) (actors, error) {
	var a actors
	agent, err := s.keys.subject(ctx, agentOf(r))
	if err != nil {
		return a, err
	}
	a.agent = agent.pseudonym
	owner := agent
	if !r.Who.Subject.Autonomous() {
		if owner, err = s.keys.subject(ctx, ownerOf(r)); err != nil {
			return a, err
		}
		a.subject = owner.pseudonym
	}
	if r.Who.Session != "" {
		a.session = owner.of(s.tenant, kindSession, r.Who.Session)
	}
	return a, nil
}

func (d *draft) decision(dec *access.Decision, id string) {
	mark := d.begin("dec")
	d.text("class", string(dec.Class))
	more := d.list("errors", dec.Errors)
	d.text("facts", dec.Facts)
	more += d.list("forbids", dec.Forbids)
	d.text("id", id)
	d.list("masks", maskers(dec))
	d.flag("monitor", dec.Monitor)
	if more += max(0, len(dec.Permits)-maxList); more > 0 {
		d.int("more", int64(more))
	}
	d.str("out", dec.Outcome.String())
	d.list("permits", dec.Permits)
	d.text("schema", dec.Schema)
	d.text("set", dec.Set)
	if dec.Shadow != nil {
		shadow := d.begin("shadow")
		d.list("by", dec.Shadow.By)
		d.str("out", dec.Shadow.Outcome.String())
		d.end(shadow)
	}
	d.int("us", dec.Duration.Microseconds())
	if dec.Monitor {
		d.str("would", dec.Would.String())
	}
	d.end(mark)
}

// maskers are the rules that had parts of the arguments masked.
func maskers(dec *access.Decision) []string {
	var out []string
	if !dec.Allowed() {
		return out
	}
	for _, m := range dec.Masks {
		out = append(out, m.Policy)
	}
	return out
}

func (d *draft) what(r *access.Request, dec *access.Decision, tool string) {
	mark := d.begin("what")
	d.text("era", r.Version)
	d.text("kind", string(r.Kind))
	if d.ids.Method == "" {
		d.str("method", r.Method)
	}
	d.text("proto", r.Protocol)
	if d.ids.Server == "" {
		d.str("server", r.Server)
	}
	d.int("tier", int64(dec.Tier))
	d.str("tool", tool)
	d.text("tool_digest", dec.Tool)
	d.end(mark)
}

func (d *draft) who(r *access.Request, a actors) {
	mark := d.begin("who")
	d.str("agent", a.agent)
	d.flag("attested", r.Who.Actor.Attested)
	d.flag("cnf", r.Who.Bound)
	d.str("sid", a.session)
	d.text("src", r.Who.Actor.Source)
	d.str("subject", a.subject)
	d.text("ver", r.Who.Actor.Version)
	d.end(mark)
}
