package mcpproxy

import (
	"net/http"
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/gate"
	"rutile/internal/registry"
)

// A server that wants a token even for its lists, which only people have, must
// not be told of with a bare status: the error names what is missing. A server
// without a credential has no such step to take.
func TestListsThatNeedATokenNameTheNextStep(t *testing.T) {
	for _, c := range []struct {
		name   string
		cred   *registry.CredentialRef
		status int
		says   bool
	}{
		{"a credential of people", &registry.CredentialRef{Ref: "mail"}, http.StatusUnauthorized, true},
		{"the same, forbidden", &registry.CredentialRef{Ref: "mail"}, http.StatusForbidden, false},
		{"no credential", nil, http.StatusUnauthorized, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := &exchange{d: &gate.Dispatch{Server: registry.Server{Credential: c.cred}}}
			err := x.refused(t.Context(), &http.Response{StatusCode: c.status, Header: http.Header{}})
			if access.CodeOf(err) == "" {
				t.Fatalf("%v has no code for its caller", err)
			}
			if got := strings.Contains(err.Error(), "listing in the userOAuth of \"mail\""); got != c.says {
				t.Errorf("%v: names listing %v, want %v", err, got, c.says)
			}
		})
	}
}
