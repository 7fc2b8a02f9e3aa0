package credential_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rutile/internal/access"
	"rutile/internal/credential"
)

// undeclare takes the source out, as removing a credential does.
func (m *minting) undeclare() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.removed = true
}

// said returns the recorded events as verbs and versions.
func (m *minting) said() (out []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.events {
		out = append(out, strings.TrimSpace(e.Verb+" "+e.Version+" "+e.By))
	}
	return out
}

// TestRemovingACredentialRevokesWhatIsAlive: what is kept for later calls, and what a
// call is using just now; each is evidence, once, and nothing is minted after it.
func TestRemovingACredentialRevokesWhatIsAlive(t *testing.T) {
	m := newMinting(t)
	kept, keptVersion := m.ready(t, need("bot", "ann", "read"))
	kept.Release()
	used, usedVersion := m.ready(t, need("bot", "bob", "read"))
	m.undeclare()
	ended := m.End(t.Context(), "crm", "user:oper")
	if ended.Revoked != 2 || ended.Left != nil {
		t.Fatalf("ended %+v", ended)
	}
	said := strings.Join(m.said(), "; ")
	for _, v := range []string{keptVersion, usedVersion} {
		if !strings.Contains(said, "revoke "+v+" user:oper") {
			t.Errorf("of %s was recorded %s", v, said)
		}
	}
	used.Release()
	if again := m.End(t.Context(), "crm", ""); again.Revoked != 0 || len(m.fake.revoked) != 2 {
		t.Errorf("again: %+v, revoked %v", again, m.fake.revoked)
	}
	if _, err := m.Lease(t.Context(), need("bot", "ann", "read")); err == nil {
		t.Error("it is minted after it was removed")
	}
}

// TestRemovalReportsWhatItsIssuerDoesNotRevoke: it is tried again within a bound, then
// said and recorded with how long it is valid.
func TestRemovalReportsWhatItsIssuerDoesNotRevoke(t *testing.T) {
	m := newMinting(t)
	l, version := m.ready(t, need("bot", "ann", "read"))
	l.Release()
	tries := 0
	m.fake.revoke = func(int) error { tries++; return errors.New("down") }
	m.undeclare()
	ended := m.End(t.Context(), "crm", "user:oper")
	if ended.Revoked != 0 || len(ended.Left) != 1 || !strings.Contains(ended.Left[0], version) || !strings.Contains(ended.Left[0], "valid until: 2026-11-24T13:00:00Z") || tries != 4 {
		t.Errorf("ended %+v after %d tries", ended, tries)
	}
	if said := m.said(); said[len(said)-1] != "revoke-failed "+version {
		t.Errorf("recorded %v", said)
	}
}

// TestRemovalIsNotHeldUpByAnIssuer: one that never answers is left to the background
// after the bound.
func TestRemovalIsNotHeldUpByAnIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMinting(t)
		l, _ := m.ready(t, need("bot", "ann", "read"))
		l.Release()
		stop := make(chan struct{})
		m.fake.revoke = func(int) error { <-stop; return nil }
		m.undeclare()
		from := time.Now()
		ended := m.End(context.WithoutCancel(t.Context()), "crm", "")
		if took := time.Since(from); took != credential.EndTime || len(ended.Left) != 1 || !strings.Contains(ended.Left[0], "asked again") {
			t.Errorf("ended %+v after %v", ended, took)
		}
		close(stop)
		synctest.Wait()
		if said := m.said(); !strings.HasPrefix(said[len(said)-1], "revoke ") {
			t.Errorf("recorded %v", said)
		}
	})
}

// TestWhatIsMintedDuringTheRemovalIsRevoked: End did not see it, and no call is given it.
func TestWhatIsMintedDuringTheRemovalIsRevoked(t *testing.T) {
	m := newMinting(t)
	m.fake.before = func() {
		m.undeclare()
		if ended := m.End(context.Background(), "crm", ""); ended.Revoked != 0 {
			t.Errorf("ended %+v", ended)
		}
	}
	l, err := m.Lease(t.Context(), need("bot", "ann", "read"))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Ready(t.Context()); access.CodeOf(err) != access.CodeConflict {
		t.Errorf("got %v", err)
	}
	m.Close() // waits for what is being revoked
	if len(m.fake.revoked) != 1 {
		t.Errorf("revoked %v", m.fake.revoked)
	}
}

// TestWhatIsRevokedBeforeItIsKeptIsNotKept: the removal comes when it is minted and
// recorded already. No call is given it, nor one after the credential is declared again.
func TestWhatIsRevokedBeforeItIsKeptIsNotKept(t *testing.T) {
	m := newMinting(t)
	m.recorded = func() {
		m.undeclare()
		if ended := m.End(context.Background(), "crm", ""); ended.Revoked != 1 {
			t.Errorf("ended %+v", ended)
		}
	}
	r := need("bot", "ann", "read")
	r.Recorded = false
	l, err := m.Lease(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Ready(t.Context()); access.CodeOf(err) != access.CodeConflict {
		t.Errorf("got %v, want a conflict", err)
	}
	m.recorded = nil
	m.mu.Lock()
	m.removed = false
	m.mu.Unlock()
	if _, v := m.ready(t, need("bot", "ann", "read")); v != "v2" {
		t.Errorf("after it is declared again a call is given %s", v)
	}
}

// TestSweepEndsWhatAnotherNodeChanged: a source that is gone or another, and a seed with
// another value, leave nothing of before.
func TestSweepEndsWhatAnotherNodeChanged(t *testing.T) {
	for name, change := range map[string]func(m *minting){
		"removed": func(m *minting) { m.undeclare() },
		"other scopes": func(m *minting) {
			m.source.ClientCredentials = &credential.ClientCredentials{Client: credential.Client{Scopes: []string{"a"}}}
		},
		"another origin":  func(m *minting) { m.source.Origins = []string{"https://elsewhere.example"} },
		"nothing changed": func(*minting) {},
	} {
		m := newMinting(t)
		l, _ := m.ready(t, need("bot", "ann", "read"))
		l.Release()
		change(m)
		m.Sweep()
		m.Close()
		if got, want := len(m.fake.revoked), 1; got != want && name != "nothing changed" || name == "nothing changed" && got != 0 {
			t.Errorf("%s: %d revoked", name, got)
		}
	}
}

// TestRemovalWhileCallsEndRevokesOnce: whoever lets go last.
func TestRemovalWhileCallsEndRevokesOnce(t *testing.T) {
	m := newMinting(t)
	var leases []*credential.Lease
	for range 16 {
		l, _ := m.ready(t, need("bot", "ann", "read"))
		leases = append(leases, l)
	}
	m.undeclare()
	var work sync.WaitGroup
	for _, l := range leases {
		work.Go(l.Release)
	}
	for range 4 {
		work.Go(func() { m.End(t.Context(), "crm", "") })
	}
	work.Wait()
	m.Close()
	if len(m.fake.revoked) != 1 {
		t.Errorf("revoked %d times", len(m.fake.revoked))
	}
}
