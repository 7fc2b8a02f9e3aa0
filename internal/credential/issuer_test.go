package credential_test

import (
	"context"
	"crypto/tls"
	"net/http"
	"strings"
	"testing"
	"time"

	"rutile/internal/access"
	"rutile/internal/credential"
	"rutile/internal/rawjson"
)

// way leads anywhere, as no environment says.
func way(t *tls.Config) (http.RoundTripper, error) {
	return &http.Transport{TLSClientConfig: t, DisableCompression: true}, nil
}

// issuersOf returns issuers over a vault that holds seeds by name.
func issuersOf(t *testing.T, seeds map[string]string, wait func(context.Context, time.Duration) error) *credential.Issuers {
	t.Helper()
	v := vault(t, t.TempDir(), &memory{rows: map[string]credential.Secret{}})
	for id, value := range seeds {
		if _, err := v.Set(t.Context(), credential.Secret{ID: id, MaxTier: 3}, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	i, err := credential.NewIssuers(v, way, nil, wait)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Close)
	return i
}

// callOf is a call of a tool by an agent for a person.
func callOf(s credential.Source, tool, arguments string) credential.Need {
	r := credential.LeaseRequest{
		Ref: s.ID, Server: "up", Origin: "https://up.example", Decision: access.NewID(access.PrefixDecision), Outcome: access.Permit, Tier: 1,
		Method: "tools/call", Kind: access.KindTool, Tool: tool,
		Who: access.Identity{Actor: access.Actor{Agent: "release-bot"}, Subject: access.Subject{Issuer: "https://idp.example", ID: "ada@example.com"}, Session: "ses1", Task: "tsk1"},
	}
	if tool == "" {
		r.Method, r.Kind = "tools/list", access.KindServer
	}
	if arguments != "" {
		v, err := rawjson.Parse([]byte(arguments), rawjson.Limits{})
		if err != nil {
			panic(err)
		}
		r.Arguments = v
	}
	return credential.Need{Source: &s, LeaseRequest: r}
}

// noCanary fails if an error shows anything secret.
func noCanary(t *testing.T, err error) {
	t.Helper()
	for ; err != nil; err = unwrapped(err) {
		if strings.Contains(err.Error(), "canary") {
			t.Errorf("the error shows a secret: %v", err)
		}
	}
}

func unwrapped(err error) error {
	if u, ok := err.(interface{ Unwrap() error }); ok {
		return u.Unwrap()
	}
	return nil
}

func texts(m credential.Minted) map[string]string {
	out := map[string]string{}
	for k, v := range m.Values {
		out[k] = string(v)
	}
	return out
}
