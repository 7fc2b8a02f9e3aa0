package api

import (
	"rutile/internal/access"
	"rutile/internal/credential"
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
	return answerOf(a.deps.Admin.SetCredential(c.Context(), c.actor, s, in.Value))
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
	return answerOf(a.deps.Admin.RotateCredential(c.Context(), c.actor, c.PathValue("id"), in.Value))
}

func (a *API) removeCredential(c *call) (any, error) {
	if err := a.deps.Admin.RemoveCredential(c.Context(), c.actor, c.PathValue("id")); err != nil {
		return nil, err
	}
	return Done{true}, nil
}

// Rewrapped says how many credentials were sealed anew.
type Rewrapped struct {
	Sealed int `json:"sealed"`
}

func (a *API) rewrapCredentials(c *call) (any, error) {
	n, err := a.deps.Admin.RewrapCredentials(c.Context(), c.actor)
	return answerOf(Rewrapped{n}, err)
}
