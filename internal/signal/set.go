package signal

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"
)

// Bounds of a security event token.
const (
	MaxSET   = 64 << 10           // bytes
	setAge   = 7 * 24 * time.Hour // from when it was made: receivers may be away
	setSkew  = 2 * time.Minute
	maxID    = 256 // bytes of a jti
	maxData  = 16 << 10
	maxTypes = 8 // events in one token
)

// The error codes of RFC 8935, section 2.4.
const (
	ErrRequest  = "invalid_request"
	ErrKey      = "invalid_key"
	ErrIssuer   = "invalid_issuer"
	ErrAudience = "invalid_audience"
	ErrAuth     = "authentication_failed"
	ErrAccess   = "access_denied"
)

// Refused is why what was told does not count. Why is ours, and holds nothing of it.
type Refused struct{ Code, Why string }

func (r *Refused) Error() string { return r.Code + ": " + r.Why }

func refuse(code, format string, args ...any) error {
	return &Refused{code, fmt.Sprintf(format, args...)}
}

// algorithms are those a token may be signed with.
func algorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA}
}

// Keys are the public keys of who signs.
type Keys interface {
	// Keys returns the keys of a source that a token may be signed with. With anew they
	// are asked for once more, as one may be newer than what is known.
	Keys(ctx context.Context, s *Source, anew bool) ([]jose.JSONWebKey, error)
}

// ReadSET checks a security event token (RFC 8417, SSF 1.0 section 4) of a source, and
// returns its events. Errors are *Refused where the token does not count, and others
// where that cannot be told.
func ReadSET(ctx context.Context, s *Source, keys Keys, raw []byte, now time.Time) ([]Event, error) {
	if len(raw) > MaxSET {
		return nil, refuse(ErrRequest, "it has more than %d bytes", MaxSET)
	}
	signed, err := jose.ParseSignedCompact(strings.TrimSpace(string(raw)), algorithms())
	if err != nil {
		return nil, refuse(ErrRequest, "it is no token, or signed with an algorithm that is not taken")
	}
	h := signed.Signatures[0].Protected
	if typ, _ := h.ExtraHeaders[jose.HeaderType].(string); strings.ToLower(strings.TrimPrefix(typ, "application/")) != "secevent+jwt" {
		return nil, refuse(ErrRequest, "its type is not secevent+jwt")
	}
	payload, err := verify(ctx, s, keys, signed, h)
	if err != nil {
		return nil, err
	}
	return claimsOf(s, payload, now)
}

// verify checks the signature with the keys that are known, and then with those there
// are now. What a header says of keys (jwk, jku, x5c) is not looked at.
func verify(ctx context.Context, s *Source, keys Keys, signed *jose.JSONWebSignature, h jose.Header) ([]byte, error) {
	for _, anew := range []bool{false, true} {
		list, err := keys.Keys(ctx, s, anew)
		if err != nil {
			return nil, fmt.Errorf("reading the keys of source %q: %w", s.ID, err)
		}
		for i := range list {
			k := &list[i]
			if h.KeyID != "" && k.KeyID != h.KeyID || k.Use != "" && k.Use != "sig" || k.Algorithm != "" && k.Algorithm != h.Algorithm {
				continue
			}
			if payload, err := signed.Verify(k); err == nil {
				return payload, nil
			}
		}
	}
	return nil, refuse(ErrKey, "no key of the issuer's made its signature")
}

func claimsOf(s *Source, payload []byte, now time.Time) ([]Event, error) {
	var all map[string]json.RawMessage
	var c struct {
		Issuer   string                     `json:"iss"`
		Audience audience                   `json:"aud"`
		ID       string                     `json:"jti"`
		Issued   *float64                   `json:"iat"`
		Subject  json.RawMessage            `json:"sub_id"`
		Events   map[string]json.RawMessage `json:"events"`
	}
	if !utf8.Valid(payload) || json.Unmarshal(payload, &c) != nil || json.Unmarshal(payload, &all) != nil {
		return nil, refuse(ErrRequest, "its claims cannot be read")
	}
	switch {
	case c.Issuer != s.Issuer:
		return nil, refuse(ErrIssuer, "it is another issuer's")
	case !slices.Contains(c.Audience, s.Audience):
		return nil, refuse(ErrAudience, "it is for somebody else")
	case c.ID == "" || len(c.ID) > maxID:
		return nil, refuse(ErrRequest, "it has no jti, or one of more than %d bytes", maxID)
	case c.Issued == nil:
		return nil, refuse(ErrRequest, "it does not say when it was made (iat)")
	case len(c.Events) == 0 || len(c.Events) > maxTypes:
		return nil, refuse(ErrRequest, "it has no event, or more than %d", maxTypes)
	case all["exp"] != nil, all["sub"] != nil: // SSF 1.0, 4.1.6 and 4.1.7: so that it is no token of another kind
		return nil, refuse(ErrRequest, "it has exp or sub, which a security event token must not have")
	}
	if *c.Issued < 0 || *c.Issued > 1<<40 {
		return nil, refuse(ErrRequest, "its iat is no time")
	}
	at := time.Unix(int64(*c.Issued), 0)
	if at.After(now.Add(setSkew)) || now.Sub(at) > setAge {
		return nil, refuse(ErrRequest, "it is of the future, or older than %d days", int(setAge/(24*time.Hour)))
	}
	return eventsOf(c.Events, c.ID, c.Subject, at)
}

// audience is one or several.
type audience []string

func (a *audience) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}

// eventsOf reads the events of a token. Drafts of SSF had the subject in the event.
func eventsOf(events map[string]json.RawMessage, id string, about json.RawMessage, at time.Time) ([]Event, error) {
	var out []Event
	for typ, data := range events {
		var d map[string]json.RawMessage
		if json.Unmarshal(data, &d) != nil || d == nil || len(data) > maxData {
			return nil, refuse(ErrRequest, "an event is no object, or has more than %d bytes", maxData)
		}
		name := nameOf(typ)
		e := Event{ID: id, Type: name, At: at, Data: data}
		raw := about
		if raw == nil {
			raw = d["subject"]
		}
		if name != "" && types[name] != ssf {
			var err error
			if e.Subject, err = readSubject(raw, 0); err != nil {
				return nil, refuse(ErrRequest, "%s", err)
			}
		}
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b Event) int { return strings.Compare(a.Type, b.Type) })
	return out, nil
}
