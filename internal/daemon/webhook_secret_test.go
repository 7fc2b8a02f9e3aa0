package daemon_test

import (
	"context"
	"io"
	"testing"

	"rutile/internal/admin"
	"rutile/internal/credential"
	"rutile/internal/daemon"
)

// What strangers show is no use of the credential it is compared with; what is it is.
func TestComparingACredentialIsNoUseOfIt(t *testing.T) {
	d, err := daemon.New(t.Context(), loopbackConfig(t, t.TempDir()), daemon.Options{Version: "test", Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close(context.Background()) })
	const secret = "b1946ac92492d2347c6235b4d2611184"
	if _, err := d.Admin.SetCredential(t.Context(), admin.Actor{Kind: "local", ID: "0", Host: true}, credential.Secret{ID: "shown"}, []byte(secret)); err != nil {
		t.Fatal(err)
	}
	show := func(what string) map[string]credential.Use {
		t.Helper()
		if err := d.Compare(t.Context(), "shown", "https://gw.example.com", func(v []byte) bool { return string(v) == what }); err != nil {
			t.Fatal(err)
		}
		return d.CredentialUses()
	}
	for range 3 {
		if uses := show("guess"); len(uses) > 0 {
			t.Fatalf("a guess is a use: %v", uses)
		}
	}
	if uses := show(secret); len(uses) != 1 || uses["shown"].At.IsZero() {
		t.Errorf("what is shown rightly: %v", uses)
	}
}
