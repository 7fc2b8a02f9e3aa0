package credential

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/tink"

	"rutile/internal/access"
)

// Config says which key seals.
type Config struct {
	Tenant string
	Dir    string // data directory
	KeySource
	// Previous is the key that was configured before, for as long as something is
	// sealed by it; nil if there was none, or Rewrap was run.
	Previous *KeySource
	Sealed   bool // something is sealed already: a key that is missing is not made anew
	Way      Way  // to a service that holds the key
	Now      func() time.Time
}

// KeySource says where the key encryption key is. At most one member is set; with
// none it is a file in the data directory, made at the first start.
type KeySource struct {
	KeyFile        string   // 32 bytes in hexadecimal, mode 0600
	PassphraseFile string   // a passphrase, mode 0600
	Transit        *Transit // a key that never leaves OpenBao
}

// Bounds of a secret's value in bytes. Shorter ones cannot be told from
// ordinary text when answers are scrubbed.
const (
	MinValue = 8
	MaxValue = 16 << 10
)

// Vault seals secrets and leases them. It is safe for concurrent use.
type Vault struct {
	cfg      Config
	store    Store
	seal     tink.AEADWithContext // over ring
	ring     *ring
	kek      kek
	previous kek // nil for none
	pending  atomic.Bool

	changing    sync.Mutex // one change at a time
	ringVersion int        // of the store; of changing
	mu          sync.RWMutex
	secrets     map[string]Secret
	opened      map[string]*opened
	uses        uses
}

var _ access.Sealer = (*Vault)(nil)

// New opens the vault. A key that does not open the stored secrets is an error.
func New(ctx context.Context, cfg Config, store Store) (*Vault, error) {
	if store == nil || cfg.Tenant == "" || (cfg.Dir == "" && cfg.KeyFile == "" && cfg.PassphraseFile == "" && cfg.Transit == nil) {
		return nil, errors.New("credential: a store, a tenant and a directory or key are required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	v := &Vault{cfg: cfg, store: store, ring: &ring{}, secrets: map[string]Secret{}, opened: map[string]*opened{}}
	var err error
	if v.seal, err = aead.NewKMSEnvelopeAEADWithContext(aead.AES256GCMKeyTemplate(), v.ring); err != nil {
		return nil, fmt.Errorf("making the envelope: %w", err)
	}
	if cfg.Previous != nil {
		if v.previous, err = loadKEK(cfg, *cfg.Previous, false); err != nil {
			return nil, fmt.Errorf("vault.previous: %w", err)
		}
	}
	if v.kek, err = loadKEK(cfg, cfg.KeySource, !cfg.Sealed || cfg.Previous != nil); err != nil {
		return nil, err
	}
	if err := v.Reload(ctx); err != nil {
		return nil, err
	}
	for _, s := range v.secrets {
		value, err := v.open(ctx, s)
		if err != nil {
			return nil, err
		}
		clear(value)
		break // one is enough to know the key
	}
	return v, nil
}

// resyncTime bounds looking up what stands after the store refused a change.
const resyncTime = 10 * time.Second

// Reload takes over what other nodes stored. A row older than one seen before
// is refused: rows may have been put back.
func (v *Vault) Reload(ctx context.Context) error {
	v.changing.Lock()
	defer v.changing.Unlock()
	return v.reload(ctx)
}

// reload is Reload; v.changing is held.
func (v *Vault) reload(ctx context.Context) error {
	list, err := v.store.LoadSecrets(ctx)
	if err != nil {
		return fmt.Errorf("loading sealed secrets: %w", err)
	}
	if err := v.loadRing(ctx); err != nil { // after them: it holds the roots of all that is there
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	next := make(map[string]Secret, len(list))
	for _, s := range list {
		if old, ok := v.secrets[s.ID]; ok && older(s, old) {
			return access.Errorf(access.CodeConflict, "credential %q went back from version %d to %d in the store: somebody restored an old row; set it again with: rutile credential rotate %s", s.ID, old.Version, s.Version, s.ID)
		}
		next[s.ID] = s
	}
	for id, o := range v.opened {
		if s, ok := next[id]; !ok || s.Version != o.version || !s.Created.Equal(o.created) {
			v.forget(id)
		}
	}
	v.secrets = next
	return nil
}

// older reports whether a row is from before another of the same name. One that
// was removed and set again starts at version 1 and is younger.
func older(s, than Secret) bool {
	if c := s.Created.Compare(than.Created); c != 0 {
		return c < 0
	}
	return s.Version < than.Version
}

// resync finds out what stands after the store refused a change: another node
// may have been first, or the store's answer was lost. v.changing is held.
func (v *Vault) resync(ctx context.Context, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), resyncTime)
	defer cancel()
	if err := v.reload(ctx); err != nil {
		return errors.Join(cause, err)
	}
	return cause
}

// forget drops the opened value of a secret; v.mu is held.
func (v *Vault) forget(id string) {
	if o := v.opened[id]; o != nil {
		delete(v.opened, id)
		o.release()
	}
}

// Seal encrypts plaintext for a purpose.
func (v *Vault) Seal(ctx context.Context, purpose string, plaintext []byte) ([]byte, error) {
	b, err := v.seal.EncryptWithContext(ctx, plaintext, []byte(v.cfg.Tenant+"|seal|"+purpose))
	if err != nil {
		return nil, fmt.Errorf("sealing: %w", err)
	}
	return b, nil
}

// Open decrypts what Seal encrypted for the same purpose.
func (v *Vault) Open(ctx context.Context, purpose string, sealed []byte) ([]byte, error) {
	b, err := v.seal.DecryptWithContext(ctx, sealed, []byte(v.cfg.Tenant+"|seal|"+purpose))
	if err != nil {
		return nil, &access.Error{Code: access.CodeInternal, Msg: "a sealed value does not open: the vault's key is not the one that sealed it, or the value was changed; restore the key file", Err: err}
	}
	return b, nil
}

// bound is the associated data of a secret's value: it opens only as this
// version of this secret, with what it is bound to. Whoever can write the store
// cannot send it elsewhere by changing the row.
func (v *Vault) bound(s Secret) ([]byte, error) {
	b, err := json.Marshal([]any{append([]string{}, s.Servers...), append([]string{}, s.Origins...), s.MaxTier, s.Created.UnixMilli()})
	if err != nil {
		return nil, fmt.Errorf("encoding what credential %q is bound to: %w", s.ID, err)
	}
	sum := sha256.Sum256(b)
	return []byte(v.cfg.Tenant + "|" + s.ID + "|" + strconv.Itoa(s.Version) + "|credential:" + hex.EncodeToString(sum[:])), nil
}

func (v *Vault) open(ctx context.Context, s Secret) ([]byte, error) {
	associated, err := v.bound(s)
	if err != nil {
		return nil, err
	}
	value, err := v.seal.DecryptWithContext(ctx, s.Sealed, associated)
	if err != nil {
		return nil, &access.Error{Code: access.CodeInternal, Err: err,
			Msg: fmt.Sprintf("credential %q does not open: the vault's key is not the one that sealed it, or its row was changed; restore the key file or set the credential again", s.ID)}
	}
	return value, nil
}

// Set seals value as the first version of s; CodeConflict if it exists.
func (v *Vault) Set(ctx context.Context, s Secret, value []byte) (Secret, error) {
	v.changing.Lock()
	defer v.changing.Unlock()
	if _, ok := v.secret(s.ID); ok {
		return Secret{}, access.Errorf(access.CodeConflict, "credential %q exists; replace its value with: rutile credential rotate %s", s.ID, s.ID)
	}
	s.Version, s.Created, s.Rotated = 1, v.now(), time.Time{}
	return v.put(ctx, s, value)
}

// Rotate seals value as the next version of an existing secret.
func (v *Vault) Rotate(ctx context.Context, id string, value []byte) (Secret, error) {
	v.changing.Lock()
	defer v.changing.Unlock()
	s, ok := v.secret(id)
	if !ok {
		return Secret{}, unknown(id)
	}
	s.Version++
	s.Rotated = v.now()
	return v.put(ctx, s, value)
}

// now is the time secrets carry: what every store keeps exactly.
func (v *Vault) now() time.Time { return v.cfg.Now().UTC().Truncate(time.Millisecond) }

// check refuses what cannot be sealed, kept out of answers or ever be leased.
func (s *Secret) check(value []byte) error {
	switch {
	case !access.ValidID(s.ID):
		return access.Errorf(access.CodeInvalid, "a credential's id must match [a-z0-9][a-z0-9-]{0,62}")
	case len(value) < MinValue:
		return access.Errorf(access.CodeInvalid, "the value of credential %q is shorter than %d bytes: so short a secret cannot be kept out of answers", s.ID, MinValue)
	case len(value) > MaxValue:
		return access.Errorf(access.CodeTooLarge, "the value of credential %q is longer than %d bytes", s.ID, MaxValue)
	case s.MaxTier < 0 || s.MaxTier > 3:
		return access.Errorf(access.CodeInvalid, "the highest tier of credential %q must be 0, 1, 2 or 3", s.ID)
	}
	for _, id := range s.Servers {
		if !access.ValidID(id) {
			return access.Errorf(access.CodeInvalid, "credential %q: %q cannot be the id of a server", s.ID, id)
		}
	}
	var origins []string
	for _, o := range s.Origins {
		n, err := Origin(o)
		if err != nil {
			return access.Errorf(access.CodeInvalid, "credential %q: %w", s.ID, err)
		}
		origins = append(origins, n)
	}
	s.Origins = origins
	return nil
}

// LowerHost writes a host in lower case as far as it is ASCII. Other letters stay as
// they are: İ in lower case would be i, and what is dialled is a third name (RFC 5891
// section 5.3), so that somebody else's host could pass for a bound one.
func LowerHost(host string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, host)
}

// Origin writes an origin in one form (RFC 6454 section 6.2): lower case, no
// default port. A server's process has the origin "stdio:" and its id.
func Origin(origin string) (string, error) {
	if id, ok := strings.CutPrefix(origin, "stdio:"); ok && access.ValidID(id) {
		return origin, nil
	}
	u, err := url.Parse(origin)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("%q is not an origin such as https://api.example.com or https://api.example.com:8443", origin)
	}
	host := LowerHost(u.Host)
	if p := u.Port(); p == "" || u.Scheme == "https" && p == "443" || u.Scheme == "http" && p == "80" {
		host = strings.TrimSuffix(host, ":"+p)
	}
	return u.Scheme + "://" + host, nil
}

func (v *Vault) put(ctx context.Context, s Secret, value []byte) (Secret, error) {
	if err := s.check(value); err != nil {
		return Secret{}, err
	}
	associated, err := v.bound(s)
	if err != nil {
		return Secret{}, err
	}
	if s.Sealed, err = v.seal.EncryptWithContext(ctx, value, associated); err != nil {
		return Secret{}, fmt.Errorf("sealing credential %q: %w", s.ID, err)
	}
	if err := v.store.PutSecret(ctx, s); err != nil {
		return Secret{}, v.resync(ctx, fmt.Errorf("storing credential %q: %w", s.ID, err))
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.secrets[s.ID] = s
	v.forget(s.ID)
	return bare(s), nil
}

// Remove deletes a secret; ok is false if there was none.
func (v *Vault) Remove(ctx context.Context, id string) (ok bool, err error) {
	v.changing.Lock()
	defer v.changing.Unlock()
	ok, err = v.store.DeleteSecret(ctx, id)
	if err != nil {
		return false, v.resync(ctx, fmt.Errorf("removing credential %q: %w", id, err))
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.secrets, id)
	v.forget(id)
	return ok, nil
}

// List returns the secrets by id, without anything sealed.
func (v *Vault) List(context.Context) ([]Secret, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	out := make([]Secret, 0, len(v.secrets))
	for _, s := range v.secrets {
		out = append(out, bare(s))
	}
	slices.SortFunc(out, func(a, b Secret) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return out, nil
}

func (v *Vault) secret(id string) (Secret, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	s, ok := v.secrets[id]
	return s, ok
}

// bare is s without its sealed value.
func bare(s Secret) Secret { s.Sealed = nil; return s }

func unknown(id string) error {
	return access.Errorf(access.CodeNotFound, "there is no credential %q; seal it with: rutile credential set %s", id, id)
}
