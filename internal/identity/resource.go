package identity

import (
	"net/url"
	"strings"

	"rutile/internal/access"
)

// Paths of the agents' listener that identity's documents name.
const (
	TokenPath     = "/oauth/token"
	EnrollPath    = "/oauth/enroll"
	JWKSPath      = "/oauth/jwks"
	AuthorizePath = "/oauth/authorize"
	// ResourceMetadataPath is the well-known prefix of RFC 9728.
	ResourceMetadataPath = "/.well-known/oauth-protected-resource"

	mcpPath = "/mcp"
)

// Scope is the only scope there is: it names what a token is for and permits
// nothing by itself.
const Scope = "mcp"

// Resource returns the resource URI of a server's path under the base URL, or
// of the aggregate path if server is "". It is the audience of tokens for it.
func Resource(base, server string) string {
	if server == "" {
		return base + mcpPath
	}
	return base + mcpPath + "/" + server
}

// ParseResource is the inverse of Resource. Only the exact spelling is one: a
// trailing slash, a query or another case of the host is not.
func ParseResource(base, uri string) (server string, ok bool) {
	rest, ok := strings.CutPrefix(uri, base+mcpPath)
	if !ok {
		return "", false
	}
	if rest == "" {
		return "", true
	}
	server, ok = strings.CutPrefix(rest, "/")
	if !ok || !access.ValidID(server) {
		return "", false
	}
	return server, true
}

// ResourceMetadataURL returns where the metadata of a resource stands: the
// well-known path inserted between host and path (RFC 9728 section 3.1).
func ResourceMetadataURL(resource string) string {
	u, err := url.Parse(resource)
	if err != nil || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host + ResourceMetadataPath + u.EscapedPath()
}
