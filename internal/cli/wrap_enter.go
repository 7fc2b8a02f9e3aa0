package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/api"
	"rutile/internal/credential"
	"rutile/internal/identity"
	"rutile/internal/registry"
	"rutile/internal/shim"
)

// enter registers what an entry needs: the secret, the server with exactly its
// command, the agent, and the key its shim proves it with. What is there stays.
func (r *registrar) enter(ctx context.Context, p *planned) (warning string, err error) {
	if err := r.enterAgent(ctx, p); err != nil {
		return "", err
	}
	if r.entered[p.server] {
		return "", nil
	}
	if s, ok := r.servers[p.server]; ok && !s.Callable {
		return "", access.Errorf(access.CodeConflict, "server %q is registered and cannot be called: %s", p.server, s.Why)
	}
	t, cred := transport(p.up)
	if cred != nil {
		cred["ref"] = p.server
		if err := r.seal(ctx, p); err != nil {
			return "", err
		}
	}
	r.entered[p.server] = true
	if p.known {
		return "", nil
	}
	// The command is approved, the tools behind it are not: no listing is the first.
	at := r.now().UTC().Format(time.RFC3339)
	m := map[string]any{
		"kind": "Server", "id": p.server, "owner": r.owner, "transport": t, "state": string(registry.ServerSanctioned), "wrapped": true,
		"stateWhy": "its command was approved by wrapping it",
		"baseline": map[string]string{"tool": at, "prompt": at, "resource": at, "template": at, "instructions": at, "capabilities": at},
	}
	if cred != nil {
		m["credential"] = cred
	}
	applied, err := r.apply(ctx, m)
	if err != nil {
		return "", err
	}
	for _, w := range applied.Warnings {
		if w.Server == p.server {
			warning = w.Message
		}
	}
	return warning, nil
}

func (r *registrar) apply(ctx context.Context, manifest map[string]any) (api.Applied, error) {
	text, err := json.Marshal(manifest)
	if err != nil {
		return api.Applied{}, err
	}
	return r.client.Apply(ctx, []admin.Document{{File: "wrap", Text: string(text)}})
}

// seal keeps the secrets of an entry for its server alone.
func (r *registrar) seal(ctx context.Context, p *planned) error {
	value, err := sealedValues(p.up)
	if err != nil {
		return err
	}
	defer clear(value)
	for _, list := range []map[string]string{p.up.SecretEnv, p.up.SecretHeaders} {
		for name, v := range list {
			if len(v) < credential.MinValue {
				return access.Errorf(access.CodeInvalid, "the value of %s is shorter than %d bytes: so short a secret cannot be kept out of answers", name, credential.MinValue)
			}
		}
	}
	if p.known {
		_, err = r.client.RotateCredential(ctx, p.server, value)
		return err
	}
	_, err = r.client.SetCredential(ctx, p.server, api.CredentialSpec{Servers: []string{p.server}, Value: value})
	if access.CodeOf(err) != access.CodeConflict {
		return err
	}
	// A run that was interrupted sealed it for this server, or it is somebody's.
	had, herr := r.client.Credential(ctx, p.server)
	if herr != nil || !slices.Equal(had.Servers, []string{p.server}) {
		return err
	}
	_, err = r.client.RotateCredential(ctx, p.server, value)
	return err
}

// enterAgent registers the client as an agent and enrolls a key for its shim.
func (r *registrar) enterAgent(ctx context.Context, p *planned) error {
	if r.entered["agent "+p.agent] {
		return nil
	}
	if _, ok := r.agents[p.agent]; !ok {
		m := map[string]any{"kind": "Agent", "id": p.agent, "owner": r.owner, "purpose": fmt.Sprintf("%s of %s", p.name, r.owner), "runtime": p.runtime, "wrapped": true}
		if _, err := r.apply(ctx, m); err != nil {
			return err
		}
	}
	if had, err := shim.Load(r.state, p.agent); err != nil || had.Gateway != r.gateway || !r.knows(p.agent, had) {
		in, err := r.client.Invite(ctx, p.agent, api.InviteSpec{})
		if err != nil {
			return err
		}
		if _, err := shim.Enroll(ctx, r.state, r.gateway, "", in.Code); err != nil {
			return err
		}
	}
	r.entered["agent "+p.agent] = true
	return nil
}

// knows reports whether the gateway has the key of a profile.
func (r *registrar) knows(agent string, p shim.Profile) bool {
	id, err := p.KeyID()
	return err == nil && slices.ContainsFunc(r.agents[agent].Keys, func(k json.RawMessage) bool { return identity.KeyID(k) == id })
}
