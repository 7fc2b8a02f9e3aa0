package credential_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"rutile/internal/access"
	"rutile/internal/credential"
)

// keeper is a fake that keeps what it mints, as links do.
type keeper struct {
	*fake
	refused []string
	err     error
}

func (k *keeper) Refused(_ context.Context, _ credential.Need, version string) error {
	k.refused = append(k.refused, version)
	return k.err
}

// sends is the authorization a lease sends.
func sends(t *testing.T, l *credential.Lease) string {
	t.Helper()
	var got string
	if err := l.Headers(func(name, value string) {
		if name == "Authorization" {
			got = value
		}
	}); err != nil {
		t.Fatal(err)
	}
	return got
}

// TestWhatIsNotTakenIsRenewedOnce: what was minted for an earlier call may have been
// forgotten by the server; what was minted for this one is no better when it is minted
// again.
func TestWhatIsNotTakenIsRenewedOnce(t *testing.T) {
	m := newMinting(t)
	first, v1 := m.ready(t, need("a", "p", "t"))
	if err := first.Renew(t.Context()); !errors.Is(err, credential.ErrNotTaken) {
		t.Errorf("what was minted for this call: %v", err)
	}
	first.Release()
	earlier, v2 := m.ready(t, need("a", "p", "t"))
	earlier.Release()
	l, again := m.ready(t, need("a", "p", "t"))
	defer l.Release()
	if v1 == v2 || again != v2 {
		t.Fatalf("minted %s, %s, %s", v1, v2, again)
	}
	if err := l.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := sends(t, l); got != "Bearer minted-token-v3" {
		t.Errorf("it sends %q", got)
	}
	if got, n := l.Scrub([]byte("minted-token-v2 minted-token-v3")); n != 2 || strings.Contains(string(got), "minted-token") {
		t.Errorf("scrubbed to %s", got)
	}
	if u := l.Unlocks(); len(u) != 2 || u[0].Minted != "v2" || u[1].Minted != "v3" {
		t.Errorf("evidence names %+v", u)
	}
	if err := l.Renew(t.Context()); !errors.Is(err, credential.ErrNotTaken) {
		t.Errorf("a second time: %v", err)
	}
	if _, v := m.ready(t, need("a", "p", "t")); v != "v4" {
		t.Errorf("a later call is given %s", v)
	}
}

// TestManyCallsRenewAtOnce: one renews, and all go on with that.
func TestManyCallsRenewAtOnce(t *testing.T) {
	m := newMinting(t)
	warm, _ := m.ready(t, need("a", "p", "t"))
	warm.Release()
	var leases []*credential.Lease
	for range 16 {
		l, _ := m.ready(t, need("a", "p", "t"))
		leases = append(leases, l)
	}
	var wg sync.WaitGroup
	for _, l := range leases {
		wg.Go(func() {
			if err := l.Renew(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, l := range leases {
		if got := sends(t, l); got != "Bearer minted-token-v2" {
			t.Errorf("it sends %q", got)
		}
		l.Release()
	}
	if m.fake.minted != 2 {
		t.Errorf("%d were minted", m.fake.minted)
	}
}

// TestWhoKeepsWhatItMintsIsToldOfARefusal: also where it was minted for this call, and
// where the lease outlives the call, which then is not sent again.
func TestWhoKeepsWhatItMintsIsToldOfARefusal(t *testing.T) {
	m := newMinting(t)
	k := &keeper{fake: m.fake}
	m.minters[credential.SourceClientCredentials] = k
	l, _ := m.ready(t, need("a", "p", "t"))
	shared, err := l.Share()
	if err != nil {
		t.Fatal(err)
	}
	if err := shared.Renew(t.Context()); !errors.Is(err, credential.ErrNotTaken) {
		t.Errorf("a lease that outlives the call: %v", err)
	}
	shared.Release()
	if err := l.Renew(t.Context()); err != nil {
		t.Errorf("minted for this call: %v", err)
	}
	k.err = access.Errorf(access.CodeDenied, "connect anew")
	if err := l.Renew(t.Context()); !errors.Is(err, k.err) {
		t.Errorf("got %v", err)
	}
	l.Release()
	if got := strings.Join(k.refused, " "); got != "v1 v1 v2" {
		t.Errorf("it was told of %s", got)
	}
	if err := l.Renew(t.Context()); !errors.Is(err, credential.ErrNotTaken) {
		t.Errorf("a lease that has ended: %v", err)
	}
}
