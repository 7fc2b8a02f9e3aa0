package cli

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"rutile/internal/api"
	"rutile/internal/credential"
	"rutile/internal/discovery/wrap"
	"rutile/internal/registry"
)

// same reports whether a registered server is what an entry stands for; how it is
// confined is for whoever registered it to say. One with sealed values is so only if
// no other entry uses it now: its values may differ.
func (r *registrar) same(s api.Server, up *wrap.Upstream) bool {
	t, c := transport(up)
	had := shown(s.Transport)
	if stdio, ok := t["stdio"].(map[string]any); ok {
		delete(stdio, "confine")
	}
	x, err := json.Marshal(t)
	if err != nil {
		return false
	}
	y, err := json.Marshal(had)
	if err != nil || !bytes.Equal(x, y) {
		return false
	}
	switch {
	case c == nil:
		return s.Credential == nil
	case s.Credential == nil || !s.Wrapped || r.ours[s.ID] != "":
		return false
	}
	c["ref"] = s.Credential.Ref
	x, _ = json.Marshal(c)
	y, _ = json.Marshal(s.Credential)
	return sameJSON(x, y)
}

func sameJSON(x, y []byte) bool {
	var a, b any
	if json.Unmarshal(x, &a) != nil || json.Unmarshal(y, &b) != nil {
		return false
	}
	p, _ := json.Marshal(a)
	q, _ := json.Marshal(b)
	return bytes.Equal(p, q)
}

// shown is a transport in the form of a manifest, without its confinement.
func shown(t registry.Transport) map[string]any {
	if h := t.HTTP; h != nil {
		m := map[string]any{"url": h.URL}
		if h.SSE {
			m["sse"] = true
		}
		return map[string]any{"http": m}
	}
	s := t.Stdio
	m := map[string]any{"command": s.Command}
	if len(s.Args) > 0 {
		m["args"] = s.Args
	}
	if len(s.Env) > 0 {
		m["env"] = s.Env
	}
	if s.Dir != "" {
		m["dir"] = s.Dir
	}
	return map[string]any{"stdio": m}
}

// transport is an upstream in the form of a manifest, with its credential apart.
func transport(up *wrap.Upstream) (t, cred map[string]any) {
	names := valueNames(up)
	if up.URL != "" {
		m := map[string]any{"url": up.URL}
		if up.SSE {
			m["sse"] = true
		}
		return map[string]any{"http": m}, headerCredential(up, names)
	}
	m := map[string]any{"command": up.Command}
	if len(up.Args) > 0 {
		m["args"] = up.Args
	}
	if len(up.Env) > 0 {
		m["env"] = up.Env
	}
	if up.Dir != "" {
		m["dir"] = up.Dir
	}
	if len(up.Read)+len(up.Write) > 0 {
		x := map[string]any{"bestEffort": true}
		if len(up.Read) > 0 {
			x["read"] = slices.Sorted(slices.Values(up.Read))
		}
		if len(up.Write) > 0 {
			x["write"] = slices.Sorted(slices.Values(up.Write))
		}
		m["confine"] = x
	}
	return map[string]any{"stdio": m}, processCredential(up, names)
}

// valueNames gives each sealed value its name in the vault; the first is secret.
func valueNames(up *wrap.Upstream) map[string]string {
	var keys []string
	for _, k := range slices.Sorted(maps.Keys(up.SecretEnv)) {
		keys = append(keys, "env "+k)
	}
	for _, k := range slices.Sorted(maps.Keys(up.SecretHeaders)) {
		keys = append(keys, "header "+k)
	}
	for _, k := range slices.Sorted(maps.Keys(up.SecretArgs)) {
		keys = append(keys, "arg "+strconv.Itoa(k))
	}
	out := map[string]string{}
	for i, k := range keys {
		out[k] = "secret"
		if i > 0 {
			out[k] = "v" + strconv.Itoa(i+1)
		}
	}
	return out
}

func headerCredential(up *wrap.Upstream, names map[string]string) map[string]any {
	if len(up.SecretHeaders) == 0 {
		return nil
	}
	c, also := map[string]any{}, map[string]string{}
	for h := range up.SecretHeaders {
		if n := names["header "+h]; n == "secret" {
			c["header"] = h
		} else {
			also[h] = "{" + n + "}"
		}
	}
	if len(also) > 0 {
		c["also"] = also
	}
	return c
}

func processCredential(up *wrap.Upstream, names map[string]string) map[string]any {
	if up.Secrets() == 0 {
		return nil
	}
	c, also, args := map[string]any{}, map[string]string{}, map[string]string{}
	for e := range up.SecretEnv {
		if n := names["env "+e]; n == "secret" {
			c["env"] = e
		} else {
			also[e] = "{" + n + "}"
		}
	}
	for i := range up.SecretArgs {
		args[strconv.Itoa(i)] = "{" + names["arg "+strconv.Itoa(i)] + "}"
	}
	if len(also) > 0 {
		c["also"] = also
	}
	if len(args) > 0 {
		c["args"] = args
	}
	return c
}

// sealedValues are what goes to the vault.
func sealedValues(up *wrap.Upstream) ([]byte, error) {
	names, values := valueNames(up), map[string]string{}
	for k, v := range up.SecretEnv {
		values[names["env "+k]] = v
	}
	for k, v := range up.SecretHeaders {
		values[names["header "+k]] = v
	}
	for k, v := range up.SecretArgs {
		values[names["arg "+strconv.Itoa(k)]] = v
	}
	return credential.Values(values)
}
