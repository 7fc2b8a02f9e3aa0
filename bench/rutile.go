package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// benchAgent is who calls.
const benchAgent = "bench-bot"

// startRutile starts the program as an operator would, with everything on: an
// agent, the upstream with a sealed credential, an approved tool, and policies
// of which one applies. Only the program's own commands are used.
func startRutile(ctx context.Context, t target, cfg config, program, upstreamURL, dir string) (target, func(), error) {
	bin, err := filepath.Abs(program)
	if err != nil {
		return t, nil, err
	}
	if _, err := os.Stat(bin); err != nil {
		return t, nil, errNotHere
	}
	data, conf, manifests := filepath.Join(dir, "data"), filepath.Join(dir, "rutile.yaml"), filepath.Join(dir, "manifests.yaml")
	settings := "mode: enforce\nlisten: {agents: 127.0.0.1:0, operators: 127.0.0.1:0}\nevidence: {durability: " + cfg.durability + "}\nlog: {level: warn}\n"
	if err := os.WriteFile(conf, []byte(settings), 0o600); err != nil {
		return t, nil, err
	}
	if err := os.WriteFile(manifests, []byte(manifest(upstreamURL, cfg.policies)), 0o600); err != nil {
		return t, nil, err
	}
	command := func(stdin string, args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, bin, append([]string{"--config", conf, "--data", data}, args...)...)
		cmd.Stdin = strings.NewReader(stdin)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf("rutile %s: %w: %s", strings.Join(args[:min(2, len(args))], " "), err, bytes.TrimSpace(stderr.Bytes()))
		}
		return strings.TrimSpace(string(out)), nil
	}
	p, err := start(bin, "--config", conf, "--data", data, "up")
	if err != nil {
		return t, nil, err
	}
	ready, err := p.line()
	if err != nil {
		return t, p.stop, err
	}
	for field := range strings.FieldsSeq(ready) {
		if u, ok := strings.CutPrefix(field, "agents="); ok {
			t.at = func(server string) string { return u + "/mcp/" + server }
		}
	}
	if t.at == nil {
		return t, p.stop, fmt.Errorf("rutile said %q, not where agents connect", ready)
	}
	for _, step := range []struct {
		stdin string
		args  []string
	}{
		{"upstream-secret-0123456789", []string{"credential", "set", "echo-token"}},
		{"", []string{"apply", "-f", manifests}},
	} {
		if _, err := command(step.stdin, step.args...); err != nil {
			return t, p.stop, err
		}
	}
	t.pid, t.api = p.cmd.Process.Pid, apiOf(filepath.Join(data, "rutile.sock"))
	t.token = func(_ context.Context, server string) (string, error) {
		return command("", "agent", "token", benchAgent, "--server", server, "--ttl", "5m")
	}
	t.note = fmt.Sprintf("whole path: token, %d policies, pinned tool, credential, evidence %s", cfg.policies, cfg.durability)
	return t, p.stop, nil
}

// manifest is an agent that may call the tools of one server and most of those
// of another, and policies about everything else.
func manifest(upstreamURL string, policies int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `kind: Agent
id: %s
owner: bench
purpose: measure
tools: ["echo/*", "many/granted_*"]
---
kind: Server
id: echo
owner: bench
transport: {http: {url: %q}}
credential: {ref: echo-token, header: Authorization, value: "Bearer {secret}"}
state: sanctioned
---
kind: Server
id: many
owner: bench
transport: {http: {url: %q}}
state: sanctioned
`, benchAgent, upstreamURL+"/"+echoServer, upstreamURL+"/"+manyServer)
	const perManifest = 100 // one manifest may hold many policies
	for i := range policies {
		if i%perManifest == 0 {
			fmt.Fprintf(&b, "---\nkind: Policy\nid: p%05d\ncedar: |\n", i)
		}
		fmt.Fprintf(&b, `  forbid (principal, action == Mcp::Action::"server%d/tool%d", resource)
  unless { context.input.nonce like "a%d*" };
`, i%500, i, i)
	}
	return b.String()
}
