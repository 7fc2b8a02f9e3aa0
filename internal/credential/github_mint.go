package credential

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"rutile/internal/access"
	"rutile/internal/rawjson"
)

// githubMints mints by sources of GitHub Apps.
type githubMints struct{ *Issuers }

// ReuseKey is empty where there is a call: its token is deleted after it.
func (githubMints) ReuseKey(n Need) string { return reuseOf(n) }

// Mint asks for a token that is for what n needs and no more, and refuses one
// that is for more.
func (i githubMints) Mint(ctx context.Context, n Need) (Minted, error) {
	g := n.Source.GitHubApp
	w, err := g.want(n)
	if err != nil {
		return Minted{}, err
	}
	at, err := i.at(githubName, or(g.URL, githubURL), g.TLS)
	if err != nil {
		return Minted{}, err
	}
	var proof string
	err = i.seed(ctx, at, g.Key, n, func(key []byte) (err error) {
		proof, err = githubProof(g, key, i.now())
		return err
	})
	if err != nil {
		return Minted{}, err
	}
	path := []string{"app", "installations", strconv.FormatInt(g.Installation, 10), "access_tokens"}
	a, err := at.ask(ctx, http.MethodPost, path, githubHeader(proof), w.body(), jsonType)
	if err != nil {
		return Minted{}, err
	}
	defer clear(a.body)
	switch a.status {
	case http.StatusCreated:
	case http.StatusUnprocessableEntity:
		return Minted{}, access.Errorf(access.CodeDenied, "the installation of the GitHub App does not have the repositories or permissions the credential is narrowed to (status 422)")
	default:
		return Minted{}, at.refused("making an installation token", a)
	}
	v, err := at.object(a)
	if err != nil {
		return Minted{}, err
	}
	token, ok := v.Get("token").Str()
	if !ok || !headerText(token) {
		return Minted{}, access.Errorf(access.CodeUpstream, "%s answered without a token", githubName)
	}
	out := Minted{
		Values: map[string][]byte{"secret": []byte(token)}, Version: githubVersion(token), Narrowed: w.sentence(g.Owner), Reuse: reuseOf(n), Ends: true,
		Revoke: func(ctx context.Context) error { return githubDelete(ctx, at, token) }, How: []byte(token),
	}
	if out.Expires, err = w.holds(v, g.Owner, i.now()); err != nil {
		err = errors.Join(err, undo(ctx, out.Revoke))
	}
	return out, err
}

// End deletes a token.
func (i githubMints) End(ctx context.Context, n Need, how []byte) error {
	g := n.Source.GitHubApp
	at, err := i.at(githubName, or(g.URL, githubURL), g.TLS)
	if err != nil {
		return err
	}
	return githubDelete(ctx, at, string(how))
}

// githubVersion is the digest GitHub's own audit log names a token by
// (hashed_token).
func githubVersion(token string) string {
	sum := sha256.Sum256([]byte(token))
	return "sha256:" + base64.StdEncoding.EncodeToString(sum[:])
}

func githubHeader(token string) http.Header {
	return http.Header{
		"Accept": {githubJSON}, "Authorization": {"Bearer " + token}, "X-Github-Api-Version": {"2022-11-28"}, "Content-Type": {jsonType},
	}
}

// githubDelete revokes a token with itself. One that is not valid any more is
// revoked.
func githubDelete(ctx context.Context, at *service, token string) error {
	a, err := at.ask(ctx, http.MethodDelete, []string{"installation", "token"}, githubHeader(token), nil, jsonType)
	if err != nil {
		return err
	}
	clear(a.body)
	if a.status != http.StatusNoContent && a.status != http.StatusUnauthorized {
		return at.refused("the deletion of a token", a)
	}
	return nil
}

// body asks for w.
func (w githubWant) body() []byte {
	b := []byte("{")
	if !w.all {
		b = append(b, `"repositories":[`...)
		for i, name := range w.repositories {
			if i > 0 {
				b = append(b, ',')
			}
			b = rawjson.AppendString(b, name)
		}
		b = append(b, "],"...)
	}
	b = append(b, `"permissions":{`...)
	for i, name := range sortedKeys(w.permissions) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(rawjson.AppendString(b, name), ':')
		b = rawjson.AppendString(b, w.permissions[name])
	}
	return append(b, "}}"...)
}

func (w githubWant) sentence(owner string) string {
	var b strings.Builder
	if w.all {
		fmt.Fprintf(&b, "all repositories of the installation at %s", owner)
	} else {
		fmt.Fprintf(&b, "repository %s/%s", owner, strings.Join(w.repositories, ", "))
	}
	for i, name := range sortedKeys(w.permissions) {
		b.WriteString([]string{" with ", ", "}[min(i, 1)] + name + ":" + w.permissions[name])
	}
	return b.String()
}

// holds returns when the token of an answer ends, or an error if it is for more
// than was asked for. GitHub adds metadata:read to what is asked.
func (w githubWant) holds(v rawjson.Value, owner string, now time.Time) (time.Time, error) {
	text, _ := v.Get("expires_at").Str()
	end, err := time.Parse(time.RFC3339, text)
	if err != nil || end.Sub(now) > githubLife+githubSkew {
		return now.Add(githubLife), access.Errorf(access.CodeUpstream, "%s gave a token that does not end within an hour", githubName)
	}
	got := v.Get("permissions")
	if got.Kind() != rawjson.Object {
		return end, access.Errorf(access.CodeUpstream, "%s does not say what its token may do", githubName)
	}
	for key, level := range got.Members() {
		name, _ := key.Str()
		said, _ := level.Str()
		if githubLevel(said) > githubLevel(w.permissions[name]) && (name != "metadata" || said != "read") {
			return end, access.Errorf(access.CodeUpstream, "%s gave a token that may do more than was asked for", githubName)
		}
	}
	if w.all {
		return end, nil
	}
	if !v.Get("repository_selection").Equals("selected") || v.Get("repositories").Len() != len(w.repositories) {
		return end, access.Errorf(access.CodeUpstream, "%s gave a token for other repositories than were asked for", githubName)
	}
	for r := range v.Get("repositories").Items() {
		full, _ := r.Get("full_name").Str()
		if !containsFold(w.repositories, owner, full) {
			return end, access.Errorf(access.CodeUpstream, "%s gave a token for other repositories than were asked for", githubName)
		}
	}
	return end, nil
}

func githubLevel(s string) int {
	switch s {
	case "":
		return 0
	case "read":
		return 1
	case "write":
		return 2
	}
	return 3
}

func containsFold(names []string, owner, full string) bool {
	for _, n := range names {
		if strings.EqualFold(owner+"/"+n, full) {
			return true
		}
	}
	return false
}

// githubProof is the JWT that proves who the app is (RS256). Its iat lies in the
// past by a minute, as GitHub wants against clocks that differ.
func githubProof(g *GitHubApp, key []byte, now time.Time) (string, error) {
	private, err := rsaKey(key)
	if err != nil {
		return "", access.Errorf(access.CodeInvalid, "credential %q %w", g.Key, err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: private}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", fmt.Errorf("preparing to sign for the GitHub App: %w", err)
	}
	claims := fmt.Appendf(nil, `{"iat":%d,"exp":%d,"iss":`, now.Add(-time.Minute).Unix(), now.Add(githubJWT).Unix())
	signed, err := signer.Sign(append(rawjson.AppendString(claims, g.App), '}'))
	if err != nil {
		return "", fmt.Errorf("signing for the GitHub App: %w", err)
	}
	return signed.CompactSerialize()
}

// rsaKey reads a private key in PEM, PKCS #1 or #8.
func rsaKey(text []byte) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("is not a private key in PEM")
	}
	defer clear(block.Bytes)
	key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		any, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, errors.New("is not a private key that can be read")
		}
		var ok bool
		if key, ok = any.(*rsa.PrivateKey); !ok {
			return nil, errors.New("is not an RSA key")
		}
	}
	if key.N.BitLen() < 2048 {
		return nil, errors.New("is an RSA key of fewer than 2048 bits")
	}
	return key, nil
}
