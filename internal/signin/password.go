package signin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"

	"rutile/internal/access"
)

// Bounds of passwords.
const (
	MinPassword = 12  // characters
	MaxPassword = 256 // bytes
	recoveries  = 10  // codes, one use each
	// hashing at once: each takes 19 MiB
	hashersAtOnce = 2
)

// Passwords makes and checks passwords, each with one-time codes. It is safe for
// concurrent use.
type Passwords struct {
	store  Store
	sealer Sealer
	now    func() time.Time
	nobody password // what is compared where there is none, so that it costs the same
	room   chan struct{}
}

// password is what a row of one holds. Parameters of the hash are kept with it: what is
// new may be dearer.
type password struct {
	Salt     []byte   `json:"salt"`
	Hash     []byte   `json:"hash"`
	Time     uint32   `json:"time"`
	Memory   uint32   `json:"memory"` // KiB
	Secret   []byte   `json:"secret"`
	Recovery [][]byte `json:"recovery"` // SHA-256 of each code
}

// NewPasswords returns Passwords. All are required.
func NewPasswords(store Store, sealer Sealer, now func() time.Time) (*Passwords, error) {
	if store == nil || sealer == nil || now == nil {
		return nil, errors.New("signin: a dependency is missing")
	}
	p := &Passwords{store: store, sealer: sealer, now: now, room: make(chan struct{}, hashersAtOnce)}
	p.nobody = password{Salt: random(16), Hash: random(32), Time: 2, Memory: 19 << 10, Secret: random(codeSecret)}
	for range recoveries {
		p.nobody.Recovery = append(p.nobody.Recovery, random(sha256.Size))
	}
	return p, nil
}

// Enrolment is a password that was chosen and does not count yet. Its texts are secrets,
// shown once.
type Enrolment struct {
	Secret   string   // as people type it into an app
	Address  string   // as apps read it
	Recovery []string // codes, each of which counts once in place of one of the app
	user     string
	made     password
	step     int64 // the code that confirmed it was of, which counts no more
}

// Enrol chooses a password for a user, with a new secret for codes and new recovery
// codes.
func (p *Passwords) Enrol(ctx context.Context, user, chosen string) (*Enrolment, error) {
	chosen = norm.NFC.String(chosen)
	switch {
	case !utf8.ValidString(chosen) || len(chosen) > MaxPassword:
		return nil, access.Errorf(access.CodeInvalid, "a password has at most %d bytes of text", MaxPassword)
	case utf8.RuneCountInString(chosen) < MinPassword:
		return nil, access.Errorf(access.CodeInvalid, "a password has at least %d characters: take several words", MinPassword)
	}
	made := password{Salt: random(16), Time: 2, Memory: 19 << 10}
	var err error
	if made.Hash, err = p.hash(ctx, chosen, made); err != nil {
		return nil, err
	}
	return p.renewed(user, made), nil
}

// Renew keeps the password of a row, with a new secret and new recovery codes.
func (p *Passwords) Renew(ctx context.Context, user, id string) (*Enrolment, error) {
	rows, err := p.store.FactorsOf(ctx, user)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if r.ID == id && r.Kind == KindPassword {
			var made password
			if err := open(ctx, p.sealer, &r, &made); err != nil {
				return nil, err
			}
			return p.renewed(user, made), nil
		}
	}
	return nil, access.Errorf(access.CodeNotFound, "user %q has no password", user)
}

func (p *Passwords) renewed(user string, made password) *Enrolment {
	made.Secret, made.Recovery = random(codeSecret), nil
	e := &Enrolment{user: user, Secret: secretText(made.Secret), Address: codeAddress(user, made.Secret)}
	for range recoveries {
		text := strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(random(10)))
		e.Recovery = append(e.Recovery, text[:4]+"-"+text[4:8]+"-"+text[8:12]+"-"+text[12:])
		made.Recovery = append(made.Recovery, recoveryHash(text))
	}
	e.made = made
	return e
}

// Confirms reports whether a code is one of the app the enrolment was typed into.
func (p *Passwords) Confirms(e *Enrolment, given string) bool {
	step := stepOf(e.made.Secret, given, p.now())
	e.step = max(e.step, step)
	return step != 0
}

// Keep keeps an enrolment as a row, which counts for nobody yet.
func (p *Passwords) Keep(ctx context.Context, e *Enrolment) (Row, error) {
	r := Row{ID: newID(), User: e.user, Kind: KindPassword, Counter: e.step, Used: p.now()}
	if err := seal(ctx, p.sealer, &r, e.made); err != nil {
		return r, err
	}
	return r, p.store.PutFactor(ctx, r)
}

// Left is how many recovery codes of a row were not used.
func (r Row) Left() int {
	n := 0
	for i := range recoveries {
		if r.Spent&(1<<i) == 0 {
			n++
		}
	}
	return n
}

// Check checks a password and a code, of an app or a recovery code, of a user whose
// factors are named. Whatever does not count is ErrRefused, after the same work. A code
// counts once, and a code of the app ends those before it.
func (p *Passwords) Check(ctx context.Context, user string, named []string, given, code string) (Proof, error) {
	row, kept, err := p.find(ctx, user, named)
	if err != nil {
		return Proof{}, err
	}
	hash, err := p.hash(ctx, norm.NFC.String(given[:min(len(given), MaxPassword+1)]), kept)
	if err != nil {
		return Proof{}, err
	}
	right := subtle.ConstantTimeCompare(hash, kept.Hash) == 1
	code = strings.ToLower(strings.NewReplacer(" ", "", "-", "").Replace(code))
	step, bit := stepOf(kept.Secret, code, p.now()), recoveryBit(kept.Recovery, code)
	if !right || row.ID == "" || step == 0 && bit == 0 {
		return Proof{}, ErrRefused
	}
	var counts bool
	if step != 0 {
		counts, err = p.store.AdvanceFactor(ctx, row.ID, step, p.now())
	} else {
		counts, err = p.store.SpendFactor(ctx, row.ID, bit, p.now())
	}
	switch {
	case err != nil:
		return Proof{}, err
	case !counts:
		return Proof{}, fmt.Errorf("%w: the code was used before", ErrRefused)
	}
	return Proof{User: user, Factor: row.ID}, nil
}

// find is the row of the password of a user, and nobody's where there is none.
func (p *Passwords) find(ctx context.Context, user string, named []string) (Row, password, error) {
	rows, err := p.store.FactorsOf(ctx, user)
	if err != nil {
		return Row{}, password{}, err
	}
	for _, r := range rows {
		if r.Kind == KindPassword && slices.Contains(named, r.ID) {
			var kept password
			err := open(ctx, p.sealer, &r, &kept)
			return r, kept, err
		}
	}
	return Row{}, p.nobody, nil
}

// hash is Argon2id, of few at once: whoever sends many waits.
func (p *Passwords) hash(ctx context.Context, given string, with password) ([]byte, error) {
	select {
	case p.room <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("checking a password: %w", context.Cause(ctx))
	}
	defer func() { <-p.room }()
	return argon2.IDKey([]byte(given), with.Salt, with.Time, with.Memory, 1, 32), nil
}

func recoveryHash(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}

// recoveryBit is the bit of the recovery code that text is, 0 if it is none. It compares
// with all.
func recoveryBit(list [][]byte, text string) int64 {
	sum, bit := recoveryHash(text), int64(0)
	for i, h := range list {
		if subtle.ConstantTimeCompare(h, sum) == 1 {
			bit = 1 << i
		}
	}
	return bit
}
