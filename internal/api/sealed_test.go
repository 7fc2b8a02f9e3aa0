package api_test

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"testing"

	"rutile/internal/access"
	"rutile/internal/api"
	"rutile/internal/registry"
)

// A server that could not list its tools for lack of its credential does so once
// that is sealed, and what has listed them, or may not be called, is left alone.
func TestSealedCredentialLetsItsServersList(t *testing.T) {
	var mu sync.Mutex
	var looked []string
	fail := false
	r := newRig(t, func(_ *api.Config, d *api.Deps) {
		d.Learn = func(_ context.Context, server string) error {
			mu.Lock()
			defer mu.Unlock()
			looked = append(looked, server)
			if fail {
				return access.Errorf(access.CodeUpstream, "the upstream answers with nonsense")
			}
			return nil
		}
	})
	const needs = "credential: {ref: key, header: Authorization, value: \"{secret}\"}\n"
	r.apply("kind: Server\nid: waits\nowner: team\ntransport: {http: {url: 'http://127.0.0.1:9/a'}}\nstate: sanctioned\n" + needs +
		"---\nkind: Server\nid: listed\nowner: team\ntransport: {http: {url: 'http://127.0.0.1:9/b'}}\nstate: sanctioned\n" + needs +
		"---\nkind: Server\nid: mints\nowner: team\ntransport: {http: {url: 'http://127.0.0.1:9/e'}}\nstate: sanctioned\ncredential: {ref: minted, header: Authorization, value: \"{secret}\"}\n" +
		"---\nkind: Credential\nid: minted\nowner: team\nservers: [mints]\nsource: {clientCredentials: {issuer: 'http://127.0.0.1:9', clientID: us, secret: key}}\n" +
		"---\nkind: Server\nid: unknown\nowner: team\ntransport: {http: {url: 'http://127.0.0.1:9/c'}}\n" + needs +
		"---\nkind: Server\nid: other\nowner: team\ntransport: {http: {url: 'http://127.0.0.1:9/d'}}\nstate: sanctioned\n")
	if _, err := r.d.Admin.Observe(t.Context(), "listed", registry.Listing{Kind: registry.KindTool}); err != nil {
		t.Fatal(err)
	}
	const value = `{"value":"YS1zZWNyZXQtb2Ytc29tZS1sZW5ndGg="}`
	for _, step := range []struct {
		method, path string
		fail         bool
	}{{"PUT", "/api/v1/credentials/key", true}, {"POST", "/api/v1/credentials/key/rotate", false}} {
		looked, fail = nil, step.fail
		var got api.Sealed
		if err := json.Unmarshal([]byte(r.ok(step.method, step.path, value)), &got); err != nil {
			t.Fatal(err)
		}
		slices.Sort(looked)
		if !slices.Equal(looked, []string{"mints", "waits"}) {
			t.Errorf("%s %s made %q list", step.method, step.path, looked)
		}
		if got.ID != "key" || (len(got.Warnings) == 2 && got.Warnings[1].Server == "waits") != step.fail {
			t.Errorf("%s %s answered %+v", step.method, step.path, got)
		}
	}
}
