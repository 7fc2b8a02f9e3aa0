package api

import (
	"slices"

	"rutile/internal/access"
	"rutile/internal/admin"
	"rutile/internal/credential"
	"rutile/internal/registry"
)

func (a *API) credentials(c *call) (any, error) {
	q, limit, err := c.query("limit", "cursor")
	if err != nil {
		return nil, err
	}
	list, err := a.deps.Admin.ListCredentials(c.Context())
	if err != nil {
		return nil, err
	}
	return answerOf(paged(list, func(s admin.Credential) string { return s.ID }, q.Get("cursor"), limit))
}

func (a *API) credential(c *call) (any, error) {
	s, err := a.deps.Admin.ShowCredential(c.Context(), c.PathValue("id"))
	if err != nil {
		return nil, err
	}
	out := ShownCredential{Credential: s}
	if a.deps.Links == nil || s.Kind != credential.SourceUserOAuth {
		return out, nil
	}
	list, err := a.deps.Links.List(c.Context())
	if err != nil {
		return nil, err
	}
	for _, l := range list {
		if l.Credential == s.ID {
			out.Links++
		}
	}
	if source := a.deps.Admin.Current().Sources[s.ID]; source.UserOAuth != nil {
		out.Callbacks = a.deps.Links.Callbacks(source.UserOAuth.Issuer)
	}
	return out, nil
}

func (a *API) ownLinks(c *call) (any, error) {
	q, limit, err := c.query("limit", "cursor")
	if err != nil {
		return nil, err
	}
	who, err := a.self(c)
	if err != nil {
		return nil, err
	}
	var own []credential.Link
	if a.deps.Links != nil {
		list, err := a.deps.Links.List(c.Context())
		if err != nil {
			return nil, err
		}
		for _, l := range list {
			if l.Subject == who {
				own = append(own, l)
			}
		}
	}
	return answerOf(paged(own, func(l credential.Link) string { return l.ID }, q.Get("cursor"), limit))
}

func (a *API) disconnectOwn(c *call) (any, error) {
	who, err := a.self(c)
	if err != nil {
		return nil, err
	}
	if a.deps.Links == nil {
		return nil, access.Errorf(access.CodeNotFound, "nobody can connect anything here")
	}
	left, err := a.deps.Links.DisconnectOwn(c.Context(), who, c.PathValue("id"), c.actor.String())
	if err != nil {
		return nil, err
	}
	return Disconnected{Done: true, Left: left}, nil
}

// self is the person who calls, as agents' tokens name them.
func (a *API) self(c *call) (access.Subject, error) {
	p, ok := a.deps.Admin.Person(c.actor)
	if !ok {
		return access.Subject{}, access.Errorf(access.CodeDenied, "only a person has connections of their own: sign in with a personal token, or as an account that a user names")
	}
	return access.Subject{Issuer: a.cfg.Issuer, ID: p.ID}, nil
}

func (a *API) setCredential(c *call) (any, error) {
	var in CredentialSpec
	defer func() { clear(in.Value) }()
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	s := credential.Secret{ID: c.PathValue("id"), Servers: in.Servers, Origins: in.Origins, MaxTier: 3}
	if in.MaxTier != nil {
		s.MaxTier = *in.MaxTier
	}
	if s.MaxTier < 0 || s.MaxTier > 3 {
		return nil, access.Errorf(access.CodeInvalid, "maxTier must be 0, 1, 2 or 3")
	}
	return a.sealed(c)(a.deps.Admin.SetCredential(c.Context(), c.actor, s, in.Value))
}

func (a *API) rotateCredential(c *call) (any, error) {
	var in CredentialSpec
	defer func() { clear(in.Value) }()
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if in.Servers != nil || in.Origins != nil || in.MaxTier != nil {
		return nil, access.Errorf(access.CodeInvalid, "rotating changes the value only; remove the credential and set it again to change where it may go")
	}
	return a.sealed(c)(a.deps.Admin.RotateCredential(c.Context(), c.actor, c.PathValue("id"), in.Value))
}

// sealed answers with a credential that was sealed. Servers that could not list
// their tools for lack of it list them first.
func (a *API) sealed(c *call) func(credential.Secret, error) (any, error) {
	return func(s credential.Secret, err error) (any, error) {
		if err != nil {
			return nil, err
		}
		cur := a.deps.Admin.Current()
		view := cur.View
		needs := func(ref string) bool {
			source, minted := cur.Sources[ref]
			return ref == s.ID || minted && slices.Contains(source.Seeds(), s.ID)
		}
		var waiting []string
		for _, srv := range view.Servers() {
			if srv.Credential != nil && needs(srv.Credential.Ref) && srv.Baseline[registry.KindTool].IsZero() && view.ServerStanding(srv.ID).OK {
				waiting = append(waiting, srv.ID)
			}
		}
		return Sealed{Secret: s, Warnings: a.learn(c.Context(), waiting)}, nil
	}
}

func (a *API) removeCredential(c *call) (any, error) {
	ended, err := a.deps.Admin.RemoveCredential(c.Context(), c.actor, c.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return RemovedCredential{Done: true, Ended: ended}, nil
}

func (a *API) links(c *call) (any, error) {
	q, limit, err := c.query("limit", "cursor")
	if err != nil {
		return nil, err
	}
	var list []credential.Link
	if a.deps.Links != nil {
		if list, err = a.deps.Links.List(c.Context()); err != nil {
			return nil, err
		}
	}
	return answerOf(paged(list, func(l credential.Link) string { return l.ID }, q.Get("cursor"), limit))
}

func (a *API) disconnect(c *call) (any, error) {
	if a.deps.Links == nil {
		return nil, access.Errorf(access.CodeNotFound, "nobody can connect anything here")
	}
	left, err := a.deps.Links.Disconnect(c.Context(), c.PathValue("id"), c.actor.String())
	if err != nil {
		return nil, err
	}
	return Disconnected{Done: true, Left: left}, nil
}

// Rewrapped says how many credentials were sealed anew.
type Rewrapped struct {
	Sealed int `json:"sealed"`
}

func (a *API) rewrapCredentials(c *call) (any, error) {
	n, err := a.deps.Admin.RewrapCredentials(c.Context(), c.actor)
	return answerOf(Rewrapped{n}, err)
}
