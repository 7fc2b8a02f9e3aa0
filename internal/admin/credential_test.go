package admin_test

import (
	"strings"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/credential"
)

// TestEveryCredentialIsListedWithItsState: sealed and declared ones, and what keeps
// each from being used.
func TestEveryCredentialIsListedWithItsState(t *testing.T) {
	o := open(t)
	state := func(id string) string {
		t.Helper()
		c, err := o.ShowCredential(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return c.Kind + " " + c.State
	}
	o.apply(declared(`clientCredentials: {clientID: c, secret: seed}`))
	equal(t, "without a seed", state("crm-token"), "clientCredentials incomplete")
	if _, err := o.SetCredential(t.Context(), ann, credential.Secret{ID: "seed", MaxTier: 3}, []byte("a long value")); err != nil {
		t.Fatal(err)
	}
	equal(t, "without a server", state("crm-token"), "clientCredentials unused")
	equal(t, "a seed", state("seed"), "sealed unbound")
	o.apply(crmServer)
	equal(t, "with a server", state("crm-token"), "clientCredentials ready")
	o.vault.used = map[string]credential.Use{
		"crm-token": {At: day.Add(time.Minute), Version: "v7", Expires: day.Add(time.Hour)},
		"seed":      {At: day.Add(-time.Hour), Version: "9"}, // of an earlier one of the name
	}
	c, err := o.ShowCredential(t.Context(), "crm-token")
	if err != nil || c.Minted != "v7" || c.LastUsed.IsZero() || c.Expires.IsZero() || c.Source == nil || len(c.UsedBy) != 1 {
		t.Errorf("shown %+v, %v", c, err)
	}
	list, err := o.ListCredentials(t.Context())
	if err != nil || len(list) != 2 || list[0].ID != "crm-token" || list[1].ID != "seed" || list[1].Minted != "" || list[1].Source != nil {
		t.Errorf("listed %+v, %v", list, err)
	}
	o.apply("kind: Server\nid: crm\nowner: team\ntransport: {stdio: {command: crm}}\ncredential: {ref: crm-token, env: TOKEN}\n")
	equal(t, "elsewhere", state("crm-token"), "clientCredentials elsewhere")
	if _, err := o.ShowCredential(t.Context(), "absent"); access.CodeOf(err) != access.CodeNotFound {
		t.Errorf("absent: %v", err)
	}
}

// TestWhatAWebhookNamesIsUsed as long as the webhook is.
func TestWhatAWebhookNamesIsUsed(t *testing.T) {
	o := open(t)
	for _, id := range []string{"hook-key", "chat-path"} {
		if _, err := o.SetCredential(t.Context(), ann, credential.Secret{ID: id, MaxTier: 3, Origins: []string{"https://hooks.example.com"}}, []byte("a long value of 16")); err != nil {
			t.Fatal(err)
		}
	}
	shown := func(id string) string {
		t.Helper()
		c, err := o.ShowCredential(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return c.State + " " + strings.Join(c.UsedBy, " ")
	}
	equal(t, "before", shown("hook-key"), "unused ")
	live := strings.Replace(slackHook, "state: retired\n", "", 1)
	o.apply(hook + "---\n" + live)
	equal(t, "what it signs with", shown("hook-key"), "ready webhook pager")
	equal(t, "a part of the address", shown("chat-path"), "ready webhook chat")
	o.apply(slackHook)
	equal(t, "retired", shown("chat-path"), "unused ")
}
