package daemon

import (
	"context"
	"encoding/json"
	"time"

	"rutile/internal/access"
	"rutile/internal/audit"
	"rutile/internal/credential"
	"rutile/internal/credential/oauthclient"
)

// buildMint makes what leases credentials, sealed and minted.
func (d *Daemon) buildMint() error {
	transport, err := d.egress().Transport()
	if err != nil {
		return err
	}
	clients := oauthclient.New(oauthclient.HTTP{Transport: transport}, d.vault, time.Now)
	issuers, err := credential.NewIssuers(d.vault, d.egress().TransportFor, time.Now, nil)
	if err != nil {
		return err
	}
	d.closing("the issuers of credentials", func(context.Context) error { issuers.Close(); return nil })
	minters := issuers.Minters()
	minters[credential.SourceClientCredentials] = clients.ClientCredentials()
	d.mint, err = credential.NewMint(credential.MintConfig{
		Sources: d.source, Minters: minters,
		Record: d.minted, Log: d.log, Now: time.Now,
	}, d.vault)
	if err != nil {
		return err
	}
	d.closing("the mint", func(context.Context) error { d.mint.Close(); return nil })
	return nil
}

// source returns a declared credential of the state calls are decided on.
func (d *Daemon) source(id string) (credential.Source, bool) {
	s, ok := d.states.admin.Load().Current().Sources[id]
	return s, ok
}

// minted records what happened to a minted credential outside of a call's own
// evidence.
func (d *Daemon) minted(ctx context.Context, e credential.Event) error {
	detail := map[string]string{"source": e.Kind, "version": e.Version, "server": e.Server, "decision": e.Decision, "narrowed": e.Narrowed}
	if !e.Expires.IsZero() {
		detail["expires"] = e.Expires.UTC().Format(time.RFC3339)
	}
	if !e.Subject.Autonomous() {
		detail["subject"], detail["issuer"] = e.Subject.ID, e.Subject.Issuer
	}
	raw, err := json.Marshal(detail)
	if err != nil {
		return err
	}
	_, err = d.Evidence.Admin(ctx, audit.Admin{ID: access.NewID(access.PrefixChange), Actor: "system", Verb: e.Verb, Kind: "Credential", Object: e.Credential, Reason: e.Why, Detail: raw})
	return err
}
