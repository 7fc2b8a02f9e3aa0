package daemon

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/audit"
	"rutile/internal/console"
	"rutile/internal/credential"
	"rutile/internal/credential/oauthclient"
	"rutile/internal/identity"
	"rutile/internal/mcpproxy"
)

// clientDocument is where our client id metadata document is, below the agents'
// address: it must be https and open to authorization servers.
const clientDocument = "/oauth/upstream-client.json"

// buildMint makes what leases credentials, sealed and minted, and what links
// people to upstreams.
func (d *Daemon) buildMint() error {
	transport, err := d.egress().Transport()
	if err != nil {
		return err
	}
	clients := oauthclient.New(oauthclient.HTTP{Transport: transport, For: d.trusting, CA: d.caOf}, d.vault, time.Now)
	document := ""
	if strings.HasPrefix(d.AgentsURL, "https://") {
		document = d.AgentsURL + clientDocument
	}
	d.Links, err = clients.NewLinks(oauthclient.LinksConfig{
		Links: d.store, Flows: d.store, Clients: d.store, Seal: d.vault, Record: d.minted, Redirect: console.ReturnURL(d.OperatorsURL), ClientDocument: document,
		Target: d.linkTarget, Forget: func(id string, who access.Subject) { d.mint.Forget(id, who) },
	})
	if err != nil {
		return err
	}
	// Closed after all that uses credentials, with a bound of its own: an issuer that hangs uses up
	// that of the mint.
	d.closing("uses of credentials", d.noteUses)
	d.closing("connections of people", func(ctx context.Context) error { d.Links.Close(ctx); return nil })
	issuers, err := credential.NewIssuers(d.vault, d.egress().TransportFor, time.Now, nil)
	if err != nil {
		return err
	}
	d.closing("the issuers of credentials", func(context.Context) error { issuers.Close(); return nil })
	minters := issuers.Minters()
	minters[credential.SourceClientCredentials] = clients.ClientCredentials()
	minters[credential.SourceTokenExchange] = clients.TokenExchange(d.statement)
	minters[credential.SourceUserOAuth] = d.Links
	d.mint, err = credential.NewMint(credential.MintConfig{
		Sources: d.source, Minters: minters,
		Record: d.minted, Under: d.under, Over: func(ctx context.Context, id, version string) error { return d.broker.Ended(ctx, id, version) }, Log: d.log, Now: time.Now,
	}, d.vault)
	if err != nil {
		return err
	}
	d.closing("mint", func(context.Context) error { d.mint.Close(); return nil })
	return nil
}

// trusting is the way to services that are verified by the authorities in a file.
func (d *Daemon) trusting(ca string) (http.RoundTripper, error) {
	conf, err := credential.TLS{CA: ca}.Config()
	if err != nil {
		return nil, err
	}
	return d.egress().TransportFor(conf)
}

// caOf is the file a registered server is verified with.
func (d *Daemon) caOf(server string) string {
	s, ok := d.states.admin.Load().Current().View.Server(server)
	if !ok || s.Transport.HTTP == nil || s.Transport.HTTP.TLS == nil {
		return ""
	}
	return s.Transport.HTTP.TLS.CA
}

// sweepTime is how often what was minted is looked through for what was changed or
// removed, also by another node, and noteTime how often uses are noted.
const (
	sweepTime = 2 * time.Second
	noteTime  = 30 * time.Second
)

// sweepMinted ends what stands for nothing any more.
func (d *Daemon) sweepMinted(ctx context.Context) {
	declared := func(id string) bool { s, ok := d.source(id); return ok && s.UserOAuth != nil }
	switch ended, err := d.Links.EndOrphans(ctx, declared); {
	case ctx.Err() != nil:
		return // told to stop first: the next start ends them
	case err != nil:
		d.log.Error("connections of people whose credential was removed could not be ended", "error", err)
	case len(ended.Left) > 0:
		d.log.Warn("tokens of people whose credential was removed could not be revoked", "left", ended.Left)
	}
	switch left, err := d.Links.EndOwed(ctx); {
	case ctx.Err() != nil:
		return
	case err != nil:
		d.log.Error("tokens of people's earlier connections could not be revoked", "error", err)
	case len(left) > 0:
		d.log.Warn("tokens of people's earlier connections could not be revoked", "left", left)
	}
	tick, noting := time.NewTicker(sweepTime), time.NewTicker(noteTime)
	defer tick.Stop()
	defer noting.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			d.mint.Sweep()
		case <-noting.C:
			if err := d.noteUses(ctx); err != nil && ctx.Err() == nil {
				d.log.Warn("when credentials were used cannot be noted now", "error", err)
			}
		}
	}
}

// source returns a declared credential of the state calls are decided on.
func (d *Daemon) source(id string) (credential.Source, bool) {
	s, ok := d.states.admin.Load().Current().Sources[id]
	return s, ok
}

// statement says who acts for whom, to another authorization server.
func (d *Daemon) statement(issuer, agent string, who access.Subject) (string, error) {
	return d.authority.State(identity.Statement{Audience: issuer, Agent: agent, Subject: who})
}

// linkTarget returns a declared credential people link and the URL of a server
// that uses it.
func (d *Daemon) linkTarget(id, server string) (credential.Source, string, error) {
	cur := d.states.admin.Load().Current()
	s, ok := cur.Sources[id]
	srv, registered := cur.View.Server(server)
	if !ok || s.UserOAuth == nil || !registered || srv.Credential == nil || srv.Credential.Ref != id || srv.Transport.HTTP == nil || !slices.Contains(s.Servers, server) {
		return s, "", access.Errorf(access.CodeNotFound, "server %q has no credential %q that people connect", server, id)
	}
	if st := cur.View.ServerStanding(server); !st.OK {
		return s, "", access.Errorf(access.CodeConflict, "server %q cannot be connected: %s", server, st.Why)
	}
	at, err := url.Parse(srv.Transport.HTTP.URL)
	if err != nil {
		return s, "", access.Errorf(access.CodeInvalid, "server %q has no usable address", server)
	}
	return s, srv.Transport.HTTP.URL, s.Goes(at.Scheme + "://" + at.Host)
}

// connect is what the proxy needs to send people to their connections.
func (d *Daemon) connect() mcpproxy.Connect {
	return mcpproxy.Connect{
		URL:    func(credential, server string) string { return console.ConnectURL(d.OperatorsURL, credential, server) },
		Linked: d.Links.Linked,
	}
}

// serveClientDocument tells authorization servers who we are.
func (d *Daemon) serveClientDocument(w http.ResponseWriter, r *http.Request) {
	id, redirect := d.AgentsURL+clientDocument, console.ReturnURL(d.OperatorsURL)
	if file := r.PathValue("file"); file != "" {
		tag, ok := strings.CutSuffix(file, ".json")
		if !ok || !oauthclient.IsTag(tag) {
			http.NotFound(w, r)
			return
		}
		id, redirect = oauthclient.OwnDocument(id, tag), oauthclient.Own(redirect, tag)
	}
	body, err := json.Marshal(oauthclient.ClientMetadata(id, redirect))
	if err != nil {
		http.Error(w, "the document cannot be made", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "max-age=3600")
	_, _ = w.Write(body) // the reader may have gone
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
	by := e.By
	if by == "" {
		by = admin.System().String()
	}
	_, err = d.Evidence.Admin(ctx, audit.Admin{ID: access.NewID(access.PrefixChange), Actor: by, Verb: e.Verb, Kind: "Credential", Object: e.Credential, Reason: e.Why, Detail: raw})
	return err
}
