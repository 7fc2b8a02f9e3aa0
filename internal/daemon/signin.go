package daemon

import (
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"rutile/internal/admin"
	"rutile/internal/console"
	"rutile/internal/signin"
)

// buildSignIns makes the ways to sign in to the console besides tokens and links.
// Where there can be no passkeys it says why to whoever asks for one.
func (d *Daemon) buildSignIns() error {
	var keys *signin.Passkeys
	origin, none := signin.Origin(d.OperatorsURL, d.localOperators())
	why := ""
	if none != nil {
		why = none.Error()
	} else {
		var err error
		if keys, err = signin.NewPasskeys(origin, d.store, d.vault, time.Now); err != nil {
			return err
		}
	}
	words, err := signin.NewPasswords(d.store, d.vault, time.Now)
	if err != nil {
		return err
	}
	if d.provider, err = d.identityProvider(); err != nil {
		return err
	}
	d.SignIns, err = admin.NewSignIns(d.Admin, d.store, d.store, keys, why, words, d.Findings)
	return err
}

// identityProvider is the one that is configured, nil if none is.
func (d *Daemon) identityProvider() (*signin.Provider, error) {
	c := d.Config.SignIn
	if c.Issuer == "" {
		return nil, nil
	}
	p := signin.ProviderConfig{Name: c.Name, Issuer: c.Issuer, ClientID: c.ClientID, Redirect: strings.TrimSuffix(d.OperatorsURL, "/") + console.Home + "sign-in/back"}
	if p.Name == "" {
		if u, err := url.Parse(c.Issuer); err == nil {
			p.Name = u.Host
		}
	}
	if c.SecretFile != "" {
		p.Secret = func() (string, error) {
			b, err := os.ReadFile(c.SecretFile)
			if err != nil {
				return "", fmt.Errorf("reading the secret of the identity provider (signIn.secretFile): %w", pathReason(err))
			}
			return strings.TrimSpace(string(b)), nil
		}
	}
	return signin.NewProvider(p, time.Now)
}

// signingAt is the address where people sign with a passkey, or where they come to where
// none works.
func (d *Daemon) signingAt() string {
	if origin, none := signin.Origin(d.OperatorsURL, d.localOperators()); none == nil {
		return origin
	}
	return d.OperatorsURL
}
