package credential

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"

	"github.com/tink-crypto/tink-go/v2/tink"

	"rutile/internal/access"
)

// ring holds the root keys that seal data keys. The first seals; all of them
// open. In the store it is sealed by the key encryption key, so that this can be
// changed by sealing one row anew. A vault that was never rewrapped has no such
// row: its only root is the key encryption key itself.
type ring struct{ keys atomic.Pointer[[]rootKey] }

type rootKey struct {
	raw []byte
	*localKEK
}

var _ tink.AEADWithContext = (*ring)(nil)

// maxRoots bounds the roots: each rewrapping adds one, and none is dropped, as
// what was sealed under it may be kept elsewhere.
const maxRoots = 1000

// EncryptWithContext seals a data key under the newest root.
func (r *ring) EncryptWithContext(ctx context.Context, plaintext, associated []byte) ([]byte, error) {
	return (*r.keys.Load())[0].EncryptWithContext(ctx, plaintext, associated)
}

// DecryptWithContext opens what any root sealed.
func (r *ring) DecryptWithContext(ctx context.Context, sealed, associated []byte) ([]byte, error) {
	var errs error
	for _, k := range *r.keys.Load() {
		out, err := k.DecryptWithContext(ctx, sealed, associated)
		if err == nil {
			return out, nil
		}
		errs = err
	}
	return nil, errs
}

// set replaces the roots by raw ones, newest first.
func (r *ring) set(raw [][]byte) error {
	keys := make([]rootKey, 0, len(raw))
	for _, key := range raw {
		k, err := newKEK(key)
		if err != nil {
			return err
		}
		keys = append(keys, rootKey{key, k})
	}
	if len(keys) == 0 {
		return errors.New("credential: a vault without a root key")
	}
	r.keys.Store(&keys)
	return nil
}

func (r *ring) raw() [][]byte {
	var out [][]byte
	for _, k := range *r.keys.Load() {
		out = append(out, k.raw)
	}
	return out
}

// ringDoc is the ring as it is sealed.
type ringDoc struct {
	Roots [][]byte `json:"roots"` // newest first
}

func (v *Vault) ringBound(version int) []byte {
	return []byte(v.cfg.Tenant + "|ring|" + strconv.Itoa(version))
}

// loadRing takes over the ring of the store. v.changing is held, or nobody has
// the vault yet.
func (v *Vault) loadRing(ctx context.Context) error {
	version, sealed, err := v.store.LoadRing(ctx)
	if err != nil {
		return fmt.Errorf("loading the vault's root keys: %w", err)
	}
	switch {
	case version == 0:
		return v.firstRing(ctx)
	case version == v.ringVersion:
		return nil
	case version < v.ringVersion:
		return access.Errorf(access.CodeConflict, "the vault's root keys went back from version %d to %d in the store: somebody restored an old row", v.ringVersion, version)
	}
	plain, err := v.kek.DecryptWithContext(ctx, sealed, v.ringBound(version))
	pending := false
	if err != nil && v.previous != nil {
		before, perr := v.previous.DecryptWithContext(ctx, sealed, v.ringBound(version))
		if perr == nil {
			plain, err, pending = before, nil, true
		}
	}
	switch code := access.CodeOf(err); {
	case err == nil:
	case code == access.CodeUnavailable, code == access.CodeUpstream, code == access.CodeInvalid: // of the service that holds the key
		return fmt.Errorf("opening the vault's root keys: %w", err)
	default:
		return &access.Error{Code: access.CodeInternal, Err: err,
			Msg: "the vault's root keys do not open: its key is not the one that sealed them, or their row was changed; restore the key, or name the earlier one as vault.previous"}
	}
	defer clear(plain)
	var doc ringDoc
	if err := json.Unmarshal(plain, &doc); err != nil {
		return fmt.Errorf("reading the vault's root keys: %w", err)
	}
	if err := v.ring.set(doc.Roots); err != nil {
		return err
	}
	v.ringVersion = version
	v.pending.Store(pending)
	return nil
}

// firstRing is the ring of a vault that was never rewrapped. A key that never
// leaves its service cannot be a root: then a ring is made at once.
func (v *Vault) firstRing(ctx context.Context) error {
	var roots [][]byte
	for _, k := range []kek{v.previous, v.kek} { // what is sealed, is by the earlier one
		if l, ok := k.(*localKEK); ok && l != nil {
			roots = append(roots, l.raw)
		}
	}
	v.pending.Store(v.previous != nil)
	if _, local := v.kek.(*localKEK); local {
		return v.ring.set(roots)
	}
	if len(roots) == 0 {
		if v.cfg.Sealed {
			return access.Errorf(access.CodeConflict, "what is sealed was sealed by another key than the one configured: name the earlier one as vault.previous")
		}
		roots = [][]byte{newRoot()}
	}
	return v.putRing(ctx, roots)
}

func newRoot() []byte {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // it never fails
	return key
}

// putRing seals roots under the key encryption key and stores them, all at once.
func (v *Vault) putRing(ctx context.Context, roots [][]byte) error {
	plain, err := json.Marshal(ringDoc{roots})
	if err != nil {
		return fmt.Errorf("encoding the vault's root keys: %w", err)
	}
	defer clear(plain)
	next := v.ringVersion + 1
	sealed, err := v.kek.EncryptWithContext(ctx, plain, v.ringBound(next))
	if err != nil {
		return fmt.Errorf("sealing the vault's root keys: %w", err)
	}
	if err := v.store.PutRing(ctx, next, sealed); err != nil {
		return fmt.Errorf("storing the vault's root keys: %w", err)
	}
	if err := v.ring.set(roots); err != nil {
		return err
	}
	v.ringVersion = next
	v.pending.Store(false)
	return nil
}

// Pending reports whether the vault still needs the earlier key it was
// configured with.
func (v *Vault) Pending() bool { return v.pending.Load() }

// Rewrap makes a new root key, seals all root keys under the key encryption key
// that is configured now, and every credential under the new root, as a new
// version. From the first of these steps on the earlier key encryption key opens no
// ring any more. Where it was itself a root, in a vault that was never rewrapped, it
// still opens what is not sealed anew.
//
// It may be ended at any step: what was sealed before and after opens, and
// another Rewrap does it again. sealed is how many credentials it came to.
func (v *Vault) Rewrap(ctx context.Context) (sealed int, err error) {
	v.changing.Lock()
	defer v.changing.Unlock()
	roots := v.ring.raw()
	if len(roots) >= maxRoots {
		return 0, access.Errorf(access.CodeTooLarge, "the vault was rewrapped %d times, and no further root key is taken", maxRoots)
	}
	if err := v.putRing(ctx, append([][]byte{newRoot()}, roots...)); err != nil {
		return 0, v.resync(ctx, err)
	}
	for _, s := range v.all() {
		value, err := v.open(ctx, s)
		if err != nil {
			return sealed, err
		}
		s.Version++
		_, err = v.put(ctx, s, value)
		clear(value)
		if err != nil {
			return sealed, access.Errorf(access.CodePartial, "%d credentials are sealed anew, and the next was not: run it again: %w", sealed, err)
		}
		sealed++
	}
	return sealed, nil
}

// all returns the secrets, in no order.
func (v *Vault) all() []Secret {
	v.mu.RLock()
	defer v.mu.RUnlock()
	out := make([]Secret, 0, len(v.secrets))
	for _, s := range v.secrets {
		out = append(out, s)
	}
	return out
}
