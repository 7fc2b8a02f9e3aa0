package credential

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"rutile/internal/access"
	"rutile/internal/rawjson"
)

// LeaseRequest asks for a secret for one request.
type LeaseRequest struct {
	Ref      string            // id of the secret
	Header   string            // header it goes into, for HTTP
	Env      string            // environment variable it goes into, for stdio
	Template string            // with {secret}; "" is the secret alone
	Also     map[string]string // further headers or variables, with their templates
	Files    map[string]string // variables that name files of a process, with the templates of what is in them
	Args     map[string]string // arguments of a process by their index, with their templates
	Server   string            // id of the server it is for
	Origin   string            // scheme://host:port it will be sent to, or "stdio:" and the server
	Decision string            // under which it is opened
	Outcome  access.Outcome
	Tier     int
	// Compare says that the secret is compared with what somebody shows. That anybody can
	// bring about, so it is no use of it.
	Compare bool

	// What follows matters to what is minted and to nothing else.
	URL       string          // of the server, "" for stdio
	Who       access.Identity // on whose behalf and for whom; nobody for requests of the gateway itself
	Grant     string          // the call is permitted under, "" if none
	Method    string          // protocol method
	Kind      access.Kind
	Tool      string        // target of the call: a tool, a prompt or a resource
	Arguments rawjson.Value // of the call, Missing if there are none; valid until Ready returns
	// Recorded says that an intent and an outcome name what is leased; else the
	// Mint records what it mints.
	Recorded bool
}

const placeholder = "{secret}"

// opened is the value of one version in memory, shared by its leases and
// cleared when the last of them and the vault let go of it.
type opened struct {
	version int
	created time.Time
	value   []byte
	scrub   *scrubber
	holders atomic.Int64
	values  map[string][]byte // of a sealed one that holds several

	// Of a minted one:
	minted *Minted
	others []*scrubber // of its values besides the secret
	mint   *Mint
	source Source
	server string
	ends   atomic.Bool // it is revoked when nobody holds it any more
	ended  atomic.Bool // somebody revokes it, or did
	traced sync.Map    // grants it is noted under
}

// hold keeps the value from being cleared until release; false if it was.
func (o *opened) hold() bool {
	for {
		n := o.holders.Load()
		if n <= 0 {
			return false
		}
		if o.holders.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (o *opened) release() {
	switch {
	case o.holders.Add(-1) != 0:
	case o.minted != nil && o.minted.Revoke != nil && o.ends.Load() && o.ended.CompareAndSwap(false, true):
		o.mint.revoker.revoke(o, o.clear)
	default:
		o.clear()
	}
}

func (o *opened) clear() {
	clear(o.value)
	o.scrub.clear()
	if o.minted != nil {
		o.mint.gone(o)
		o.minted.clear()
	}
	for _, s := range o.others {
		s.clear()
	}
	for _, v := range o.values {
		clear(v)
	}
}

// clean removes every value from b.
func (o *opened) clean(b []byte) ([]byte, int) {
	b, n := o.scrub.scrub(b)
	for _, s := range o.others {
		var more int
		b, more = s.scrub(b)
		n += more
	}
	return b, n
}

// Lease is a secret opened for one request. It never shows its value: printing,
// logging and encoding it give its id and version.
type Lease struct {
	vault  *Vault
	req    LeaseRequest
	open   *opened // nil until Ready where it is minted
	mint   *Mint   // nil where it is sealed
	source *Source
	closed atomic.Bool
	// adopted is what an earlier part of the same call was made with.
	adopted  atomic.Pointer[opened]
	repeated atomic.Bool // a secret stood in what was scrubbed
	shared   bool        // it may last longer than the call, and so than what it was made for
	fresh    bool        // it was minted for this call
	before   *opened     // what the server did not take, nil if it took all
}

// attempts bounds how often a secret is looked at anew because it changed while
// it was opened.
const attempts = 5

// Lease opens the secret r names if the decision permits and the secret is
// bound to this server and origin. A secret without an origin is bound to the
// first it is leased for, in the store, before it is opened.
func (v *Vault) Lease(ctx context.Context, r LeaseRequest) (*Lease, error) {
	if r.Outcome != access.Permit {
		return nil, access.Errorf(access.CodeDenied, "a credential is opened only under a permit")
	}
	var err error
	if r.Origin, err = Origin(r.Origin); err != nil {
		return nil, access.Errorf(access.CodeInvalid, "credential %q: %w", r.Ref, err)
	}
	for range attempts {
		o, err := v.ready(r)
		if err != nil {
			return nil, err
		}
		if o != nil {
			if !r.Compare {
				v.uses.note(r.Ref, Use{At: v.cfg.Now(), Version: strconv.Itoa(o.version)})
			}
			return &Lease{vault: v, req: r, open: o}, nil
		}
		if err := v.prepare(ctx, r); err != nil {
			return nil, err
		}
	}
	return nil, access.Errorf(access.CodeUnavailable, "credential %q keeps changing: try again", r.Ref)
}

// ready returns the opened secret, held, or nil if it has to be prepared first.
func (v *Vault) ready(r LeaseRequest) (*opened, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	s, ok := v.secrets[r.Ref]
	if !ok {
		return nil, unknown(r.Ref)
	}
	if err := fits(s, r); err != nil {
		return nil, err
	}
	if o := v.opened[r.Ref]; o != nil && len(s.Origins) > 0 && o.hold() {
		return o, nil
	}
	return nil, nil
}

// fits checks what a secret is bound to.
func fits(s Secret, r LeaseRequest) error {
	switch {
	case len(s.Servers) > 0 && !slices.Contains(s.Servers, r.Server):
		return access.Errorf(access.CodeDenied, "credential %q is not for server %q; set it again with that server, or name another credential in the manifest", s.ID, r.Server)
	case len(s.Origins) > 0 && !slices.Contains(s.Origins, r.Origin):
		return access.Errorf(access.CodeDenied, "credential %q is bound to another origin than server %q has now; if the server moved, remove the credential and set it again", s.ID, r.Server)
	case r.Tier > s.MaxTier:
		return access.Errorf(access.CodeDenied, "credential %q may be used up to tier %d, and this call has tier %d", s.ID, s.MaxTier, r.Tier)
	}
	return nil
}

// prepare binds the secret if it is not bound and opens it.
func (v *Vault) prepare(ctx context.Context, r LeaseRequest) error {
	v.changing.Lock()
	defer v.changing.Unlock()
	s, ok := v.secret(r.Ref)
	if !ok {
		return unknown(r.Ref)
	}
	value, err := v.open(ctx, s)
	if err != nil {
		return err
	}
	if len(s.Origins) == 0 {
		s.Origins = []string{r.Origin}
		s.Version++
		if _, err := v.put(ctx, s, value); err != nil {
			clear(value)
			if access.CodeOf(err) == access.CodeConflict {
				return nil // another node was first; the caller looks again
			}
			return fmt.Errorf("binding credential %q to its origin: %w", s.ID, err)
		}
	}
	o := &opened{version: s.Version, created: s.Created, value: value, scrub: newScrubber(value), values: valuesOf(value)}
	for _, v := range o.values {
		if len(v) >= MinValue {
			o.others = append(o.others, newScrubber(v))
		}
	}
	o.holders.Store(1) // the vault's own
	v.mu.Lock()
	defer v.mu.Unlock()
	v.forget(r.Ref)
	v.opened[r.Ref] = o
	return nil
}

// Version is the version of a sealed secret, for evidence; 0 for a minted one.
func (l *Lease) Version() int {
	if l.open == nil {
		return 0
	}
	return l.open.version
}

// Source is the kind of source it is minted from, "" if it is sealed.
func (l *Lease) Source() string {
	if l.source == nil {
		return ""
	}
	return l.source.Kind()
}

// Unlocks is what evidence keeps of the lease: what was opened, in order; nothing where
// nothing is.
func (l *Lease) Unlocks() []Unlock {
	var out []Unlock
	for _, o := range []*opened{l.before, l.open} {
		if o == nil {
			continue
		}
		u := Unlock{Version: o.version, Kind: l.Source()}
		if g := o.minted; g != nil {
			u.Minted, u.Narrowed, u.Expires = g.Version, g.Narrowed, g.Expires
		}
		out = append(out, u)
	}
	return out
}

// Same reports whether both leases are of one version of one secret.
func (l *Lease) Same(o *Lease) bool {
	if l.mint != nil || o.mint != nil {
		return l.open != nil && l.open == o.open
	}
	return l.req.Ref == o.req.Ref && l.open.version == o.open.version && l.open.created.Equal(o.open.created)
}

// Minted reports whether the lease is of a credential that was minted.
func (l *Lease) Minted() bool { return l.mint != nil }

// Share returns another lease of the same value, which lasts as long as the
// caller needs it.
func (l *Lease) Share() (*Lease, error) {
	if !l.hold() {
		return nil, access.Errorf(access.CodeInternal, "the lease of credential %q has ended", l.req.Ref)
	}
	return &Lease{vault: l.vault, req: l.req, open: l.open, mint: l.mint, source: l.source, shared: true}, nil
}

// Expired reports whether what was minted has ended by itself.
func (l *Lease) Expired(now time.Time) bool {
	return l.open != nil && l.open.minted != nil && !l.open.minted.Expires.IsZero() && !now.Before(l.open.minted.Expires)
}

// Adopt makes the lease know what an earlier part of the same call was made with,
// so that it is kept out of the answer too. It reports false unless both were
// minted of the same source for the same agent and subject. A lease adopts once.
func (l *Lease) Adopt(earlier *Lease) bool {
	if l.mint == nil || earlier.mint == nil || l.req.Ref != earlier.req.Ref || l.req.Who.Principal() != earlier.req.Who.Principal() ||
		l.source.digest() != earlier.source.digest() || !earlier.hold() {
		return false
	}
	if !l.adopted.CompareAndSwap(nil, earlier.open) {
		earlier.open.release()
		return false
	}
	return true
}

// hold keeps the value while it is used; false if the lease has ended.
func (l *Lease) hold() bool { return l.open != nil && !l.closed.Load() && l.open.hold() }

// Headers reveals the headers to send, one after the other. It is called at the
// last moment.
func (l *Lease) Headers(set func(name, value string)) error {
	if l.req.Header == "" || !l.hold() {
		return access.Errorf(access.CodeInternal, "the lease of credential %q gives no header", l.req.Ref)
	}
	defer l.open.release()
	return l.each(l.req.Header, func(name, value string) error {
		for i := 0; i < len(value); i++ {
			if c := value[i]; c < 0x20 && c != '\t' || c == 0x7f {
				return access.Errorf(access.CodeInvalid, "credential %q holds a control character and cannot be a header; rotate it", l.req.Ref)
			}
		}
		set(name, value)
		return nil
	})
}

// Variables reveals the environment variables to start a process with, one after
// the other; it sets none where the lease gives none.
func (l *Lease) Variables(set func(name, value string)) error {
	if l.req.Env == "" {
		return nil
	}
	if !l.hold() {
		return access.Errorf(access.CodeInternal, "the lease of credential %q has ended", l.req.Ref)
	}
	defer l.open.release()
	return l.each(l.req.Env, func(name, value string) error { set(name, value); return nil })
}

// Contents reveals what is to be in the files of a process, one after the other,
// with the variable that is to name each.
func (l *Lease) Contents(set func(variable, content string) error) error {
	if len(l.req.Files) == 0 {
		return nil
	}
	if !l.hold() {
		return access.Errorf(access.CodeInternal, "the lease of credential %q has ended", l.req.Ref)
	}
	defer l.open.release()
	for variable, template := range l.req.Files {
		content, err := l.open.fill(template)
		if err != nil {
			return err
		}
		if err := set(variable, content); err != nil {
			return err
		}
	}
	return nil
}

// Arguments reveals the arguments of a process that are replaced, one after the
// other, each with its index.
func (l *Lease) Arguments(set func(index, value string) error) error {
	if len(l.req.Args) == 0 {
		return nil
	}
	if !l.hold() {
		return access.Errorf(access.CodeInternal, "the lease of credential %q has ended", l.req.Ref)
	}
	defer l.open.release()
	for index, template := range l.req.Args {
		value, err := l.open.fill(template)
		if err != nil {
			return err
		}
		if err := set(index, value); err != nil {
			return err
		}
	}
	return nil
}

// each renders every template.
func (l *Lease) each(name string, do func(name, value string) error) error {
	template := l.req.Template
	if template == "" {
		template = placeholder
	}
	value, err := l.open.fill(template)
	if err != nil {
		return err
	}
	if err := do(name, value); err != nil {
		return err
	}
	for name, template := range l.req.Also {
		if value, err = l.open.fill(template); err != nil {
			return err
		}
		if err := do(name, value); err != nil {
			return err
		}
	}
	return nil
}

// Use reveals the value of a sealed secret to what mints with it, which MUST NOT
// keep it.
func (l *Lease) Use(do func(value []byte) error) error {
	if !l.hold() {
		return access.Errorf(access.CodeInternal, "the lease of credential %q has ended", l.req.Ref)
	}
	defer l.open.release()
	return do(l.open.value)
}

// Scrub returns b without the secret in any of its common forms, and how often
// it stood there. b itself is returned if it is clean. A version that is in use
// since the lease began is removed too: the server knows it. A lease that has
// ended does not know the secret any more and returns nothing of b; one that is
// not ready never knew one.
func (l *Lease) Scrub(b []byte) ([]byte, int) {
	b, n := l.scrubbed(b)
	if n > 0 {
		l.repeated.Store(true)
	}
	return b, n
}

// Repeated reports whether Scrub ever removed anything: the server repeated what
// it was given.
func (l *Lease) Repeated() bool { return l.repeated.Load() }

func (l *Lease) scrubbed(b []byte) ([]byte, int) {
	if l.open == nil {
		return b, 0
	}
	if !l.hold() {
		return []byte(removed), 1
	}
	defer l.open.release()
	b, n := l.open.clean(b)
	for _, o := range []*opened{l.adopted.Load(), l.before} {
		if o != nil {
			var more int
			b, more = o.clean(b)
			n += more
		}
	}
	if l.mint != nil {
		return b, n
	}
	if now := l.vault.inUse(l.req.Ref); now != nil {
		defer now.release()
		if now != l.open {
			var more int
			b, more = now.scrub.scrub(b)
			n += more
		}
	}
	return b, n
}

// inUse returns the opened secret, held, or nil if it is not open.
func (v *Vault) inUse(id string) *opened {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if o := v.opened[id]; o != nil && o.hold() {
		return o
	}
	return nil
}

// Release ends the lease; the value is cleared once nothing holds it.
func (l *Lease) Release() {
	if l.closed.CompareAndSwap(false, true) && l.open != nil {
		l.open.release()
		for _, o := range []*opened{l.adopted.Load(), l.before} {
			if o != nil {
				o.release()
			}
		}
	}
}

// String, GoString, Format, LogValue and MarshalJSON redact.
func (l *Lease) String() string {
	return fmt.Sprintf("credential %s version %d (value withheld)", l.req.Ref, l.Version())
}

// GoString redacts.
func (l *Lease) GoString() string { return l.String() }

// Format redacts for every verb.
func (l *Lease) Format(f fmt.State, _ rune) { fmt.Fprint(f, l.String()) }

// LogValue redacts.
func (l *Lease) LogValue() slog.Value { return slog.StringValue(l.String()) }

// MarshalJSON redacts.
func (l *Lease) MarshalJSON() ([]byte, error) { return json.Marshal(l.String()) }
