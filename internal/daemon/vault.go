package daemon

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"

	"rutile/internal/access"
	"rutile/internal/api"
	"rutile/internal/credential"
)

// checkVault validates what seals.
func (c *Config) checkVault(note func(key, format string, args ...any)) {
	for _, k := range []struct {
		key          string
		file, phrase string
		transit      Transit
	}{
		{"vault", c.Vault.KeyFile, c.Vault.PassphraseFile, c.Vault.Transit},
		{"vault.previous", c.Vault.Previous.KeyFile, c.Vault.Previous.PassphraseFile, c.Vault.Previous.Transit},
	} {
		n := 0
		for _, set := range []bool{k.file != "", k.phrase != "", k.transit != Transit{}} {
			if set {
				n++
			}
		}
		if n > 1 {
			note(k.key, "keyFile, passphraseFile and transit exclude one another")
		}
		if t := transitOf(k.transit); t != nil {
			if err := t.Check(); err != nil {
				note(k.key+".transit", "%v", err)
			}
		}
	}
	if c.Vault.Previous != (Previous{}) && c.Vault.Previous == (Previous{c.Vault.KeyFile, c.Vault.PassphraseFile, c.Vault.Transit}) {
		note("vault.previous", "is the same as what is configured now")
	}
}

func transitOf(t Transit) *credential.Transit {
	if t == (Transit{}) {
		return nil
	}
	return &credential.Transit{
		Address: t.Address, Namespace: t.Namespace, TLS: credential.TLS{CA: t.CA}, Mount: t.Mount, Key: t.Key, TokenFile: t.TokenFile,
	}
}

// wayToKey leads to the service that holds the vault's key.
func wayToKey(t *tls.Config) (http.RoundTripper, error) {
	d := &net.Dialer{Timeout: 10 * time.Second}
	return &http.Transport{DialContext: d.DialContext, TLSClientConfig: t, DisableCompression: true, TLSHandshakeTimeout: 10 * time.Second}, nil
}

// vaultConfig is what opens the vault. Where the key lives the configuration
// says, so that no rule about upstreams applies to it.
func (c *Config) vaultConfig(sealed bool) credential.Config {
	out := credential.Config{
		Tenant: tenant, Dir: c.Data, Sealed: sealed, Way: wayToKey,
		KeySource: credential.KeySource{KeyFile: c.Vault.KeyFile, PassphraseFile: c.Vault.PassphraseFile, Transit: transitOf(c.Vault.Transit)},
	}
	if p := c.Vault.Previous; p != (Previous{}) {
		out.Previous = &credential.KeySource{KeyFile: p.KeyFile, PassphraseFile: p.PassphraseFile, Transit: transitOf(p.Transit)}
	}
	return out
}

// sealing is the vault with what else is worth sealing anew with it.
type sealing struct {
	*credential.Vault
	d *Daemon
}

// Used is when credentials were last used, by this node or others.
func (s sealing) Used(ctx context.Context) (map[string]credential.Use, error) {
	out, err := s.d.store.CredentialUses(ctx)
	if err != nil {
		return nil, err
	}
	for id, u := range s.Vault.Uses() {
		if out[id].At.Before(u.At) {
			out[id] = u
		}
	}
	return out, nil
}

// noteUses keeps when credentials were last used.
func (d *Daemon) noteUses(ctx context.Context) error {
	uses := d.vault.TakeUses()
	if len(uses) == 0 {
		return nil
	}
	err := d.store.CredentialsUsed(ctx, uses)
	if err != nil {
		d.vault.GiveUses(uses)
	}
	return err
}

// End revokes what is alive of a declared credential that was removed.
func (s sealing) End(ctx context.Context, source credential.Source, by string) credential.Ended {
	if source.UserOAuth == nil {
		return s.d.mint.End(ctx, source.ID, by)
	}
	s.d.mint.Forget(source.ID, access.Subject{}) // its tokens are those of the links
	out, err := s.d.Links.End(ctx, source, by)
	if err != nil {
		s.d.log.Error("what people connected with a credential that was removed could not all be ended; what is left is at the next start", "credential", source.ID, "error", err)
		out.Left = append(out.Left, "some connections of people: see the gateway's log; they are ended at the next start")
	}
	return out
}

// Rewrap seals credentials and what people connected anew.
func (s sealing) Rewrap(ctx context.Context) (int, error) {
	n, err := s.Vault.Rewrap(ctx)
	if err != nil {
		return n, err
	}
	links, err := s.d.Links.Reseal(ctx)
	if err != nil {
		err = access.Errorf(access.CodePartial, "credentials are sealed anew, and of the connections of people %d: run it again: %w", links, err)
	}
	return n + links, err
}

func (d *Daemon) checkVault() api.Check {
	switch v := d.Config.Vault; {
	case d.vault.Pending():
		return api.Check{Name: "vault", Level: api.LevelWarning, Reason: "what is sealed is still sealed by the key of vault.previous", Mend: "rutile credential rewrap"}
	case v.Previous != (Previous{}):
		return api.Check{Name: "vault", Level: api.LevelWarning, Reason: "vault.previous is not needed any more", Mend: "remove it from the configuration of every node, and then destroy that key"}
	case v.KeyFile == "" && v.PassphraseFile == "" && v.Transit == (Transit{}):
		return good("vault", "its key is a file in the data directory: whoever copies this directory can open what is sealed")
	}
	return good("vault", "its key is kept apart from the data directory")
}
