package admin_test

import (
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/credential"
)

const crmServer = "kind: Server\nid: crm\nowner: team\ntransport: {http: {url: \"https://crm.example.com/mcp\"}}\ncredential: {ref: crm-token, header: Authorization, value: \"Bearer {secret}\"}\n"

func declared(source string) string {
	return "---\nkind: Credential\nid: crm-token\nowner: team\nservers: [crm]\nsource:\n  " + source + "\n"
}

func TestDeclaredCredentialSurvivesExport(t *testing.T) {
	for _, source := range []string{
		`clientCredentials: {clientID: rutile, secret: seed, auth: private_key_jwt, scopes: [a, b], toolScopes: {"get_*": [a], "*": []}, resource: "https://crm.example.com"}`,
		`tokenExchange: {issuer: "https://as.example/t1", clientID: rutile, secret: seed, audience: crm, listing: crm-listing}`,
		`userOAuth: {scopes: [mail.read], tls: {ca: /etc/rutile/ca.pem}, listing: seed}`,
		`clientCredentials: {clientID: c, secret: seed, tls: {ca: /etc/rutile/ca.pem}}`,
		`userOAuth: {scopes: [mail.read, mail.send], toolScopes: {"get_*": [mail.read]}}`,
		`userOAuth: {clientID: c, auth: client_secret_post, secret: seed}`,
		`userOAuth: {clientID: c}` + "\norigins: [\"https://b.example:8443\", \"https://crm.example.com\"]",
	} {
		o := open(t)
		o.apply(crmServer + declared(source))
		first := o.export()
		if !strings.Contains(first, "kind: Credential") {
			t.Fatalf("exported %s", first)
		}
		again := open(t)
		again.apply(first)
		if second := again.export(); second != first {
			t.Errorf("%s: exported %s, then %s", source, first, second)
		}
		if again.apply(first).Changes() {
			t.Errorf("%s: applying again changes something", source)
		}
	}
}

func TestDeclaredCredentialIsReadStrictly(t *testing.T) {
	for source, want := range map[string]string{
		`clientCredentials: {secret: seed}`:                                                       "clientID",
		`clientCredentials: {clientID: c}`:                                                        "secret",
		`clientCredentials: {clientID: c, secret: "S3cret Value!"}`:                               "sealed credential",
		`clientCredentials: {clientID: c, secret: seed, auth: none}`:                              "unknown",
		`clientCredentials: {clientID: c, secret: seed, issuer: "http://as.example"}`:             "https",
		`clientCredentials: {clientID: c, secret: seed, scopes: ["a b"]}`:                         "not a scope",
		`clientCredentials: {clientID: c, secret: seed, wide: true}`:                              "unknown key",
		`userOAuth: {auth: client_secret_basic, secret: seed}`:                                    "clientID",
		`userOAuth: {scopes: [a], toolScopes: {"*": [b]}}`:                                        "not among scopes",
		`userOAuth: {scopes: [a], toolScopes: {"*": []}}`:                                         "names no scope",
		`userOAuth: {tls: {ca: ca.pem}}`:                                                          "absolute path",
		`userOAuth: {tls: {serverName: x}}`:                                                       "unknown key",
		`userOAuth: {secret: seed}`:                                                               "no use",
		`clientCredentials: {clientID: c, secret: seed}` + "\n  " + `userOAuth: {scopes: [a]}`:    "exactly one",
		`userOAuth: {clientID: c}` + "\norigins: []":                                              "is empty",
		`userOAuth: {clientID: c}` + "\norigins: [\"https://crm.example.com/mcp\"]":               "not an origin",
		`tokenExchange: {clientID: "ghp_0123456789012345678901234567890123456789", secret: seed}`: "looks like a secret",
	} {
		_, err := admin.ParseReader("m.yaml", t.TempDir(), strings.NewReader(declared(source)))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", source, err, want)
		}
		if err != nil && (strings.Contains(err.Error(), "S3cret") || strings.Contains(err.Error(), "ghp_")) {
			t.Errorf("%s: the error repeats what was written: %v", source, err)
		}
	}
}

func TestOneNameIsOneCredential(t *testing.T) {
	o := open(t)
	o.apply(crmServer + declared(`clientCredentials: {clientID: c, secret: seed}`))
	if _, err := o.SetCredential(t.Context(), ann, credential.Secret{ID: "crm-token", MaxTier: 3}, []byte("a long value")); access.CodeOf(err) != access.CodeConflict {
		t.Errorf("sealing under the name of a declared one: %v", err)
	}
}

// TestDeclaredCredentialCanBeTakenBack: a person, or a rule that demands to revoke
// the credential, removes a declared one like a sealed one, and it is evidence.
func TestDeclaredCredentialCanBeTakenBack(t *testing.T) {
	o := open(t)
	o.apply(crmServer + declared(`clientCredentials: {clientID: c, secret: seed}`))
	ended, err := o.RemoveCredential(t.Context(), ann, "crm-token")
	if err != nil || ended.Revoked != 2 || len(o.vault.ended) != 1 || o.vault.ended[0] != "crm-token https://crm.example.com user:ann" {
		t.Fatalf("ended %+v of %v, %v", ended, o.vault.ended, err)
	}
	if _, left := o.Current().Sources["crm-token"]; left || strings.Contains(o.export(), "kind: Credential") {
		t.Error("it is still declared")
	}
	if _, err := o.RemoveCredential(t.Context(), ann, "crm-token"); access.CodeOf(err) != access.CodeNotFound || len(o.vault.ended) != 1 {
		t.Errorf("twice: %v", err)
	}
	o.apply(declared(`clientCredentials: {clientID: c, secret: seed}`))
	if _, back := o.Current().Sources["crm-token"]; !back {
		t.Error("it cannot be declared again")
	}
}

// TestMovingAServerSaysWhereItsCredentialGoes: whoever approves a move is told that
// what is minted does not go along.
func TestMovingAServerSaysWhereItsCredentialGoes(t *testing.T) {
	o := open(t)
	o.apply(crmServer + declared(`clientCredentials: {clientID: c, secret: seed, resource: "https://crm.example.com"}`))
	for at, want := range map[string]bool{"https://crm.example.com/v2": false, "https://evil.example.com/mcp": true} {
		plan, err := o.Diff(t.Context(), doc(strings.ReplaceAll(crmServer, "https://crm.example.com/mcp", at)))
		if err != nil || len(plan.Items) != 1 || strings.Contains(strings.Join(plan.Items[0].Dangers, "; "), "another address") != want {
			t.Errorf("%s: %+v, %v", at, plan.Items, err)
		}
	}
}

func (o *office) origins(id string) string { return strings.Join(o.Current().Sources[id].Origins, " ") }

// TestDeclaredCredentialIsBoundWhereItsServersAre: at its first declaration, in
// whatever order and document its server comes, and by nothing else after that but
// origins in its own manifest.
func TestDeclaredCredentialIsBoundWhereItsServersAre(t *testing.T) {
	const source, first, evil = `clientCredentials: {clientID: c, secret: seed}`, "https://crm.example.com", "https://evil.example.com"
	moved := strings.ReplaceAll(crmServer, first, evil)
	t.Run("the credential before its server", func(t *testing.T) {
		o := open(t)
		o.apply(strings.TrimPrefix(declared(source), "---\n") + "---\n" + crmServer)
		if got := o.origins("crm-token"); got != first {
			t.Errorf("bound to %q", got)
		}
	})
	t.Run("in documents of their own", func(t *testing.T) {
		o := open(t)
		o.apply(declared(source))
		if got := o.origins("crm-token"); got != "" {
			t.Fatalf("bound to %q", got)
		}
		plan := o.apply(crmServer)
		if got := o.origins("crm-token"); got != first || len(plan.Items) != 2 {
			t.Errorf("bound to %q by %+v", got, plan.Items)
		}
		if last := o.evidence.said(); last[len(last)-1] != "bind Credential crm-token" {
			t.Errorf("recorded %v", last)
		}
	})
	o := open(t)
	o.apply(crmServer + declared(source))
	for name, text := range map[string]string{
		"its server moves": moved, "both are applied again": moved + declared(source),
		"another server is named": moved + strings.ReplaceAll(declared(source), "[crm]", "[crm, other]") + strings.ReplaceAll("---\n"+moved, "id: crm", "id: other"),
	} {
		o.apply(text)
		if got := o.origins("crm-token"); got != first {
			t.Errorf("%s: bound to %q", name, got)
		}
	}
	o.apply(strings.ReplaceAll(declared(source), "source:", "origins: [\"HTTPS://evil.example.com:443\"]\nsource:"))
	if got := o.origins("crm-token"); got != evil {
		t.Errorf("after origins: bound to %q", got)
	}
}

// TestEarlierCredentialsAreBoundAtTheStart: one of a version that bound none goes
// where its server is when the gateway starts, once, and it is evidence.
func TestEarlierCredentialsAreBoundAtTheStart(t *testing.T) {
	o := open(t)
	o.apply(crmServer + declared(`clientCredentials: {clientID: c, secret: seed}`))
	s := o.store.sources["crm-token"]
	s.Origins = nil
	o.store.sources["crm-token"] = s
	for range 2 {
		o = reopen(t, o.store, o.evidence, admin.ModeEnforce)
		if got := o.origins("crm-token"); got != "https://crm.example.com" {
			t.Errorf("bound to %q", got)
		}
	}
	bound := 0
	for _, l := range o.evidence.said() {
		if l == "bind Credential crm-token" {
			bound++
		}
	}
	if bound != 1 {
		t.Errorf("recorded %d times", bound)
	}
}
