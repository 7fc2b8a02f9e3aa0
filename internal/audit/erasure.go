package audit

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
)

// KindErasure is how leaves of an erasure call what they are about.
const KindErasure = "Erasure"

// prefixErasure begins the ids of erasures.
const prefixErasure = "era_"

// Erasure is an order to destroy the keys of one person. It names nobody: a
// pseudonym says nothing once the key it was made with is gone.
type Erasure struct {
	ID         string      `json:"id"` // "era_…"
	At         time.Time   `json:"at"`
	Actor      string      `json:"actor"` // who ordered it
	Reason     string      `json:"reason"`
	Pseudonyms []string    `json:"pseudonyms,omitempty"`
	Keys       []ErasedKey `json:"keys"`
}

// ErasedKey is one key that is to be destroyed. A key that is made later under
// its name is another one, and stays.
type ErasedKey struct {
	Name  string `json:"name"`  // in the KeyStore
	Print string `json:"print"` // SHA-256 of the key, unpadded base64url
}

// Erasures may be implemented by a KeyStore whose keys can be destroyed. It keeps
// what was ordered, so that every log that shares the keys carries it out.
type Erasures interface {
	// PutErasure keeps an order. One of the same id is left as it is.
	PutErasure(ctx context.Context, e Erasure) error
	// Erasures returns the orders, the oldest first.
	Erasures(ctx context.Context) ([]Erasure, error)
	// DestroyKeys deletes keys, by name, that are still the wrapped ones given.
	DestroyKeys(ctx context.Context, wrapped map[string][]byte) error
	// ErasedIn notes that the log of origin has carried out an order.
	ErasedIn(ctx context.Context, id, origin string) error
	// ErasedBy returns the orders that the log of origin has carried out.
	ErasedBy(ctx context.Context, origin string) (map[string]bool, error)
}

// ErasurePlan is what an erasure would destroy.
type ErasurePlan struct {
	Issuers []string `json:"issuers"` // where the person's account is
	Keys    int      `json:"keys"`
	Months  []int    `json:"months"` // yyyymm of the data keys, ascending
	Events  int      `json:"events"` // rows of this node's index that name the person, MostCounted at most
}

// ErasureOrder says whom to erase.
type ErasureOrder struct {
	Person string // id at the issuer, as rows of calls show it
	Issuer string // needed where several have a person of that id
	Actor  string
	Reason string
}

// Erase destroys the keys of a person, so that nobody can open what leaves and
// payloads seal of them, tell their pseudonyms or open their commitments, and makes
// the index anew without them. Leaves, proofs and checkpoints stay as they are. What
// is interrupted is finished by ResumeErasures. The caller MUST have authorised it.
func (l *Log) Erase(ctx context.Context, o ErasureOrder) (Erasure, ErasurePlan, error) {
	l.erasing.Lock()
	defer l.erasing.Unlock()
	store, err := l.erasures()
	if err != nil {
		return Erasure{}, ErasurePlan{}, err
	}
	if err := o.check(); err != nil {
		return Erasure{}, ErasurePlan{}, err
	}
	if err := l.held(ctx); err != nil {
		return Erasure{}, ErasurePlan{}, err
	}
	e, plan, err := l.planErasure(ctx, o)
	if err != nil {
		return Erasure{}, ErasurePlan{}, err
	}
	e.ID, e.At, e.Actor, e.Reason = access.NewID(prefixErasure), l.cfg.Now().UTC().Truncate(time.Microsecond), o.Actor, o.Reason
	if err := store.PutErasure(ctx, e); err != nil {
		return Erasure{}, ErasurePlan{}, fmt.Errorf("ordering the erasure: %w", err)
	}
	// From here on it happens, whatever becomes of who asked.
	if err := l.carryOut(context.WithoutCancel(ctx), store, e); err != nil {
		return Erasure{}, ErasurePlan{}, fmt.Errorf("the erasure %s is ordered and will be tried again: %w", e.ID, err)
	}
	return e, plan, nil
}

// PlanErasure says what Erase would destroy and changes nothing.
func (l *Log) PlanErasure(ctx context.Context, person, issuer string) (ErasurePlan, error) {
	_, plan, err := l.planErasure(ctx, ErasureOrder{Person: person, Issuer: issuer})
	return plan, err
}

func (o *ErasureOrder) check() error {
	if strings.TrimSpace(o.Reason) == "" {
		return access.Errorf(access.CodeInvalid, "an erasure needs a reason, such as the number of the request")
	}
	if strings.Contains(strings.ToLower(o.Reason), strings.ToLower(o.Person)) {
		return access.Errorf(access.CodeInvalid, "the reason names the person, and it is kept: name the request instead")
	}
	return nil
}

func (l *Log) erasures() (Erasures, error) {
	e, ok := l.keys.store.(Erasures)
	if !ok {
		return nil, errors.New("erasing: the key store cannot destroy keys")
	}
	return e, nil
}

// planErasure finds the keys of a person.
func (l *Log) planErasure(ctx context.Context, o ErasureOrder) (Erasure, ErasurePlan, error) {
	fail := func(err error) (Erasure, ErasurePlan, error) { return Erasure{}, ErasurePlan{}, err }
	if o.Person == "" {
		return fail(access.Errorf(access.CodeInvalid, "whom to erase is missing"))
	}
	wrapped, err := l.keys.store.EvidenceKeys(ctx)
	if err != nil {
		return fail(fmt.Errorf("listing the evidence keys: %w", err))
	}
	people, err := l.keys.people(ctx, wrapped, o.Person, o.Issuer)
	if err != nil {
		return fail(err)
	}
	var e Erasure
	var plan ErasurePlan
	for _, s := range people {
		if s.pseudonym != "" {
			e.Pseudonyms = append(e.Pseudonyms, s.pseudonym)
		}
		plan.Issuers = append(plan.Issuers, s.Who.Issuer)
		names, months := l.keys.namesOf(wrapped, s.Who)
		plan.Months = months
		for _, name := range names {
			sum, err := l.keys.fingerprint(ctx, name, wrapped[name])
			if err != nil {
				return fail(err)
			}
			e.Keys = append(e.Keys, ErasedKey{name, sum})
		}
	}
	switch {
	case len(people) > 1:
		slices.Sort(plan.Issuers)
		return fail(access.Errorf(access.CodeConflict, "several issuers have a person of that id: %s; say which with --issuer", strings.Join(plan.Issuers, ", ")))
	case len(e.Keys) == 0:
		return fail(access.Errorf(access.CodeNotFound, "there is no key of that person: nobody of that id was in a call, or they are erased already (what operators changed under their own name is kept)"))
	}
	plan.Keys = len(e.Keys)
	plan.Events, err = l.Count(ctx, Query{Subject: o.Person}, MostCounted)
	return e, plan, err
}

// carryOut does what was ordered in this log: a leaf that says so, then the keys,
// the index and a leaf that says what was done. Every step can be done again.
func (l *Log) carryOut(ctx context.Context, store Erasures, e Erasure) error {
	detail, err := json.Marshal(e)
	if err != nil {
		return err
	}
	leaf := Admin{ID: e.ID, Actor: e.Actor, Verb: "erase", Kind: KindErasure, Object: e.ID, Reason: e.Reason, Detail: detail}
	if _, err := l.Admin(ctx, leaf); err != nil {
		return err
	}
	// A database that is put back has the keys again and does not know the order.
	if err := l.keepErasure(e, detail); err != nil {
		return fmt.Errorf("keeping the order: %w", err)
	}
	if err := l.destroy(ctx, store, e); err != nil {
		return err
	}
	l.keys.forget()
	if err := l.Reindex(ctx); err != nil {
		return err
	}
	leaf.Verb = "report-erasure"
	if _, err := l.Admin(ctx, leaf); err != nil {
		return err
	}
	if err := store.ErasedIn(ctx, e.ID, l.cfg.Origin); err != nil {
		return fmt.Errorf("noting that the erasure is done: %w", err)
	}
	return nil
}

// destroy destroys the keys of e that are there, and looks whether they are gone.
func (l *Log) destroy(ctx context.Context, store Erasures, e Erasure) error {
	if err := l.held(ctx); err != nil { // it may have been set since the erasure was ordered
		return err
	}
	there, err := l.standing(ctx, e)
	if err == nil && len(there) > 0 {
		if err = store.DestroyKeys(ctx, there); err == nil {
			there, err = l.standing(ctx, e)
		}
	}
	if err != nil {
		return fmt.Errorf("destroying keys: %w", err)
	}
	if len(there) > 0 {
		return access.Errorf(access.CodeUnavailable, "%d keys of %s are still there after they were destroyed", len(there), e.ID)
	}
	return nil
}

// standing returns the wrapped keys of e that exist.
func (l *Log) standing(ctx context.Context, e Erasure) (map[string][]byte, error) {
	wrapped, err := l.keys.store.EvidenceKeys(ctx)
	if err != nil {
		return nil, err
	}
	there := map[string][]byte{}
	for _, k := range e.Keys {
		w, ok := wrapped[k.Name]
		if !ok {
			continue
		}
		sum, err := l.keys.fingerprint(ctx, k.Name, w)
		if err != nil {
			return nil, err
		}
		if sum == k.Print {
			there[k.Name] = w
		}
	}
	return there, nil
}

// people returns who of this id has a key, with their subject keys. Operators, who
// have no issuer, are none: what they changed is kept.
func (k *keyring) people(ctx context.Context, wrapped map[string][]byte, id, issuer string) ([]*subject, error) {
	var out []*subject
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
		if s.Who.Kind == kindPerson && s.Who.Issuer != "" && s.Who.ID == id && (issuer == "" || s.Who.Issuer == issuer) {
			out = append(out, s)
		}
	}
	if len(out) == 0 && issuer != "" { // data keys may be all there is
		out = append(out, &subject{Who: entity{Kind: kindPerson, Issuer: issuer, ID: id}})
	}
	return out, nil
}

// The months that data keys are looked for in: all that a clock may have said.
const firstYear, lastYear = 2000, 2100

// namesOf returns the names of the keys of who that exist, and the months of the
// data keys among them.
func (k *keyring) namesOf(wrapped map[string][]byte, who entity) (names []string, months []int) {
	if name := k.subjectName(who); wrapped[name] != nil {
		names = append(names, name)
	}
	for year := firstYear; year <= lastYear; year++ {
		for month := year*100 + 1; month <= year*100+12; month++ {
			for _, class := range []string{classDecision, classAdmin, classSystem} {
				name := nameData + k.dataName(dataKeyID{who, class, month})
				if wrapped[name] == nil {
					continue
				}
				names = append(names, name)
				if !slices.Contains(months, month) {
					months = append(months, month)
				}
			}
		}
	}
	return names, months
}

// fingerprint tells a key from another that is made under its name. The key is random,
// so it says nothing about it.
func (k *keyring) fingerprint(ctx context.Context, name string, wrapped []byte) (string, error) {
	raw, err := k.sealer.Open(ctx, "evidence key "+name, wrapped)
	if err != nil {
		return "", fmt.Errorf("opening key %s: %w", name, err)
	}
	sum := sha256.Sum256(raw)
	return base64.RawURLEncoding.EncodeToString(sum[:]), nil
}
