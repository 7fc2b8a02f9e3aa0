package identity_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/access"
	"rutile/internal/identity"
)

func split(token string) []string { return strings.Split(token, ".") }

func TestVerifyReturnsWhoActs(t *testing.T) {
	w := newWorld(t)
	tok := w.token()
	want := access.Identity{
		Actor:   access.Actor{Agent: "release-bot", Source: "private_key_jwt", Attested: true},
		Session: tok.Session,
		TokenID: tok.ID,
		Scope:   "mcp",
		Expires: w.clock.now().Add(5 * time.Minute).UTC(),
		Epoch:   w.revoked.Position(),
	}
	for _, pass := range []string{"in full", "from the cache"} {
		got, err := w.Verify(t.Context(), tok.Value, files)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", pass, d)
		}
	}
	if n := w.store.loads.Load(); n != 1 {
		t.Errorf("the session was loaded %d times, want 1: the second pass was not from the cache", n)
	}
}

func TestTokenHasTheClaimsOfRFC9068(t *testing.T) {
	w := newWorld(t)
	tok := w.token()
	if d := cmp.Diff(object{"alg": "EdDSA", "typ": "at+jwt", "kid": header(t, tok.Value)["kid"]}, header(t, tok.Value)); d != "" {
		t.Errorf("header (-want +got):\n%s", d)
	}
	now := float64(w.clock.now().Unix())
	want := object{
		"iss": issuer, "aud": files, "exp": now + 300, "iat": now, "jti": tok.ID, "client_id": "release-bot", "scope": "mcp",
		"sub": "release-bot", "agent": object{"id": "release-bot"}, "sid": tok.Session, "epoch": float64(w.revoked.Position()),
	}
	if d := cmp.Diff(want, payload(t, tok.Value)); d != "" {
		t.Errorf("claims (-want +got):\n%s", d)
	}
}

// TestWrongAudience401 is row 2 of the security checklist in mcp.md: also for a
// token that was just accepted elsewhere, so also from the cache.
func TestWrongAudience401(t *testing.T) {
	w := newWorld(t)
	tok := w.token()
	for _, warm := range []bool{false, true} {
		if warm {
			if _, err := w.Verify(t.Context(), tok.Value, files); err != nil {
				t.Fatal(err)
			}
		}
		for _, resource := range []string{releases, files + "/", files + "2", issuer + "/mcp/file", issuer + "/mcp", issuer, "HTTPS://mcp.example.com/mcp/files", strings.Replace(files, ".com", ".com:443", 1), ""} {
			who, err := w.Verify(t.Context(), tok.Value, resource)
			status, challenge := identity.Challenge(err, identity.ResourceMetadataURL(resource), identity.Scope)
			if status != 401 || !strings.HasPrefix(challenge, `Bearer error="invalid_token", `) {
				t.Errorf("warm %v, resource %q: %d %s", warm, resource, status, challenge)
			}
			if who != (access.Identity{}) {
				t.Errorf("warm %v, resource %q: an identity came with the error", warm, resource)
			}
		}
	}
}

// TestTokenCorpus is the family Token of access.md 1.7. Every token is signed
// with our own key unless the case says otherwise, so each fails for its reason
// alone; the first case shows that the forge works.
func TestTokenCorpus(t *testing.T) {
	w := newWorld(t)
	private, kid := w.signer()
	public := private.Public().(ed25519.PublicKey)
	stranger := newEd25519(t)
	claims := payload(t, w.token().Value)
	head := object{"alg": "EdDSA", "typ": "at+jwt", "kid": kid}
	now := w.clock.now().Unix()
	jwk := publicJWK(stranger, kid)
	agent := w.assertion()

	cases := map[string]struct {
		header, claims any
		key            any
		want           identity.Problem
	}{
		"good":                              {head, claims, private, ""},
		"alg none":                          {with(head, object{"alg": "none"}), claims, nil, identity.ProblemInvalid},
		"alg None":                          {with(head, object{"alg": "None"}), claims, nil, identity.ProblemInvalid},
		"alg missing":                       {with(head, object{"alg": nil}), claims, private, identity.ProblemInvalid},
		"HS256 with the public key":         {with(head, object{"alg": "HS256"}), claims, []byte(public), identity.ProblemInvalid},
		"HS256 with the public JWK":         {with(head, object{"alg": "HS256"}), claims, []byte(publicJWK(private, kid)), identity.ProblemInvalid},
		"ES256 label on our signature":      {with(head, object{"alg": "ES256"}), claims, private, identity.ProblemInvalid},
		"kid path":                          {with(head, object{"kid": "../../../../dev/null"}), claims, private, identity.ProblemInvalid},
		"kid of nobody":                     {with(head, object{"kid": "x"}), claims, private, identity.ProblemInvalid},
		"kid missing":                       {with(head, object{"kid": nil}), claims, private, identity.ProblemInvalid},
		"kid not a string":                  {with(head, object{"kid": 1}), claims, private, identity.ProblemInvalid},
		"jwk obeyed":                        {with(head, object{"jwk": jwk}), claims, stranger, identity.ProblemInvalid},
		"jwk on our own":                    {with(head, object{"jwk": jwk}), claims, private, identity.ProblemInvalid},
		"jku":                               {with(head, object{"jku": "http://127.0.0.1/jwks"}), claims, private, identity.ProblemInvalid},
		"x5u":                               {with(head, object{"x5u": "http://127.0.0.1/cert"}), claims, private, identity.ProblemInvalid},
		"x5c":                               {with(head, object{"x5c": []string{}}), claims, private, identity.ProblemInvalid},
		"crit":                              {with(head, object{"crit": []string{"b64"}, "b64": false}), claims, private, identity.ProblemInvalid},
		"another key":                       {head, claims, stranger, identity.ProblemInvalid},
		"typ missing":                       {with(head, object{"typ": nil}), claims, private, identity.ProblemInvalid},
		"typ JWT: an id token":              {with(head, object{"typ": "JWT"}), claims, private, identity.ProblemInvalid},
		"typ of an ID-JAG":                  {with(head, object{"typ": "oauth-id-jag+jwt"}), claims, private, identity.ProblemInvalid},
		"typ in capitals":                   {with(head, object{"typ": "AT+JWT"}), claims, private, identity.ProblemInvalid},
		"typ twice":                         {`{"alg":"EdDSA","typ":"JWT","typ":"at+jwt","kid":"` + kid + `"}`, claims, private, identity.ProblemInvalid},
		"two audiences":                     {head, with(claims, object{"aud": []string{files, releases}}), private, identity.ProblemInvalid},
		"one audience in an array":          {head, with(claims, object{"aud": []string{files}}), private, identity.ProblemInvalid},
		"audience prefix":                   {head, with(claims, object{"aud": files[:len(files)-1]}), private, identity.ProblemInvalid},
		"audience longer":                   {head, with(claims, object{"aud": files + "/"}), private, identity.ProblemInvalid},
		"audience missing":                  {head, with(claims, object{"aud": nil}), private, identity.ProblemInvalid},
		"audience twice":                    {head, `{"aud":"` + releases + `","aud":"` + files + `"}`, private, identity.ProblemInvalid},
		"issuer other":                      {head, with(claims, object{"iss": "https://evil.example"}), private, identity.ProblemInvalid},
		"issuer with slash":                 {head, with(claims, object{"iss": issuer + "/"}), private, identity.ProblemInvalid},
		"issuer missing":                    {head, with(claims, object{"iss": nil}), private, identity.ProblemInvalid},
		"expired by 60 s":                   {head, with(claims, object{"iat": now - 360, "exp": now - 60}), private, ""},
		"expired by 61 s":                   {head, with(claims, object{"iat": now - 361, "exp": now - 61}), private, identity.ProblemInvalid},
		"exp missing":                       {head, with(claims, object{"exp": nil}), private, identity.ProblemInvalid},
		"exp a string":                      {head, with(claims, object{"exp": "9999999999"}), private, identity.ProblemInvalid},
		"exp before iat":                    {head, with(claims, object{"exp": now - 1}), private, identity.ProblemInvalid},
		"iat 60 s ahead":                    {head, with(claims, object{"iat": now + 60}), private, ""},
		"iat 61 s ahead":                    {head, with(claims, object{"iat": now + 61}), private, identity.ProblemInvalid},
		"iat missing":                       {head, with(claims, object{"iat": nil}), private, identity.ProblemInvalid},
		"jti missing":                       {head, with(claims, object{"jti": nil}), private, identity.ProblemInvalid},
		"session of nobody":                 {head, with(claims, object{"sid": "ses_x"}), private, identity.ProblemInvalid},
		"session missing":                   {head, with(claims, object{"sid": nil}), private, identity.ProblemInvalid},
		"session of another agent":          {head, with(claims, object{"client_id": "other-bot", "sub": "other-bot", "agent": object{"id": "other-bot"}}), private, identity.ProblemInvalid},
		"session of another subject":        {head, with(claims, object{"sub": "alice", "act": object{"sub": "release-bot"}}), private, identity.ProblemInvalid},
		"session of another task":           {head, with(claims, object{"task": "t"}), private, identity.ProblemInvalid},
		"agent unlike client":               {head, with(claims, object{"agent": object{"id": "other-bot"}}), private, identity.ProblemInvalid},
		"person without actor":              {head, with(claims, object{"sub": "alice"}), private, identity.ProblemInvalid},
		"scope missing":                     {head, with(claims, object{"scope": nil}), private, identity.ProblemScope},
		"scope prefix":                      {head, with(claims, object{"scope": "mcp2 mc"}), private, identity.ProblemScope},
		"an assertion of the agent":         {object{"alg": "EdDSA", "typ": "JWT"}, agent, w.key, identity.ProblemInvalid},
		"an assertion dressed as our token": {head, agent, w.key, identity.ProblemInvalid},
		"claims not an object":              {head, `[]`, private, identity.ProblemInvalid},
		"claims not JSON":                   {head, `{`, private, identity.ProblemInvalid},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			token := compact(t, c.header, c.claims, c.key)
			for range 2 { // the second time something may be in the cache
				who, err := w.Verify(t.Context(), token, files)
				if c.want == "" {
					if err != nil || who.Actor.Agent != "release-bot" {
						t.Fatalf("refused: %v", err)
					}
					continue
				}
				if got := problem(err); got != c.want {
					t.Fatalf("problem %q (%v), want %q", got, err, c.want)
				}
				if who != (access.Identity{}) {
					t.Fatal("an identity came with the error")
				}
			}
		})
	}
}

// TestTokenHasOneSpelling changes every byte of an accepted token: none of the
// results is accepted, whether the original is cached or not. The last byte of
// a segment holds bits that a lenient decoder drops.
func TestTokenHasOneSpelling(t *testing.T) {
	w := newWorld(t)
	tok := w.token().Value
	if _, err := w.Verify(t.Context(), tok, files); err != nil {
		t.Fatal(err)
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	refused := func(forged string) {
		if _, err := w.Verify(t.Context(), forged, files); problem(err) != identity.ProblemInvalid {
			t.Errorf("accepted %q, or refused it for another reason: %v", forged, err)
		}
	}
	for i := range tok {
		next := alphabet[(strings.IndexByte(alphabet, tok[i])+1)%len(alphabet)]
		refused(tok[:i] + string(next) + tok[i+1:])
	}
	for i := range len(alphabet) { // every last byte
		if last := alphabet[i]; last != tok[len(tok)-1] {
			refused(tok[:len(tok)-1] + string(last))
		}
	}
	s := split(tok)
	for _, forged := range []string{
		tok + "=", tok + "\n", "\r\n" + tok, s[0] + "=." + s[1] + "." + s[2], s[0] + "\n." + s[1] + "." + s[2], tok + ".", tok + ".x",
		s[0] + "." + s[1] + ".", s[0] + "..", s[0] + "." + s[1], "." + s[1] + "." + s[2], s[0] + ".." + s[2], tok[1:], tok[:len(tok)-1],
		`{"protected":"` + s[0] + `","payload":"` + s[1] + `","signature":"` + s[2] + `"}`,
		base64.StdEncoding.EncodeToString([]byte(tok)), strings.Repeat(tok, 20),
	} {
		refused(forged)
	}
}

func TestVerifyReportsAnUnreadableStoreAsUnavailable(t *testing.T) {
	w := newWorld(t)
	tok := w.token().Value
	w.store.fail(errors.New("disk on fire"))
	who, err := w.Verify(t.Context(), tok, files)
	if access.CodeOf(err) != access.CodeUnavailable || problem(err) != "" || who != (access.Identity{}) {
		t.Fatalf("%v %v", who, err)
	}
	if strings.Contains(err.Error(), "fire") {
		t.Errorf("the cause is shown to the caller: %v", err)
	}
	if status, challenge := identity.Challenge(err, files, "mcp"); status != 503 || challenge != "" {
		t.Errorf("challenge %d %q", status, challenge)
	}
	w.store.fail(nil)
	if _, err := w.Verify(t.Context(), tok, files); err != nil {
		t.Errorf("the failure was remembered: %v", err)
	}
}

func TestBearerTokenReadsExactlyOneHeader(t *testing.T) {
	for _, c := range []struct {
		in   []string
		want string
		err  error
	}{
		{nil, "", identity.ErrNoToken},
		{[]string{""}, "", identity.ErrNoToken},
		{[]string{"Basic YTpi"}, "", identity.ErrNoToken},
		{[]string{"Bearerabc"}, "", identity.ErrNoToken},
		{[]string{"Bearer abc.def-_~+/=="}, "abc.def-_~+/==", nil},
		{[]string{"bEARER   abc "}, "abc", nil},
		{[]string{"Bearer"}, "", identity.ErrMalformed},
		{[]string{"Bearer "}, "", identity.ErrMalformed},
		{[]string{"Bearer =="}, "", identity.ErrMalformed},
		{[]string{"Bearer a b"}, "", identity.ErrMalformed},
		{[]string{"Bearer a,Bearer b"}, "", identity.ErrMalformed},
		{[]string{"Bearer a=b"}, "", identity.ErrMalformed},
		{[]string{"Bearer \"a\""}, "", identity.ErrMalformed},
		{[]string{"Bearer\ta"}, "", identity.ErrNoToken},
		{[]string{"Bearer é"}, "", identity.ErrMalformed},
		{[]string{"Bearer " + strings.Repeat("a", 8<<10+1)}, "", identity.ErrMalformed},
		{[]string{"Bearer a", "Bearer a"}, "", identity.ErrMalformed},
	} {
		got, err := identity.BearerToken(c.in)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%.60q: %q, %v; want %q, %v", c.in, got, err, c.want, c.err)
		}
	}
}

// TestChallengeListsExactScopes is row 12 of the security checklist.
func TestChallengeListsExactScopes(t *testing.T) {
	const meta = "https://mcp.example.com/.well-known/oauth-protected-resource/mcp/files"
	for _, c := range []struct {
		err       error
		scope     string
		status    int
		challenge string
	}{
		{identity.ErrNoToken, "mcp", 401, `Bearer resource_metadata="` + meta + `", scope="mcp"`},
		{&identity.BearerError{Problem: identity.ProblemInvalid, Msg: `it "expired" \ über`}, "mcp", 401,
			`Bearer error="invalid_token", error_description="it 'expired' ' 'ber", resource_metadata="` + meta + `", scope="mcp"`},
		{&identity.BearerError{Problem: identity.ProblemScope, Msg: "more"}, "mcp files:read", 403,
			`Bearer error="insufficient_scope", error_description="more", resource_metadata="` + meta + `", scope="mcp files:read"`},
		{&identity.BearerError{Problem: identity.ProblemMalformed, Msg: "bad"}, "", 400,
			`Bearer error="invalid_request", error_description="bad", resource_metadata="` + meta + `"`},
		{errors.New("boom"), "mcp", 500, ""},
		{&access.Error{Code: access.CodeUnavailable}, "mcp", 503, ""},
	} {
		status, challenge := identity.Challenge(c.err, meta, c.scope)
		if status != c.status || challenge != c.challenge {
			t.Errorf("%v:\n got %d %s\nwant %d %s", c.err, status, challenge, c.status, c.challenge)
		}
	}
}

func TestBearerErrorHasACodeForEveryEdge(t *testing.T) {
	for problem, want := range map[identity.Problem]access.Code{
		identity.ProblemMissing: access.CodeUnauthenticated, identity.ProblemInvalid: access.CodeUnauthenticated,
		identity.ProblemMalformed: access.CodeInvalid, identity.ProblemScope: access.CodeDenied,
	} {
		if got := access.CodeOf(&identity.BearerError{Problem: problem}); got != want {
			t.Errorf("%s: %s, want %s", problem, got, want)
		}
	}
}

func TestResourceHasOneSpelling(t *testing.T) {
	for uri, want := range map[string]string{issuer + "/mcp": "", files: "files"} {
		server, ok := identity.ParseResource(issuer, uri)
		if !ok || server != want || identity.Resource(issuer, server) != uri {
			t.Errorf("%s: %q %v", uri, server, ok)
		}
	}
	for _, uri := range []string{"", issuer, issuer + "/mcp/", files + "/", files + "/x", issuer + "/mcpx", issuer + "/mcp/Files", issuer + "/mcp/fi%6ces",
		issuer + "/mcp/..", files + "?a", files + "#", "http://mcp.example.com/mcp/files", issuer + ":443/mcp/files", issuer + ".evil/mcp/files"} {
		if server, ok := identity.ParseResource(issuer, uri); ok {
			t.Errorf("%s names server %q", uri, server)
		}
	}
	if got, want := identity.ResourceMetadataURL(files), issuer+"/.well-known/oauth-protected-resource/mcp/files"; got != want {
		t.Errorf("metadata at %s, want %s", got, want)
	}
}
