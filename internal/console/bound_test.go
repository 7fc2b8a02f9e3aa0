package console_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// TestSessionsInAllAreBounded: the one unused for longest makes room, and those
// that are over do first.
func TestSessionsInAllAreBounded(t *testing.T) {
	r := newRig(t)
	first, _ := r.page.Begin("user-0")
	second, open := "", 0
	for i := 1; open < 1024; i++ {
		r.clock.pass(time.Millisecond)
		var id string
		if id, open = r.page.Begin(fmt.Sprintf("user-%d", i)); i == 1 {
			second = id
		}
		if i > 2000 {
			t.Fatalf("%d sessions are open and no more come", open)
		}
	}
	r.page.Known(first) // used: the second is the one unused for longest now
	third, open := r.page.Begin("one-more")
	if open != 1024 || !r.page.Known(first) || r.page.Known(second) || !r.page.Known(third) {
		t.Errorf("%d open, first %v, second %v, newest %v", open, r.page.Known(first), r.page.Known(second), r.page.Known(third))
	}
	r.clock.pass(time.Hour)
	if _, open := r.page.Begin("later"); open != 1 {
		t.Errorf("%d sessions are kept though all but one are over", open)
	}
}

// TestAddressesAreBounded: a flood from many addresses fills nothing, and what it
// spent in all holds.
func TestAddressesAreBounded(t *testing.T) {
	r := newRig(t)
	most := 0
	for i := range 10_000 {
		_, known := r.page.Attempt(fmt.Sprint(i))
		most = max(most, known)
		if i%200 == 199 {
			r.clock.pass(40 * time.Second) // so that each is spent
		}
	}
	if most != 4096 {
		t.Errorf("up to %d addresses were remembered, want 4096", most)
	}
	for i := range 200 {
		r.page.Attempt(fmt.Sprint("x", i))
	}
	if wait, _ := r.page.Attempt("new"); wait <= 0 {
		t.Error("the bound in all was forgotten with the addresses")
	}
	r.clock.pass(-time.Hour) // a clock that was set back must not lock anybody out for an hour
	if wait, _ := r.page.Attempt("new"); wait > 6*time.Second {
		t.Errorf("after the clock was set back: wait %s", wait)
	}
}

// TestASignInWithoutARequestLeadsNowhere: there is no address to be sent to but
// the page of a request.
func TestASignInWithoutARequestLeadsNowhere(t *testing.T) {
	r := newRig(t)
	tok := r.token("ann").Token
	for _, to := range []string{"", "//evil.example", "https://evil.example", "../../x", "req_", "req_00000000000000000000000000/../x", "req_0000000000000000000000000\n"} {
		b := r.browser()
		a := b.do("POST", "/approve/sign-in", map[string][]string{"request": {to}, "token": {tok}})
		if a.status != http.StatusNotFound || a.header.Get("Location") != "" || len(b.cookies) != 0 {
			t.Errorf("%q: %d, to %q, cookies %v", to, a.status, a.header.Get("Location"), b.cookies)
		}
	}
}
