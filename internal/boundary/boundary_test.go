package boundary_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"rutile/internal/boundary"
)

// kept is a store in memory. Sessions in over are.
type kept struct {
	mu   sync.Mutex
	keys map[string][]byte
	rows map[string]boundary.Row
	over map[string]bool
}

func newKept() *kept {
	return &kept{keys: map[string][]byte{}, rows: map[string]boundary.Row{}, over: map[string]bool{}}
}

func (k *kept) SessionKey(_ context.Context, session string, fresh []byte) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.keys[session] == nil {
		k.keys[session] = fresh
	}
	return k.keys[session], nil
}

func (k *kept) PutPlaceholders(_ context.Context, rows []boundary.Row) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range rows {
		k.rows[r.Session+r.Token] = r
	}
	return nil
}

func (k *kept) Placeholders(_ context.Context, session string, tokens []string) (out []boundary.Row, _ error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, t := range tokens {
		if r, ok := k.rows[session+t]; ok && !k.over[session] {
			out = append(out, r)
		}
	}
	return out, nil
}

// sealed seals so that a value opens for its purpose only.
type sealed struct{}

func (sealed) Seal(_ context.Context, purpose string, plain []byte) ([]byte, error) {
	out := []byte(purpose + "\x00")
	for _, b := range plain {
		out = append(out, b^0x55)
	}
	return out, nil
}

func (sealed) Open(_ context.Context, purpose string, ct []byte) ([]byte, error) {
	rest, ok := strings.CutPrefix(string(ct), purpose+"\x00")
	if !ok {
		return nil, errors.New("sealed for something else")
	}
	out := []byte(rest)
	for i := range out {
		out[i] ^= 0x55
	}
	return out, nil
}

func book(t *testing.T, k *kept) *boundary.Book {
	t.Helper()
	b, err := boundary.New(k, sealed{}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func issue(t *testing.T, b *boundary.Book, session, text string) string {
	t.Helper()
	tokens, err := b.Issue(t.Context(), session, []boundary.Value{{Text: text, Label: "pii", Kind: "email", Server: "crm"}})
	if err != nil {
		t.Fatal(err)
	}
	return tokens[0]
}

const mail = "anna.keller@mail.lyon.fr"

// A value has one placeholder as long as its session lasts, also after a restart and
// when two ask at once, and another one in every other session.
func TestPlaceholderIsStableInItsSession(t *testing.T) {
	k := newKept()
	first := issue(t, book(t, k), "ses_a", mail)
	if got := boundary.Tokens("to " + first + ", and " + first + "."); len(got) != 1 || got[0] != first || !strings.HasPrefix(first, "RUTILE_EMAIL_") {
		t.Errorf("%q is read as %q", first, got)
	}
	var wg sync.WaitGroup
	for range 8 {
		again := book(t, k) // as after a restart
		wg.Go(func() {
			if tokens, err := again.Issue(context.Background(), "ses_a", []boundary.Value{{Text: mail, Label: "pii", Kind: "email"}}); err != nil || tokens[0] != first {
				t.Errorf("again it is %q, %v; want %q", tokens, err, first)
			}
		})
	}
	wg.Wait()
	if other := issue(t, book(t, k), "ses_b", mail); other == first {
		t.Error("two sessions have one placeholder")
	}
	if other := issue(t, book(t, k), "ses_a", "bert@mail.lyon.fr"); other == first {
		t.Error("two values have one placeholder")
	}
}

// A placeholder resolves in its own session only, while that is open, and only as it
// was made.
func TestForeignTokenDenied(t *testing.T) {
	k := newKept()
	b := book(t, k)
	mine, theirs := issue(t, b, "ses_a", mail), issue(t, b, "ses_b", mail)
	if v, err := b.Reveal(t.Context(), "ses_a", []string{mine}); err != nil || v[mine] != mail {
		t.Fatalf("%v, %v", v, err)
	}
	moved := k.rows["ses_b"+theirs]
	moved.Session = "ses_c"
	k.rows["ses_c"+theirs] = moved // by somebody who can write the store
	for name, tt := range map[string]struct{ session, token string }{
		"of another session": {"ses_a", theirs},
		"of no session":      {"", mine},
		"a letter changed":   {"ses_a", mine[:len(mine)-1] + map[bool]string{true: "b", false: "a"}[mine[len(mine)-1] == 'a']},
		"another kind":       {"ses_a", strings.Replace(mine, "EMAIL", "CARD", 1)},
		"a row moved":        {"ses_c", theirs},
	} {
		if v, err := b.Reveal(t.Context(), tt.session, []string{tt.token}); err == nil {
			t.Errorf("%s: %v", name, v)
		}
	}
	k.over["ses_a"] = true
	if v, err := b.Reveal(t.Context(), "ses_a", []string{mine}); err == nil {
		t.Errorf("after its session: %v", v)
	}
}

// Values are put in once: a value that looks like a placeholder is a value.
func TestRestoredValueIsNotReadAgain(t *testing.T) {
	k := newKept()
	b := book(t, k)
	secret := issue(t, b, "ses_a", "hunter2")
	nested := issue(t, b, "ses_a", "x"+secret+"x")
	values, err := b.Reveal(t.Context(), "ses_a", []string{secret, nested})
	if err != nil {
		t.Fatal(err)
	}
	if got := boundary.Restore("a "+nested+" b", values); got != "a x"+secret+"x b" {
		t.Errorf("restored to %q", got)
	}
}

// What is kept holds no value in clear.
func TestKeptPlaceholdersHoldNoValue(t *testing.T) {
	k := newKept()
	issue(t, book(t, k), "ses_a", mail)
	for _, r := range k.rows {
		if strings.Contains(string(r.Sealed), mail) || strings.Contains(r.Token, mail) {
			t.Errorf("kept as %+v", r)
		}
	}
}
