package admin_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/registry"
)

// token makes a token for a user.
func (o *office) token(user string) admin.NewUserToken {
	o.t.Helper()
	tok, err := o.CreateUserToken(o.t.Context(), ann, user, "", 0)
	if err != nil {
		o.t.Fatal(err)
	}
	return tok
}

// moving is an office whose clock a test moves.
func moving(t *testing.T) (*office, *time.Time) {
	t.Helper()
	now := day
	o := &office{t: t, store: newMemory(), evidence: &evidence{}, vault: &vault{}, authority: &authority{}}
	d := o.deps()
	d.Now = func() time.Time { return now }
	a, err := admin.New(t.Context(), admin.Config{Node: "n1"}, d)
	if err != nil {
		t.Fatal(err)
	}
	o.Admin = a
	return o, &now
}

func TestATokenIsGivenOutOnceAndKeptAsItsHash(t *testing.T) {
	o := open(t)
	o.apply(people)
	tok, err := o.CreateUserToken(t.Context(), ann, "bob", "ci", 30*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^rut_pat_[0-9A-Z]{26}_[A-Za-z0-9_-]{43}$`).MatchString(tok.Token) || tok.Token[4:34] != tok.ID {
		t.Errorf("token %q, id %q", tok.Token, tok.ID)
	}
	u, kept, _ := o.Current().View.UserToken(tok.ID)
	sum := sha256.Sum256([]byte(tok.Token))
	equal(t, "user", u.ID, "bob")
	equal(t, "kept", kept, registry.UserToken{ID: tok.ID, Name: "ci", Hash: sum[:], Created: day, Expires: day.Add(30 * 24 * time.Hour), By: "user:ann"})
	if actor, err := o.Authenticate(t.Context(), tok.Token); err != nil || actor != (admin.Actor{Kind: "user", ID: "bob", Token: tok.ID}) {
		t.Errorf("it is %+v, %v", actor, err)
	}
	other := o.token("bob")
	if other.Token[35:] == tok.Token[35:] {
		t.Error("two tokens share their secret")
	}
	if err := o.RevokeUserToken(t.Context(), ann, "bob", tok.ID, "lost"); err != nil {
		t.Fatal(err)
	}
	// Neither the store nor the evidence holds the secret.
	all, err := json.Marshal([]any{o.store.users, o.store.meta, o.evidence.leaves})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range o.evidence.leaves {
		all = append(all, l.Detail...)
	}
	for _, secret := range []string{tok.Token, tok.Token[35:], other.Token[35:]} {
		if strings.Contains(string(all), secret) {
			t.Errorf("%q is kept", secret)
		}
	}
	said := o.evidence.said()
	equal(t, "said", said[len(said)-3:], []string{"issue-token User bob", "issue-token User bob", "revoke-token User bob"})
}

// TestWhatDoesNotCountFailsInOneWay: whatever is presented and is no token that
// counts gets the same error, word for word.
func TestWhatDoesNotCountFailsInOneWay(t *testing.T) {
	o, now := moving(t)
	o.apply(people)
	good := o.token("bob")
	flip := func(s string, i int) string {
		b := []byte(s)
		if b[i]++; b[i] > 'y' {
			b[i] = 'a'
		}
		return string(b)
	}
	revoked, ended := o.token("bob"), o.token("bob")
	if err := o.RevokeUserToken(t.Context(), ann, "bob", revoked.ID, ""); err != nil {
		t.Fatal(err)
	}
	short, err := o.CreateUserToken(t.Context(), ann, "bob", "", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	retired, suspended := o.token("none"), o.token("ann")
	for user, verb := range map[string]registry.Verb{"none": registry.VerbRetire, "ann": registry.VerbSuspend} {
		if _, err := o.ChangeUser(t.Context(), ann, user, verb, ""); err != nil {
			t.Fatal(err)
		}
	}
	*now = now.Add(time.Minute)
	same := ""
	for name, token := range map[string]string{
		"nothing": "", "the prefix": admin.UserTokenPrefix, "garbage": "rut_pat_garbage", "the id": good.ID, "id and prefix": "rut_" + good.ID,
		"id without secret": "rut_" + good.ID + "_", "an empty secret of the length": "rut_" + good.ID + "_" + strings.Repeat("A", 43),
		"lower case": strings.ToLower(good.Token), "upper case": strings.ToUpper(good.Token), "id in lower case": strings.Replace(good.Token, good.ID, "pat_"+strings.ToLower(good.ID[4:]), 1),
		"one short": good.Token[:len(good.Token)-1], "one more": good.Token + "A", "padded": good.Token + "=", "a space after": good.Token + " ", "a space before": " " + good.Token,
		"a newline": good.Token + "\n", "another last character": flip(good.Token, len(good.Token)-1), "another first": flip(good.Token, 35), "other id": flip(good.Token, 20),
		"another's secret": "rut_" + good.ID + ended.Token[34:], "the hash": fmt.Sprintf("%x", sha256.Sum256([]byte(good.Token))), "twice": good.Token + good.Token, "NUL": good.Token + "\x00",
		"revoked": revoked.Token, "expired": short.Token, "of a retired user": retired.Token, "of a suspended user": suspended.Token,
	} {
		actor, err := o.Authenticate(t.Context(), token)
		hasCode(t, name, err, access.CodeUnauthenticated)
		if same == "" && err != nil {
			same = err.Error()
		}
		if err == nil || err.Error() != same || actor != (admin.Actor{}) {
			t.Errorf("%s: %+v, %v", name, actor, err)
		}
	}
	if _, err := o.Authenticate(t.Context(), good.Token); err != nil {
		t.Errorf("the one that counts: %v", err)
	}
	if _, err := o.ChangeUser(t.Context(), ann, "ann", registry.VerbResume, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Authenticate(t.Context(), suspended.Token); err != nil {
		t.Errorf("after resuming: %v", err)
	}
	*now = now.Add(admin.DefaultUserTokenTTL)
	_, err = o.Authenticate(t.Context(), good.Token)
	hasCode(t, "after its time", err, access.CodeUnauthenticated)
}

// TestARevokedTokenEndsRequestsUnderWay: a request that came in with it is
// decided again where it changes something.
func TestARevokedTokenEndsRequestsUnderWay(t *testing.T) {
	o, now := moving(t)
	o.apply(people + "---\n" + filesServer)
	o.apply("kind: Agent\nid: reader\nowner: team-a\nexpires: 2099-01-01\n")
	for name, end := range map[string]func(admin.NewUserToken) error{
		"revoked": func(n admin.NewUserToken) error { return o.RevokeUserToken(t.Context(), ann, "ann", n.ID, "") },
		"suspended": func(admin.NewUserToken) error {
			_, err := o.ChangeUser(t.Context(), ann, "ann", registry.VerbSuspend, "")
			return err
		},
		"expired": func(admin.NewUserToken) error {
			*now = now.Add(admin.DefaultUserTokenTTL)
			return nil
		},
	} {
		if u, _ := o.Current().View.User("ann"); u.State == registry.UserSuspended {
			if _, err := o.ChangeUser(t.Context(), ann, "ann", registry.VerbResume, ""); err != nil {
				t.Fatal(err)
			}
		}
		tok := o.token("ann")
		actor, err := o.Authenticate(t.Context(), tok.Token)
		if err != nil {
			t.Fatal(err)
		}
		if err := end(tok); err != nil {
			t.Fatal(err)
		}
		gen := o.store.gen
		_, err = o.ChangeAgent(t.Context(), actor, "reader", registry.VerbSuspend, "")
		hasCode(t, name+": change", err, access.CodeUnauthenticated)
		_, err = o.Apply(t.Context(), actor, doc(strings.Replace(filesServer, "team-platform", "ann", 1)), false)
		hasCode(t, name+": apply", err, access.CodeUnauthenticated)
		_, err = o.IssueDevelopmentToken(t.Context(), actor, admin.TokenRequest{Agent: "reader", Server: "files"})
		hasCode(t, name+": token", err, access.CodeUnauthenticated)
		equal(t, name+": generation", o.store.gen, gen)
	}
}

// TestNoUseAfterRevocationReturned races users of a token with its revocation:
// what began after it returned never succeeds.
func TestNoUseAfterRevocationReturned(t *testing.T) {
	o := open(t)
	o.apply(people + "---\nkind: Agent\nid: reader\nowner: team-a\n")
	for range 20 {
		tok := o.token("ann")
		revoked := make(chan struct{})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					after := false
					select {
					case <-revoked:
						after = true
					default:
					}
					actor, err := o.Authenticate(context.Background(), tok.Token)
					if after && err == nil {
						t.Error("it counts after it was revoked")
					}
					if err == nil {
						_, _ = o.CreateAgent(context.Background(), actor, admin.AgentSpec{}) // some work
					}
					if after {
						return
					}
				}
			})
		}
		if err := o.RevokeUserToken(t.Context(), ann, "ann", tok.ID, ""); err != nil {
			t.Fatal(err)
		}
		close(revoked)
		wg.Wait()
	}
}

// TestATokenRevokedOnAnotherNodeCountsNowhere, although this one has not loaded
// the change yet.
func TestATokenRevokedOnAnotherNodeCountsNowhere(t *testing.T) {
	o := open(t)
	o.apply(people)
	tok := o.token("ann")
	second, err := admin.New(t.Context(), admin.Config{Node: "n2"}, o.deps())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := second.Authenticate(t.Context(), tok.Token); err != nil {
		t.Fatal(err)
	}
	if err := o.RevokeUserToken(t.Context(), ann, "ann", tok.ID, ""); err != nil {
		t.Fatal(err)
	}
	_, err = second.Authenticate(t.Context(), tok.Token)
	hasCode(t, "on the other node", err, access.CodeUnauthenticated)
	o.store.down = true
	if _, err := second.Authenticate(t.Context(), o.tokenless()); err == nil {
		t.Error("a node that cannot know lets somebody in")
	}
}

// tokenless is text in the form of a token.
func (o *office) tokenless() string {
	return "rut_pat_" + strings.Repeat("0", 26) + "_" + strings.Repeat("A", 43)
}

func TestTokensAreBounded(t *testing.T) {
	o, now := moving(t)
	o.apply(people)
	for name, c := range map[string]struct {
		user, name string
		ttl        time.Duration
		code       access.Code
	}{
		"too long":      {"ann", "", 366 * 24 * time.Hour, access.CodeInvalid},
		"too short":     {"ann", "", time.Second, access.CodeInvalid},
		"negative":      {"ann", "", -time.Hour, access.CodeInvalid},
		"long name":     {"ann", strings.Repeat("a", 65), 0, access.CodeInvalid},
		"hidden name":   {"ann", "a\u202eb", 0, access.CodeInvalid},
		"two lines":     {"ann", "a\nb", 0, access.CodeInvalid},
		"nobody":        {"eve", "", 0, access.CodeNotFound},
		"somebody away": {"vic", "", 0, access.CodeConflict},
	} {
		_, err := o.CreateUserToken(t.Context(), ann, c.user, c.name, c.ttl)
		hasCode(t, name, err, c.code)
	}
	for range 16 {
		if _, err := o.CreateUserToken(t.Context(), ann, "ann", "", time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	_, err := o.CreateUserToken(t.Context(), ann, "ann", "", 0)
	hasCode(t, "the seventeenth", err, access.CodeConflict, "16 tokens already")
	*now = now.Add(time.Minute) // what has expired takes no place
	o.token("ann")
	list, err := o.UserTokens(t.Context(), "ann")
	if err != nil || len(list) != 1 || list[0].Hash != nil {
		t.Errorf("listed %+v, %v", list, err)
	}
}

func TestUseIsNotedOnceAnHour(t *testing.T) {
	o, now := moving(t)
	o.apply(people)
	tok := o.token("ann")
	used := func() time.Time {
		t.Helper()
		if _, err := o.Authenticate(t.Context(), tok.Token); err != nil {
			t.Fatal(err)
		}
		list, err := o.UserTokens(t.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		return list[0].Used
	}
	list, err := o.UserTokens(t.Context(), "ann")
	if err != nil || !list[0].Used.IsZero() {
		t.Fatalf("%+v, %v", list, err)
	}
	first := *now
	equal(t, "first", used(), first)
	*now = first.Add(time.Hour - time.Millisecond)
	equal(t, "within the hour", used(), first)
	*now = first.Add(time.Hour)
	equal(t, "after it", used(), first.Add(time.Hour))
	if _, err := o.Authenticate(t.Context(), tok.Token+"x"); err == nil {
		t.Fatal("a longer token counts")
	}
}

func TestRevokingAnothersTokenIsNotFound(t *testing.T) {
	o := open(t)
	o.apply(people)
	tok := o.token("ann")
	for _, c := range [][2]string{{"bob", tok.ID}, {"eve", tok.ID}, {"ann", "pat_0"}, {"ann", ""}, {"ann", strings.ToLower(tok.ID)}, {"ann", tok.Token}} {
		hasCode(t, c[0]+" "+c[1], o.RevokeUserToken(t.Context(), ann, c[0], c[1], ""), access.CodeNotFound)
	}
	if _, err := o.Authenticate(t.Context(), tok.Token); err != nil {
		t.Error(err)
	}
}
