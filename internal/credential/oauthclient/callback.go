package oauthclient

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"rutile/internal/credential"
)

// A person who comes back says which authorization server sent them: by iss in the
// answer where the server promises that (RFC 9207), else by the address, which is
// then one for each issuer (RFC 9700 section 4.4.2). Otherwise a hostile server
// could have the answer of an honest one delivered as its own, and get its code.

// Tag names an issuer in our addresses.
func Tag(issuer string) string {
	sum := sha256.Sum256([]byte("callback\x00" + issuer))
	return hex.EncodeToString(sum[:16])
}

// IsTag reports whether s has the form of a tag.
func IsTag(s string) bool {
	return len(s) == 32 && strings.Trim(s, "0123456789abcdef") == ""
}

// Own is the address of an issuer alone, below our callback.
func Own(redirect, tag string) string { return redirect + "/" + tag }

// OwnDocument is the address of our client id metadata document for an issuer alone.
func OwnDocument(document, tag string) string {
	return strings.TrimSuffix(document, ".json") + "/" + tag + ".json"
}

// callback is where s sends people back to.
func (l *Links) callback(s *Server) string {
	if s.ResponseIss {
		return l.cfg.Redirect
	}
	return Own(l.cfg.Redirect, Tag(s.Issuer))
}

// document is our client id metadata document for s.
func (l *Links) document(s *Server) string {
	if s.ResponseIss {
		return l.cfg.ClientDocument
	}
	return OwnDocument(l.cfg.ClientDocument, Tag(s.Issuer))
}

// came reports whether a person came back at the address they were sent away with,
// saying whose answer it is: at that of an issuer alone, or with iss. tag is the last
// part of the address, "" for the one that is shared.
func (l *Links) came(f flow, tag string, iss bool) bool {
	at := l.cfg.Redirect
	if tag != "" {
		at = Own(l.cfg.Redirect, tag)
	}
	return f.Redirect == at && (iss || tag == Tag(f.Issuer))
}

// registration returns how a client was registered at an issuer by us: with the
// address of the issuer alone, or, earlier, with the shared one.
func (l *Links) registration(ctx context.Context, issuer, client string) (credential.Registration, bool, error) {
	for _, at := range l.addresses(issuer) {
		r, ok, err := l.cfg.Clients.Registration(ctx, registrationID(issuer, at))
		if err != nil || ok && r.ClientID == client {
			return r, ok, err
		}
	}
	return credential.Registration{}, false, nil
}

// Callbacks are the addresses an issuer may send people back to: the shared one if it
// says who it is in its answers, else its own. "" is one that is found out.
func (l *Links) Callbacks(issuer string) []string {
	if issuer == "" {
		return []string{l.cfg.Redirect}
	}
	return l.addresses(issuer)
}

func (l *Links) addresses(issuer string) []string {
	return []string{l.cfg.Redirect, Own(l.cfg.Redirect, Tag(issuer))}
}
