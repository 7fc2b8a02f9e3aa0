package admin

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"go.yaml.in/yaml/v4"

	"rutile/internal/identity"
	"rutile/internal/rawjson"
	"rutile/internal/registry"
)

// adviceSecret is the next step wherever a secret stands in a manifest.
const adviceSecret = "store it with `rutile credential set NAME` and name it in credential: {ref: NAME}"

var (
	// secretWords end the names of things whose value is a secret: TOKEN_URL and
	// SORT_KEY are settings, AUTH_TOKEN and API_KEY are not.
	secretWords = regexp.MustCompile(`(?i)(^|[^a-z])((api|access|private|secret|auth|signing|encryption|master|service|account|license|subscription)[-_. ]?key|secret|token|password|passwd|pwd|passphrase|authorization|bearer|credentials?|cookie|jwt|sig|signature|pat)[-_]?[0-9]*$|^key$|^x-auth$`)
	camel       = regexp.MustCompile(`([a-z0-9])([A-Z])`)
	// secretForms are values that are secrets whatever they are called.
	secretForms = regexp.MustCompile(`(^|[^A-Za-z0-9])(gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}|sk-[A-Za-z0-9_-]{16,}|sk_(live|test)_[A-Za-z0-9]{10,}|xox[abprs]-[A-Za-z0-9-]{10,}|A(KIA|SIA)[A-Z0-9]{16}|AIza[A-Za-z0-9_-]{30,}|ya29\.[A-Za-z0-9_-]{20,}|npm_[A-Za-z0-9]{30,}|hf_[A-Za-z0-9]{20,}|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.|-----BEGIN [A-Z ]*PRIVATE KEY-----)|^(?i:bearer|basic) +[A-Za-z0-9._~+/=-]{8,}$|://[^/@: ]*:[^/@ ]+@`)
)

// literalSecret reports whether value, written under name, is a secret rather
// than a setting: by what it looks like, or by what it is called.
func literalSecret(name, value string) bool {
	if value == "" {
		return false
	}
	if secretForms.MatchString(value) {
		return true
	}
	if !secretWords.MatchString(camel.ReplaceAllString(name, "${1}_$2")) {
		return false
	}
	// A path to a secret, a number and a yes or no are not secrets themselves.
	setting := strings.HasPrefix(value, "/") || len(value) < 6 || strings.Trim(value, "0123456789") == ""
	return !setting
}

// LiteralSecret reports whether a manifest may not hold value under name, because
// it is a secret rather than a setting.
func LiteralSecret(name, value string) bool { return literalSecret(name, value) }

// ManagedHeader reports whether the gateway sets a header itself, so that nobody
// else can.
func ManagedHeader(name string) bool { return managedHeader(name) }

// argument returns the i-th argument of a command as a name and a value:
// --name=value, NAME=value, or the value after --name.
func argument(args []string, i int) (name, value string) {
	flag := strings.TrimLeft(args[i], "-")
	if n, v, ok := strings.Cut(flag, "="); ok && (flag != args[i] || envName.MatchString(n)) {
		return n, v
	}
	if flag == args[i] && i > 0 && strings.HasPrefix(args[i-1], "-") && !strings.Contains(args[i-1], "=") {
		return strings.TrimLeft(args[i-1], "-"), args[i]
	}
	return "", args[i]
}

// secretHeader reports whether a header carries nothing but secrets.
func secretHeader(name string) bool {
	return slices.Contains([]string{"Authorization", "Cookie", "Proxy-Authorization", "X-Api-Key"}, http.CanonicalHeaderKey(name))
}

// keyFiles returns the paths of the key files a document names.
func keyFiles(doc Document) []string {
	d := &decoder{file: doc.File}
	var out []string
	seen := map[string]bool{"": true}
	for _, n := range d.documents(doc.Text) {
		keys := child(n, "keys")
		if keys == nil || len(keys.Content) > maxKeys {
			continue // parsing says where there are too many
		}
		for _, k := range keys.Content {
			if f := child(k, "file"); f != nil && f.Kind == yaml.ScalarNode && !seen[f.Value] {
				seen[f.Value] = true
				out = append(out, f.Value)
			}
		}
	}
	return out
}

func child(n *yaml.Node, key string) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// maxKeys bounds the keys of one agent.
const maxKeys = 16

// agentKeys reads the public keys of an agent, as canonical JWKs.
func (o object) agentKeys() []json.RawMessage {
	n := o.members["keys"]
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode || len(n.Content) > maxKeys {
		o.fail("keys", "must be a list of at most %d keys such as {file: agent.jwk}", maxKeys)
		return nil
	}
	var out []json.RawMessage
	for i, c := range n.Content {
		path := fmt.Sprintf("keys[%d]", i)
		k := o.d.object(c, path, "file", "jwk")
		if k.has("file") == k.has("jwk") {
			o.d.fail(c, path, "must have exactly one of file (a JWK or PEM file) and jwk (the JWK itself, in quotes)")
			continue
		}
		key := "jwk"
		var text string
		if k.has("file") {
			key = "file"
			path := k.text("file")
			content, ok := o.d.keys[path]
			if path == "" {
				continue
			}
			if !ok {
				k.fail("file", "the key file %q cannot be read (it is looked for beside the manifest; at most %d bytes)", clip(path), MaxKeyFile)
				continue
			}
			text = content
		} else {
			text = k.text("jwk")
		}
		jwk, msg := publicKey(text)
		switch {
		case msg != "":
			k.fail(key, "%s", msg)
		case slices.ContainsFunc(out, func(r json.RawMessage) bool { return string(r) == string(jwk) }):
			k.fail(key, "the same key is there twice: remove one")
		default:
			out = append(out, jwk)
		}
	}
	slices.SortFunc(out, func(a, b json.RawMessage) int { return strings.Compare(string(a), string(b)) })
	return out
}

// enrolledKeys reads the keys that came by enrollment, as export writes them.
func (o object) enrolledKeys() []registry.EnrolledKey {
	n := o.members["enrolled"]
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode || len(n.Content) > maxAllKeys {
		o.fail("enrolled", "must be a list of at most %d keys such as rutile export writes; [] removes them all", maxAllKeys)
		return nil
	}
	var out []registry.EnrolledKey
	for i, c := range n.Content {
		k := o.d.object(c, fmt.Sprintf("enrolled[%d]", i), "jwk", "at", "by")
		jwk, msg := publicKey(k.text("jwk"))
		at, err := time.Parse(time.RFC3339Nano, k.text("at"))
		switch {
		case msg != "":
			k.fail("jwk", "%s", msg)
		case err != nil:
			k.fail("at", "must be a time such as 2027-06-30T12:00:00Z")
		case len(k.text("by")) > 256 || strings.ContainsFunc(k.text("by"), hidden):
			k.fail("by", "must be one line of at most 256 characters")
		case slices.ContainsFunc(out, func(e registry.EnrolledKey) bool { return e.JWK == string(jwk) }):
			k.fail("jwk", "the same key is there twice: remove one")
		default:
			out = append(out, registry.EnrolledKey{JWK: string(jwk), At: at.UTC().Truncate(time.Millisecond), By: k.text("by")})
		}
	}
	return out
}

const advicePrivate = "is a PRIVATE key. It does not belong here and has been shown to this program: give the public key only, and replace the pair if the file was shared"

// publicKey reads a JWK or PEM public key and returns it as a canonical JWK, or
// what is wrong. The message never holds key material.
func publicKey(text string) (jwk json.RawMessage, problem string) {
	if block, _ := pem.Decode([]byte(text)); block != nil {
		return fromPEM(block)
	}
	v, err := rawjson.Parse([]byte(text), rawjson.Limits{Bytes: MaxKeyFile})
	if err != nil || v.Kind() != rawjson.Object {
		return nil, "is neither a JWK nor a PEM public key"
	}
	for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"} {
		if v.Get(private).Exists() {
			return nil, advicePrivate
		}
	}
	if v.Get("keys").Exists() {
		return nil, "is a set of keys: name one key at a time"
	}
	return checked(v.Raw())
}

func fromPEM(block *pem.Block) (json.RawMessage, string) {
	if strings.Contains(block.Type, "PRIVATE") {
		return nil, advicePrivate
	}
	var key any
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	default:
		return nil, fmt.Sprintf("is a PEM %q, not a public key", clip(block.Type))
	}
	if err != nil {
		return nil, "is a PEM public key that cannot be read"
	}
	raw, err := (&jose.JSONWebKey{Key: key}).MarshalJSON()
	if err != nil {
		return nil, "is a public key of a type that cannot be used: use Ed25519, P-256 or RSA"
	}
	return checked(raw)
}

// checked keeps the members of a public JWK that mean something to us, in
// canonical form, so that the same key written differently is the same key.
func checked(raw []byte) (json.RawMessage, string) {
	if err := identity.CheckAgentKey(raw); err != nil {
		return nil, err.Error()
	}
	var k jose.JSONWebKey
	if err := k.UnmarshalJSON(raw); err != nil {
		return nil, "is not a JWK that can be read"
	}
	out, err := (&jose.JSONWebKey{Key: k.Key, KeyID: k.KeyID, Algorithm: k.Algorithm, Use: k.Use}).MarshalJSON()
	if err != nil {
		return nil, "is not a JWK that can be read"
	}
	v, err := rawjson.Parse(out, rawjson.Limits{})
	if err != nil {
		return nil, "is not a JWK that can be read"
	}
	return rawjson.AppendCanonical(nil, v), ""
}
