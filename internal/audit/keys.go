package audit

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"rutile/internal/access"
)

// errNoKey says that a key does not exist, which after an erasure is its
// normal state.
var errNoKey = errors.New("the key does not exist")

// Names of wrapped keys in the KeyStore. They hold no personal data: what they
// end in is a keyed hash.
const (
	nameLookup  = "lookup"
	nameSubject = "sub."
	nameData    = "dek."
	namePayload = "pay."
)

// Kinds of what a pseudonym stands for.
const (
	kindAgent   = "agent"
	kindPerson  = "person"
	kindSession = "session"
)

// entity is a person or an agent: whoever has a subject key.
type entity struct {
	Kind   string `json:"kind"`
	Issuer string `json:"issuer,omitempty"`
	ID     string `json:"id"`
}

// name is the entity as pseudonyms and key names are computed over it.
func (e entity) name() string {
	if e.Issuer == "" {
		return e.ID
	}
	return e.Issuer + "\x00" + e.ID
}

func agentOf(r *access.Request) entity { return entity{Kind: kindAgent, ID: r.Who.Actor.Agent} }

// ownerOf is the data subject of a call: the person, or the agent where no
// person stands behind it.
func ownerOf(r *access.Request) entity {
	if r.Who.Subject.Autonomous() {
		return agentOf(r)
	}
	return entity{Kind: kindPerson, Issuer: r.Who.Subject.Issuer, ID: r.Who.Subject.ID}
}

// subject is an entity with its key. It is sealed as JSON under its keyed name,
// which is what lets Reindex turn pseudonyms back into ids.
type subject struct {
	Who entity `json:"who"`
	Key []byte `json:"key"`

	pseudonym string
	macs      *macs // under Key
}

// dataKey opens what belongs to one data subject, class and month.
type dataKey struct {
	id    string // 26 base32 characters, public
	aead  cipher.AEAD
	salts *macs  // HKDF(DEK, "rutile salt v1")
	base  []byte // HKDF(DEK, "rutile payload v1")
	// What payloads of the class and month are sealed with, nil where nothing is kept.
	payload *payloadKey
}

// payloadKey opens the payloads that one data key and the key of their log, class and
// month together open: destroying either erases them.
type payloadKey struct {
	id   string // of the key of the month, public
	aead cipher.AEAD
}

// macs are HMAC-SHA-256 under one key, kept for the next use: to set one up
// costs more than what it is used for.
type macs struct{ pool sync.Pool } // of *mac

type mac struct {
	hash hash.Hash
	in   []byte
}

func newMACs(key []byte) *macs {
	return &macs{sync.Pool{New: func() any { return &mac{hash: hmac.New(sha256.New, key)} }}}
}

// of returns the MAC of parts joined by NUL.
func (m *macs) of(parts ...string) [sha256.Size]byte {
	h := m.pool.Get().(*mac)
	h.in = h.in[:0]
	for i, p := range parts {
		if i > 0 {
			h.in = append(h.in, 0)
		}
		h.in = append(h.in, p...)
	}
	h.hash.Reset()
	h.hash.Write(h.in)
	in := h.in
	clear(in)
	h.in = h.hash.Sum(in[:0])
	sum := [sha256.Size]byte(h.in)
	m.pool.Put(h)
	return sum
}

type dataKeyID struct {
	owner entity
	class string
	month int // yyyymm
}

// maxCachedKeys bounds each cache; a full one is emptied, because asking the
// store again is cheap next to keeping an order.
const maxCachedKeys = 20_000

// keyring derives pseudonyms, salts and ciphers from the wrapped keys.
type keyring struct {
	store  KeyStore
	sealer access.Sealer
	tenant string
	origin string
	pays   bool // payloads are kept
	rand   io.Reader
	lookup []byte

	mu       sync.RWMutex
	era      uint64 // how often everything was forgotten
	subjects map[entity]*subject
	data     map[dataKeyID]*dataKey
	byID     map[string]*dataKey
	months   map[string][]byte // keys of payloads by id
}

func newKeyring(ctx context.Context, store KeyStore, sealer access.Sealer, cfg *Config) (*keyring, error) {
	k := &keyring{store: store, sealer: sealer, tenant: cfg.Tenant, origin: cfg.Origin, pays: cfg.Payloads, rand: cfg.Rand}
	k.forget()
	var err error
	if k.lookup, err = k.unwrapped(ctx, nameLookup, k.fresh); err != nil {
		return nil, fmt.Errorf("opening the evidence keys: %w", err)
	}
	return k, nil
}

// forget drops what is cached, so that keys that were destroyed open nothing.
func (k *keyring) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.era++
	k.subjects, k.data, k.byID, k.months = map[entity]*subject{}, map[dataKeyID]*dataKey{}, map[string]*dataKey{}, map[string][]byte{}
}

// now returns the present era. What was read in an earlier one may have been
// destroyed since.
func (k *keyring) now() uint64 {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.era
}

// fresh returns a new random key.
func (k *keyring) fresh() ([]byte, error) {
	key := make([]byte, 32)
	_, err := io.ReadFull(k.rand, key)
	return key, err
}

// unwrapped returns the key called name, made by make if there is none and make
// is not nil.
func (k *keyring) unwrapped(ctx context.Context, name string, make func() ([]byte, error)) ([]byte, error) {
	purpose := "evidence key " + name
	wrapped, err := k.store.EvidenceKey(ctx, name, func() ([]byte, error) {
		if make == nil {
			return nil, errNoKey
		}
		key, err := make()
		if err != nil {
			return nil, err
		}
		return k.sealer.Seal(ctx, purpose, key)
	})
	if err != nil {
		return nil, err
	}
	return k.sealer.Open(ctx, purpose, wrapped)
}

// keyed is the public name of parts: 130 bits of a keyed hash.
func (k *keyring) keyed(parts ...string) string {
	return keyedName(k.lookup, parts...)
}

var lowerBase32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// keyedName is base32 of the first 130 bits of HMAC-SHA-256 over parts joined
// by NUL.
func keyedName(key []byte, parts ...string) string {
	return shortName(newMACs(key).of(parts...))
}

func shortName(sum [sha256.Size]byte) string { return lowerBase32.EncodeToString(sum[:17])[:26] }

// subject returns the key of e, made at first sight.
func (k *keyring) subject(ctx context.Context, e entity) (*subject, error) {
	k.mu.RLock()
	s, era := k.subjects[e], k.era
	k.mu.RUnlock()
	if s != nil {
		return s, nil
	}
	raw, err := k.unwrapped(ctx, k.subjectName(e), func() ([]byte, error) {
		key, err := k.fresh()
		if err != nil {
			return nil, err
		}
		return json.Marshal(subject{Who: e, Key: key})
	})
	if err != nil {
		return nil, fmt.Errorf("reading a subject key: %w", err)
	}
	if s, err = parseSubject(raw, k.tenant); err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.era != era {
		return s, nil // it may have been destroyed since it was read
	}
	if len(k.subjects) >= maxCachedKeys {
		k.subjects = map[entity]*subject{}
	}
	k.subjects[e] = s
	return s, nil
}

// subjectName is what the subject key of e is stored under.
func (k *keyring) subjectName(e entity) string {
	return nameSubject + k.keyed("subject", k.tenant, e.Kind, e.name())
}

// dataName is the public id of a data key.
func (k *keyring) dataName(id dataKeyID) string {
	return k.keyed("data", k.tenant, id.owner.Kind, id.owner.name(), id.class, fmt.Sprint(id.month))
}

func parseSubject(raw []byte, tenant string) (*subject, error) {
	s := new(subject)
	if err := json.Unmarshal(raw, s); err != nil || len(s.Key) != 32 {
		return nil, errors.New("reading a subject key: it is malformed")
	}
	s.macs = newMACs(s.Key)
	s.pseudonym = s.of(tenant, s.Who.Kind, s.Who.name())
	return s, nil
}

// of returns the pseudonym of something that belongs to s.
func (s *subject) of(tenant, kind, id string) string {
	return "p_" + shortName(s.macs.of(tenant, kind, id))
}

// pseudonyms returns who stands behind each pseudonym of a person or agent
// whose key still exists.
func (k *keyring) pseudonyms(ctx context.Context) (map[string]entity, error) {
	wrapped, err := k.store.EvidenceKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing the subject keys: %w", err)
	}
	out := make(map[string]entity)
	for name, w := range wrapped {
		if !strings.HasPrefix(name, nameSubject) {
			continue
		}
		raw, err := k.sealer.Open(ctx, "evidence key "+name, w)
		if err != nil {
			return nil, fmt.Errorf("opening subject key %s: %w", name, err)
		}
		s, err := parseSubject(raw, k.tenant)
		if err != nil {
			return nil, err
		}
		out[s.pseudonym] = s.Who
	}
	return out, nil
}

func monthOf(t time.Time) int {
	y, m, _ := t.UTC().Date()
	return y*100 + int(m)
}

// dataKey returns the key of (owner, class, month of at), made at first use.
func (k *keyring) dataKey(ctx context.Context, owner entity, class string, at time.Time) (*dataKey, error) {
	id := dataKeyID{owner, class, monthOf(at)}
	k.mu.RLock()
	d, era := k.data[id], k.era
	k.mu.RUnlock()
	if d != nil {
		return d, nil
	}
	d, err := k.loadDataKey(ctx, k.dataName(id), k.fresh)
	if err != nil {
		return nil, fmt.Errorf("reading a data key: %w", err)
	}
	if class == classDecision && k.pays {
		if d.payload, err = k.payloadKey(ctx, d, k.payloadName(class, id.month), k.fresh); err != nil {
			return nil, fmt.Errorf("reading the key of a month: %w", err)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.era != era {
		return d, nil
	}
	if len(k.data) >= maxCachedKeys {
		k.data = map[dataKeyID]*dataKey{}
	}
	k.data[id] = d
	return d, nil
}

// openKey returns the existing key with public id; errNoKey once it is
// destroyed.
func (k *keyring) openKey(ctx context.Context, id string) (*dataKey, error) {
	k.mu.RLock()
	d, era := k.byID[id], k.era
	k.mu.RUnlock()
	if d != nil {
		return d, nil
	}
	d, err := k.loadDataKey(ctx, id, nil)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.era != era {
		return d, nil
	}
	if len(k.byID) >= maxCachedKeys {
		k.byID = map[string]*dataKey{}
	}
	k.byID[id] = d
	return d, nil
}

func (k *keyring) loadDataKey(ctx context.Context, id string, make func() ([]byte, error)) (*dataKey, error) {
	dek, err := k.unwrapped(ctx, nameData+id, make)
	if err != nil {
		return nil, err
	}
	salt, err := hkdf.Key(sha256.New, dek, nil, "rutile salt v1", 32)
	if err != nil {
		return nil, err
	}
	key, err := hkdf.Key(sha256.New, dek, nil, "rutile seal v1", 32)
	if err != nil {
		return nil, err
	}
	base, err := hkdf.Key(sha256.New, dek, nil, "rutile payload v1", 32)
	if err != nil {
		return nil, err
	}
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	return &dataKey{id: id, aead: aead, salts: newMACs(salt), base: base}, nil
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// payloadName is the public id of the key of this log's payloads of a class and month.
// Logs that share the keys have each their own: what one lets go another may hold.
func (k *keyring) payloadName(class string, month int) string {
	return k.keyed("payload", k.tenant, k.origin, class, fmt.Sprint(month))
}

// payloadKey returns what opens payloads of d under the key with that id; errNoPayload
// once that is destroyed, unless make makes another.
func (k *keyring) payloadKey(ctx context.Context, d *dataKey, id string, make func() ([]byte, error)) (*payloadKey, error) {
	k.mu.RLock()
	month, era := k.months[id], k.era
	k.mu.RUnlock()
	if month == nil {
		var err error
		month, err = k.unwrapped(ctx, namePayload+id, make)
		if errors.Is(err, errNoKey) {
			err = errNoPayload
		}
		if err != nil {
			return nil, err
		}
		k.mu.Lock()
		if k.era == era {
			if len(k.months) >= maxCachedKeys {
				k.months = map[string][]byte{}
			}
			k.months[id] = month
		}
		k.mu.Unlock()
	}
	key, err := hkdf.Key(sha256.New, month, d.base, "rutile payload v1", 32)
	if err != nil {
		return nil, err
	}
	aead, err := newAEAD(key)
	return &payloadKey{id, aead}, err
}

// saltFor derives the salt of one commitment of one leaf.
func (d *dataKey) saltFor(leafID, tag string) [32]byte {
	return d.salts.of(leafID, tag)
}

// commit returns SHA-256(salt || u16(len(tag)) || tag || value).
func (d *dataKey) commit(leafID, tag string, value []byte) [32]byte {
	return commitment(d.saltFor(leafID, tag), tag, value)
}

// What a ciphertext is for; the last part of its associated data.
const (
	sealPayload = "payload"
	sealIDs     = "ids"
)

// associated is the associated data of a ciphertext, so that it opens only as
// what it was sealed as.
func (d *dataKey) associated(tenant, leafID, class, what string) []byte {
	return d.appendAssociated(nil, tenant, leafID, class, what)
}

func (d *dataKey) appendAssociated(b []byte, tenant, leafID, class, what string) []byte {
	for _, part := range [...]string{tenant, leafID, class, d.id} {
		b = append(append(b, part...), '|')
	}
	return append(b, what...)
}

// seal appends nonce || ciphertext || tag to b, which neither ad nor plain may be
// part of.
func seal(aead cipher.AEAD, b []byte, rand io.Reader, ad, plain []byte) ([]byte, error) {
	at, n := len(b), aead.NonceSize()
	b = slices.Grow(b, n+len(plain)+aead.Overhead())[:at+n]
	if _, err := io.ReadFull(rand, b[at:]); err != nil {
		return nil, fmt.Errorf("making a nonce: %w", err)
	}
	return aead.Seal(b, b[at:], plain, ad), nil
}

func open(aead cipher.AEAD, ad, sealed []byte) ([]byte, error) {
	n := aead.NonceSize()
	if len(sealed) < n {
		return nil, errors.New("the ciphertext is too short")
	}
	return aead.Open(nil, sealed[:n], sealed[n:], ad)
}
