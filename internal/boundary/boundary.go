// Package boundary keeps the values a model does not see: typed placeholders that
// stand for secrets and personal data inside one session.
//
// The same value has the same placeholder as long as a session lasts, and another one
// in every other session. A placeholder MUST resolve only in the session it was made
// in, as long as that is open; values are sealed where they are kept and go with the
// session. The package decides nothing: which tool may have a value back is for policy
// and the server's manifest.
package boundary

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"rutile/internal/access"
)

// Prefix begins every placeholder: RUTILE_KIND_ and sixteen letters and digits, word
// characters only, so that it survives JSON, URLs and shells.
const Prefix = "RUTILE_"

// tokenBytes are the bytes of the digest in a placeholder: 80 bits, so that none can
// be guessed.
const tokenBytes = 10

// maxKeys bounds how many sessions' keys are kept in memory.
const maxKeys = 4096

// maxValue bounds the bytes of one value.
const maxValue = 64 << 10

// Value is one value to keep from a model.
type Value struct {
	Text   string
	Label  string // secret, pii
	Kind   string // as email, card, github-token
	Server string // whose answer it stood in
	Tool   string
}

// Row is one placeholder as it is kept.
type Row struct {
	Session, Token string
	Label, Kind    string
	Server, Tool   string
	Sealed         []byte
	At             time.Time
}

// Store keeps placeholders.
type Store interface {
	// SessionKey returns the sealed key of a session; where it has none yet it keeps
	// and returns fresh.
	SessionKey(ctx context.Context, session string, fresh []byte) ([]byte, error)
	// PutPlaceholders keeps rows; one that is there already stays.
	PutPlaceholders(ctx context.Context, rows []Row) error
	// Placeholders returns those of the tokens that belong to a session, if it is open.
	Placeholders(ctx context.Context, session string, tokens []string) ([]Row, error)
}

// Sealer seals what is kept. Credential's vault is one.
type Sealer interface {
	Seal(ctx context.Context, purpose string, plaintext []byte) ([]byte, error)
	Open(ctx context.Context, purpose string, sealed []byte) ([]byte, error)
}

// Book makes placeholders and finds what they stand for. It is safe for concurrent use.
type Book struct {
	store Store
	seal  Sealer
	now   func() time.Time

	mu   sync.Mutex
	keys map[string][]byte // by session
}

// New returns a Book.
func New(store Store, seal Sealer, now func() time.Time) (*Book, error) {
	if store == nil || seal == nil || now == nil {
		return nil, errors.New("boundary: a dependency is missing")
	}
	return &Book{store: store, seal: seal, now: now, keys: map[string][]byte{}}, nil
}

// pattern is the form of placeholders.
func pattern() *regexp.Regexp { return regexp.MustCompile(`RUTILE_[A-Z0-9]{1,24}_[a-z2-7]{16}`) }

// Tokens returns everything in text that has the form of a placeholder, each once.
func Tokens(text string) []string {
	if !strings.Contains(text, Prefix) {
		return nil
	}
	var out []string
	seen := map[string]bool{}
	for _, t := range pattern().FindAllString(text, -1) {
		if !seen[t] {
			seen[t] = true
			out = append(out, t)
		}
	}
	return out
}

// Without is text without placeholders.
func Without(text string) string {
	if !strings.Contains(text, Prefix) {
		return text
	}
	return pattern().ReplaceAllString(text, "")
}

// Restore is text with values in place of the placeholders they are of. It goes over
// the text once: what looks like a placeholder inside a value is part of that value.
func Restore(text string, values map[string]string) string {
	if !strings.Contains(text, Prefix) {
		return text
	}
	return pattern().ReplaceAllStringFunc(text, func(t string) string {
		if v, ok := values[t]; ok {
			return v
		}
		return t
	})
}

// Issue returns the placeholder of each value in a session. They are durable when it
// returns, so that none is seen that could not be resolved.
func (b *Book) Issue(ctx context.Context, session string, values []Value) ([]string, error) {
	if session == "" {
		return nil, access.Errorf(access.CodeInternal, "placeholders need a session")
	}
	key, err := b.key(ctx, session)
	if err != nil {
		return nil, err
	}
	tokens, rows := make([]string, len(values)), make([]Row, 0, len(values))
	for i, v := range values {
		if len(v.Text) == 0 || len(v.Text) > maxValue {
			return nil, access.Errorf(access.CodeTooLarge, "a value of %d bytes cannot have a placeholder", len(v.Text))
		}
		tokens[i] = tokenOf(key, v)
		sealed, err := b.seal.Seal(ctx, purpose(session, tokens[i]), []byte(v.Text))
		if err != nil {
			return nil, fmt.Errorf("sealing a value: %w", err)
		}
		rows = append(rows, Row{Session: session, Token: tokens[i], Label: v.Label, Kind: v.Kind, Server: v.Server, Tool: v.Tool, Sealed: sealed, At: b.now()})
	}
	if err := b.store.PutPlaceholders(ctx, rows); err != nil {
		return nil, fmt.Errorf("keeping placeholders: %w", err)
	}
	return tokens, nil
}

// Find returns what is known of tokens in a session, without their values. One that is
// not among the answers is none of the session's.
func (b *Book) Find(ctx context.Context, session string, tokens []string) (map[string]Row, error) {
	out := map[string]Row{}
	if session == "" || len(tokens) == 0 {
		return out, nil
	}
	rows, err := b.store.Placeholders(ctx, session, tokens)
	if err != nil {
		return nil, fmt.Errorf("finding placeholders: %w", err)
	}
	for _, r := range rows {
		out[r.Token] = r
	}
	return out, nil
}

// Reveal returns the values of tokens in a session. It fails if one of them is none of
// the session's or cannot be opened.
func (b *Book) Reveal(ctx context.Context, session string, tokens []string) (map[string]string, error) {
	rows, err := b.Find(ctx, session, tokens)
	if err != nil {
		return nil, err
	}
	out := make(map[string]string, len(tokens))
	for _, t := range tokens {
		r, ok := rows[t]
		if !ok {
			return nil, access.Errorf(access.CodeDenied, "a placeholder is none of this session's; fetch the value again")
		}
		plain, err := b.seal.Open(ctx, purpose(session, t), r.Sealed)
		if err != nil {
			return nil, fmt.Errorf("opening a value: %w", err)
		}
		out[t] = string(plain)
	}
	return out, nil
}

// Key is a key of a session for another purpose, the same as long as the session lasts.
func (b *Book) Key(ctx context.Context, session, purpose string) ([]byte, error) {
	if session == "" {
		return nil, access.Errorf(access.CodeInternal, "a key needs a session")
	}
	key, err := b.key(ctx, session)
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("for " + purpose))
	return mac.Sum(nil), nil
}

// key is what placeholders of a session are made with.
func (b *Book) key(ctx context.Context, session string) ([]byte, error) {
	b.mu.Lock()
	key := b.keys[session]
	b.mu.Unlock()
	if key != nil {
		return key, nil
	}
	fresh := make([]byte, sha256.Size)
	if _, err := rand.Read(fresh); err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	sealed, err := b.seal.Seal(ctx, purpose(session, "key"), fresh)
	if err != nil {
		return nil, fmt.Errorf("sealing a key: %w", err)
	}
	if sealed, err = b.store.SessionKey(ctx, session, sealed); err != nil {
		return nil, fmt.Errorf("keeping a key: %w", err)
	}
	if key, err = b.seal.Open(ctx, purpose(session, "key"), sealed); err != nil {
		return nil, fmt.Errorf("opening a key: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.keys) >= maxKeys {
		clear(b.keys)
	}
	b.keys[session] = key
	return key, nil
}

// purpose binds what is sealed to its session and placeholder: a row moved elsewhere
// does not open.
func purpose(session, token string) string { return "placeholder:" + session + ":" + token }

// tokenOf is the placeholder of a value under a key.
func tokenOf(key []byte, v Value) string {
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%d:%s%d:%s%s", len(v.Label), v.Label, len(v.Kind), v.Kind, v.Text)
	kind := strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, strings.ToUpper(v.Kind))
	if kind == "" {
		kind = "VALUE"
	}
	return Prefix + kind[:min(len(kind), 24)] + "_" + strings.ToLower(base32.StdEncoding.EncodeToString(mac.Sum(nil)[:tokenBytes]))
}
