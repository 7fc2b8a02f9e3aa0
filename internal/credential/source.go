package credential

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
)

// Source is a credential that is minted for a call instead of kept: where it
// comes from and what it may be used for. It holds no secret; the secrets that
// prove who we are to its issuer, its seeds, are sealed credentials named here.
// Exactly one of the pointers is set.
type Source struct {
	ID                string             `json:"id"`
	Owner             string             `json:"owner"`
	Servers           []string           `json:"servers"`           // ids it may be used for; never empty
	Origins           []string           `json:"origins,omitempty"` // scheme://host[:port] it may be sent to, or stdio:SERVER; empty: none yet
	MaxTier           int                `json:"maxTier"`           // of the tools it may be used for
	PerCall           bool               `json:"perCall,omitempty"` // nothing minted serves a second call
	ClientCredentials *ClientCredentials `json:"clientCredentials,omitempty"`
	TokenExchange     *TokenExchange     `json:"tokenExchange,omitempty"`
	UserOAuth         *UserOAuth         `json:"userOAuth,omitempty"`
	Vault             *OpenBao           `json:"vault,omitempty"`
	GitHubApp         *GitHubApp         `json:"githubApp,omitempty"`
	AWSSTS            *AWSSTS            `json:"awsSTS,omitempty"`
	Created           time.Time          `json:"created"`
	Changed           time.Time          `json:"changed"`
}

// The kinds of source, as manifests and evidence name them.
const (
	SourceClientCredentials = "clientCredentials"
	SourceTokenExchange     = "tokenExchange"
	SourceUserOAuth         = "userOAuth"
	SourceVault             = "vault"
	SourceGitHubApp         = "githubApp"
	SourceAWSSTS            = "awsSTS"
)

// Kind returns the word of the source's kind, "" if it has none or several.
func (s *Source) Kind() string {
	kind := ""
	for word, set := range map[string]bool{
		SourceClientCredentials: s.ClientCredentials != nil,
		SourceTokenExchange:     s.TokenExchange != nil,
		SourceUserOAuth:         s.UserOAuth != nil,
		SourceVault:             s.Vault != nil,
		SourceGitHubApp:         s.GitHubApp != nil,
		SourceAWSSTS:            s.AWSSTS != nil,
	} {
		switch {
		case set && kind != "":
			return ""
		case set:
			kind = word
		}
	}
	return kind
}

// Spec returns what of the source its kind is.
func (s *Source) Spec() any {
	switch s.Kind() {
	case SourceClientCredentials:
		return s.ClientCredentials
	case SourceTokenExchange:
		return s.TokenExchange
	case SourceUserOAuth:
		return s.UserOAuth
	case SourceVault:
		return s.Vault
	case SourceGitHubApp:
		return s.GitHubApp
	case SourceAWSSTS:
		return s.AWSSTS
	}
	return nil
}

// Seeds returns the sealed credentials the source is minted with, sorted.
func (s *Source) Seeds() []string {
	var refs []string
	if x := s.ClientCredentials; x != nil {
		refs = append(refs, x.Secret)
	}
	if x := s.TokenExchange; x != nil {
		refs = append(refs, x.Secret, x.Listing)
	}
	if x := s.UserOAuth; x != nil {
		refs = append(refs, x.Secret, x.Listing)
	}
	if x := s.Vault; x != nil {
		refs = append(refs, x.Login.seeds()...)
	}
	if x := s.GitHubApp; x != nil {
		refs = append(refs, x.Key)
	}
	if x := s.AWSSTS; x != nil {
		refs = append(refs, x.Secret, x.WebIdentity)
	}
	slices.Sort(refs)
	return slices.Compact(slices.DeleteFunc(refs, func(r string) bool { return r == "" }))
}

// listing is the sealed credential the gateway itself lists servers with, "" for none,
// where what is minted serves the calls of agents only; other is false where it serves
// the gateway too.
func (s *Source) listing() (ref string, other bool) {
	switch {
	case s.UserOAuth != nil:
		return s.UserOAuth.Listing, true
	case s.TokenExchange != nil:
		return s.TokenExchange.Listing, true
	default:
		return "", false
	}
}

// digest changes whenever anything that decides what is minted does.
func (s *Source) digest() string {
	c := *s
	c.Created, c.Changed, c.Owner = time.Time{}, time.Time{}, ""
	b, err := json.Marshal(c)
	if err != nil {
		return "" // it has no member JSON cannot hold
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

// Client is who we are to an OAuth authorization server and what we ask it for.
type Client struct {
	// Issuer is the authorization server (RFC 8414). Left out it is found out from
	// the server's protected resource metadata (RFC 9728).
	Issuer   string `json:"issuer,omitempty"`
	ClientID string `json:"clientID,omitempty"`
	// Auth is how we authenticate: one of the constants below.
	Auth string `json:"auth,omitempty"`
	// Secret names the sealed client secret, or the private key as JWK or PEM.
	Secret string   `json:"secret,omitempty"`
	Scopes []string `json:"scopes,omitempty"` // what is asked for
	// ToolScopes narrows: patterns of tool names to what is asked for instead of
	// Scopes when such a tool is called. The longest pattern that matches counts.
	ToolScopes map[string][]string `json:"toolScopes,omitempty"`
	// Resource is the RFC 8707 resource indicator, default the server's URL.
	Resource string `json:"resource,omitempty"`
	// TLS says by which authorities the authorization server is verified; only CA is
	// used.
	TLS TLS `json:"tls,omitzero"`
}

// How a client authenticates at a token endpoint (RFC 7591 section 2).
const (
	AuthBasic      = "client_secret_basic"
	AuthPost       = "client_secret_post"
	AuthPrivateKey = "private_key_jwt"
	AuthNone       = "none" // a public client
)

// ClientCredentials mints by the OAuth grant of that name (RFC 6749 section 4.4).
type ClientCredentials struct{ Client }

// TokenExchange mints by RFC 8693: our own signed statement of who acts for whom
// is exchanged for a token of the upstream's authorization server.
type TokenExchange struct {
	Client
	Audience string `json:"audience,omitempty"` // RFC 8693 logical name of the upstream, if it has one
	// Listing names the sealed credential the gateway itself lists the server with;
	// "" lists without any: a token says who acts, and then nobody does.
	Listing string `json:"listing,omitempty"`
}

// UserOAuth uses the link a person made to the upstream (authorization code with
// PKCE). ClientID may be left out: we then register ourselves.
type UserOAuth struct {
	Client
	// Listing names the sealed credential the gateway itself lists the server with;
	// "" lists without any. What belongs to a person never serves that.
	Listing string `json:"listing,omitempty"`
}

// ScopesFor returns the scopes to ask for when tool is called, and whether they
// are narrower than for any tool. tool is "" where no tool is called.
func (c *Client) ScopesFor(tool string) (scopes []string, narrowed bool) {
	best, found := "", false
	for pattern := range c.ToolScopes {
		if tool != "" && glob(pattern, tool) && (!found || len(pattern) > len(best) || len(pattern) == len(best) && pattern < best) {
			best, found = pattern, true
		}
	}
	if found {
		return c.ToolScopes[best], true
	}
	return c.Scopes, false
}

// glob reports whether name matches pattern, in which * stands for any text.
func glob(pattern, name string) bool {
	head, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == name
	}
	name, ok := strings.CutPrefix(name, head)
	if !ok {
		return false
	}
	for {
		part, more, star := strings.Cut(rest, "*")
		if !star {
			return strings.HasSuffix(name, part)
		}
		i := strings.Index(name, part)
		if i < 0 {
			return false
		}
		name, rest = name[i+len(part):], more
	}
}

// Goes reports whether the source may be sent to an origin. One that is bound to
// none goes nowhere.
func (s *Source) Goes(origin string) error {
	at, err := Origin(origin)
	switch {
	case err != nil:
		return access.Errorf(access.CodeInvalid, "credential %q: %w", s.ID, err)
	case len(s.Origins) == 0:
		return access.Errorf(access.CodeDenied, "credential %q is bound to no origin yet: apply its manifest again, or write origins: [%s] in it", s.ID, at)
	case !slices.Contains(s.Origins, at):
		return access.Errorf(access.CodeDenied, "credential %q is not bound to %s, where its server is now: if the server moved, write origins: [%s] in the credential's manifest and apply it", s.ID, at, at)
	}
	return nil
}

// fits checks what a source may be used for.
func (s *Source) fits(r LeaseRequest) error {
	switch {
	case r.Outcome != access.Permit:
		return access.Errorf(access.CodeDenied, "a credential is minted only under a permit")
	case !slices.Contains(s.Servers, r.Server):
		return access.Errorf(access.CodeDenied, "credential %q is not for server %q; add it to servers in the credential's manifest, or name another in the server's", s.ID, r.Server)
	case r.Tier > s.MaxTier:
		return access.Errorf(access.CodeDenied, "credential %q may be used up to tier %d, and this call has tier %d", s.ID, s.MaxTier, r.Tier)
	}
	return s.Goes(r.Origin)
}
