package credential

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"os"
	"strings"

	"rutile/internal/access"
	"rutile/internal/rawjson"
)

// Transit is a key encryption key of OpenBao's (or HashiCorp Vault's) transit
// engine, which never leaves it. It is asked at the start, and to rewrap.
type Transit struct {
	Address   string
	Namespace string
	TLS       TLS
	Mount     string // default transit
	Key       string // name of a key of type aes256-gcm96 or chacha20-poly1305
	TokenFile string // mode 0600; read for each request, so that it may be renewed
}

// Check refuses what cannot work; the error names the member.
func (t *Transit) Check() error {
	if _, err := checkService(t.Address); err != nil {
		return access.Errorf(access.CodeInvalid, "address %w", err)
	}
	switch {
	case !baoRole(t.Key):
		return access.Errorf(access.CodeInvalid, "key must be the name of a key of the transit engine")
	case t.TokenFile == "":
		return access.Errorf(access.CodeInvalid, "tokenFile is required")
	case !baoPath(or(t.Mount, "transit")) || t.Namespace != "" && !baoPath(t.Namespace):
		return access.Errorf(access.CodeInvalid, "mount and namespace must be paths")
	}
	return nil
}

// transitKEK asks the service to seal and to open.
type transitKEK struct {
	t  Transit
	at *service
}

var _ kek = (*transitKEK)(nil)

func newTransit(t Transit, way Way) (kek, error) {
	if err := t.Check(); err != nil {
		return nil, access.Errorf(access.CodeInvalid, "vault.transit: %w", err)
	}
	at, err := newService(baoName, t.Address, way, t.TLS)
	if err != nil {
		return nil, err
	}
	return &transitKEK{t, at}, nil
}

// EncryptWithContext seals plaintext; the answer is text of the service.
func (k *transitKEK) EncryptWithContext(ctx context.Context, plaintext, associated []byte) ([]byte, error) {
	body := append([]byte(`{"plaintext":"`), base64.StdEncoding.EncodeToString(plaintext)...)
	defer clear(body)
	text, err := k.ask(ctx, "encrypt", append(body, '"'), associated, "ciphertext")
	if err == nil && !strings.HasPrefix(text, "vault:v") {
		return nil, access.Errorf(access.CodeUpstream, "%s sealed to something that is no ciphertext", baoName)
	}
	return []byte(text), err
}

// DecryptWithContext opens what EncryptWithContext sealed.
func (k *transitKEK) DecryptWithContext(ctx context.Context, sealed, associated []byte) ([]byte, error) {
	if !strings.HasPrefix(string(sealed), "vault:v") {
		return nil, errors.New("it was sealed by another key")
	}
	body := rawjson.AppendString([]byte(`{"ciphertext":`), string(sealed))
	text, err := k.ask(ctx, "decrypt", body, associated, "plaintext")
	if err != nil {
		return nil, err
	}
	plain, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, access.Errorf(access.CodeUpstream, "%s opened to something that is no base64", baoName)
	}
	return plain, nil
}

// ask sends body, an object without its end, and returns a text of the answer.
func (k *transitKEK) ask(ctx context.Context, verb string, body, associated []byte, want string) (string, error) {
	if err := private(k.t.TokenFile); err != nil {
		return "", err
	}
	token, err := os.ReadFile(k.t.TokenFile)
	if err != nil {
		return "", access.Errorf(access.CodeUnavailable, "the token file %s cannot be read: %v", k.t.TokenFile, reason(err))
	}
	defer clear(token)
	s := &baoSession{at: k.at, namespace: k.t.Namespace, token: strings.TrimSpace(string(token))}
	if !headerText(s.token) {
		return "", access.Errorf(access.CodeInvalid, "the token file %s does not hold one token", k.t.TokenFile)
	}
	body = append(append(body, `,"associated_data":"`...), base64.StdEncoding.EncodeToString(associated)...)
	defer clear(body)
	a, err := s.ask(ctx, http.MethodPost, or(k.t.Mount, "transit")+"/"+verb+"/"+k.t.Key, append(body, `"}`...))
	if err != nil {
		return "", err
	}
	defer clear(a.body)
	if a.status != http.StatusOK {
		return "", k.at.refused("to "+verb+" with the key "+k.t.Key, a)
	}
	v, err := k.at.object(a)
	if err != nil {
		return "", err
	}
	text, ok := v.Path("data", want).Str()
	if !ok || text == "" {
		return "", access.Errorf(access.CodeUpstream, "%s answered without %s", baoName, want)
	}
	return text, nil
}
