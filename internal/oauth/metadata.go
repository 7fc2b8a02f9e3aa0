package oauth

import (
	"encoding/json"
	"fmt"
	"net/http"

	"rutile/internal/identity"
)

// resourceDocument is RFC 9728 protected resource metadata.
type resourceDocument struct {
	Resource             string   `json:"resource"`
	AuthorizationServers []string `json:"authorization_servers"`
	Scopes               []string `json:"scopes_supported"`
	BearerMethods        []string `json:"bearer_methods_supported"`
}

// serverDocument is RFC 8414 authorization server metadata.
//
// No grant we offer uses the authorization endpoint, so RFC 8414 does not ask
// for authorization_endpoint. It is named nevertheless, and answers with a
// refusal, because the official TypeScript client refuses metadata without it
// before it looks at the grants. response_types_supported is required and
// truthfully empty; code_challenge_methods_supported is required by MCP clients
// whatever the grant.
type serverDocument struct {
	Issuer                string   `json:"issuer"`
	AuthorizationEndpoint string   `json:"authorization_endpoint"`
	TokenEndpoint         string   `json:"token_endpoint"`
	JWKS                  string   `json:"jwks_uri"`
	Scopes                []string `json:"scopes_supported"`
	ResponseTypes         []string `json:"response_types_supported"`
	GrantTypes            []string `json:"grant_types_supported"`
	AuthMethods           []string `json:"token_endpoint_auth_methods_supported"`
	AuthAlgorithms        []string `json:"token_endpoint_auth_signing_alg_values_supported"`
	CodeChallengeMethods  []string `json:"code_challenge_methods_supported"`
}

func serverMetadata(issuer string) ([]byte, error) {
	b, err := json.Marshal(serverDocument{
		Issuer:                issuer,
		AuthorizationEndpoint: issuer + identity.AuthorizePath,
		TokenEndpoint:         issuer + identity.TokenPath,
		JWKS:                  issuer + identity.JWKSPath,
		Scopes:                []string{identity.Scope},
		ResponseTypes:         []string{},
		GrantTypes:            []string{grantClientCredentials},
		AuthMethods:           []string{"private_key_jwt"},
		AuthAlgorithms:        identity.AssertionAlgorithms(),
		CodeChallengeMethods:  []string{"S256"},
	})
	if err != nil {
		return nil, fmt.Errorf("encoding authorization server metadata: %w", err)
	}
	return b, nil
}

// resource serves the metadata of the resource with exactly this URI.
func (s *server) resource(w http.ResponseWriter, r *http.Request, uri string) {
	if _, ok := identity.ParseResource(s.authority.Issuer(), uri); !ok || !s.servers.Known(uri) {
		notFound(w)
		return
	}
	b, err := json.Marshal(resourceDocument{
		Resource:             uri,
		AuthorizationServers: []string{s.authority.Issuer()},
		Scopes:               []string{identity.Scope},
		BearerMethods:        []string{"header"},
	})
	if err != nil {
		s.log.ErrorContext(r.Context(), "encoding protected resource metadata", "error", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	s.document(w, r, b)
}

// document serves a public JSON document. Five minutes of caching are short
// beside the life of a key: the next one is published long before it signs.
func (s *server) document(w http.ResponseWriter, r *http.Request, body []byte) {
	if !allow(w, r, http.MethodGet, http.MethodHead) {
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "public, max-age=300")
	w.Write(body) //nolint:errcheck // the client is gone; nothing to do
}
