package credential

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"rutile/internal/access"
)

// LinkState is where a link is in its life.
type LinkState string

// The states of a link. A broken one is of no use until its person makes it anew. An
// ending one is none any more: it holds tokens that are to be revoked, also by the
// next start of the gateway, under an id of its own.
const (
	LinkActive LinkState = "active"
	LinkBroken LinkState = "broken"
	LinkEnding LinkState = "ending"
)

// Link is what one person let us do at one upstream. Its tokens are sealed with
// everything it is keyed by, so that they open for nothing else.
type Link struct {
	ID         string         `json:"id"`
	Credential string         `json:"credential"`
	Server     string         `json:"server"`
	Subject    access.Subject `json:"subject"`
	Issuer     string         `json:"issuer"` // authorization server
	Client     string         `json:"client"` // who we are to it
	Resource   string         `json:"resource"`
	Origin     string         `json:"origin"` // of the server, as its person was shown it
	Scopes     []string       `json:"scopes,omitempty"`
	State      LinkState      `json:"state"`
	Why        string         `json:"why,omitempty"` // it is broken
	Made       time.Time      `json:"made"`
	Refreshed  time.Time      `json:"refreshed,omitzero"`
	Busy       time.Time      `json:"busy,omitzero"` // until then somebody refreshes it
	Rev        int64          `json:"-"`
	Sealed     []byte         `json:"-"`
}

// LinkTokens are the sealed part of a link.
type LinkTokens struct {
	Access  []byte    `json:"access"`
	Expires time.Time `json:"expires,omitzero"`
	Refresh []byte    `json:"refresh,omitempty"`
	Refused time.Time `json:"refused,omitzero"` // the server did not take a token last
	// Narrow are tokens for fewer scopes, by those.
	Narrow map[string]NarrowToken `json:"narrow,omitempty"`
}

// NarrowToken is an access token for fewer scopes than its person agreed to.
type NarrowToken struct {
	Access  []byte    `json:"access"`
	Expires time.Time `json:"expires,omitzero"`
}

// Clear overwrites the tokens.
func (t *LinkTokens) Clear() {
	clear(t.Access)
	clear(t.Refresh)
	for _, n := range t.Narrow {
		clear(n.Access)
	}
}

// LinkID is the id of the one link a person has for a credential at a server.
func LinkID(credential, server string, who access.Subject) string {
	b, err := json.Marshal([]string{credential, server, who.Issuer, who.ID})
	if err != nil {
		return "" // texts always encode
	}
	sum := sha256.Sum256(b)
	return "lnk_" + hex.EncodeToString(sum[:13])
}

// LinkStore keeps links.
type LinkStore interface {
	Links(ctx context.Context) ([]Link, error)
	Link(ctx context.Context, id string) (l Link, ok bool, err error)
	// PutLink stores l if the stored rev is l.Rev - 1, or, where l.Rev is 1, there is
	// none; else it returns a CodeConflict error. It returns once l is durable.
	PutLink(ctx context.Context, l Link) error
	// DeleteLink removes a link whatever its rev.
	DeleteLink(ctx context.Context, id string) (ok bool, err error)
}

// Flow is a link that is being made: sealed, and taken once.
type Flow struct {
	ID      string // digest of its state parameter
	Expires time.Time
	Sealed  []byte
}

// FlowStore keeps flows.
type FlowStore interface {
	// PutFlow stores a new flow and forgets those that expired before now.
	PutFlow(ctx context.Context, f Flow, now time.Time) error
	// TakeFlow removes and returns a flow; of two callers one gets it.
	TakeFlow(ctx context.Context, id string) (f Flow, ok bool, err error)
}

// Registration is a client we registered at an authorization server (RFC 7591).
type Registration struct {
	ID       string `json:"id"` // digest of issuer and redirect address
	Issuer   string `json:"issuer"`
	Redirect string `json:"redirect"`
	ClientID string `json:"clientID"`
	Auth     string `json:"auth"`
	Sealed   []byte `json:"-"` // client secret
}

// ClientStore keeps registrations.
type ClientStore interface {
	Registration(ctx context.Context, id string) (r Registration, ok bool, err error)
	// PutRegistration stores r, in place of an earlier one.
	PutRegistration(ctx context.Context, r Registration) error
}

// purpose is what the sealed tokens of a link are bound to.
func (l *Link) purpose() (string, error) {
	b, err := json.Marshal([]string{l.ID, l.Credential, l.Server, l.Subject.Issuer, l.Subject.ID, l.Issuer, l.Client, l.Resource, l.Origin, strconv.FormatInt(l.Rev, 10)})
	if err != nil {
		return "", fmt.Errorf("naming a link: %w", err)
	}
	sum := sha256.Sum256(b)
	return "link:" + hex.EncodeToString(sum[:]), nil
}

// Seal seals tokens into l as the rev it has now.
func (l *Link) Seal(ctx context.Context, s access.Sealer, t LinkTokens) error {
	purpose, err := l.purpose()
	if err != nil {
		return err
	}
	plain, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("encoding the tokens of a link: %w", err)
	}
	defer clear(plain)
	l.Sealed, err = s.Seal(ctx, purpose, plain)
	return err
}

// Open opens the tokens of l.
func (l *Link) Open(ctx context.Context, s access.Sealer) (LinkTokens, error) {
	purpose, err := l.purpose()
	if err != nil {
		return LinkTokens{}, err
	}
	plain, err := s.Open(ctx, purpose, l.Sealed)
	if err != nil {
		return LinkTokens{}, err
	}
	defer clear(plain)
	var t LinkTokens
	if err := json.Unmarshal(plain, &t); err != nil {
		return LinkTokens{}, fmt.Errorf("reading the tokens of a link: %w", err)
	}
	return t, nil
}

// NeedLink is the error of a call that needs a link its person has not made, or
// that broke.
type NeedLink struct {
	Credential, Server string
	Subject            access.Subject
	Why                string
}

func (e *NeedLink) Error() string { return e.Why }
