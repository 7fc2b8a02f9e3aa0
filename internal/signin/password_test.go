package signin_test

import (
	"context"
	"encoding/base32"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/signin"
	"rutile/internal/signin/signintest"
	"rutile/internal/store"
	"rutile/internal/store/storetest"
)

// plain seals nothing but keeps what it is for.
type plain struct{}

func (plain) Seal(_ context.Context, what string, b []byte) ([]byte, error) {
	return append([]byte(what+"\n"), b...), nil
}

func (plain) Open(_ context.Context, what string, b []byte) ([]byte, error) {
	rest, ok := strings.CutPrefix(string(b), what+"\n")
	if !ok {
		return nil, errors.New("sealed for something else")
	}
	return []byte(rest), nil
}

type rig struct {
	*signin.Passwords
	t  *testing.T
	at time.Time
	db *store.Store
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, at: time.Unix(1_800_000_000, 0).UTC()}
	db, err := store.Open(t.Context(), store.Config{DSN: "sqlite", Dir: storetest.Dir(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	r.db = db
	if r.Passwords, err = signin.NewPasswords(db, plain{}, func() time.Time { return r.at }); err != nil {
		t.Fatal(err)
	}
	return r
}

const chosen = "correct horse battery"

// enrolled is a user with a password.
func (r *rig) enrolled(user string) (*signin.Enrolment, string) {
	r.t.Helper()
	e, err := r.Enrol(r.t.Context(), user, chosen)
	if err != nil {
		r.t.Fatal(err)
	}
	row, err := r.Keep(r.t.Context(), e)
	if err != nil {
		r.t.Fatal(err)
	}
	return e, row.ID
}

// code is what the app shows.
func (r *rig) code(e *signin.Enrolment) string { return signintest.Code(r.t, e.Secret, r.at) }

// TestCodesAreThoseOfTheStandard: the vectors of RFC 6238, appendix B, in six digits.
func TestCodesAreThoseOfTheStandard(t *testing.T) {
	secret := base32.StdEncoding.EncodeToString([]byte("12345678901234567890"))
	for at, want := range map[int64]string{59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037", 20000000000: "353130"} {
		if got := signintest.Code(t, secret, time.Unix(at, 0)); got != want {
			t.Errorf("at %d: %s, want %s", at, got, want)
		}
	}
}

// TestAPasswordNeedsACode: and each code counts once, of the app in order, within half
// a minute of its time.
func TestAPasswordNeedsACode(t *testing.T) {
	r := newRig(t)
	e, id := r.enrolled("ann")
	check := func(user, password, code string) error {
		t.Helper()
		p, err := r.Check(t.Context(), user, []string{id}, password, code)
		if err == nil && (p.User != "ann" || p.Factor != id) {
			t.Errorf("%+v", p)
		}
		return err
	}
	refused := func(what, user, password, code string) {
		t.Helper()
		if err := check(user, password, code); !errors.Is(err, signin.ErrRefused) {
			t.Errorf("%s: %v", what, err)
		}
	}
	now := r.code(e)
	wrong := "000000"
	if now == wrong {
		wrong = "000001"
	}
	refused("no code", "ann", chosen, "")
	refused("a wrong code", "ann", chosen, wrong)
	refused("no password", "ann", "", now)
	refused("a wrong password", "ann", chosen+"!", now)
	refused("a long password", "ann", strings.Repeat("x", 1<<16), now)
	refused("somebody else", "bob", chosen, now)
	refused("nobody", "zoe\x00", chosen, now)
	if _, err := r.Check(t.Context(), "ann", nil, chosen, now); !errors.Is(err, signin.ErrRefused) {
		t.Errorf("a row its user does not name: %v", err)
	}
	if err := check("ann", chosen, now[:3]+" "+now[3:]); err != nil {
		t.Errorf("both right: %v", err)
	}
	refused("the same code again", "ann", chosen, now)
	r.at = r.at.Add(-30 * time.Second)
	refused("a code of before it", "ann", chosen, r.code(e))
	r.at = r.at.Add(90 * time.Second)
	next := r.code(e)
	r.at = r.at.Add(30 * time.Second)
	if err := check("ann", chosen, next); err != nil {
		t.Errorf("a code half a minute old: %v", err)
	}
	late := r.code(e)
	r.at = r.at.Add(60 * time.Second)
	refused("a code a minute old", "ann", chosen, late)
	soon := r.at
	r.at = soon.Add(60 * time.Second)
	early := r.code(e)
	r.at = soon
	refused("a code a minute ahead", "ann", chosen, early)
	for i, c := range e.Recovery {
		refused("a recovery code with a wrong password", "ann", "no "+chosen, c)
		if i%2 == 0 {
			c = strings.ToUpper(strings.ReplaceAll(c, "-", " "))
		}
		if err := check("ann", chosen, c); err != nil {
			t.Errorf("recovery code %d: %v", i, err)
		}
		refused("the same recovery code", "ann", chosen, c)
	}
	rows, err := r.db.FactorsOf(t.Context(), "ann")
	if err != nil || rows[0].Left() != 0 {
		t.Errorf("%+v, %v", rows, err)
	}
}

// TestOneCodeLetsOneIn: however many send it at once.
func TestOneCodeLetsOneIn(t *testing.T) {
	r := newRig(t)
	e, id := r.enrolled("ann")
	var wg sync.WaitGroup
	in := make(chan bool, 8)
	for range 4 {
		wg.Go(func() {
			_, err := r.Check(context.Background(), "ann", []string{id}, chosen, r.code(e))
			in <- err == nil
		})
		wg.Go(func() {
			_, err := r.Check(context.Background(), "ann", []string{id}, chosen, e.Recovery[0])
			in <- err == nil
		})
	}
	wg.Wait()
	close(in)
	n := 0
	for ok := range in {
		if ok {
			n++
		}
	}
	if n != 2 {
		t.Errorf("%d got in with one code and one recovery code", n)
	}
}

// TestWhatConfirmedIsSpent: the code that confirmed an enrolment signs nobody in.
func TestWhatConfirmedIsSpent(t *testing.T) {
	r := newRig(t)
	e, err := r.Enrol(t.Context(), "ann", chosen)
	if err != nil {
		t.Fatal(err)
	}
	if r.Confirms(e, "") || r.Confirms(e, "12345") || !r.Confirms(e, r.code(e)) {
		t.Error("it is not the code alone that confirms")
	}
	row, err := r.Keep(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Check(t.Context(), "ann", []string{row.ID}, chosen, r.code(e)); !errors.Is(err, signin.ErrRefused) {
		t.Errorf("the code that confirmed: %v", err)
	}
	again, err := r.Renew(t.Context(), "ann", row.ID)
	if err != nil || again.Secret == e.Secret || again.Recovery[0] == e.Recovery[0] {
		t.Errorf("renewed: %v, %v", again, err)
	}
	if strings.Contains(string(row.Sealed), e.Secret) || strings.Contains(string(row.Sealed), e.Recovery[0]) || strings.Contains(string(row.Sealed), chosen) {
		t.Error("what is kept holds a secret in clear")
	}
}

func TestPasswordsAreBounded(t *testing.T) {
	r := newRig(t)
	for name, c := range map[string]struct {
		text string
		ok   bool
	}{
		"eleven": {strings.Repeat("x", 11), false}, "twelve": {strings.Repeat("x", 12), true}, "twelve of Korean": {strings.Repeat("가", 12), true},
		"too long": {strings.Repeat("x", 257), false}, "no text": {strings.Repeat("\xff", 20), false},
	} {
		if _, err := r.Enrol(t.Context(), "ann", c.text); (err == nil) != c.ok || err != nil && access.CodeOf(err) != access.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	e, err := r.Enrol(t.Context(), "ann", "caf\u00e9 caf\u00e9 caf\u00e9")
	if err != nil {
		t.Fatal(err)
	}
	row, err := r.Keep(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Check(t.Context(), "ann", []string{row.ID}, "cafe\u0301 cafe\u0301 cafe\u0301", r.code(e)); err != nil {
		t.Errorf("the same text from another keyboard: %v", err)
	}
}

// TestARowIsItsUsers: what is sealed does not open where somebody moved it to.
func TestARowIsItsUsers(t *testing.T) {
	r := newRig(t)
	e, id := r.enrolled("ann")
	rows, err := r.db.FactorsOf(t.Context(), "ann")
	if err != nil {
		t.Fatal(err)
	}
	moved := rows[0]
	moved.ID, moved.User = "fac_moved", "root"
	if err := r.db.PutFactor(t.Context(), moved); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Check(t.Context(), "root", []string{"fac_moved", id}, chosen, r.code(e)); err == nil {
		t.Error("a row moved to another user let them in")
	}
}
