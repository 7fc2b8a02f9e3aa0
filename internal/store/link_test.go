package store_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/credential"
	"rutile/internal/store"
)

func TestLinkIsChangedOnlyAtTheRevThatWasRead(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		l := credential.Link{
			ID: "lnk_1", Credential: "mail", Server: "up", Subject: access.Subject{Issuer: "i", ID: "ann"}, Issuer: "https://as.example", Client: "c", Resource: "r",
			Scopes: []string{"a"}, State: credential.LinkActive, Made: at(0), Rev: 1, Sealed: []byte{0, 255},
		}
		for _, step := range []struct {
			rev  int64
			want access.Code
		}{{2, access.CodeConflict}, {1, ""}, {1, access.CodeConflict}, {3, access.CodeConflict}, {2, ""}, {2, access.CodeConflict}} {
			l.Rev = step.rev
			if err := s.PutLink(t.Context(), l); access.CodeOf(err) != step.want {
				t.Errorf("rev %d: got %v, want %q", step.rev, err, step.want)
			}
		}
		var won atomic.Int32
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				mine := l
				mine.Rev, mine.State, mine.Busy = 3, credential.LinkBroken, at(5)
				switch err := s.PutLink(t.Context(), mine); access.CodeOf(err) {
				case "":
					won.Add(1)
				case access.CodeConflict:
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		l.Rev, l.State, l.Busy = 3, credential.LinkBroken, at(5)
		got, ok, err := s.Link(t.Context(), "lnk_1")
		if diff := cmp.Diff(l, got); diff != "" || !ok || err != nil || won.Load() != 1 {
			t.Errorf("%d won; %v %v; link differs (-want +got):\n%s", won.Load(), ok, err, diff)
		}
		if list := must[[]credential.Link](t)(s.Links(t.Context())); len(list) != 1 {
			t.Errorf("listed %v", list)
		}
		if ok, err := s.DeleteLink(t.Context(), "lnk_1"); !ok || err != nil {
			t.Errorf("deleting: %v, %v", ok, err)
		}
		for _, id := range []string{"lnk_1", "\x00"} {
			if _, ok, err := s.Link(t.Context(), id); ok || err != nil {
				t.Errorf("%q: %v, %v", id, ok, err)
			}
		}
	})
}

func TestFlowIsTakenOnce(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		f := credential.Flow{ID: "one", Expires: at(60), Sealed: []byte("sealed")}
		old := credential.Flow{ID: "old", Expires: at(1), Sealed: []byte("sealed")}
		for _, x := range []credential.Flow{old, f} {
			if err := s.PutFlow(t.Context(), x, at(0)); err != nil {
				t.Fatal(err)
			}
		}
		var took atomic.Int32
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				got, ok, err := s.TakeFlow(t.Context(), "one")
				if err != nil {
					t.Error(err)
				}
				if ok {
					took.Add(1)
					if diff := cmp.Diff(f, got); diff != "" {
						t.Errorf("flow differs (-want +got):\n%s", diff)
					}
				}
			})
		}
		wg.Wait()
		if took.Load() != 1 {
			t.Errorf("%d took it", took.Load())
		}
		if err := s.PutFlow(t.Context(), f, at(30)); err != nil {
			t.Fatal(err)
		}
		if _, ok, _ := s.TakeFlow(t.Context(), "old"); ok {
			t.Error("what expired is still there")
		}
	})
}

func TestRegistrationsAndSourcesAreKept(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, cfg store.Config) {
		r := credential.Registration{ID: "x", Issuer: "https://as.example", Redirect: "https://us.example/back", ClientID: "c1", Auth: "client_secret_basic", Sealed: []byte{0, 9}}
		for _, id := range []string{"c0", "c1"} {
			r.ClientID = id
			if err := s.PutRegistration(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		src := credential.Source{ID: "crm", Owner: "team", Servers: []string{"up"}, MaxTier: 2, PerCall: true, Created: at(0), Changed: at(1),
			ClientCredentials: &credential.ClientCredentials{Client: credential.Client{ClientID: "c", Secret: "seed", ToolScopes: map[string][]string{"*": {"a"}}}}}
		if _, err := s.Commit(t.Context(), admin.Changes{Sources: map[string]*credential.Source{"crm": &src}}); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, cfg)
		if got, ok, err := s.Registration(t.Context(), "x"); cmp.Diff(r, got) != "" || !ok || err != nil {
			t.Errorf("got %+v, %v, %v", got, ok, err)
		}
		if _, ok, err := s.Registration(t.Context(), "y"); ok || err != nil {
			t.Errorf("%v, %v", ok, err)
		}
		if diff := cmp.Diff([]credential.Source{src}, must[[]credential.Source](t)(s.LoadSources(t.Context()))); diff != "" {
			t.Errorf("sources differ (-want +got):\n%s", diff)
		}
		gen := must[uint64](t)(s.Generation(t.Context()))
		if _, err := s.Commit(t.Context(), admin.Changes{Base: gen, Sources: map[string]*credential.Source{"crm": nil}}); err != nil {
			t.Fatal(err)
		}
		if list := must[[]credential.Source](t)(s.LoadSources(t.Context())); len(list) != 0 {
			t.Errorf("still there: %v", list)
		}
	})
}

// TestUsesOfCredentialsGoForwardOnly: of what several nodes note the latest stands.
func TestUsesOfCredentialsGoForwardOnly(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		for _, u := range []map[string]credential.Use{
			{"crm": {At: at(5), Version: "v2", Expires: at(9)}, "key": {At: at(1), Version: "1"}},
			{"crm": {At: at(3), Version: "v1", Expires: at(7)}, "key": {At: at(2), Version: "2"}},
			{},
		} {
			if err := s.CredentialsUsed(t.Context(), u); err != nil {
				t.Fatal(err)
			}
		}
		want := map[string]credential.Use{"crm": {At: at(5), Version: "v2", Expires: at(9)}, "key": {At: at(2), Version: "2"}}
		if diff := cmp.Diff(want, must[map[string]credential.Use](t)(s.CredentialUses(t.Context()))); diff != "" {
			t.Errorf("uses differ (-want +got):\n%s", diff)
		}
		if err := s.CredentialsUsed(t.Context(), map[string]credential.Use{"\x00": {At: at(1)}}); access.CodeOf(err) != access.CodeInvalid {
			t.Errorf("a name that is none: %v", err)
		}
	})
}
