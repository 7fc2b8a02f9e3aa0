package credential_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// stsServer answers as the query API of AWS STS documents it. It verifies
// Signature Version 4 itself, from the documented steps.
type stsServer struct {
	*httptest.Server

	mu     sync.Mutex
	forms  []url.Values
	why    string        // the last signature was refused
	life   time.Duration // more than is asked for
	fault  func(w http.ResponseWriter) bool
	change func(answer string) string
}

const (
	stsKeyID  = "AKIAIOSFODNN7EXAMPLE"
	stsSecret = "canary/wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	stsRole   = "arn:aws:iam::123456789012:role/reader"
	stsJWT    = "eyJ.canary-web-identity.c2ln"
)

func newSTS(t *testing.T) *stsServer {
	t.Helper()
	s := &stsServer{}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *stsServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	form, err := url.ParseQuery(string(body))
	if err != nil || r.Method != http.MethodPost || r.URL.Path != "/" || form.Get("Version") != "2011-06-15" {
		stsFault(w, 400, "MalformedInput")
		return
	}
	s.forms = append(s.forms, form)
	if s.fault != nil && s.fault(w) {
		return
	}
	switch form.Get("Action") {
	case "AssumeRole":
		if s.why = sigV4(r, body, stsKeyID, stsSecret, "eu-central-1", "sts"); s.why != "" {
			stsFault(w, 403, "SignatureDoesNotMatch")
			return
		}
	case "AssumeRoleWithWebIdentity":
		if form.Get("WebIdentityToken") != stsJWT || r.Header.Get("Authorization") != "" {
			stsFault(w, 400, "InvalidIdentityToken")
			return
		}
	default:
		stsFault(w, 400, "InvalidAction")
		return
	}
	if why := stsInvalid(form); why != "" {
		s.why = why
		stsFault(w, 400, "ValidationError")
		return
	}
	seconds, _ := time.ParseDuration(form.Get("DurationSeconds") + "s")
	out := stsAnswer(form, len(s.forms), time.Now().Add(seconds+s.life))
	if s.change != nil {
		out = s.change(out)
	}
	w.Header().Set("Content-Type", "text/xml")
	io.WriteString(w, out)
}

// stsInvalid returns what the documented bounds of the parameters refuse.
func stsInvalid(f url.Values) string {
	name := regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)
	seconds, err := time.ParseDuration(f.Get("DurationSeconds") + "s")
	switch {
	case err != nil || seconds < 900*time.Second || seconds > 12*time.Hour:
		return "DurationSeconds"
	case !name.MatchString(f.Get("RoleSessionName")):
		return "RoleSessionName"
	case f.Has("SourceIdentity") && (!name.MatchString(f.Get("SourceIdentity")) || strings.HasPrefix(f.Get("SourceIdentity"), "aws:")):
		return "SourceIdentity"
	case len(f.Get("Policy")) > 2048:
		return "Policy"
	}
	return ""
}

func stsAnswer(f url.Values, n int, end time.Time) string {
	action, source := f.Get("Action"), ""
	if f.Has("SourceIdentity") {
		source = "<SourceIdentity>" + f.Get("SourceIdentity") + "</SourceIdentity>"
	}
	role := f.Get("RoleArn")[strings.LastIndex(f.Get("RoleArn"), "/")+1:]
	return fmt.Sprintf(`<%[1]sResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><%[1]sResult>%[2]s
<AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/%[3]s/%[4]s</Arn><AssumedRoleId>AROA3XFRBF535PLBIFPI4:%[4]s</AssumedRoleId></AssumedRoleUser>
<Credentials><AccessKeyId>ASIAIOSFODNN7EXAMPL%[5]d</AccessKeyId><SecretAccessKey>canarySecretAccessKey%[5]d/x+y</SecretAccessKey>
<SessionToken>canarySessionToken%[5]d//AQoDYXdzEPT</SessionToken><Expiration>%[6]s</Expiration></Credentials><PackedPolicySize>6</PackedPolicySize></%[1]sResult>
<ResponseMetadata><RequestId>c6104cbe-af31-11e0-8154-cbc7ccf896c7</RequestId></ResponseMetadata></%[1]sResponse>`,
		action, source, role, f.Get("RoleSessionName"), n, end.UTC().Format(time.RFC3339))
}

func stsFault(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>%s</Code><Message>canary text of AWS</Message></Error><RequestId>x</RequestId></ErrorResponse>`, code)
}

// sigV4 returns what is wrong with the signature of r: "Create a signed AWS API
// request" of the IAM user guide, step by step.
func sigV4(r *http.Request, body []byte, keyID, secret, region, service string) string {
	m := regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})$`).FindStringSubmatch(r.Header.Get("Authorization"))
	if m == nil || m[1] != keyID || m[3] != region || m[4] != service {
		return "authorization header"
	}
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil || time.Since(at).Abs() > 5*time.Minute || at.Format("20060102") != m[2] {
		return "date"
	}
	signed := strings.Split(m[5], ";")
	if !slices.IsSorted(signed) || !slices.Contains(signed, "host") || !slices.Contains(signed, "x-amz-date") {
		return "signed headers"
	}
	var canonical strings.Builder
	canonical.WriteString("POST\n/\n\n")
	for _, h := range signed {
		v := r.Header.Get(h)
		switch h {
		case "host":
			v = r.Host
		case "content-length":
			v = fmt.Sprint(len(body))
		}
		canonical.WriteString(h + ":" + strings.TrimSpace(v) + "\n")
	}
	sum := sha256.Sum256(body)
	canonical.WriteString("\n" + m[5] + "\n" + hex.EncodeToString(sum[:]))
	of := sha256.Sum256([]byte(canonical.String()))
	scope := m[2] + "/" + region + "/" + service + "/aws4_request"
	key := []byte("AWS4" + secret)
	for _, part := range []string{m[2], region, service, "aws4_request", "AWS4-HMAC-SHA256\n" + r.Header.Get("X-Amz-Date") + "\n" + scope + "\n" + hex.EncodeToString(of[:])} {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(part))
		key = h.Sum(nil)
	}
	if !hmac.Equal([]byte(hex.EncodeToString(key)), []byte(m[6])) {
		return "signature"
	}
	return ""
}

func (s *stsServer) last() url.Values {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.forms) == 0 {
		return nil
	}
	return maps.Clone(s.forms[len(s.forms)-1])
}

func (s *stsServer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.forms)
}
