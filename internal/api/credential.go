package api

import (
	"slices"

	"rutile/internal/access"
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
	return answerOf(paged(list, func(s credential.Secret) string { return s.ID }, q.Get("cursor"), limit))
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
