package admin_test

import (
	"errors"
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/credential"
)

const (
	mintedHead = "kind: Credential\nid: m\nowner: t\nservers: [s]\nsource:\n"

	vaultSource = `  vault:
    address: https://bao.example:8200
    namespace: team-a
    tls: {ca: /etc/bao.pem, serverName: bao.internal}
    login: {appRole: {roleId: r1, secret: seed}}
    path: database/creds/{role}
    rules:
      - {tools: [read], role: reader}
      - {tools: ["w*"], argument: /db, roles: {"a b": writer, c: other}}
      - {discovery: true, role: nobody}
    values: {secret: password}
    plain: {username: username}
    maxTTL: 15m
`
	githubSource = `  githubApp:
    app: Iv23li0
    installation: 4711
    owner: acme
    key: app-key
    rules:
      - {tools: [create_issue], argument: /repo, ownerArgument: /owner, permissions: {issues: write}}
      - {tools: [search], all: true, permissions: {contents: read}}
      - {discovery: true, repositories: [b, a], permissions: {metadata: read}}
`
	awsSource = `  awsSTS:
    region: eu-central-1
    role: arn:aws:iam::123456789012:role/reader
    accessKey: AKIAIOSFODNN7EXAMPLE
    secret: aws-key
    duration: 20m
    tags: {agent: "{{agent}}"}
    slots: {bucket: {argument: /bucket, oneOf: [docs]}, agent: {fact: agent}, p: {argument: /p, form: path}}
    rules:
      - tools: [get]
        policy:
          Version: "2012-10-17"
          Statement: [{Effect: Allow, Action: "s3:GetObject", Resource: "arn:aws:s3:::{{bucket}}/{{p}}/<*>", Condition: {NumericLessThan: {"s3:max-keys": 10}, Bool: {"aws:SecureTransport": true}}}]
      - {discovery: true, wholeRole: true}
`
)

// TestMintedSourcesComeBackAsTheyWere: applied again nothing changes, and an
// export applied to an empty store exports the same bytes.
func TestMintedSourcesComeBackAsTheyWere(t *testing.T) {
	for name, text := range map[string]string{"vault": vaultSource, "githubApp": githubSource, "awsSTS": awsSource} {
		t.Run(name, func(t *testing.T) {
			o := open(t)
			o.apply(mintedHead + text)
			if plan, err := o.Diff(t.Context(), doc(mintedHead+text)); err != nil || plan.Changes() {
				t.Errorf("is different from itself: %+v %v", plan, err)
			}
			exported := o.export()
			again := open(t)
			again.apply(exported)
			equal(t, "exported again", again.export(), exported)
		})
	}
}

func TestSessionPolicyKeepsItsWords(t *testing.T) {
	o := open(t)
	o.apply(mintedHead + awsSource)
	got := o.Current().Sources["m"].AWSSTS.Rules[0].Policy
	equal(t, "policy", got, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::{{bucket}}/{{p}}/\u003c*\u003e","Condition":{"NumericLessThan":{"s3:max-keys":10},"Bool":{"aws:SecureTransport":true}}}]}`)
}

func TestMintedSourcesAreStrict(t *testing.T) {
	for name, c := range map[string]struct{ text, old, new, want string }{
		"query in the address":  {vaultSource, "8200", "8200/?token=x", "source.vault: address must hold no user, query or fragment"},
		"http":                  {vaultSource, "https://bao", "http://bao", "has no meaning for an http:// url"},
		"unknown key":           {vaultSource, "namespace", "namespaces", `do you mean "namespace"?`},
		"unknown key of a rule": {vaultSource, "role: reader", "roles: reader, rol: x", "source.vault.rules[0].rol"},
		"secret in the place":   {vaultSource, "secret: seed", "secret: hunter2-VALUE", "must be the name of a sealed credential"},
		"rule for nothing":      {vaultSource, "tools: [read], ", "", "source.vault: rules[0] is for nothing"},
		"path":                  {vaultSource, "database/creds", "database/../sys", "source.vault: path"},
		"too long":              {vaultSource, "15m", "25h", "source.vault.maxTTL"},
		"no key":                {githubSource, "    key: app-key\n", "", "source.githubApp.key: is required"},
		"no permissions":        {githubSource, ", permissions: {contents: read}", "", "rules[1] permissions is required"},
		"number":                {githubSource, "4711", "x", "source.githubApp.installation"},
		"list":                  {githubSource, "rules:\n", "rules: x\n    other:\n", "source.githubApp.rules: must be a list"},
		"place without slot":    {awsSource, "{{p}}", "{{q}}", "{{q}} and no slot"},
		"place in a key":        {awsSource, `{"s3:max-keys"`, `{"{{p}}"`, "must not have a place in a key"},
		"key twice":             {awsSource, "Effect: Allow,", "Effect: Allow, Effect: Deny,", "must be a JSON object"},
		"short":                 {awsSource, "20m", "5m", "source.awsSTS.duration"},
		"form":                  {awsSource, "form: path", "form: any", "source.awsSTS.slots.p.form"},
		"two sources":           {vaultSource, "", githubSource, "exactly one kind of source"},
	} {
		t.Run(name, func(t *testing.T) {
			text := mintedHead + strings.Replace(c.text, c.old, c.new, 1)
			if c.old == "" {
				text = mintedHead + c.text + c.new
			}
			_, err := open(t).Diff(t.Context(), doc(text))
			if err == nil || !strings.Contains(access.Reasons(err), c.want) && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Error("a secret is repeated")
			}
		})
	}
}

func TestCredentialsGoIntoFiles(t *testing.T) {
	head := "kind: Server\nid: s\nowner: t\ntransport: {stdio: {command: x}}\ncredential:\n  ref: aws\n"
	o := open(t)
	text := head + "  files:\n    AWS_SHARED_CREDENTIALS_FILE: |\n      [default]\n      aws_access_key_id={access_key_id}\n      aws_secret_access_key={secret}\n"
	o.apply(text)
	s, _ := o.Current().View.Server("s")
	equal(t, "files", s.Credential.Files, map[string]string{"AWS_SHARED_CREDENTIALS_FILE": "[default]\naws_access_key_id={access_key_id}\naws_secret_access_key={secret}\n"})
	exported := o.export()
	again := open(t)
	again.apply(exported)
	equal(t, "exported again", again.export(), exported)
	for name, c := range map[string]struct{ text, want string }{
		"nothing":        {head, "takes its credential in a variable, a file or an argument"},
		"an argument":    {head + "  args: {\"3\": \"{secret}\"}\n", "is not the index of one"},
		"a plain one":    {strings.Replace(head, "{command: x}", "{command: x, args: [a]}", 1) + "  args: {\"0\": text}\n", "exactly once"},
		"no value":       {head + "  files: {F: text}\n", "must hold values"},
		"a brace":        {head + "  files: {F: \"{{secret}}\"}\n", "must hold values"},
		"a path":         {head + "  files: {../F: \"{secret}\"}\n", "is not the name of an environment variable"},
		"twice":          {head + "  env: F\n  files: {F: \"{secret}\"}\n", "is set twice"},
		"http":           {strings.Replace(head, "stdio: {command: x}", "http: {url: \"https://x.example/\"}", 1) + "  header: A\n  files: {F: \"{secret}\"}\n", "are for the process of a stdio server"},
		"value alone":    {head + "  value: \"{secret}\"\n  files: {F: \"{secret}\"}\n", "belong to env"},
		"token in a url": {"kind: Server\nid: s\nowner: t\ntransport: {http: {url: \"https://x.example/?api_key={secret}\"}}\ncredential: {ref: aws, header: A}\n", "transport.http.url"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := open(t).Diff(t.Context(), doc(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestRewrappingIsRecordedBeforeAndAfter(t *testing.T) {
	o := open(t)
	if _, err := o.SetCredential(t.Context(), ann, credential.Secret{ID: "a"}, []byte("hunter2-the-value")); err != nil {
		t.Fatal(err)
	}
	if n, err := o.RewrapCredentials(t.Context(), ann); n != 1 || err != nil {
		t.Fatalf("%d: %v", n, err)
	}
	o.vault.err = errors.New("cut off")
	if _, err := o.RewrapCredentials(t.Context(), ann); err == nil {
		t.Error("no error")
	}
	equal(t, "leaves", o.evidence.said(), []string{"set Credential a", "rewrap Credential *", "rewrapped Credential *", "rewrap Credential *", "rewrapped Credential *"})
	o.vault.err = nil
	if _, err := o.RewrapCredentials(t.Context(), admin.Actor{Kind: "user", ID: "nobody"}); access.CodeOf(err) != access.CodeUnauthenticated {
		t.Errorf("somebody unknown: %v", err)
	}
	equal(t, "rewrapped", len(o.evidence.said()), 5)
}
