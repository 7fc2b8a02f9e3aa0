package discovery

import (
	"math"
	"regexp"
	"strings"
)

// SecretKind says how a secret is given.
type SecretKind string

// The kinds of secrets.
const (
	SecretLiteral   SecretKind = "literal"   // the value stands there
	SecretReference SecretKind = "reference" // to the environment, a file or a store
	SecretInput     SecretKind = "input"     // the client asks for it
	SecretCommand   SecretKind = "command"   // the client runs something to get it
	SecretEmpty     SecretKind = "empty"
)

// SecretRef says that there is a secret: its name, where it stands, how it is
// given and what it looks like. There is no value in it, and none can be made
// from it.
type SecretRef struct {
	Name  string     `json:"name"`
	Where string     `json:"where"` // env, header, argument, url, field
	Kind  SecretKind `json:"kind"`
	Shape string     `json:"shape,omitempty"` // class of a known prefix, such as github-pat
	// Ref is what a reference names, such as the variable; never a value.
	Ref string `json:"ref,omitempty"`
	// Sensitive says that by its name or its looks it is a secret and not a mere
	// setting: everything in env is told, and not everything there is secret.
	Sensitive bool `json:"sensitive,omitempty"`
}

// shapes are beginnings that say what a secret is.
var shapes = []struct{ prefix, shape string }{
	{"github_pat_", "github-pat"}, {"ghp_", "github-pat"}, {"gho_", "github-oauth"}, {"ghu_", "github-app"}, {"ghs_", "github-app"}, {"ghr_", "github-refresh"},
	{"glpat-", "gitlab-pat"}, {"sk-ant-", "anthropic-key"}, {"sk-proj-", "openai-key"}, {"sk-or-", "openrouter-key"}, {"sk_live_", "stripe-key"}, {"sk_test_", "stripe-key"}, {"rk_live_", "stripe-key"}, {"sk-", "api-key"},
	{"xoxb-", "slack-token"}, {"xoxp-", "slack-token"}, {"xoxa-", "slack-token"}, {"xapp-", "slack-token"}, {"xoxc-", "slack-token"}, {"xoxd-", "slack-token"},
	{"AKIA", "aws-access-key"}, {"ASIA", "aws-access-key"}, {"AIza", "google-api-key"}, {"ya29.", "google-oauth"}, {"GOCSPX-", "google-client-secret"},
	{"npm_", "npm-token"}, {"pypi-", "pypi-token"}, {"hf_", "huggingface-token"}, {"dop_v1_", "digitalocean-token"}, {"dckr_pat_", "docker-pat"},
	{"secret_", "notion-token"}, {"ntn_", "notion-token"}, {"lin_api_", "linear-key"}, {"figd_", "figma-token"}, {"tvly-", "tavily-key"}, {"fc-", "firecrawl-key"}, {"pplx-", "perplexity-key"}, {"SG.", "sendgrid-key"}, {"sbp_", "supabase-token"}, {"pat-", "access-token"}, {"shpat_", "shopify-token"}, {"hvs.", "vault-token"}, {"ATATT3", "atlassian-token"}, {"dapi", "databricks-token"}, {"glsa_", "grafana-token"}, {"eyJ", "jwt"}, {"-----BEGIN ", "private-key"},
}

// shapeMin is the shortest text a known prefix makes a secret.
const shapeMin = 16

// shapeOf names the class of a secret by how it begins, "" if none is known.
func shapeOf(value string) string {
	if len(value) < shapeMin {
		return ""
	}
	for _, s := range shapes {
		if strings.HasPrefix(value, s.prefix) {
			return s.shape
		}
	}
	return ""
}

var (
	inputValue    = regexp.MustCompile(`^\$\{(?:input|prompt|promptString):([A-Za-z0-9_.:-]{1,64})\}$`)
	envValue      = regexp.MustCompile(`^(?:\$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]{0,63})\}|\$([A-Z_][A-Z0-9_]{0,63})|\$env:([A-Za-z_][A-Za-z0-9_]{0,63})|%([A-Za-z_][A-Za-z0-9_]{0,63})%|\{env:([A-Za-z_][A-Za-z0-9_]{0,63})\}|\{\{\s*([A-Za-z_][A-Za-z0-9_.]{0,63})\s*\}\})$`)
	storeValue    = regexp.MustCompile(`^(?:op|se|vault|keyring|keychain|secret|ssm|arn|bw|gopass|pass|doppler|infisical)://`)
	fileValue     = regexp.MustCompile(`^\{file:[^{}]*\}$|^\$\{file:[^{}]*\}$`)
	commandValue  = regexp.MustCompile("\\$\\(|`")
	embeddedInput = regexp.MustCompile(`\$\{(?:input|prompt|promptString):[A-Za-z0-9_.:-]{1,64}\}`)
	embeddedEnv   = regexp.MustCompile(`\$\{(?:env:)?[A-Za-z_][A-Za-z0-9_]{0,63}\}|\{env:[A-Za-z_][A-Za-z0-9_]{0,63}\}|\{\{\s*[A-Za-z_][A-Za-z0-9_.]{0,63}\s*\}\}|\$env:[A-Za-z_][A-Za-z0-9_]{0,63}`)
	schemeWord    = regexp.MustCompile(`(?i)^(?:bearer|basic|token|apikey|api-key|key)\s+`)
	secretName    = regexp.MustCompile(`(?i)(?:^|[_.-])(?:token|key|secrets?|passw(?:or)?ds?|passphrase|passcode|pwd|pw|pin|pass|pat|auth|authorization|cookies?|credentials?|creds?|bearer|session|signature|sig|jwt|apikeys?|api[_-]keys|dsn)(?:$|[_.-])|apikey|accesskey|secretkey|privatekey|connectionstring|database_?url|(?:token|secret|password|passwd|passphrase)$`)
	hump          = regexp.MustCompile(`([a-z0-9])([A-Z])`)
)

// Secret says what value, which is called name and stands in where, is. The value
// is not kept.
func Secret(name, where, value string) SecretRef {
	ref := SecretRef{Name: name, Where: where, Kind: SecretLiteral}
	bare := schemeWord.ReplaceAllString(strings.TrimSpace(value), "")
	switch {
	case bare == "":
		ref.Kind = SecretEmpty
	case commandValue.MatchString(bare):
		ref.Kind = SecretCommand
	case inputValue.MatchString(bare):
		ref.Kind, ref.Ref = SecretInput, inputValue.FindStringSubmatch(bare)[1]
	case envValue.MatchString(bare):
		ref.Kind, ref.Ref = SecretReference, strings.Join(envValue.FindStringSubmatch(bare)[1:], "")
	case storeValue.MatchString(bare), fileValue.MatchString(bare):
		ref.Kind = SecretReference
	case embeddedInput.MatchString(bare) && !Sensitive(embeddedInput.ReplaceAllString(bare, "")):
		ref.Kind = SecretInput
	case embeddedEnv.MatchString(bare) && !Sensitive(embeddedEnv.ReplaceAllString(bare, "")):
		ref.Kind = SecretReference
	default:
		ref.Shape = shapeOf(bare)
		ref.Sensitive = where == "url" || SecretName(name) || Sensitive(bare)
	}
	return ref
}

// SecretName reports whether what is called name is a secret by its name, as
// words_with_dashes or camelCase.
func SecretName(name string) bool {
	return secretName.MatchString(name) || secretName.MatchString(hump.ReplaceAllString(name, "${1}_${2}"))
}

// Sensitive reports whether s looks like a secret by itself: a known beginning,
// or long text nobody writes by hand.
func Sensitive(s string) bool {
	if shapeOf(s) != "" || base64Text.MatchString(s) && strings.ContainsAny(s, "0123456789") && bits(s) > base64Bits {
		return true
	}
	for word := range strings.FieldsFuncSeq(s, func(r rune) bool { return strings.ContainsRune(" ,;:=&?/@\\\"'<>()[]{}", r) }) {
		if shapeOf(word) != "" || randomLooking(word) {
			return true
		}
	}
	return false
}

// randomMin is the shortest word that can look random.
const randomMin = 20

// randomLooking reports whether word is long, mixes letters with digits and has
// more than 3.2 bits a character.
func randomLooking(word string) bool {
	if len(word) < randomMin {
		return false
	}
	letters, digits := 0, 0
	for _, r := range word {
		switch {
		case r >= '0' && r <= '9':
			digits++
		case r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z':
			letters++
		}
	}
	return letters > 0 && digits > 1 && bits(word) > 3.2
}

// base64Text may be a path too: its slashes part nothing then. Paths of that
// length have fewer bits a character than what is random.
var base64Text = regexp.MustCompile(`^[A-Za-z0-9+/]{32,}={0,2}$`)

const base64Bits = 4.5

// bits are those a character of a text carries, by how often each is there.
func bits(word string) float64 {
	count, total := map[rune]int{}, 0
	for _, r := range word {
		count[r]++
		total++
	}
	sum := 0.0
	for _, n := range count {
		p := float64(n) / float64(total)
		sum -= p * math.Log2(p)
	}
	return sum
}

// counts reports whether a reference is of a secret and not of a setting.
func (r SecretRef) counts() bool {
	switch r.Kind {
	case SecretLiteral:
		return r.Sensitive
	case SecretInput, SecretCommand:
		return true
	case SecretReference:
		return SecretName(r.Name) || r.Where != "env"
	default:
		return false
	}
}
