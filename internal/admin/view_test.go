package admin_test

import (
	"fmt"
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/store"
	"rutile/internal/store/storetest"
)

// A view is kept by whoever may sign in and by nobody else, under a name that can be read,
// with a filter, and no more of them than are allowed.
func TestViewsAreRefused(t *testing.T) {
	o := full(t)
	s, err := store.Open(t.Context(), store.Config{DSN: "sqlite", Dir: storetest.Dir(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	v, err := admin.NewViews(o.Admin, s)
	if err != nil {
		t.Fatal(err)
	}
	bob, boss := admin.Actor{Kind: "user", ID: "bob"}, admin.Actor{Kind: "user", ID: "boss"}
	save := func(who admin.Actor, name, query string) error {
		return v.Save(t.Context(), who, "inventory", name, query)
	}
	if err := save(boss, " mine ", "tier=3"); err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		err  error
		code access.Code
	}{
		"nobody":                         {save(admin.Actor{}, "a", "tier=3"), access.CodeUnauthenticated},
		"somebody unknown":               {save(admin.Actor{Kind: "user", ID: "eve"}, "a", "tier=3"), access.CodeUnauthenticated},
		"somebody suspended":             {save(admin.Actor{Kind: "user", ID: "vic"}, "a", "tier=3"), access.CodeUnauthenticated},
		"no name":                        {save(boss, " \t", "tier=3"), access.CodeInvalid},
		"a long name":                    {save(boss, strings.Repeat("é", 61), "tier=3"), access.CodeInvalid},
		"a name of two lines":            {save(boss, "a\nb", "tier=3"), access.CodeInvalid},
		"a name that reads another way":  {save(boss, "a\u202eb", "tier=3"), access.CodeInvalid},
		"a name that is no text":         {save(boss, "a\xff", "tier=3"), access.CodeInvalid},
		"no filter":                      {save(boss, "a", ""), access.CodeInvalid},
		"a filter that is none":          {save(boss, "a", "tier=%zz"), access.CodeInvalid},
		"a long filter":                  {save(boss, "a", "q="+strings.Repeat("x", 2047)), access.CodeInvalid},
		"forgotten by nobody":            {v.Forget(t.Context(), admin.Actor{}, "inventory", "mine"), access.CodeUnauthenticated},
		"forgotten by somebody else":     {v.Forget(t.Context(), bob, "inventory", "mine"), access.CodeNotFound},
		"forgotten where it is not kept": {v.Forget(t.Context(), boss, "findings", "mine"), access.CodeNotFound},
	} {
		if access.CodeOf(x.err) != x.code {
			t.Errorf("%s: %v", name, x.err)
		}
	}
	of := func(who admin.Actor) string {
		t.Helper()
		list, err := v.Of(t.Context(), who, "inventory")
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(list)
	}
	if got := of(boss); got != fmt.Sprint([]admin.View{{Name: "mine", Query: "tier=3", At: day}}) || of(bob) != "[]" {
		t.Errorf("kept: %s, of another %s", got, of(bob))
	}
	for i := range 49 {
		if err := save(boss, fmt.Sprint(i), "tier=2"); err != nil {
			t.Fatal(err)
		}
	}
	hasCode(t, "the 51st", save(boss, "one more", "tier=2"), access.CodeConflict, "forget one first")
	if err := save(boss, "mine", "tier=1"); err != nil {
		t.Errorf("one that is there: %v", err)
	}
	if err := v.Forget(t.Context(), boss, "inventory", "mine"); err != nil {
		t.Error(err)
	}
	if err := save(boss, "one more", "tier=2"); err != nil {
		t.Errorf("after one was forgotten: %v", err)
	}
}
