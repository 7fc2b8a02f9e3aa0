package probe

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"rutile/internal/rawjson"
)

const (
	wellKnownResource = "/.well-known/oauth-protected-resource"
	wellKnownAgent    = "/.well-known/agent-card.json"
	wellKnownCatalog  = "/.well-known/ai-catalog.json"
	cardType          = "application/mcp-server-card+json"
)

// resource is the metadata of a protected resource (RFC 9728).
type resource struct {
	path    string // of the resource
	issuers []string
	scopes  []string
}

// readResource reads metadata, nil if it is none.
func readResource(body []byte) *resource {
	v, err := rawjson.Parse(bytes.TrimSpace(body), rawjson.Limits{Bytes: maxBody})
	if err != nil {
		return nil
	}
	name, ok := v.Get("resource").Str()
	u, err := url.Parse(name)
	if !ok || err != nil || u.Host == "" {
		return nil
	}
	return &resource{path: u.EscapedPath(), issuers: words(v.Get("authorization_servers"), 10), scopes: words(v.Get("scopes_supported"), 50)}
}

// isMCP reports whether the metadata speaks of MCP: RFC 9728 is not only for it.
func (r *resource) isMCP() bool {
	named := func(s string) bool {
		return slices.ContainsFunc(strings.FieldsFunc(strings.ToLower(s), func(c rune) bool { return strings.ContainsRune("/:._-", c) }), func(w string) bool { return w == "mcp" })
	}
	return named(r.path) || strings.HasSuffix(r.path, "/sse") || slices.ContainsFunc(r.scopes, named)
}

func (r *resource) tell(f *Found) {
	f.Resource, f.Issuers, f.Scopes = clip(r.path), r.issuers, r.scopes
}

// get fetches a document of the place, nil if there is none.
func (l *ladder) get(ctx context.Context, path, kind string) []byte {
	b, whole := l.begin(ctx, path, kind)
	if !whole {
		return nil
	}
	return b
}

// begin fetches a document of the place, nil if there is none. Of one that is longer
// than is read it returns the beginning, and that it is not whole.
func (l *ladder) begin(ctx context.Context, path, kind string) (b []byte, whole bool) {
	if l.c.strikes >= 2 || ctx.Err() != nil {
		return nil, false
	}
	a, err := l.c.ask(ctx, http.MethodGet, path, accept(kind), nil)
	if err != nil {
		return nil, false
	}
	b, err = a.read()
	if a.status != http.StatusOK || err != nil && !errors.Is(err, errBig) {
		return nil, false
	}
	return b, err == nil
}

// documents reads what a place publishes of itself at its root.
func (l *ladder) documents(ctx context.Context) {
	if b, whole := l.begin(ctx, wellKnownAgent, "application/json"); b != nil {
		if f := agentCard(b, whole); f != nil {
			f.URL = l.c.url(wellKnownAgent)
			l.add(f)
		}
	}
	if b := l.get(ctx, wellKnownCatalog, "application/json"); b != nil {
		v, err := rawjson.Parse(bytes.TrimSpace(b), rawjson.Limits{Bytes: maxBody})
		if err == nil && v.Get("entries").Kind() == rawjson.Array {
			l.add(&Found{URL: l.c.url(wellKnownCatalog), Verdict: Catalog, Confidence: 0.9, Name: text(v.Path("host", "displayName")), Card: digest(b), Why: []string{"GET " + wellKnownCatalog + ": an AI catalogue"}})
		}
	}
}

// card reads what an endpoint publishes of itself: its metadata as a protected
// resource, and its server card. A card is a claim: it settles nothing.
func (l *ladder) card(ctx context.Context, path string) {
	if path != "/" && l.metadata == nil {
		if b := l.get(ctx, wellKnownResource+path, "application/json"); b != nil {
			l.metadata = readResource(b)
		}
	}
	b := l.get(ctx, strings.TrimSuffix(path, "/")+"/server-card", cardType)
	if b == nil {
		return
	}
	v, err := rawjson.Parse(bytes.TrimSpace(b), rawjson.Limits{Bytes: maxBody})
	if err != nil || text(v.Get("name")) == "" || v.Get("remotes").Kind() != rawjson.Array {
		return
	}
	l.carded = path
}

var resourceMetadata = regexp.MustCompile(`(?i)resource_metadata\s*=\s*"?([^",\s]+)`)

// protected judges a place that asks for a token: the challenge must point to
// metadata, and the metadata must speak of MCP. Metadata on another host is not
// fetched.
func (l *ladder) protected(ctx context.Context, path string, rep *reply) *Found {
	var at string
	for _, c := range rep.challenge {
		if m := resourceMetadata.FindStringSubmatch(c); m != nil {
			at = m[1]
		}
	}
	if at == "" {
		return nil
	}
	f := &Found{URL: l.c.url(path), Verdict: Probable, Confidence: 0.6, Why: []string{statusText("POST", path, "server/discover", rep.status) + " with resource_metadata"}}
	u, err := url.Parse(at)
	here, _ := url.Parse(l.c.url("/"))
	md := l.metadata
	if err == nil && here.ResolveReference(u).Host == here.Host && u.RawQuery == "" {
		if b := l.get(ctx, here.ResolveReference(u).EscapedPath(), "application/json"); b != nil {
			md = readResource(b)
		}
	} else {
		f.Why = append(f.Why, "the metadata is on another host and was not fetched")
	}
	if md != nil {
		md.tell(f)
		if md.isMCP() {
			f.Verdict, f.Confidence = Protected, 0.85
			f.Why = append(f.Why, "its metadata names MCP")
		}
	}
	if l.origin {
		f.Origin = l.foreignOrigin(ctx, path, f)
	}
	return f
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}
