package kube_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rutile/internal/discovery"
	"rutile/internal/discovery/kube"
)

const canary = "c4n4ry-Zk93Lq0Wx7Pd2Vt5"

const manifests = `apiVersion: toolhive.stacklok.dev/v1beta1
kind: MCPServer
metadata: {name: github, namespace: tools}
spec:
  image: ghcr.io/github/github-mcp-server:v1
  transport: stdio
  env: [{name: GITHUB_TOKEN, value: ` + canary + `}]
  secrets: [{name: gh, key: token, targetEnvName: GITHUB_PAT}]
---
apiVersion: toolhive.stacklok.dev/v1beta1
kind: MCPRemoteProxy
metadata: {name: linear}
spec: {remoteUrl: "https://mcp.linear.app/mcp?key=` + canary + `"}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop, labels: {app: shop}}
spec:
  template:
    spec:
      containers:
      - {name: web, image: nginx}
      - name: tools
        image: docker.io/acme/shop-mcp@sha256:0000000000000000000000000000000000000000000000000000000000000000
        args: [--token, ` + canary + `]
        env: [{name: DB_PASSWORD, valueFrom: {secretKeyRef: {name: db, key: password}}}]
---
apiVersion: v1
kind: Service
metadata: {name: shop-mcp, namespace: shop}
spec: {ports: [{name: http, port: 80}, {name: mcp, port: 8080}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: edge}
spec:
  tls: [{hosts: [x]}]
  rules: [{host: tools.example.com, http: {paths: [{path: /mcp, backend: {service: {name: a}}}, {path: /shop, backend: {service: {name: b}}}]}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: route}
spec: {hostnames: [api.example.com], rules: [{matches: [{path: {type: PathPrefix, value: /v1/mcp}}]}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: client}
data:
  settings.json: '{"mcpServers": {"a": {"command": "npx", "env": {"T": "` + canary + `"}}}}'
  other.txt: nothing
---
apiVersion: v1
kind: Secret
metadata: {name: mcp}
data: {token: ` + canary + `}
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Pod
  metadata: {name: inner, labels: {toolhive: "true"}}
  spec: {containers: [{name: c, image: "acme/proxy:1", env: [{name: API_KEY, value: ` + canary + `}]}]}
`

func run(t *testing.T, roots ...string) (*discovery.Seen, string) {
	t.Helper()
	paths := &discovery.Paths{Include: true}
	seen := discovery.Run(t.Context(), []discovery.Source{kube.Source{Roots: roots, Paths: paths, Describe: &discovery.Describer{Paths: paths}}}, time.Now, nil)
	b, err := json.Marshal(seen.Report(discovery.Registry{}))
	if err != nil {
		t.Fatal(err)
	}
	return seen, string(b)
}

func TestManifestsAreRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "deep", "all.yaml"), manifests)
	write(t, filepath.Join(dir, "values.txt"), manifests)
	seen, text := run(t, dir)
	var got []string
	for _, s := range seen.Sightings {
		got = append(got, s.Name+" "+string(s.Target.Kind)+" "+s.Target.Key)
	}
	slices.Sort(got)
	want := []string{
		"edge remote https://tools.example.com/mcp",
		"github image pkg:docker/github/github-mcp-server?repository_url=ghcr.io",
		"inner image pkg:docker/acme/proxy",
		"linear remote https://mcp.linear.app/mcp",
		"route remote https://api.example.com/v1/mcp",
		"shop image pkg:docker/acme/shop-mcp",
		"shop-mcp remote http://shop-mcp.shop.svc:8080",
	}
	if !slices.Equal(got, want) {
		t.Errorf("found\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if strings.Contains(text, canary) {
		t.Errorf("a secret came out: %s", text)
	}
	for _, s := range []string{"GITHUB_TOKEN", "secret/gh", "secret/db/password", "client's file in"} {
		if !strings.Contains(text, s) {
			t.Errorf("%s is not told", s)
		}
	}
	rules := map[discovery.Rule]int{}
	for _, f := range seen.Findings {
		rules[f.Rule]++
	}
	if rules[discovery.LiteralSecret] != 2 || rules[discovery.SecretInArgv] != 1 || rules[discovery.SecretInURL] != 1 || rules[discovery.Unpinned] != 2 {
		t.Errorf("findings: %v", rules)
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestBadManifestsHideNoOthers(t *testing.T) {
	t.Parallel()
	bomb := "apiVersion: v1\na: &a [x, x]\nb: &b [*a, *a, *a]\nc: [*b, *b, *b]\n"
	for name, text := range map[string]string{
		"syntax":  manifests[:strings.Index(manifests, "---")] + "---\nkind: [" + canary + "\n",
		"aliases": manifests[:strings.Index(manifests, "---")] + "---\n" + bomb,
		"deep":    manifests[:strings.Index(manifests, "---")] + "---\napiVersion: " + strings.Repeat("[", 200) + strings.Repeat("]", 200) + "\n",
		"odd":     manifests[:strings.Index(manifests, "---")] + "---\nkind: Deployment\nspec: [1]\n---\nkind: Ingress\nspec: {rules: {a: b}}\n---\nkind: List\nitems: x\n---\n[]\n---\n\"text\"\n",
		"notYAML": "\x00\x01" + canary,
	} {
		file := filepath.Join(t.TempDir(), "m.yaml")
		write(t, file, text)
		seen, out := run(t, file)
		if want := strings.HasPrefix(text, "apiVersion: toolhive"); want != (len(seen.Sightings) == 1) {
			t.Errorf("%s: %+v", name, seen.Sightings)
		}
		if name != "odd" && (len(seen.Coverage) != 1 || seen.Coverage[0].Outcome != discovery.Unreadable) {
			t.Errorf("%s: coverage %+v", name, seen.Coverage)
		}
		if strings.Contains(out, canary) {
			t.Errorf("%s: the file is quoted: %s", name, out)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(manifests))
	f.Add([]byte("kind: List\nitems: [{kind: Pod, spec: {containers: [{image: mcp}]}}]"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		_, _ = kube.Read(data)
	})
}
