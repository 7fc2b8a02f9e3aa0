package oauthclient

import (
	"slices"
	"strings"
	"time"

	"rutile/internal/access"
	"rutile/internal/credential"
)

// A person agrees once, to all scopes; a call is given a token for those of its tool.
// It is asked for by refreshing with fewer scopes (RFC 6749 section 6), and kept
// beside the link's own, so that one is asked for once in its life. A server that
// gives more than was asked for does not narrow, and then nothing is used.

// maxNarrow bounds the narrow tokens of one link.
const maxNarrow = 16

var (
	errNotNarrowed = access.Errorf(access.CodeUpstream, "the authorization server gives tokens for all scopes when it is asked for those of the tool, so that none is used: remove toolScopes from the credential's manifest, or let people connect less")
	errNoNarrowing = access.Errorf(access.CodeUpstream, "the authorization server gave no refresh token, and without one it cannot be asked for the scopes of the tool alone: ask it for one (often by scope offline_access), or remove toolScopes from the credential's manifest")
)

// narrowed returns the scopes a need is to be given, in one form; "" is all of the
// link.
func narrowed(n credential.Need, link credential.Link) string {
	scopes, fewer := n.Source.UserOAuth.ScopesFor(n.Tool)
	if !fewer {
		return ""
	}
	scopes = slices.Compact(slices.Sorted(slices.Values(scopes)))
	if slices.Equal(scopes, slices.Compact(slices.Sorted(slices.Values(link.Scopes)))) {
		return ""
	}
	return strings.Join(scopes, " ")
}

// beyond returns a scope of narrow that a person did not agree to, "" if there is none.
func beyond(narrow string, link credential.Link) string {
	for _, s := range strings.Fields(narrow) {
		if !slices.Contains(link.Scopes, s) {
			return s
		}
	}
	return ""
}

// pick returns the token of a link for narrow.
func pick(t credential.LinkTokens, narrow string) (credential.NarrowToken, bool) {
	if narrow == "" {
		return credential.NarrowToken{Access: t.Access, Expires: t.Expires}, t.Access != nil
	}
	held, ok := t.Narrow[narrow]
	return held, ok
}

// alive returns those that have not ended, with room for one more: the one that ends
// first makes it.
func alive(old map[string]credential.NarrowToken, now time.Time) map[string]credential.NarrowToken {
	out := map[string]credential.NarrowToken{}
	for k, t := range old {
		if t.Expires.IsZero() || now.Before(t.Expires) {
			out[k] = t
		}
	}
	for len(out) >= maxNarrow {
		first := ""
		for k, t := range out {
			if first == "" || t.Expires.Before(out[first].Expires) {
				first = k
			}
		}
		delete(out, first)
	}
	return out
}
