package credential_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/access"
	"rutile/internal/credential"
)

const stsPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::{{bucket}}/{{prefix}}/*"}]}`

func stsSource(url string) credential.AWSSTS {
	return credential.AWSSTS{
		Region: "eu-central-1", Endpoint: url, Role: stsRole, AccessKey: stsKeyID, Secret: "seed", ExternalID: "ext:1",
		Tags: map[string]string{"agent": "{{agent}}", "Team": "docs", "for": "{{who}}/{{bucket}}"},
		Slots: map[string]credential.Slot{
			"bucket": {Argument: "/bucket", OneOf: []string{"docs", "site"}}, "prefix": {Argument: "/prefix", Form: "path"},
			"agent": {Fact: "agent"}, "who": {Fact: "subject"},
		},
		Rules: []credential.STSRule{
			{For: credential.For{Tools: []string{"get_*"}}, Policy: stsPolicy},
			{For: credential.For{Tools: []string{"anything"}}, WholeRole: true},
		},
	}
}

func stsMinter(t *testing.T) credential.Minter {
	t.Helper()
	return issuersOf(t, map[string]string{"seed": stsSecret, "jwt": stsJWT}, nil).Minters()[credential.SourceAWSSTS]
}

func stsMint(t *testing.T, s credential.AWSSTS, tool, args string) (credential.Minted, credential.Need, error) {
	t.Helper()
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	n := callOf(credential.Source{ID: "aws", AWSSTS: &s}, tool, args)
	m, err := stsMinter(t).Mint(t.Context(), n)
	return m, n, err
}

func TestSTSSessionIsForTheCall(t *testing.T) {
	a := newSTS(t)
	m, n, err := stsMint(t, stsSource(a.URL), "get_object", `{"bucket":"docs","prefix":"2026/q1"}`)
	if err != nil {
		t.Fatalf("%v: %s", err, a.why)
	}
	form := a.last()
	want := map[string]string{
		"Action": "AssumeRole", "RoleArn": stsRole, "ExternalId": "ext:1", "DurationSeconds": "900", "SourceIdentity": "release-bot", "RoleSessionName": n.Decision,
		"Policy":            strings.NewReplacer("{{bucket}}", "docs", "{{prefix}}", "2026/q1").Replace(stsPolicy),
		"Tags.member.1.Key": "Team", "Tags.member.1.Value": "docs", "Tags.member.2.Key": "agent", "Tags.member.2.Value": "release-bot",
		"Tags.member.3.Key": "for", "Tags.member.3.Value": "ada@example.com/docs", "Version": "2011-06-15",
	}
	got := map[string]string{}
	for k := range form {
		got[k] = form.Get(k)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"secret": "canarySecretAccessKey1/x+y", "session_token": "canarySessionToken1//AQoDYXdzEPT"}, texts(m)); diff != "" {
		t.Error(diff)
	}
	if m.Plain["access_key_id"] != "ASIAIOSFODNN7EXAMPL1" || m.Version != "ASIAIOSFODNN7EXAMPL1" || m.Revoke != nil || strings.Contains(m.Narrowed, "canary") {
		t.Errorf("plain %v, version %q, narrowed %q", m.Plain, m.Version, m.Narrowed)
	}
	if left := time.Until(m.Expires); left > 15*time.Minute || left < 14*time.Minute {
		t.Errorf("it expires in %v", left)
	}
}

// TestSTSArgumentsStayText: what an argument says can neither end the text it
// stands in nor mean more than itself.
func TestSTSArgumentsStayText(t *testing.T) {
	a := newSTS(t)
	for name, args := range map[string]string{
		"a quote":          `{"bucket":"docs","prefix":"x\"],\"Effect\":\"Allow"}`,
		"a star":           `{"bucket":"docs","prefix":"*"}`,
		"a star in it":     `{"bucket":"docs","prefix":"a/*/b"}`,
		"a question mark":  `{"bucket":"docs","prefix":"a?"}`,
		"a variable":       `{"bucket":"docs","prefix":"${aws:username}"}`,
		"a place":          `{"bucket":"docs","prefix":"{{bucket}}"}`,
		"a backslash":      `{"bucket":"docs","prefix":"a\\u002a"}`,
		"upwards":          `{"bucket":"docs","prefix":"a/../b"}`,
		"here":             `{"bucket":"docs","prefix":"./a"}`,
		"nothing between":  `{"bucket":"docs","prefix":"a//b"}`,
		"from the root":    `{"bucket":"docs","prefix":"/a"}`,
		"to the end":       `{"bucket":"docs","prefix":"a/"}`,
		"empty":            `{"bucket":"docs","prefix":""}`,
		"missing":          `{"bucket":"docs"}`,
		"a number":         `{"bucket":"docs","prefix":1}`,
		"a blank":          `{"bucket":"docs","prefix":"a b"}`,
		"a line":           `{"bucket":"docs","prefix":"a\nb"}`,
		"a nul":            `{"bucket":"docs","prefix":"a\u0000"}`,
		"another alphabet": `{"bucket":"docs","prefix":"аdmin"}`,
		"long":             `{"bucket":"docs","prefix":"` + strings.Repeat("a", 257) + `"}`,
		"not listed":       `{"bucket":"secrets","prefix":"a"}`,
		"listed, and more": `{"bucket":"docs/*","prefix":"a"}`,
		"a colon":          `{"bucket":"docs","prefix":"a:b"}`,
		"two of one name":  `{"bucket":"docs","Bucket":"site","prefix":"a"}`,
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := stsMint(t, stsSource(a.URL), "get_object", args); access.CodeOf(err) != access.CodeDenied {
				t.Errorf("got %v", err)
			}
			if n := a.count(); n != 0 {
				t.Errorf("STS was asked %d times", n)
			}
		})
	}
}

func TestSTSWhoMustFit(t *testing.T) {
	a := newSTS(t)
	for name, c := range map[string]struct {
		agent, subject, source, want string
	}{
		"agent":         {"release-bot", "ada", "", "release-bot"},
		"subject":       {"release-bot", "ada@example.com", "subject", "ada@example.com"},
		"no subject":    {"release-bot", "", "subject", ""},
		"a blank in it": {"release-bot", "ada lovelace", "subject", ""},
		"with a colon":  {"release-bot", "aws:root", "subject", ""},
		"of one letter": {"r", "ada", "", ""},
		"too long":      {"release-bot", strings.Repeat("a", 65), "subject", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := stsSource(a.URL)
			s.SourceIdentity, s.Tags = c.source, nil
			n := callOf(credential.Source{ID: "aws", AWSSTS: &s}, "anything", `{}`)
			n.Who.Actor.Agent, n.Who.Subject.ID = c.agent, c.subject
			_, err := stsMinter(t).Mint(t.Context(), n)
			switch {
			case c.want == "" && access.CodeOf(err) != access.CodeDenied:
				t.Errorf("got %v", err)
			case c.want != "" && (err != nil || a.last().Get("SourceIdentity") != c.want || a.last().Has("Policy")):
				t.Errorf("source identity %q, error %v", a.last().Get("SourceIdentity"), err)
			}
		})
	}
}

// TestSTSSessionIsUsedAgainOnlyForTheSame: as it cannot be revoked, a call that
// would be given the same is given this one, and no other.
func TestSTSSessionIsUsedAgainOnlyForTheSame(t *testing.T) {
	s := stsSource("https://sts.example")
	m := stsMinter(t)
	key := func(tool, args string, change func(n *credential.Need)) string {
		n := callOf(credential.Source{ID: "aws", AWSSTS: &s}, tool, args)
		if change != nil {
			change(&n)
		}
		return m.ReuseKey(n)
	}
	first := key("get_object", `{"bucket":"docs","prefix":"a"}`, nil)
	if first == "" || key("get_head", `{"prefix":"a","bucket":"docs","x":1}`, nil) != first {
		t.Error("the same narrowing has another key")
	}
	for name, other := range map[string]string{
		"prefix":  key("get_object", `{"bucket":"docs","prefix":"b"}`, nil),
		"bucket":  key("get_object", `{"bucket":"site","prefix":"a"}`, nil),
		"agent":   key("get_object", `{"bucket":"docs","prefix":"a"}`, func(n *credential.Need) { n.Who.Actor.Agent = "other" }),
		"subject": key("get_object", `{"bucket":"docs","prefix":"a"}`, func(n *credential.Need) { n.Who.Subject.ID = "bob" }),
		"refused": key("get_object", `{"bucket":"docs","prefix":"*"}`, nil),
		"no rule": key("put", `{"bucket":"docs","prefix":"a"}`, nil),
	} {
		if other == first {
			t.Errorf("another %s has the same key", name)
		}
	}
}

func TestSTSAnswersThatAreNone(t *testing.T) {
	change := func(old, new string) func(*stsServer) {
		return func(s *stsServer) { s.change = func(a string) string { return strings.Replace(a, old, new, 1) } }
	}
	fault := func(f func(w http.ResponseWriter)) func(*stsServer) {
		return func(s *stsServer) { s.fault = func(w http.ResponseWriter) bool { f(w); return true } }
	}
	for name, c := range map[string]struct {
		prepare func(*stsServer)
		code    access.Code
	}{
		"longer than asked": {func(s *stsServer) { s.life = time.Hour }, access.CodeUpstream},
		"no token":          {change("<SessionToken>", "<Other>"), access.CodeUpstream},
		"no end":            {change("Expiration>", "Expires>"), access.CodeUpstream},
		"another source":    {change("<SourceIdentity>release-bot", "<SourceIdentity>somebody"), access.CodeUpstream},
		"another session":   {change("/dec_", "/other_"), access.CodeUpstream},
		"no XML":            {func(s *stsServer) { s.change = func(string) string { return "canary" } }, access.CodeUpstream},
		"huge": {func(s *stsServer) {
			s.change = func(a string) string { return strings.Repeat("<!-- canary -->", 1<<16) + a }
		}, access.CodeUpstream},
		"refused":      {fault(func(w http.ResponseWriter) { stsFault(w, 403, "AccessDenied") }), access.CodeUpstream},
		"expired":      {fault(func(w http.ResponseWriter) { stsFault(w, 403, "ExpiredToken") }), access.CodeUpstream},
		"throttled":    {fault(func(w http.ResponseWriter) { stsFault(w, 400, "Throttling") }), access.CodeUnavailable},
		"too large":    {fault(func(w http.ResponseWriter) { stsFault(w, 400, "PackedPolicyTooLarge") }), access.CodeDenied},
		"odd code":     {fault(func(w http.ResponseWriter) { stsFault(w, 400, "canary canary") }), access.CodeUpstream},
		"redirect":     {fault(func(w http.ResponseWriter) { w.Header().Set("Location", "http://127.0.0.1:1/"); w.WriteHeader(307) }), access.CodeUpstream},
		"another type": {fault(func(w http.ResponseWriter) { w.Header().Set("Content-Type", "application/json"); w.Write([]byte("{}")) }), access.CodeUpstream},
		"broken off":   {fault(func(http.ResponseWriter) { panic(http.ErrAbortHandler) }), access.CodeUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			a := newSTS(t)
			c.prepare(a)
			_, _, err := stsMint(t, stsSource(a.URL), "get_object", `{"bucket":"docs","prefix":"a"}`)
			if access.CodeOf(err) != c.code {
				t.Errorf("code %q of %v", access.CodeOf(err), err)
			}
			noCanary(t, err)
			if n := a.count(); n != 1 {
				t.Errorf("STS was asked %d times", n)
			}
		})
	}
}

func TestSTSWrongKeyIsRefusedByTheSignature(t *testing.T) {
	a := newSTS(t)
	s := stsSource(a.URL)
	i := issuersOf(t, map[string]string{"seed": "another-canary-key"}, nil)
	_, err := i.Minters()[credential.SourceAWSSTS].Mint(t.Context(), callOf(credential.Source{ID: "aws", AWSSTS: &s}, "anything", `{"bucket":"docs"}`))
	if access.CodeOf(err) != access.CodeUpstream || a.why != "signature" {
		t.Errorf("%v, and the server says %q", err, a.why)
	}
	noCanary(t, err)
}

func TestSTSWebIdentity(t *testing.T) {
	a := newSTS(t)
	s := stsSource(a.URL)
	s.AccessKey, s.Secret, s.ExternalID, s.Tags, s.WebIdentity = "", "", "", nil, "jwt"
	m, _, err := stsMint(t, s, "get_object", `{"bucket":"docs","prefix":"a"}`)
	if err != nil {
		t.Fatalf("%v: %s", err, a.why)
	}
	if form := a.last(); form.Get("Action") != "AssumeRoleWithWebIdentity" || form.Has("SourceIdentity") || !strings.Contains(form.Get("Policy"), "docs/a/*") || m.Version == "" {
		t.Errorf("asked %v", form)
	}
}

// TestSTSReadsNoEnvironment: neither variables nor files nor the address of
// instance metadata change what is configured.
func TestSTSReadsNoEnvironment(t *testing.T) {
	a, other := newSTS(t), newSTS(t)
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIAEVIL", "AWS_SECRET_ACCESS_KEY": "evil", "AWS_SESSION_TOKEN": "evil", "AWS_REGION": "us-east-1", "AWS_PROFILE": "evil",
		"AWS_ENDPOINT_URL": other.URL, "AWS_ENDPOINT_URL_STS": other.URL, "HTTPS_PROXY": other.URL, "HTTP_PROXY": other.URL, "AWS_CONFIG_FILE": "/nowhere",
		"AWS_EXECUTION_ENV": "evil", "AWS_LAMBDA_FUNCTION_NAME": "f", "_X_AMZN_TRACE_ID": "Root=evil", "AWS_EC2_METADATA_SERVICE_ENDPOINT": other.URL,
	} {
		t.Setenv(name, value)
	}
	if _, _, err := stsMint(t, stsSource(a.URL), "get_object", `{"bucket":"docs","prefix":"a"}`); err != nil {
		t.Errorf("%v: %s", err, a.why)
	}
	if n := other.count(); n != 0 {
		t.Errorf("the other server was asked %d times", n)
	}
}

func TestSTSManifestIsChecked(t *testing.T) {
	for name, c := range map[string]struct {
		change func(s *credential.AWSSTS)
		want   string
	}{
		"region":             {func(s *credential.AWSSTS) { s.Region = "eu.evil.example/" }, "region"},
		"http":               {func(s *credential.AWSSTS) { s.Endpoint = "http://sts.example" }, "endpoint"},
		"role":               {func(s *credential.AWSSTS) { s.Role = "reader" }, "role"},
		"no key":             {func(s *credential.AWSSTS) { s.Secret = "" }, "accessKey"},
		"two ways":           {func(s *credential.AWSSTS) { s.WebIdentity = "jwt" }, "webIdentity"},
		"short":              {func(s *credential.AWSSTS) { s.Duration = credential.Span(14 * time.Minute) }, "duration"},
		"long":               {func(s *credential.AWSSTS) { s.Duration = credential.Span(13 * time.Hour) }, "duration"},
		"identity":           {func(s *credential.AWSSTS) { s.SourceIdentity = "session" }, "sourceIdentity"},
		"reserved tag":       {func(s *credential.AWSSTS) { s.Tags["AWS:x"] = "y" }, "tags"},
		"tag without slot":   {func(s *credential.AWSSTS) { s.Tags["x"] = "{{y}}" }, "tags.x"},
		"tag with a star":    {func(s *credential.AWSSTS) { s.Tags["x"] = "*" }, "tags.x"},
		"slot of nothing":    {func(s *credential.AWSSTS) { s.Slots["bucket"] = credential.Slot{} }, "slots.bucket"},
		"slot with a star":   {func(s *credential.AWSSTS) { s.Slots["bucket"] = credential.Slot{Argument: "/b", OneOf: []string{"*"}} }, "slots.bucket"},
		"slot of no form":    {func(s *credential.AWSSTS) { s.Slots["bucket"] = credential.Slot{Argument: "/b", Form: "any"} }, "slots.bucket"},
		"slot of no fact":    {func(s *credential.AWSSTS) { s.Slots["bucket"] = credential.Slot{Fact: "password"} }, "slots.bucket"},
		"slot with a dash":   {func(s *credential.AWSSTS) { s.Slots["a-b"] = credential.Slot{Fact: "agent"} }, "slots"},
		"no policy":          {func(s *credential.AWSSTS) { s.Rules[0].Policy = "" }, "rules[0]"},
		"both":               {func(s *credential.AWSSTS) { s.Rules[0].WholeRole = true }, "rules[0]"},
		"no JSON":            {func(s *credential.AWSSTS) { s.Rules[0].Policy = `{"Resource":{{bucket}}}` }, "rules[0]"},
		"place in a key":     {func(s *credential.AWSSTS) { s.Rules[0].Policy = `{"{{bucket}}":1}` }, "rules[0]"},
		"place without slot": {func(s *credential.AWSSTS) { s.Rules[0].Policy = `{"a":"{{b}}"}` }, "rules[0]"},
		"half a place":       {func(s *credential.AWSSTS) { s.Rules[0].Policy = `{"a":"{{bucket"}` }, "rules[0]"},
		"long policy":        {func(s *credential.AWSSTS) { s.Rules[0].Policy = `{"a":"` + strings.Repeat("x", 2048) + `"}` }, "rules[0]"},
		"no call":            {func(s *credential.AWSSTS) { s.Rules[0].Discovery = true }, "rules[0]"},
	} {
		t.Run(name, func(t *testing.T) {
			s := stsSource("")
			if err := s.Check(); err != nil {
				t.Fatal(err)
			}
			c.change(&s)
			if err := s.Check(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}
