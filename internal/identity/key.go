package identity

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// keyPurpose is bound to every sealed token key.
const keyPurpose = "token-key"

// liveKeys is how many keys are not retired: the one that signs and the next
// one, published ahead so that every verifier knows it before it signs.
const liveKeys = 2

// ownKey is one of our token keys in memory.
type ownKey struct {
	stored  SigningKey
	public  ed25519.PublicKey
	private ed25519.PrivateKey // nil once retired
	until   time.Time          // verifies until then; zero while it is live
}

// keyring is an immutable set of token keys.
type keyring struct {
	keys   map[string]*ownKey
	order  []*ownKey   // by age
	signer jose.Signer // with the oldest live key
}

// key returns the key that may have signed a token under kid.
func (r *keyring) key(kid string, now time.Time) (ed25519.PublicKey, bool) {
	k := r.keys[kid]
	if k == nil || k.expired(now) {
		return nil, false
	}
	return k.public, true
}

func (k *ownKey) expired(now time.Time) bool { return !k.until.IsZero() && now.After(k.until) }

// JWKS returns the JWK set of the keys tokens may be signed with: the current
// one, the next one and those retired whose tokens have not all expired.
func (a *Authority) JWKS() []byte {
	now := a.cfg.Now()
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, k := range a.ring.Load().order {
		if !k.expired(now) {
			set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.public, KeyID: k.stored.ID, Algorithm: string(jose.EdDSA), Use: "sig"})
		}
	}
	b, err := json.Marshal(set)
	if err != nil {
		return []byte(`{"keys":[]}`) // cannot happen for Ed25519 keys; nothing is published then
	}
	return b
}

// Rotate makes the next key sign and publishes a new next one. The old private
// key is forgotten; what it signed stays valid until it expires.
func (a *Authority) Rotate(ctx context.Context) error {
	a.rotating.Lock()
	defer a.rotating.Unlock()
	if err := a.loadKeys(ctx); err != nil {
		return err
	}
	live := a.ring.Load().live()
	// The new key is stored first: a crash between the two steps leaves one key
	// more than needed, never one less.
	for n := len(live) - 1; n < liveKeys; n++ {
		if err := a.makeKey(ctx); err != nil {
			return err
		}
	}
	old := live[0]
	public, err := a.seal(ctx, jose.JSONWebKey{Key: old.public, KeyID: old.stored.ID})
	if err != nil {
		return err
	}
	retired := old.stored
	retired.Sealed, retired.Retired = public, a.cfg.Now()
	if err := a.store.SaveSigningKey(ctx, retired); err != nil {
		return fmt.Errorf("retiring token key %s: %w", retired.ID, err)
	}
	return a.loadKeys(ctx)
}

func (r *keyring) live() []*ownKey {
	var live []*ownKey
	for _, k := range r.order {
		if k.private != nil {
			live = append(live, k)
		}
	}
	return live
}

// loadKeys reads the token keys, makes those that are missing and installs
// them. The caller holds a.rotating.
func (a *Authority) loadKeys(ctx context.Context) error {
	ring, err := a.readKeys(ctx)
	if err != nil {
		return err
	}
	if missing := liveKeys - len(ring.live()); missing > 0 {
		for range missing {
			if err := a.makeKey(ctx); err != nil {
				return err
			}
		}
		if ring, err = a.readKeys(ctx); err != nil {
			return err
		}
	}
	live := ring.live()
	if len(live) < liveKeys {
		return errors.New("loading token keys: the store does not return what was saved")
	}
	if ring.signer, err = live[0].signer(); err != nil {
		return err
	}
	a.ring.Store(ring)
	return nil
}

func (a *Authority) readKeys(ctx context.Context) (*keyring, error) {
	stored, err := a.store.LoadSigningKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("loading token keys: %w", err)
	}
	ring := &keyring{keys: map[string]*ownKey{}}
	now := a.cfg.Now()
	for _, s := range stored {
		k := &ownKey{stored: s}
		if !s.Retired.IsZero() {
			k.until = s.Retired.Add(max(a.cfg.TokenTTL, a.cfg.DevelopmentTTL) + a.cfg.Skew)
			if k.expired(now) {
				continue
			}
		}
		if err := a.open(ctx, k); err != nil {
			return nil, fmt.Errorf("opening token key %s: %w", s.ID, err)
		}
		ring.keys[s.ID] = k
		ring.order = append(ring.order, k)
	}
	slices.SortFunc(ring.order, func(x, y *ownKey) int {
		if c := x.stored.Created.Compare(y.stored.Created); c != 0 {
			return c
		}
		return strings.Compare(x.stored.ID, y.stored.ID)
	})
	return ring, nil
}

// open unseals a stored key. The id is checked against the key itself, so rows
// of the store cannot be swapped.
func (a *Authority) open(ctx context.Context, k *ownKey) error {
	if k.stored.Alg != string(jose.EdDSA) {
		return fmt.Errorf("unknown algorithm %q", k.stored.Alg)
	}
	plain, err := a.sealer.Open(ctx, keyPurpose, k.stored.Sealed)
	if err != nil {
		return err
	}
	defer clear(plain)
	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON(plain); err != nil {
		return errors.New("the sealed text is not a JWK") // the cause could quote the key
	}
	switch key := jwk.Key.(type) {
	case ed25519.PrivateKey:
		k.public = key.Public().(ed25519.PublicKey)
		if k.until.IsZero() {
			k.private = key
		}
	case ed25519.PublicKey:
		if k.until.IsZero() {
			return errors.New("the private part is missing")
		}
		k.public = key
	default:
		return errors.New("not an Ed25519 key")
	}
	id, err := keyID(k.public)
	if err != nil {
		return err
	}
	if id != k.stored.ID {
		return errors.New("the sealed key has another id")
	}
	return nil
}

func (a *Authority) makeKey(ctx context.Context) error {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("making a token key: %w", err)
	}
	id, err := keyID(public)
	if err != nil {
		return err
	}
	sealed, err := a.seal(ctx, jose.JSONWebKey{Key: private, KeyID: id})
	if err != nil {
		return err
	}
	k := SigningKey{ID: id, Alg: string(jose.EdDSA), Sealed: sealed, Created: a.cfg.Now()}
	if err := a.store.SaveSigningKey(ctx, k); err != nil {
		return fmt.Errorf("saving token key %s: %w", id, err)
	}
	return nil
}

func (a *Authority) seal(ctx context.Context, jwk jose.JSONWebKey) ([]byte, error) {
	plain, err := jwk.MarshalJSON()
	if err != nil {
		return nil, errors.New("encoding a token key")
	}
	defer clear(plain)
	sealed, err := a.sealer.Seal(ctx, keyPurpose, plain)
	if err != nil {
		return nil, fmt.Errorf("sealing token key %s: %w", jwk.KeyID, err)
	}
	return sealed, nil
}

func (k *ownKey) signer() (jose.Signer, error) { return k.typed(accessTokenType) }

func (k *ownKey) typed(typ string) (jose.Signer, error) {
	s, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: k.private, KeyID: k.stored.ID}},
		(&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
	if err != nil {
		return nil, fmt.Errorf("using token key %s: %w", k.stored.ID, err)
	}
	return s, nil
}

// keyID is the start of the key's RFC 7638 thumbprint: 96 bits are enough to
// tell a handful of keys apart, and it travels in every token.
func keyID(public ed25519.PublicKey) (string, error) {
	t, err := thumbprint(public)
	if err != nil {
		return "", err
	}
	return t[:16], nil
}

// thumbprint is the base64url SHA-256 thumbprint of RFC 7638.
func thumbprint(public crypto.PublicKey) (string, error) {
	sum, err := (&jose.JSONWebKey{Key: public}).Thumbprint(crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("computing a key thumbprint: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}
