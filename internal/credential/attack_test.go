package credential_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/access"
	"rutile/internal/credential"
	"rutile/internal/rawjson"
)

// TestRowCannotBeSentElsewhere: whoever can write the store changes what a
// secret is bound to; the row no longer opens.
func TestRowCannotBeSentElsewhere(t *testing.T) {
	for name, change := range map[string]func(s *credential.Secret){
		"another origin":  func(s *credential.Secret) { s.Origins = []string{"https://evil.example"} },
		"one more origin": func(s *credential.Secret) { s.Origins = append(s.Origins, "https://evil.example") },
		"no origin":       func(s *credential.Secret) { s.Origins = nil },
		"another server":  func(s *credential.Secret) { s.Servers = []string{"evil"} },
		"any server":      func(s *credential.Secret) { s.Servers = nil },
		"a higher tier":   func(s *credential.Secret) { s.MaxTier = 3 },
		"a younger row":   func(s *credential.Secret) { s.Created = s.Created.Add(time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			dir, m := t.TempDir(), &memory{rows: map[string]credential.Secret{}}
			v := vault(t, dir, m)
			narrow := credential.Secret{ID: "key", Servers: []string{"up"}, Origins: []string{"https://up.example"}, MaxTier: 1}
			if _, err := v.Set(t.Context(), narrow, []byte(canary)); err != nil {
				t.Fatal(err)
			}
			s := m.rows["key"]
			change(&s)
			m.rows["key"] = s
			if _, err := credential.New(t.Context(), credential.Config{Tenant: "t1", Dir: dir}, m); err == nil {
				t.Error("the vault opened after a restart")
			}
			// A running vault takes the row over only when it looks again.
			if err := v.Reload(t.Context()); err != nil {
				t.Fatal(err)
			}
			r := request("key")
			if len(s.Servers) > 0 {
				r.Server = s.Servers[0]
			}
			if len(s.Origins) > 0 {
				r.Origin = s.Origins[len(s.Origins)-1]
			}
			if l, err := v.Lease(t.Context(), r); err == nil {
				l.Release()
				t.Error("the changed row was leased")
			} else if strings.Contains(err.Error(), "canary") {
				t.Error("the error shows the value")
			}
		})
	}
}

// TestSurvivesTheStore: what a row holds after a round trip through JSON, where
// empty lists vanish, still opens.
func TestSurvivesTheStore(t *testing.T) {
	dir, m := t.TempDir(), &memory{rows: map[string]credential.Secret{}}
	v, err := credential.New(t.Context(), credential.Config{Tenant: "t1", Dir: dir, Now: func() time.Time { return time.Unix(1, 123456789) }}, m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Set(t.Context(), credential.Secret{ID: "key", Servers: []string{}, Origins: []string{}, MaxTier: 3}, []byte(canary)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // before and after it is bound
		doc, err := json.Marshal(m.rows["key"])
		if err != nil {
			t.Fatal(err)
		}
		back := credential.Secret{Sealed: m.rows["key"].Sealed}
		if err := json.Unmarshal(doc, &back); err != nil {
			t.Fatal(err)
		}
		back.Created = back.Created.Local()
		m.rows["key"] = back
		l, err := vault(t, dir, m).Lease(t.Context(), request("key"))
		if err != nil {
			t.Fatal(err)
		}
		l.Release()
	}
}

// TestTwoNodesShareSecrets: a node that lost a race for a row sees what stands
// and works on with it.
func TestTwoNodesShareSecrets(t *testing.T) {
	a, m, dir := stored(t)
	b := vault(t, dir, m)
	if _, err := a.Rotate(t.Context(), "key", []byte("rotated on node a")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Rotate(t.Context(), "key", []byte("rotated on node b")); access.CodeOf(err) != access.CodeConflict {
		t.Fatalf("rotating what another node rotated: %v, want a conflict", err)
	}
	if s, err := b.Rotate(t.Context(), "key", []byte("rotated on node b")); err != nil || s.Version != 3 {
		t.Fatalf("trying again: version %d, %v", s.Version, err)
	}
	if _, err := vault(t, dir, m).Rotate(t.Context(), "key", []byte("rotated by a third")); err != nil {
		t.Fatal(err)
	}
	// b leases first: the row it wants to bind is gone, so it takes the new one.
	l, err := b.Lease(t.Context(), request("key"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	if _, got, err := l.Header(); err != nil || got != "Bearer rotated by a third" {
		t.Errorf("got %q %v", got, err)
	}
}

// TestSecretSetAgainIsNoRollback: removed and set again starts at version 1,
// and other nodes follow; an old row put back is refused.
func TestSecretSetAgainIsNoRollback(t *testing.T) {
	var mu sync.Mutex
	now := time.Unix(1, 0)
	clock := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(time.Second)
		return now
	}
	dir, m := t.TempDir(), &memory{rows: map[string]credential.Secret{}}
	node := func() *credential.Vault {
		v, err := credential.New(t.Context(), credential.Config{Tenant: "t1", Dir: dir, Now: clock}, m)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	a := node()
	if _, err := a.Set(t.Context(), credential.Secret{ID: "key", MaxTier: 3}, []byte(canary)); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Rotate(t.Context(), "key", []byte("second value")); err != nil {
		t.Fatal(err)
	}
	old := m.rows["key"]
	b := node()
	if _, err := a.Remove(t.Context(), "key"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Set(t.Context(), credential.Secret{ID: "key", MaxTier: 3}, []byte("set again")); err != nil {
		t.Fatal(err)
	}
	if err := b.Reload(t.Context()); err != nil {
		t.Fatalf("the other node: %v", err)
	}
	l, err := b.Lease(t.Context(), request("key"))
	if err != nil {
		t.Fatal(err)
	}
	if _, got, err := l.Header(); err != nil || got != "Bearer set again" {
		t.Errorf("got %q %v", got, err)
	}
	l.Release()
	m.rows["key"] = old
	if err := b.Reload(t.Context()); access.CodeOf(err) != access.CodeConflict {
		t.Errorf("a row of the removed secret put back: %v, want a conflict", err)
	}
}

// failing is a store whose answers are lost or never come.
type failing struct {
	memory
	lost, refused bool
}

func (f *failing) PutSecret(ctx context.Context, s credential.Secret) error {
	if f.refused {
		return errors.New("disk full")
	}
	err := f.memory.PutSecret(ctx, s)
	if f.lost {
		f.lost = false
		return errors.New("the connection broke")
	}
	return err
}

// TestNotBoundNotLeased: where the first origin cannot be stored, the secret is
// not opened.
func TestNotBoundNotLeased(t *testing.T) {
	f := &failing{memory: memory{rows: map[string]credential.Secret{}}}
	v, err := credential.New(t.Context(), credential.Config{Tenant: "t1", Dir: t.TempDir()}, f)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Set(t.Context(), credential.Secret{ID: "key", MaxTier: 3}, []byte(canary)); err != nil {
		t.Fatal(err)
	}
	f.refused = true
	if l, err := v.Lease(t.Context(), request("key")); err == nil {
		l.Release()
		t.Fatal("a secret that is bound to nothing was leased")
	} else if strings.Contains(err.Error(), "canary") {
		t.Error("the error shows the value")
	}
	f.refused, f.lost = false, true
	if l, err := v.Lease(t.Context(), request("key")); err == nil {
		l.Release()
		t.Fatal("a lost answer was taken for a yes")
	}
	// The row was stored all the same, and the vault has found out.
	l, err := v.Lease(t.Context(), request("key"))
	if err != nil {
		t.Fatal(err)
	}
	l.Release()
	other := request("key")
	other.Origin = "https://evil.example"
	if _, err := v.Lease(t.Context(), other); access.CodeOf(err) != access.CodeDenied {
		t.Errorf("another origin: %v, want denied", err)
	}
}

// TestOriginsAreOneForm: spelling does not make another origin, and what is no
// origin is refused when it is set, not when it is used.
func TestOriginsAreOneForm(t *testing.T) {
	v, _, _ := stored(t)
	s, err := v.Set(t.Context(), credential.Secret{
		ID: "bound", MaxTier: 3, Origins: []string{"HTTPS://Up.Example:443/", "http://[::1]:80", "https://x.example:8443", "stdio:files"},
	}, []byte(canary))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"https://up.example", "http://[::1]", "https://x.example:8443", "stdio:files"}, s.Origins); diff != "" {
		t.Errorf("origins (-want +got):\n%s", diff)
	}
	r := request("bound")
	r.Origin = "https://UP.example:443"
	if l, err := v.Lease(t.Context(), r); err != nil {
		t.Error(err)
	} else {
		l.Release()
	}
	for _, o := range []string{"", "up.example", "https://", "https://a/b", "https://a?x", "https://a#x", "https://u:p@a", "ftp://a", "stdio:", "stdio:A/B", "https://up.example.evil", "http://up.example", "https://up.example:444"} {
		r.Origin = o
		if l, err := v.Lease(t.Context(), r); err == nil {
			l.Release()
			t.Errorf("origin %q got the secret", o)
		}
	}
	for _, s := range []credential.Secret{{Origins: []string{"https://a/b"}}, {Origins: []string{""}}, {Servers: []string{"A B"}}, {MaxTier: 4}, {MaxTier: -1}} {
		s.ID = "wrong"
		if _, err := v.Set(t.Context(), s, []byte(canary)); access.CodeOf(err) != access.CodeInvalid {
			t.Errorf("%+v: %v, want invalid", s, err)
		}
	}
}

// TestEndedLeaseShowsNothing: whatever comes in after a lease ended cannot be
// scrubbed any more, so none of it goes on.
func TestEndedLeaseShowsNothing(t *testing.T) {
	v, _, _ := stored(t)
	r := request("key")
	r.Env = "TOKEN"
	l, err := v.Lease(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	l.Release()
	l.Release() // once more changes nothing
	if got, n := l.Scrub([]byte("late: " + canary)); n == 0 || bytes.Contains(got, []byte("canary")) {
		t.Errorf("scrubbed to %q, %d", got, n)
	}
	if _, value, ok := l.Env(); ok || value != "" {
		t.Error("the variable was given")
	}
	if l, err := v.Lease(t.Context(), r); err != nil {
		t.Errorf("releasing twice broke the vault: %v", err)
	} else if _, value, ok := l.Env(); !ok || value != "Bearer "+canary {
		t.Errorf("the next lease gives %q", value)
	}
}

// TestReleaseWhileScrubbing: the end of a lease, of the secret and of the call
// come at once; nothing is shown and nothing races.
func TestReleaseWhileScrubbing(t *testing.T) {
	v, _, _ := stored(t)
	text := []byte(`{"echo":"` + canary + `"}`)
	for i := range 20 {
		l, err := v.Lease(t.Context(), request("key"))
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if got, _ := l.Scrub(text); bytes.Contains(got, []byte("canary")) {
					t.Error("the secret is still there")
				}
				if _, value, err := l.Header(); err == nil && strings.ContainsRune(value, 0) {
					t.Error("a header of cleared bytes")
				}
			})
		}
		wg.Go(l.Release)
		wg.Go(func() {
			if _, err := v.Rotate(context.Background(), "key", []byte(fmt.Sprintf("%s %d", canary, i))); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		text = []byte(fmt.Sprintf(`{"echo":"%s %d"}`, canary, i))
	}
}

// TestCanaryIsNowhere: a known secret is looked for in all the package says:
// errors, logs, JSON, every verb and the text of a panic.
func TestCanaryIsNowhere(t *testing.T) {
	v, m, dir := stored(t)
	l, err := v.Lease(t.Context(), request("key"))
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	log := slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelDebug}))
	list, err := v.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []any{l, v, list, m.rows["key"], struct{ L *credential.Lease }{l}, []any{l}} {
		for _, verb := range "vsqxXdTp" {
			fmt.Fprintf(&said, "%"+string(verb)+" ", x)
			fmt.Fprintf(&said, "%+"+string(verb)+" %#"+string(verb)+"\n", x, x)
		}
		if b, err := json.Marshal(x); err == nil {
			said.Write(b)
		}
		log.Info("x", "value", x)
		func() {
			defer func() { fmt.Fprintln(&said, recover()) }()
			panic(x)
		}()
	}
	fail := func(err error) {
		t.Helper()
		if err == nil {
			t.Error("no error to look at")
		}
		fmt.Fprintf(&said, "%v %+v %#v\n", err, err, errors.Unwrap(err))
	}
	_, err = v.Set(t.Context(), credential.Secret{ID: "key"}, []byte(canary))
	fail(err)
	_, err = v.Set(t.Context(), credential.Secret{ID: "Not An Id"}, []byte(canary))
	fail(err)
	_, err = v.Rotate(t.Context(), "absent", []byte(canary))
	fail(err)
	_, err = v.Set(t.Context(), credential.Secret{ID: "huge"}, bytes.Repeat([]byte(canary), 1000))
	fail(err)
	if _, err := v.Set(t.Context(), credential.Secret{ID: "crlf", MaxTier: 3}, []byte(canary+"\n")); err != nil {
		t.Fatal(err)
	}
	broken, err := v.Lease(t.Context(), request("crlf"))
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = broken.Header()
	fail(err)
	row := m.rows["crlf"]
	row.Sealed = m.rows["key"].Sealed
	m.rows = map[string]credential.Secret{"crlf": row}
	_, err = credential.New(t.Context(), credential.Config{Tenant: "t1", Dir: dir}, m)
	fail(err)
	for _, form := range forms(canary) {
		if strings.Contains(strings.ToLower(said.String()), strings.ToLower(form)) {
			t.Errorf("%q is in what was said", form)
		}
	}
	if !strings.Contains(said.String(), "value withheld") {
		t.Error("nothing was said at all")
	}
}

// forms are the spellings of a secret a server commonly gives back.
func forms(secret string) []string {
	once, _ := json.Marshal(secret)
	twice, _ := json.Marshal(string(once[1 : len(once)-1]))
	out := []string{secret, string(once[1 : len(once)-1]), string(twice[1 : len(twice)-1]), strings.ReplaceAll(string(once[1:len(once)-1]), "/", `\/`), hex.EncodeToString([]byte(secret)),
		strings.ToUpper(hex.EncodeToString([]byte(secret))), url.QueryEscape(secret), url.PathEscape(secret)}
	for shift := range 3 {
		text := strings.Repeat("a", shift) + secret
		for _, e := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
			// The last quantum also depends on what follows.
			out = append(out, e.EncodeToString([]byte(text))[(8*shift+5)/6:8*len(text)/6])
		}
	}
	return out
}

// written are the spellings of a text by writers that each escape other
// characters. What stands around them must not be read with them.
func written(text string) []string {
	var script, slashes, points, entities strings.Builder
	for _, c := range []byte(text) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-_.!~*'()", c) >= 0:
			script.WriteByte(c) // encodeURIComponent
		default:
			fmt.Fprintf(&script, "%%%02X", c)
		}
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-_.~/", c) >= 0:
			slashes.WriteByte(c) // Python's quote
		default:
			fmt.Fprintf(&slashes, "%%%02x", c)
		}
	}
	for _, r := range text {
		switch {
		case r < 0x20 || r >= 0x7f && r < 0x10000 || strings.ContainsRune("\"&'<>+\\`", r):
			fmt.Fprintf(&points, `\u%04X`, r) // .NET
		default:
			points.WriteRune(r)
		}
		switch {
		case strings.ContainsRune("&<>\"'", r):
			fmt.Fprintf(&entities, "&#%03d;", r)
		default:
			entities.WriteRune(r)
		}
	}
	inJSON := func(s string) string { b, _ := json.Marshal(s); return string(b[1 : len(b)-1]) }
	out := []string{script.String(), slashes.String(), html.EscapeString(text), inJSON(slashes.String()), url.PathEscape(url.PathEscape(text))}
	if utf8.ValidString(text) {
		out = append(out, inJSON(html.EscapeString(text)), points.String(), inJSON(points.String()), entities.String(), strings.ReplaceAll(points.String(), "/", `\/`))
	}
	return out
}

// TestScrubReadsWhatReadersRead: whoever wrote it, a secret that a reader would
// read is found, also in base64 whose characters are escaped again.
func TestScrubReadsWhatReadersRead(t *testing.T) {
	m := &memory{rows: map[string]credential.Secret{}}
	v := vault(t, t.TempDir(), m)
	for i, secret := range []string{canary, "a/b+c=d&e!f(g)", "p@ss'w<o>rd;%2f", "Zm9v/Zm9v+Zm9v==", "\xfb\xff\xbe\xff\xef\xbe\xfb\xff", "schlüssel+ß/ü", `back\slash\u0041`} {
		id := fmt.Sprintf("s%d", i)
		if _, err := v.Set(t.Context(), credential.Secret{ID: id, MaxTier: 3}, []byte(secret)); err != nil {
			t.Fatal(err)
		}
		l, err := v.Lease(t.Context(), request(id))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Release()
		texts := written(secret)
		for _, e := range []*base64.Encoding{base64.StdEncoding, base64.RawURLEncoding} {
			for pad := range 3 {
				b := e.EncodeToString([]byte(strings.Repeat("u", pad) + secret))
				texts = append(texts, strings.ReplaceAll(b, "/", `\/`), strings.NewReplacer("+", `\u002B`, "/", `\u002F`, "=", `\u003D`).Replace(b), url.QueryEscape(b))
			}
		}
		for _, text := range texts {
			got, n := l.Scrub([]byte(`{"text":"before ` + text + ` after"}`))
			if n == 0 || !bytes.HasPrefix(got, []byte(`{"text":"before `)) || !bytes.HasSuffix(got, []byte(` after"}`)) || len(got) > len(`{"text":"before [credential removed]xxxxxxxxxxxxxxxxxxxx after"}`) {
				t.Errorf("%q as %q: found %d, left %s", secret, text, n, got)
			}
		}
	}
}

// TestScrubbedJSONStaysJSON: a server that knows its credential chooses where it
// stands: behind a backslash that then escapes what is put there, as a number,
// as a key, over the borders of values.
func TestScrubbedJSONStaysJSON(t *testing.T) {
	m := &memory{rows: map[string]credential.Secret{}}
	v := vault(t, t.TempDir(), m)
	for i, c := range []struct{ secret, text string }{
		{"token-0123456789", `{"a":"x\token-0123456789","b":"token-0123456789"}`},
		{"nested-secret", `["\nested-secret",{"\nested-secret":1}]`},
		{"u0041-secret", `["\u0041-secret"]`},
		{"12345678", `{"id":12345678,"n":[-912345678.5e3,"12345678"],"12345678":true}`},
		{"pqrstuvwxp", `[70717273747576777870]`},
		{`abc","def`, `{"x":"abc","def":1}`},
		{`abc":"def`, `{"abc":"def"}`},
		{`{"key":1}`, `{"a":{"key":1}}`},
		{"ends-with-\\", `["ends-with-\\"]`},
		{"credential", `["credential","\u0063redential","[credential removed]"]`},
	} {
		id := fmt.Sprintf("s%d", i)
		if _, err := v.Set(t.Context(), credential.Secret{ID: id, MaxTier: 3}, []byte(c.secret)); err != nil {
			t.Fatal(err)
		}
		l, err := v.Lease(t.Context(), request(id))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Release()
		if !json.Valid([]byte(c.text)) {
			t.Fatalf("%s is not JSON", c.text)
		}
		got, n := l.Scrub([]byte(c.text))
		if n == 0 || rawjson.Validate(got) != nil || c.secret != "credential" && bytes.Contains(got, []byte(c.secret)) {
			t.Errorf("%q in %s: found %d, left %s", c.secret, c.text, n, got)
		}
	}
}

// TestScrubFindsSecretsAnywhere: a secret is found wherever it begins, however
// long it is, and behind any amount of text that is nearly it.
func TestScrubFindsSecretsAnywhere(t *testing.T) {
	m := &memory{rows: map[string]credential.Secret{}}
	v := vault(t, t.TempDir(), m)
	for _, n := range []int{credential.MinValue, 9, 10, 11, 12, 15, 19, 20, 33, 64} {
		secret := make([]byte, n)
		for i := range secret {
			secret[i] = "abcdefghijklmnopqrstuvwxyz0123456789-_"[(i*i*7+n*13+i)%38]
		}
		id := fmt.Sprintf("s%d", n)
		if _, err := v.Set(t.Context(), credential.Secret{ID: id, MaxTier: 3}, secret); err != nil {
			t.Fatal(err)
		}
		l, err := v.Lease(t.Context(), request(id))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Release()
		nearly := strings.Repeat(string(secret[:n-1])+"!"+string(secret[1:])+" ", 400)
		for _, before := range []string{strings.Repeat("x", 4096), nearly, nearly + strings.Repeat(string(secret[n/2:])+"?", 400)} {
			if got, found := l.Scrub([]byte(before)); found != 0 || string(got) != before {
				t.Fatalf("%d bytes: found %d where there is none", n, found)
			}
			for offset := range 20 {
				text := before + strings.Repeat(".", offset)
				for _, form := range []string{string(secret), hex.EncodeToString(secret), base64.StdEncoding.EncodeToString(secret)} {
					if got, found := l.Scrub([]byte(text + form)); found != 1 || !strings.HasPrefix(string(got), text) || strings.Contains(string(got), form) {
						t.Fatalf("%d bytes as %q behind %d: found %d", n, form, len(text), found)
					}
				}
			}
		}
	}
}

// FuzzScrub: whatever the secret and the text around it, no usual form of the
// secret comes through, clean text comes through as it is.
func FuzzScrub(f *testing.F) {
	f.Add("s3cr3t/canary", "before ", " after")
	f.Add(`quotes"and\slashes/`, `{"text":"`, `"}`)
	f.Add("\x00\xff\xfe\x80binary\n", "", "")
	f.Add("aaaaaaaaaaaa", "aaaa", "aaaaa")
	f.Add(`\\\\\\\\"`, `\`, `\`)
	m := &memory{rows: map[string]credential.Secret{}}
	v, err := credential.New(context.Background(), credential.Config{Tenant: "t1", Dir: f.TempDir()}, m)
	if err != nil {
		f.Fatal(err)
	}
	n := 0
	f.Fuzz(func(t *testing.T, secret, before, after string) {
		if len(secret) < credential.MinValue || len(secret) > 255 || strings.Contains("[credential removed]", secret) {
			return
		}
		n++
		id := fmt.Sprintf("s%d", n)
		if _, err := v.Set(t.Context(), credential.Secret{ID: id, MaxTier: 3}, []byte(secret)); err != nil {
			t.Fatal(err)
		}
		l, err := v.Lease(t.Context(), request(id))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Release()
		gap := "\x00" // no part of the secret
		for strings.Contains(secret, gap) {
			gap = string([]byte{gap[0] + 1})
		}
		for _, form := range forms(secret) {
			got, found := l.Scrub([]byte(before + form + after))
			if found == 0 {
				t.Fatalf("form %q of %q was not found", form, secret)
			}
			if strings.Contains(strings.ReplaceAll(string(got), "[credential removed]", gap), secret) {
				t.Fatalf("%q is still in %q", secret, got)
			}
		}
		for _, form := range written(secret) {
			if _, found := l.Scrub([]byte(before + " " + form + " " + after)); found == 0 {
				t.Fatalf("form %q of %q was not found", form, secret)
			}
		}
		text, _ := json.Marshal(map[string]any{before: after, "x": []string{before + secret + after}})
		for _, text := range []string{string(text), `["\` + secret + `"]`, `[0` + secret + `]`, `[1` + secret + `,"` + secret + `"]`} {
			if got, _ := l.Scrub([]byte(text)); rawjson.Validate([]byte(text)) == nil && rawjson.Validate(got) != nil {
				t.Fatalf("%s became %s", text, got)
			}
		}
	})
}
