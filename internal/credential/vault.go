package credential

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/tink"

	"rutile/internal/access"
)

// Config says which key seals. With neither file the key is made in Dir.
type Config struct {
	Tenant         string
	Dir            string // data directory
	KeyFile        string // key encryption key, 32 bytes in hexadecimal, mode 0600
	PassphraseFile string // instead of KeyFile: a passphrase, mode 0600
	Now            func() time.Time
}

// Bounds of a secret's value in bytes. Shorter ones cannot be told from
// ordinary text when answers are scrubbed.
const (
	MinValue = 8
	MaxValue = 16 << 10
)

// Vault seals secrets and leases them. It is safe for concurrent use.
type Vault struct {
	cfg   Config
	store Store
	seal  tink.AEADWithContext

	changing sync.Mutex // one change at a time
	mu       sync.RWMutex
	secrets  map[string]Secret
	opened   map[string]*opened
}

var _ access.Sealer = (*Vault)(nil)

// New opens the vault. A key that does not open the stored secrets is an error.
func New(ctx context.Context, cfg Config, store Store) (*Vault, error) {
	if store == nil || cfg.Tenant == "" || (cfg.Dir == "" && cfg.KeyFile == "" && cfg.PassphraseFile == "") {
		return nil, errors.New("credential: a store, a tenant and a directory or key are required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	kek, err := loadKEK(cfg)
	if err != nil {
		return nil, err
	}
	seal, err := aead.NewKMSEnvelopeAEADWithContext(aead.AES256GCMKeyTemplate(), kek)
	if err != nil {
		return nil, fmt.Errorf("making the envelope: %w", err)
	}
	v := &Vault{cfg: cfg, store: store, seal: seal, secrets: map[string]Secret{}, opened: map[string]*opened{}}
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

// Reload takes over what other nodes stored. A version older than one seen
// before is refused: rows may have been put back.
func (v *Vault) Reload(ctx context.Context) error {
	list, err := v.store.LoadSecrets(ctx)
	if err != nil {
		return fmt.Errorf("loading sealed secrets: %w", err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	next := make(map[string]Secret, len(list))
	for _, s := range list {
		if old, ok := v.secrets[s.ID]; ok && s.Version < old.Version {
			return access.Errorf(access.CodeConflict, "credential %q went back from version %d to %d in the store: somebody restored an old row; set it again with: rutile credential rotate %s", s.ID, old.Version, s.Version, s.ID)
		}
		next[s.ID] = s
	}
	for id, o := range v.opened {
		if s, ok := next[id]; !ok || s.Version != o.version {
			v.forget(id)
		}
	}
	v.secrets = next
	return nil
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
// version of this secret.
func (v *Vault) bound(id string, version int) []byte {
	return []byte(v.cfg.Tenant + "|" + id + "|" + strconv.Itoa(version) + "|credential")
}

func (v *Vault) open(ctx context.Context, s Secret) ([]byte, error) {
	value, err := v.seal.DecryptWithContext(ctx, s.Sealed, v.bound(s.ID, s.Version))
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
	s.Version, s.Created, s.Rotated = 1, v.cfg.Now().UTC(), time.Time{}
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
	s.Rotated = v.cfg.Now().UTC()
	return v.put(ctx, s, value)
}

func (v *Vault) put(ctx context.Context, s Secret, value []byte) (Secret, error) {
	switch {
	case !access.ValidID(s.ID):
		return Secret{}, access.Errorf(access.CodeInvalid, "a credential's id must match [a-z0-9][a-z0-9-]{0,62}")
	case len(value) < MinValue:
		return Secret{}, access.Errorf(access.CodeInvalid, "the value of credential %q is shorter than %d bytes: so short a secret cannot be kept out of answers", s.ID, MinValue)
	case len(value) > MaxValue:
		return Secret{}, access.Errorf(access.CodeTooLarge, "the value of credential %q is longer than %d bytes", s.ID, MaxValue)
	}
	sealed, err := v.seal.EncryptWithContext(ctx, value, v.bound(s.ID, s.Version))
	if err != nil {
		return Secret{}, fmt.Errorf("sealing credential %q: %w", s.ID, err)
	}
	s.Sealed = sealed
	if err := v.store.PutSecret(ctx, s); err != nil {
		return Secret{}, fmt.Errorf("storing credential %q: %w", s.ID, err)
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
		return false, fmt.Errorf("removing credential %q: %w", id, err)
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
