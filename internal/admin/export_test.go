package admin_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/registry"
)

// nasty is text a YAML writer can get wrong.
func nasty() []string {
	return []string{
		"plain", "true", "null", "~", "12", "1e3", "0x10", "2027-06-30", "yes", "No", "- a", "? b", "a: b", "a #b", "#c", " lead", "trail ", "'q'", `"d"`, `\`, "{x}", "[y]",
		"*a", "&b", "!c", "%d", "@e", "`f", "|", ">", "é", "日本", "a,b", "<<", "=", "---", "...", "\U0001f600",
	}
}

func pick(r *rand.Rand) string { n := nasty(); return n[r.IntN(len(n))] }

// confinements are spellings of what a process is granted.
var confinements = []string{
	"", ", confine: off", ", confine: {}", ", process: session, startTimeout: 90s, idleTimeout: 5m", ", process: principal",
	`, confine: {read: [/srv/a, "/srv/ü b"], exec: [/opt/x], write: [/var/y], bestEffort: true, sockets: true}`,
	", confine: {network: none}", ", confine: {network: any}, process: server", ", confine: {network: {connect: [443, 53], listen: any}}", ", confine: {network: {listen: [8080]}}",
	", confine: {limits: {processes: unlimited, files: 100, memory: 1536MiB, fileSize: 2TiB}}", ", confine: {limits: {memory: unlimited}}", ", confine: {limits: {}}",
}

// randomState applies random manifests and listings.
func randomState(t *testing.T, r *rand.Rand) *office {
	t.Helper()
	o := open(t)
	q := func(s string) string { b, _ := json.Marshal(s); return string(b) }
	trimmed := func() string {
		for {
			if s := pick(r); strings.TrimSpace(s) == s {
				return s
			}
		}
	}
	var b strings.Builder
	for i := range 1 + r.IntN(3) {
		fmt.Fprintf(&b, "---\nkind: Team\nid: t%d\nmembers: [%s]\n", i, q(pick(r)))
		fmt.Fprintf(&b, "---\nkind: Agent\nid: a%d\nowner: %s\npurpose: %s\nmodel: %s\nriskTier: %d\ntools: [\"s0/*\", %s]\nstate: %s\nstateWhy: %s\n", i, q(trimmed()), q(pick(r)), q(pick(r)), r.IntN(4),
			q("s1/"+trimmed()), []string{"active", "suspended", "quarantined", "retired"}[r.IntN(4)], q(pick(r)))
		pub, _ := jwkPair(t)
		fmt.Fprintf(&b, "keys: [{jwk: '%s'}]\n", pub)
		fmt.Fprintf(&b, "---\nkind: Server\nid: s%d\nowner: %s\ndataScopes: [source:docs]\nstate: sanctioned\nclasses: {%s: {class: \"write,egress\", tier: %d}}\nlabels: {\"get_*\": [secret, \"untrusted:web\"], version: [public]}\n", i, q(trimmed()), q(pick(r)), r.IntN(4))
		fmt.Fprintf(&b, "description: %s\nversion: 1.%d.0-rc+b_1\nreplacement: s9\nends: 2027-0%d-01\nriskTier: %d\nexpires: 2028-0%d-07\n", q(trimmed()), i, 1+r.IntN(9), r.IntN(4), 1+r.IntN(9))
		if r.IntN(2) == 0 {
			fmt.Fprintf(&b, "transport: {http: {url: \"https://h/mcp?a=%%20b\", sse: %t, headers: {X-A: %s}, tls: {ca: %s, cert: /c, key: /k, serverName: h.example}, proxy: %s}}\ncredential: {ref: c, header: X-K, value: %s}\n", r.IntN(2) == 0, q(strings.ReplaceAll(trimmed(), "日本", "jp")), q("/"+trimmed()), []string{"none", "http://p:3128", "https://p"}[r.IntN(3)], q("k {secret} "+strings.Trim(pick(r), `"\`)))
		} else {
			fmt.Fprintf(&b, "transport: {stdio: {command: %s, args: [%s, %s], env: {A: %s}, dir: /srv%s}}\npinning: %s\n", q(trimmed()), q(pick(r)), q(pick(r)), q(pick(r)), confinements[r.IntN(len(confinements))], []string{"enforce", "observe"}[r.IntN(2)])
		}
	}
	cedar := []string{
		"forbid (principal, action, resource) when { false };", "forbid (principal, action, resource) when { false };\n", "\n\nforbid (principal, action, resource) when { false };\n\n",
		"  // lead\nforbid (principal, action, resource) when { false };\n", "// é\t\"x\" # y: z\nforbid (principal, action, resource)\n\n  when { false };", "// a\n   \nforbid (principal, action, resource) when { false };\n",
	}[r.IntN(6)]
	fmt.Fprintf(&b, "---\nkind: Policy\nid: p\nlayer: team\nstate: %s\ncedar: %s\n", []string{"active", "retired"}[r.IntN(2)], q(cedar))
	o.apply(b.String())
	hiddenText := "\u200b\u202e\u0085\u2028 tag\U000e0041 \r\n\t\u007f\ufeff"
	o.listing("s0", "read", pick(r), "write", hiddenText, "delete_all", pick(r))
	if _, err := o.Observe(t.Context(), "s0", registry.Listing{Kind: registry.KindPrompt, Definitions: []registry.Definition{{Name: "sum up", Raw: []byte("{\n \"name\" : \"sum up\",\t\"x\":1.50}")}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Observe(t.Context(), "s0", registry.Listing{Kind: registry.KindInstructions, Definitions: []registry.Definition{{Raw: []byte(`"be ` + "\u200b" + `nice"`)}}}); err != nil {
		t.Fatal(err)
	}
	switch r.IntN(4) {
	case 0:
		o.listing("s0", "read", "drifted", "new", "x")
	case 1:
		if _, err := o.ChangeTool(t.Context(), ann, "s0", "write", registry.VerbBlock, "bad"); err != nil {
			t.Fatal(err)
		}
	case 2:
		o.listing("s0", "read", "x", "new", "x")
		if _, err := o.ChangeTool(t.Context(), ann, "s0", "new", registry.VerbQuarantine, "never approved"); err != nil {
			t.Fatal(err)
		}
		if _, err := o.ChangeServer(t.Context(), ann, "s0", registry.VerbQuarantine, "odd: #1"); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

func TestExportAppliedToAnEmptyStoreExportsTheSameBytes(t *testing.T) {
	for seed := range uint64(60) {
		a := randomState(t, rand.New(rand.NewPCG(seed, 1)))
		text := a.export()
		b := open(t)
		if _, err := b.Apply(t.Context(), ann, doc(text), false); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, text)
		}
		equal(t, fmt.Sprintf("seed %d", seed), b.export(), text)
		// The same right as before: nothing callable that was not, and what is
		// callable is what was approved.
		for _, s := range a.Current().View.Servers() {
			for _, tool := range b.Current().View.Tools(s.ID) {
				was, _ := a.Current().View.Tool(s.ID, tool.Name)
				_, then := a.Current().View.Callable(s.ID, tool.Name)
				_, now := b.Current().View.Callable(s.ID, tool.Name)
				if now.OK && !then.OK || tool.PinDigest != was.PinDigest || tool.PinRaw != was.PinRaw || string(tool.Pinned) != string(was.Pinned) || tool.ApprovedBy != was.ApprovedBy || !tool.ApprovedAt.Equal(was.ApprovedAt) {
					t.Errorf("seed %d: %s/%s was %+v and is %+v", seed, s.ID, tool.Name, was, tool)
				}
			}
		}
		gen := b.store.gen
		p := b.apply(text)
		if p.Changes() || b.store.gen != gen {
			t.Errorf("seed %d: applying it again changes something (generation %d, was %d)", seed, b.store.gen, gen)
		}
	}
}

func TestImportedPinsHoldAgainstTheNextListing(t *testing.T) {
	a := open(t)
	a.apply(filesServer)
	a.listing("files", "a", "good", "b", "good")
	b := open(t)
	b.apply(a.export())
	changes := b.listing("files", "a", "good", "b", "evil", "c", "new")
	got := map[string]registry.ChangeKind{}
	for _, c := range changes {
		got[c.Name] = c.Kind
	}
	equal(t, "changes", got, map[string]registry.ChangeKind{"b": registry.ChangeDrift, "c": registry.ChangeNew})
	equal(t, "a", b.state("files", "a"), registry.ToolApproved)
}

func TestPinChangedInTheFileIsRefused(t *testing.T) {
	a := open(t)
	a.apply(filesServer)
	a.listing("files", "a", "good")
	text := a.export()
	for _, forged := range []string{strings.Replace(text, "good", "evil", 1), strings.Replace(text, "sha256:", "sha256:0", 1)} {
		b := open(t)
		_, err := b.Apply(t.Context(), ann, doc(forged), false)
		hasCode(t, "forged pin", err, access.CodeInvalid, "pins[0].digest: is not the digest of the definition")
		equal(t, "generation", b.store.gen, uint64(0))
	}
}

func TestImportDoesNotLiftAHeldTool(t *testing.T) {
	o := open(t)
	o.apply(filesServer)
	o.listing("files", "a", "good")
	text := o.export()
	if _, err := o.ChangeTool(t.Context(), ann, "files", "a", registry.VerbBlock, "bad"); err != nil {
		t.Fatal(err)
	}
	p := o.apply(text)
	equal(t, "state", o.state("files", "a"), registry.ToolBlocked)
	if p.Changes() || len(p.Items[0].Notes) == 0 {
		t.Errorf("the plan does not say so: %+v", p.Items)
	}
}

func TestImportOfAnotherPinDoesNotLiftAHeldTool(t *testing.T) {
	o := open(t)
	o.apply(filesServer)
	o.listing("files", "a", "one")
	text := o.export()
	o.listing("files", "a", "two")
	if _, err := o.ApproveTool(t.Context(), ann, "files", "a", admin.Approval{}); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []registry.Verb{registry.VerbQuarantine, registry.VerbBlock, registry.VerbRetire} {
		tool, err := o.ChangeTool(t.Context(), ann, "files", "a", verb, "bad")
		if err != nil {
			t.Fatal(err)
		}
		o.listing("files", "a", "one")
		o.apply(text)
		equal(t, string(verb), o.state("files", "a"), tool.State)
	}
}

func TestImportRestoresAnOlderPinAndDriftShows(t *testing.T) {
	o := open(t)
	o.apply(filesServer)
	o.listing("files", "a", "one")
	text := o.export()
	o.listing("files", "a", "two")
	if _, err := o.ApproveTool(t.Context(), ann, "files", "a", admin.Approval{}); err != nil {
		t.Fatal(err)
	}
	p := o.apply(text)
	equal(t, "changes", p.Changes(), true)
	equal(t, "what is listed now is not what is pinned", o.state("files", "a"), registry.ToolChanged)
	o.listing("files", "a", "one")
	equal(t, "back", o.state("files", "a"), registry.ToolApproved)
}

func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte(filesServer))
	f.Add([]byte("kind: Agent\nid: a\nowner: t\nkeys: [{jwk: '{}'}]\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("kind: Server\nid: s\nstate: blocked\ntransport: {http: {url: \"https://h\"}}\nbaseline: {tool: 2026-01-01T00:00:00Z}\npins: [{kind: prompt, name: x, state: retired}]\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		o := open(t)
		if _, err := o.Apply(t.Context(), ann, doc(string(text)), false); err != nil {
			if c := access.CodeOf(err); c != access.CodeInvalid {
				t.Fatalf("code %s: %v", c, err)
			}
			if o.store.gen != 0 || len(o.evidence.leaves) != 0 {
				t.Fatal("refused, yet something was changed")
			}
			return
		}
		out := o.export()
		b := open(t)
		if _, err := b.Apply(t.Context(), ann, doc(out), false); err != nil {
			t.Fatalf("the export is refused: %v\n%s", err, out)
		}
		equal(t, "export", b.export(), out)
	})
}
