package credential

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"rutile/internal/access"
)

// LeaseRequest asks for a secret for one request.
type LeaseRequest struct {
	Ref      string // id of the secret
	Header   string // header it goes into, for HTTP
	Env      string // environment variable it goes into, for stdio
	Template string // with {secret}; "" is the secret alone
	Server   string // id of the server it is for
	Origin   string // scheme://host:port it will be sent to, or "stdio:" and the server
	Decision string // under which it is opened
	Outcome  access.Outcome
	Tier     int
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
	if o.holders.Add(-1) == 0 {
		clear(o.value)
		o.scrub.clear()
	}
}

// Lease is a secret opened for one request. It never shows its value: printing,
// logging and encoding it give its id and version.
type Lease struct {
	vault  *Vault
	req    LeaseRequest
	open   *opened
	closed atomic.Bool
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
	if r.Origin, err = normal(r.Origin); err != nil {
		return nil, access.Errorf(access.CodeInvalid, "credential %q: %w", r.Ref, err)
	}
	for range attempts {
		o, err := v.ready(r)
		if err != nil {
			return nil, err
		}
		if o != nil {
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
	o := &opened{version: s.Version, created: s.Created, value: value, scrub: newScrubber(value)}
	o.holders.Store(1) // the vault's own
	v.mu.Lock()
	defer v.mu.Unlock()
	v.forget(r.Ref)
	v.opened[r.Ref] = o
	return nil
}

// Version is the version of the secret, for evidence.
func (l *Lease) Version() int { return l.open.version }

// Same reports whether both leases are of one version of one secret.
func (l *Lease) Same(o *Lease) bool {
	return l.req.Ref == o.req.Ref && l.open.version == o.open.version && l.open.created.Equal(o.open.created)
}

// hold keeps the value while it is used; false if the lease has ended.
func (l *Lease) hold() bool { return !l.closed.Load() && l.open.hold() }

// Header reveals the header to send. It is called at the last moment.
func (l *Lease) Header() (name, value string, err error) {
	if l.req.Header == "" || !l.hold() {
		return "", "", access.Errorf(access.CodeInternal, "the lease of credential %q gives no header", l.req.Ref)
	}
	defer l.open.release()
	value = l.render()
	for i := 0; i < len(value); i++ {
		if c := value[i]; c < 0x20 && c != '\t' || c == 0x7f {
			return "", "", access.Errorf(access.CodeInvalid, "credential %q holds a control character and cannot be a header; rotate it", l.req.Ref)
		}
	}
	return l.req.Header, value, nil
}

// Env reveals the environment variable to start a process with; ok is false if
// the lease gives none.
func (l *Lease) Env() (name, value string, ok bool) {
	if l.req.Env == "" || !l.hold() {
		return "", "", false
	}
	defer l.open.release()
	return l.req.Env, l.render(), true
}

func (l *Lease) render() string {
	if l.req.Template == "" {
		return string(l.open.value)
	}
	return strings.ReplaceAll(l.req.Template, placeholder, string(l.open.value))
}

// Scrub returns b without the secret in any of its common forms, and how often
// it stood there. b itself is returned if it is clean. A version that is in use
// since the lease began is removed too: the server knows it. A lease that has
// ended does not know the secret any more and returns nothing of b.
func (l *Lease) Scrub(b []byte) ([]byte, int) {
	if !l.hold() {
		return []byte(removed), 1
	}
	defer l.open.release()
	b, n := l.open.scrub.scrub(b)
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
	if l.closed.CompareAndSwap(false, true) {
		l.open.release()
	}
}

// String, GoString, Format, LogValue and MarshalJSON redact.
func (l *Lease) String() string {
	return fmt.Sprintf("credential %s version %d (value withheld)", l.req.Ref, l.open.version)
}

// GoString redacts.
func (l *Lease) GoString() string { return l.String() }

// Format redacts for every verb.
func (l *Lease) Format(f fmt.State, _ rune) { fmt.Fprint(f, l.String()) }

// LogValue redacts.
func (l *Lease) LogValue() slog.Value { return slog.StringValue(l.String()) }

// MarshalJSON redacts.
func (l *Lease) MarshalJSON() ([]byte, error) { return json.Marshal(l.String()) }
