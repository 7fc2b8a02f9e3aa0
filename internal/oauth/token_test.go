package oauth_test

import (
	"bytes"
	"encoding/json"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"rutile/internal/identity"
	"rutile/internal/oauth"
)

func record(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestTokenAnswersAreNotStored(t *testing.T) {
	g := newGateway(t, oauth.Config{})
	for _, a := range []answer{g.post(g.good().Encode()), g.post(""), g.do(g.request("GET", "/oauth/token", ""))} {
		if cc := a.header.Get("Cache-Control"); cc != "no-store" {
			t.Errorf("%d: Cache-Control %q", a.status, cc)
		}
	}
}

// TestParameters is the family Parameters of access.md 1.7. Each case changes
// one thing about a request that is otherwise good.
func TestParameters(t *testing.T) {
	g := newGateway(t, oauth.Config{AddressBurst: 10_000, AgentBurst: 10_000})
	files := g.url + "/mcp/files"
	set := func(name string, values ...string) func(url.Values) {
		return func(v url.Values) { v[name] = values }
	}
	raw := func(s string) func(url.Values) string {
		return func(v url.Values) string { return v.Encode() + s }
	}
	for name, c := range map[string]struct {
		change func(url.Values)
		encode func(url.Values) string
		status int
		code   string
	}{
		"good":                         {nil, nil, 200, ""},
		"no scope":                     {set("scope"), nil, 200, ""},
		"empty scope is no scope":      {set("scope", ""), nil, 200, ""},
		"client_id of the agent":       {set("client_id", "release-bot"), nil, 200, ""},
		"unknown parameter ignored":    {set("x-vendor", "1"), nil, 200, ""},
		"grant_type missing":           {set("grant_type"), nil, 400, "invalid_request"},
		"grant_type empty":             {set("grant_type", ""), nil, 400, "invalid_request"},
		"grant_type twice":             {set("grant_type", "client_credentials", "client_credentials"), nil, 400, "invalid_request"},
		"grant_type password":          {set("grant_type", "password"), nil, 400, "unsupported_grant_type"},
		"grant_type code":              {set("grant_type", "authorization_code"), nil, 400, "unsupported_grant_type"},
		"grant_type refresh":           {set("grant_type", "refresh_token"), nil, 400, "unsupported_grant_type"},
		"grant_type exchange":          {set("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"), nil, 400, "unsupported_grant_type"},
		"grant_type capitals":          {set("grant_type", "Client_Credentials"), nil, 400, "unsupported_grant_type"},
		"resource missing":             {set("resource"), nil, 400, "invalid_target"},
		"resource empty":               {set("resource", ""), nil, 400, "invalid_target"},
		"two resources":                {set("resource", files, g.url+"/mcp"), nil, 400, "invalid_target"},
		"the same resource twice":      {set("resource", files, files), nil, 400, "invalid_target"},
		"an empty and a good resource": {set("resource", "", files), nil, 400, "invalid_target"},
		"resource with slash":          {set("resource", files+"/"), nil, 400, "invalid_target"},
		"resource with fragment":       {set("resource", files+"#x"), nil, 400, "invalid_target"},
		"resource relative":            {set("resource", "/mcp/files"), nil, 400, "invalid_target"},
		"resource of another host":     {set("resource", "https://evil.example/mcp/files"), nil, 400, "invalid_target"},
		"resource array":               {set("resource[]", files), nil, 400, "invalid_request"},
		"resource indexed":             {set("resource[0]", files), nil, 400, "invalid_request"},
		"resource in capitals":         {set("Resource", files), nil, 400, "invalid_request"},
		"resource with blank":          {set(" resource", files), nil, 400, "invalid_request"},
		"grant.type":                   {set("grant.type", "password"), nil, 400, "invalid_request"},
		"scope unknown":                {set("scope", "mcp admin"), nil, 400, "invalid_scope"},
		"scope twice":                  {set("scope", "mcp", "mcp"), nil, 400, "invalid_request"},
		"scope twice, one empty":       {set("scope", "mcp", ""), nil, 400, "invalid_request"},
		"client_id other":              {set("client_id", "other-bot"), nil, 401, "invalid_client"},
		"client_id twice":              {set("client_id", "release-bot", "other-bot"), nil, 400, "invalid_request"},
		"client_secret":                {set("client_secret", "s"), nil, 401, "invalid_client"},
		"assertion missing":            {set("client_assertion"), nil, 401, "invalid_client"},
		"assertion type missing":       {set("client_assertion_type"), nil, 401, "invalid_client"},
		"neither":                      {func(v url.Values) { v.Del("client_assertion"); v.Del("client_assertion_type") }, nil, 401, "invalid_client"},
		"assertion twice":              {set("client_assertion", "a", "b"), nil, 400, "invalid_request"},
		"assertion of another agent":   {set("client_assertion", g.assertion("release-bot", g.other)), nil, 401, "invalid_client"},
		"assertion oversized":          {set("client_assertion", strings.Repeat("a", 16<<10+1)), nil, 400, "invalid_request"},
		"unknown parameter twice":      {set("x-vendor", "1", "2"), nil, 400, "invalid_request"},
		"value oversized":              {set("scope", strings.Repeat("m", 2<<10+1)), nil, 400, "invalid_request"},
		"name oversized":               {set(strings.Repeat("n", 65), "1"), nil, 400, "invalid_request"},
		"control character":            {set("scope", "mcp\x00"), nil, 400, "invalid_request"},
		"not UTF-8":                    {set("scope", "mcp\xff"), nil, 400, "invalid_request"},
		"bad escape":                   {nil, raw("&a=%zz"), 400, "invalid_request"},
		"semicolon":                    {nil, raw(";scope=admin"), 400, "invalid_request"},
		"empty pair":                   {nil, raw("&"), 400, "invalid_request"},
		"no name":                      {nil, raw("&=x"), 400, "invalid_request"},
		"too many":                     {nil, raw(strings.Repeat("&a=1", 40)), 400, "invalid_request"},
		"empty body":                   {nil, func(url.Values) string { return "" }, 400, "invalid_request"},
		"JSON body":                    {nil, func(url.Values) string { return `{"grant_type":"client_credentials"}` }, 400, "invalid_request"},
		"over 64 KiB":                  {nil, raw("&x=" + strings.Repeat("a", 64<<10)), 413, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			g.t = t
			form := g.good()
			if c.change != nil {
				c.change(form)
			}
			body := form.Encode()
			if c.encode != nil {
				body = c.encode(form)
			}
			check(t, g.post(body), c.status, c.code)
		})
	}
}

// check checks an answer of the token endpoint.
func check(t *testing.T, a answer, status int, code string) {
	t.Helper()
	if a.status != status || a.fields.Error != code {
		t.Fatalf("%d %s, want %d %s", a.status, a.body, status, code)
	}
	if (a.fields.Token != "") != (status == 200) {
		t.Errorf("token %q", a.fields.Token)
	}
	if status != 200 && a.fields.Description == "" {
		t.Error("the refusal does not say why")
	}
	if strings.ContainsAny(a.fields.Description, "\"\\") {
		t.Errorf("%q holds a character RFC 6749 does not allow", a.fields.Description)
	}
	if (a.header.Get("WWW-Authenticate") != "") != (status == 401) {
		t.Errorf("%d with challenge %q", status, a.header.Get("WWW-Authenticate"))
	}
}

func TestParametersComeFromTheBodyOnly(t *testing.T) {
	g := newGateway(t, oauth.Config{})
	for name, edit := range map[string]func(*http.Request){
		"disagreeing query":   func(r *http.Request) { r.URL.RawQuery = "resource=" + url.QueryEscape(g.url+"/mcp") },
		"agreeing query":      func(r *http.Request) { r.URL.RawQuery = "grant_type=client_credentials" },
		"empty query":         func(r *http.Request) { r.URL.ForceQuery = true },
		"JSON":                func(r *http.Request) { r.Header.Set("Content-Type", "application/json") },
		"no content type":     func(r *http.Request) { r.Header.Del("Content-Type") },
		"two content types":   func(r *http.Request) { r.Header.Add("Content-Type", "application/json") },
		"broken content type": func(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded; a") },
		"compressed":          func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") },
	} {
		t.Run(name, func(t *testing.T) {
			g.t = t
			r := g.request("POST", "/oauth/token", g.good().Encode())
			edit(r)
			check(t, g.do(r), 400, "invalid_request")
		})
	}
	t.Run("multipart", func(t *testing.T) {
		g.t = t
		var b bytes.Buffer
		m := multipart.NewWriter(&b)
		for name, v := range g.good() {
			m.WriteField(name, v[0])
		}
		m.Close()
		r := g.request("POST", "/oauth/token", b.String())
		r.Header.Set("Content-Type", m.FormDataContentType())
		check(t, g.do(r), 400, "invalid_request")
	})
	t.Run("charset", func(t *testing.T) {
		g.t = t
		r := g.request("POST", "/oauth/token", g.good().Encode())
		r.Header.Set("Content-Type", "Application/X-WWW-Form-Urlencoded; charset=UTF-8")
		check(t, g.do(r), 200, "")
	})
}

func TestOneWayToAuthenticate(t *testing.T) {
	g := newGateway(t, oauth.Config{})
	for _, h := range []string{"Basic cmVsZWFzZS1ib3Q6cw==", "Bearer x", ""} {
		r := g.request("POST", "/oauth/token", g.good().Encode())
		r.Header["Authorization"] = []string{h}
		check(t, g.do(r), 401, "invalid_client")
	}
}

func TestReplayedAssertionIsRefused(t *testing.T) {
	g := newGateway(t, oauth.Config{})
	body := g.good().Encode()
	check(t, g.post(body), 200, "")
	check(t, g.post(body), 401, "invalid_client")
}

func TestUnreadableStoreIsUnavailable(t *testing.T) {
	g := newGateway(t, oauth.Config{})
	g.store.down = errDown
	a := g.post(g.good().Encode())
	check(t, a, 503, "temporarily_unavailable")
	if strings.Contains(string(a.body), "fire") || !strings.Contains(g.log.String(), "fire") {
		t.Errorf("the cause belongs in the log and nowhere else:\n%s\n%s", a.body, g.log)
	}
}

// TestNoSecretInLogs: neither assertions nor tokens, accepted or refused.
func TestNoSecretInLogs(t *testing.T) {
	g := newGateway(t, oauth.Config{})
	form := g.good()
	a := g.post(form.Encode())
	check(t, a, 200, "")
	check(t, g.post(form.Encode()), 401, "invalid_client") // replay
	assertion := form.Get("client_assertion")
	broken := strings.Replace(assertion, ".", ".!", 1)
	form.Set("client_assertion", broken)
	check(t, g.post(form.Encode()), 401, "invalid_client")
	if g.log.Len() == 0 {
		t.Fatal("nothing was logged, so this test shows nothing")
	}
	parts := slices.Concat(strings.Split(a.fields.Token, "."), strings.Split(assertion, "."))
	for _, secret := range parts {
		if strings.Contains(g.log.String(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
}

func TestAgentIsLimited(t *testing.T) {
	now := time.Now()
	g := newGateway(t, oauth.Config{AgentRate: 1, AgentBurst: 3, Now: func() time.Time { return now }})
	as := func(agent string) answer {
		form := g.good()
		if agent == "other-bot" {
			form.Set("client_assertion", g.assertion("other-bot", g.other))
		}
		return g.post(form.Encode())
	}
	// A stranger who names the agent does not count against it.
	for range 10 {
		form := g.good()
		form.Set("client_assertion", g.assertion("release-bot", g.other))
		check(t, g.post(form.Encode()), 401, "invalid_client")
	}
	for range 3 {
		check(t, as("release-bot"), 200, "")
	}
	a := as("release-bot")
	check(t, a, 429, "temporarily_unavailable")
	wait, err := strconv.Atoi(a.header.Get("Retry-After"))
	if err != nil || wait != 1 {
		t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
	}
	check(t, as("other-bot"), 200, "")
	now = now.Add(time.Duration(wait) * time.Second)
	check(t, as("release-bot"), 200, "")
	check(t, as("release-bot"), 429, "temporarily_unavailable")
}

func TestAddressIsLimitedBeforeAnythingIsRead(t *testing.T) {
	now := time.Now()
	g := newGateway(t, oauth.Config{AddressRate: 1, AddressBurst: 2, Now: func() time.Time { return now }})
	body := g.good().Encode()
	check(t, g.post(""), 400, "invalid_request")
	check(t, g.post(""), 400, "invalid_request")
	for _, forwarded := range []string{"", "10.0.0.1", "10.0.0.2"} {
		r := g.request("POST", "/oauth/token", body)
		r.Header.Set("X-Forwarded-For", forwarded)
		check(t, g.do(r), 429, "temporarily_unavailable")
	}
	now = now.Add(time.Second)
	check(t, g.post(body), 200, "") // so the refused ones did not use it
}

// FuzzForm: what is accepted means the same to a reader that takes the first
// value, one that takes the last and one that folds names.
func FuzzForm(f *testing.F) {
	f.Add("grant_type=client_credentials&resource=a&resource=b")
	f.Add("Scope=a&scope=b")
	f.Add("a=%zz;&&=&scope%5B%5D=x")
	f.Add("scope=%00&%ff=1")
	f.Fuzz(func(t *testing.T, body string) {
		form, err := oauth.ParseForm(body)
		if err != nil {
			if form != nil {
				t.Fatal("a form came with the error")
			}
			return
		}
		theirs, err := url.ParseQuery(body)
		if err != nil {
			t.Fatalf("%q is accepted, the standard library says %v", body, err)
		}
		for name, values := range form {
			if len(values) > 1 && name != "resource" {
				t.Fatalf("%q: %q stands %d times", body, name, len(values))
			}
			if !slices.Equal(values, theirs[name]) {
				t.Fatalf("%q: %q is %q here and %q there", body, name, values, theirs[name])
			}
			if lower := strings.ToLower(name); lower != name && oauth.Known(lower) {
				t.Fatalf("%q: %q passes for %q", body, name, lower)
			}
		}
		if len(form) != len(theirs) {
			t.Fatalf("%q: %d names here, %d there", body, len(form), len(theirs))
		}
	})
}

// TestDescriptionsNameTheNextStep reads every refusal of a bare request.
func TestDescriptionsNameTheNextStep(t *testing.T) {
	g := newGateway(t, oauth.Config{})
	a := g.post("grant_type=client_credentials")
	var e map[string]string
	if err := json.Unmarshal(a.body, &e); err != nil || !strings.Contains(e["error_description"], identity.AssertionType) {
		t.Errorf("%s", a.body)
	}
}
