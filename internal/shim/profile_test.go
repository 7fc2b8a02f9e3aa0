package shim_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/identity"
	"rutile/internal/shim"
)

// enroller is a gateway that enrolls every key, or what answer says.
func enroller(t *testing.T, answer http.HandlerFunc) (url string) {
	t.Helper()
	var s *httptest.Server
	s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/.well-known/oauth-authorization-server" {
			reply(w, 200, `{"issuer":"`+s.URL+`"}`)
			return
		}
		if answer != nil {
			answer(w, r)
			return
		}
		reply(w, 200, fmt.Sprintf(`{"agent":"bot","key":%q}`, keyIn(r.FormValue("enrollment"))))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func code(t *testing.T, agent string) string {
	t.Helper()
	c, _, err := identity.NewEnrollmentCode(agent)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// enrolled returns a directory with a profile of agent "bot".
func enrolled(t *testing.T) (dir, file string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "state")
	if _, err := shim.Enroll(t.Context(), dir, enroller(t, nil), "", code(t, "bot")); err != nil {
		t.Fatal(err)
	}
	return dir, filepath.Join(dir, "bot.json")
}

func TestAProfileIsForItsOwnerOnly(t *testing.T) {
	t.Parallel()
	dir, file := enrolled(t)
	for path, want := range map[string]os.FileMode{dir: 0o700, file: 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v %v", path, info.Mode(), err)
		}
	}
	p, err := shim.Load(dir, "")
	if err != nil || p.Agent != "bot" {
		t.Fatalf("%v %v", p, err)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), `"d": "`)
	secret, _, _ := strings.Cut(rest, `"`)
	if len(secret) < 40 {
		t.Fatal("the test does not find the private key")
	}
	for _, s := range []string{fmt.Sprint(p), fmt.Sprintf("%v %+v %#v %s", p, p, p, p)} {
		if strings.Contains(s, secret) {
			t.Errorf("printing a profile shows the key: %s", s)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestAProfileOthersCouldTouchIsRefused(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(t *testing.T, dir, file string){
		"readable by the group": func(t *testing.T, _, file string) { chmod(t, file, 0o640) },
		"readable by others":    func(t *testing.T, _, file string) { chmod(t, file, 0o604) },
		"directory writable":    func(t *testing.T, dir, _ string) { chmod(t, dir, 0o777) },
		"a link": func(t *testing.T, dir, file string) {
			if err := os.Rename(file, file+".real"); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(file+".real", file); err != nil {
				t.Fatal(err)
			}
		},
		"a directory": func(t *testing.T, _, file string) {
			os.Remove(file)
			if err := os.Mkdir(file, 0o700); err != nil {
				t.Fatal(err)
			}
		},
		"not JSON":        func(t *testing.T, _, file string) { write(t, file, "{") },
		"another agent's": func(t *testing.T, _, file string) { edit(t, file, `"bot"`, `"other"`) },
		"another version": func(t *testing.T, _, file string) { edit(t, file, `"version": 1`, `"version": 2`) },
		"clear text":      func(t *testing.T, _, file string) { edit(t, file, `http://127.0.0.1`, `http://192.0.2.1`) },
		"no private part": func(t *testing.T, _, file string) { edit(t, file, `"d"`, `"x-d"`) },
		"too large":       func(t *testing.T, _, file string) { write(t, file, strings.Repeat(" ", 300<<10)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, file := enrolled(t)
			spoil(t, dir, file)
			if p, err := shim.Load(dir, "bot"); err == nil {
				t.Errorf("loaded %v", p)
			} else if access.CodeOf(err) == access.CodeInternal {
				t.Errorf("nobody may read why: %v", err)
			}
		})
	}
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func edit(t *testing.T, path, old, text string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(b), old) {
		t.Fatalf("%s holds no %q (%v): %s", path, old, err, b)
	}
	write(t, path, strings.Replace(string(b), old, text, 1))
}

func TestOnlyOneOfSeveralAgentsIsMeant(t *testing.T) {
	t.Parallel()
	dir, file := enrolled(t)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "other.json"), strings.Replace(string(b), `"bot"`, `"other"`, 1))
	if _, err := shim.Load(dir, ""); err == nil || !strings.Contains(err.Error(), "bot, other") {
		t.Errorf("without a name: %v", err)
	}
	if p, err := shim.Load(dir, "other"); err != nil || p.Agent != "other" {
		t.Errorf("%v %v", p, err)
	}
	for _, agent := range []string{"absent", "../bot", "bot.json", "BOT"} {
		if p, err := shim.Load(dir, agent); err == nil {
			t.Errorf("%q loaded %v", agent, p)
		}
	}
	if _, err := shim.Load(filepath.Join(dir, "none"), ""); access.CodeOf(err) != access.CodeUnauthenticated || !strings.Contains(err.Error(), "--enroll") {
		t.Errorf("nothing enrolled: %v", err)
	}
}

// TestAFailedEnrollmentLeavesTheOldProfile tries every way to fail.
func TestAFailedEnrollmentLeavesTheOldProfile(t *testing.T) {
	t.Parallel()
	dir, file := enrolled(t)
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	good := code(t, "bot")
	other := enroller(t, nil)
	posing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/oauth") {
			t.Error("the code was used at a gateway with another name")
		}
		reply(w, 200, `{"issuer":"`+other+`"}`)
	}))
	t.Cleanup(posing.Close)
	for name, c := range map[string]struct{ url, code, ca string }{
		"refused": {enroller(t, func(w http.ResponseWriter, _ *http.Request) {
			reply(w, 400, `{"error":"invalid_grant","error_description":"the code does not count"}`)
		}), good, ""},
		"another key": {enroller(t, func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, `{"agent":"bot","key":"x"}`) }), good, ""},
		"broken off":  {enroller(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), good, ""},
		"redirected": {enroller(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other+r.URL.Path, http.StatusTemporaryRedirect)
		}), good, ""},
		"another name":   {posing.URL, good, ""},
		"nobody":         {"http://" + closedPort(t), good, ""},
		"clear text":     {"http://192.0.2.1", good, ""},
		"a path":         {other + "/", good, ""},
		"no code":        {other, "", ""},
		"half a code":    {other, good[:len(good)-2], ""},
		"another prefix": {other, "x" + good, ""},
		"no authority":   {other, good, "nonsense"},
	} {
		if _, err := shim.Enroll(context.Background(), dir, c.url, c.ca, c.code); err == nil {
			t.Errorf("%s: enrolled", name)
		} else if strings.Contains(err.Error(), good) {
			t.Errorf("%s: the code is said: %v", name, err)
		}
	}
	if after, err := os.ReadFile(file); err != nil || string(after) != string(before) {
		t.Errorf("the profile changed: %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v %v", entries, err)
	}
}

// keyIn is the id of the key an enrollment carries.
func keyIn(request string) string {
	var claims struct {
		Key json.RawMessage `json:"jwk"`
	}
	parts := strings.Split(request, ".")
	if len(parts) != 3 {
		return ""
	}
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	_ = json.Unmarshal(payload, &claims)
	return identity.KeyID(claims.Key)
}

func TestAnEnrollmentSaysWhyNobodyAnswers(t *testing.T) {
	code, _, err := identity.NewEnrollmentCode("bot")
	if err != nil {
		t.Fatal(err)
	}
	untrusted := httptest.NewTLSServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = log.New(io.Discard, "", 0)
	defer untrusted.Close()
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for gateway, want := range map[string]string{gone.URL: "connection refused", untrusted.URL: "certificate", other.URL: "no gateway of rutile"} {
		if _, err := shim.Enroll(t.Context(), t.TempDir(), gateway, "", code); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q in it", gateway, err, want)
		}
	}
}
