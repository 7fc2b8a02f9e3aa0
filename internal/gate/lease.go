package gate

import (
	"net/url"

	"rutile/internal/access"
	"rutile/internal/credential"
	"rutile/internal/registry"
)

// leaseRequest says which secret is needed, for which server and origin, and
// under which decision. A stdio server has the origin "stdio:".
func leaseRequest(r *access.Request, dec *access.Decision, s registry.Server) credential.LeaseRequest {
	origin := "stdio:" + s.ID
	if h := s.Transport.HTTP; h != nil {
		if u, err := url.Parse(h.URL); err == nil {
			origin = u.Scheme + "://" + u.Host
		}
	}
	c := s.Credential
	return credential.LeaseRequest{
		Ref: c.Ref, Header: c.Header, Env: c.Env, Template: c.Value, Server: s.ID, Origin: origin,
		Decision: dec.ID, Tier: dec.Tier, Outcome: dec.Outcome,
	}
}
