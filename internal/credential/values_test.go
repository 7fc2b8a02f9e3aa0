package credential_test

import (
	"strings"
	"testing"

	"rutile/internal/credential"
)

// One sealed credential may hold several values: each goes where its template says,
// and none comes back in an answer.
func TestSealedValuesHaveNames(t *testing.T) {
	v, _, _ := stored(t)
	value, err := credential.Values(map[string]string{"secret": "first-s3cret", "v2": `second "s3cret"`, "v3": "third-s3cret"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Set(t.Context(), credential.Secret{ID: "many", MaxTier: 3, Servers: []string{"up"}}, value); err != nil {
		t.Fatal(err)
	}
	r := request("many")
	r.Header, r.Origin, r.Env, r.Template = "", "stdio:up", "ONE", ""
	r.Also, r.Args = map[string]string{"TWO": "{v2}"}, map[string]string{"1": "--key={v3}"}
	l, err := v.Lease(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	got := map[string]string{}
	if err := l.Variables(func(name, value string) { got[name] = value }); err != nil {
		t.Fatal(err)
	}
	if err := l.Arguments(func(index, value string) error { got[index] = value; return nil }); err != nil {
		t.Fatal(err)
	}
	for k, want := range map[string]string{"ONE": "first-s3cret", "TWO": `second "s3cret"`, "1": "--key=third-s3cret"} {
		if got[k] != want {
			t.Errorf("%s is %q", k, got[k])
		}
	}
	for _, s := range []string{"first-s3cret", "third-s3cret"} {
		if out, n := l.Scrub([]byte(`{"text":"` + s + `"}`)); n == 0 || strings.Contains(string(out), s) {
			t.Errorf("%s comes back: %s", s, out)
		}
	}
	r.Args = map[string]string{"1": "{nothing}"}
	bad, err := v.Lease(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	defer bad.Release()
	if err := bad.Arguments(func(_, _ string) error { return nil }); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("a value that is not there says %v", err)
	}
}

// A JSON document somebody sealed is one value, whatever stands in it.
func TestASealedDocumentIsOneValue(t *testing.T) {
	v, _, _ := stored(t)
	doc := `{"secret":"inner-value","v2":"x"}`
	if _, err := v.Set(t.Context(), credential.Secret{ID: "doc", MaxTier: 3}, []byte(doc)); err != nil {
		t.Fatal(err)
	}
	l, err := v.Lease(t.Context(), request("doc"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	if _, value, err := l.Header(); err != nil || value != "Bearer "+doc {
		t.Errorf("it is %q %v", value, err)
	}
}
