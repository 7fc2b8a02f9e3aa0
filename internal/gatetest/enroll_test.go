package gatetest_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"rutile/internal/admin"
	"rutile/internal/identity"
	"rutile/internal/registry"
	"rutile/internal/shim"
)

const twoAgents = `
kind: Agent
id: bot
owner: team
purpose: test
riskTier: 1
tools: ["up/*"]
---
kind: Agent
id: other
owner: team
purpose: test
riskTier: 3
`

// invite makes a code as an operator does.
func (r *rig) invite(agent string) string {
	r.t.Helper()
	in, err := r.d.Admin.Invite(r.t.Context(), operator, agent, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	return in.Code
}

// redeem enrolls a new key with a code and returns the directory of its profile.
func (r *rig) redeem(code string) (dir string, err error) {
	dir = filepath.Join(r.t.TempDir(), "state")
	_, err = shim.Enroll(r.t.Context(), dir, r.d.AgentsURL, "", code)
	return dir, err
}

func (r *rig) enrolledKeys(agent string) []registry.EnrolledKey {
	a, _ := r.d.Admin.Current().View.Agent(agent)
	return a.Enrolled
}

func TestAnEnrollmentCodeCountsOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.apply(twoAgents)
	code := r.invite("bot")
	const rivals = 8
	won, lost := make(chan string, rivals), make(chan error, rivals)
	var wg sync.WaitGroup
	for range rivals {
		wg.Go(func() {
			if dir, err := r.redeem(code); err != nil {
				lost <- err
			} else {
				won <- dir
			}
		})
	}
	wg.Wait()
	if len(won) != 1 || len(r.enrolledKeys("bot")) != 1 {
		t.Fatalf("%d redeemed one code, %d keys", len(won), len(r.enrolledKeys("bot")))
	}
	for range rivals - 1 {
		if err := <-lost; !strings.Contains(err.Error(), "does not count") {
			t.Errorf("a rival got %v", err)
		}
	}
	if _, err := r.redeem(code); err == nil {
		t.Error("a code counts again")
	}
}

func TestCodesThatDoNotCount(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.apply(twoAgents)
	forged, _, err := identity.NewEnrollmentCode("bot")
	if err != nil {
		t.Fatal(err)
	}
	real := r.invite("other")
	_, seed, _ := strings.Cut(real, ".")
	unknown, _, err := identity.NewEnrollmentCode("nobody")
	if err != nil {
		t.Fatal(err)
	}
	suspended := r.invite("other")
	for name, code := range map[string]string{
		"never given out": forged, "of another agent": "enr_bot." + seed, "of no agent": unknown,
	} {
		if _, err := r.redeem(code); err == nil || !strings.Contains(err.Error(), "does not count") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := r.d.Admin.ChangeAgent(t.Context(), operator, "other", registry.VerbSuspend, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := r.redeem(suspended); err == nil {
		t.Error("a suspended agent got a key")
	}
	if _, err := r.d.Admin.Invite(t.Context(), operator, "other", 0); err == nil {
		t.Error("a suspended agent got a code")
	}
	if n := len(r.enrolledKeys("bot")) + len(r.enrolledKeys("other")); n != 0 {
		t.Errorf("%d keys were enrolled", n)
	}
}

// TestAnEnrollmentIsForOneGatewayAndOneKey plays the gateway between: what a
// shim sends it redeems nothing at the real one, and changing it neither.
func TestAnEnrollmentIsForOneGatewayAndOneKey(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.apply(twoAgents)
	mine, err := shim.NewProfile("bot", r.d.AgentsURL, "")
	if err != nil {
		t.Fatal(err)
	}
	public, err := mine.Public()
	if err != nil {
		t.Fatal(err)
	}
	code := r.invite("bot")
	elsewhere, err := identity.SignEnrollment(code, "https://elsewhere.example", public)
	if err != nil {
		t.Fatal(err)
	}
	here, err := identity.SignEnrollment(code, r.d.AgentsURL, public)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(here, ".")
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	attacker, _ := shim.NewProfile("bot", r.d.AgentsURL, "")
	other, _ := attacker.Public()
	swapped := parts[0] + "." + base64.RawURLEncoding.EncodeToString(bytes.Replace(payload, public, other, 1)) + "." + parts[2]
	agent := parts[0] + "." + base64.RawURLEncoding.EncodeToString(bytes.Replace(payload, []byte(`"bot"`), []byte(`"other"`), 1)) + "." + parts[2]
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"rutile-enrollment+jwt"}`)) + "." + parts[1] + "."
	untyped := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"EdDSA"}`)) + "." + parts[1] + "." + parts[2]
	for name, request := range map[string]string{
		"for another gateway": elsewhere, "with another key": swapped, "for another agent": agent, "unsigned": none, "untyped": untyped,
		"an assertion": parts[1], "nothing": "", "twice": here + "&enrollment=" + here,
	} {
		if status, body := r.postEnrollment(request); status == http.StatusOK {
			t.Errorf("%s: %s", name, body)
		}
	}
	if len(r.enrolledKeys("bot"))+len(r.enrolledKeys("other")) != 0 {
		t.Error("a key was enrolled")
	}
	if status, body := r.postEnrollment(here); status != http.StatusOK {
		t.Errorf("the honest one: %d %s", status, body)
	}
	if status, _ := r.postEnrollment(here); status == http.StatusOK {
		t.Error("it counts when it is replayed")
	}
}

func (r *rig) postEnrollment(request string) (status int, body string) {
	r.t.Helper()
	form := "enrollment=" + request
	if !strings.Contains(request, "&") {
		form = url.Values{"enrollment": {request}}.Encode()
	}
	got := post(r.t, r.d.AgentsURL+identity.EnrollPath, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, form)
	return got.status, got.body
}

// TestEnrolledKeysSurviveApply holds what docs/connect.md says of manifests.
func TestEnrolledKeysSurviveApply(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.apply(twoAgents)
	if _, err := r.redeem(r.invite("bot")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.redeem(r.invite("bot")); err != nil {
		t.Fatal(err)
	}
	open := r.invite("bot")
	before := r.d.Admin.Current().View.Generation()
	r.apply(twoAgents)
	if r.d.Admin.Current().View.Generation() != before {
		t.Error("applying the manifest again changed something")
	}
	exported, err := r.d.Admin.Export(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(exported), open) || strings.Count(string(exported), "by: \"user:tester\"") != 2 {
		t.Errorf("the export is\n%s", exported)
	}
	r.apply(string(exported))
	if r.d.Admin.Current().View.Generation() != before {
		t.Error("applying the export changed something")
	}
	fresh := newRig(t)
	fresh.apply(string(exported))
	if again, err := fresh.d.Admin.Export(t.Context()); err != nil || !bytes.Equal(again, exported) {
		t.Errorf("the export of the export (%v):\n%s", err, again)
	}
	// A manifest that lists a key as its own makes it its own.
	key := r.enrolledKeys("bot")[0].JWK
	quoted, _ := json.Marshal(key)
	r.apply(strings.Replace(twoAgents, "purpose: test", "purpose: test\nkeys: [{jwk: "+string(quoted)+"}]", 1))
	if n := len(r.enrolledKeys("bot")); n != 1 {
		t.Errorf("%d enrolled keys, want one", n)
	}
	if a, _ := r.d.Admin.Current().View.Agent("bot"); len(a.Keys) != 2 {
		t.Errorf("%d keys, want two", len(a.Keys))
	}
	// And only an empty list removes the rest.
	r.apply(strings.Replace(twoAgents, "purpose: test", "purpose: test\nenrolled: []", 1))
	if a, _ := r.d.Admin.Current().View.Agent("bot"); len(a.Enrolled) != 0 || len(a.Keys) != 0 {
		t.Errorf("left: %d enrolled, %d keys", len(a.Enrolled), len(a.Keys))
	}
	if _, err := r.redeem(open); err != nil {
		t.Errorf("an open code does not survive apply: %v", err)
	}
}

// keepsItsSecrets follows the code, the key and the tokens: not on
// any output, in no argument, log, evidence or store of the gateway.
func keepsItsSecrets(t *testing.T, bin string) {
	u := newUpstream(t)
	s := newShimRig(t, bin, botAndServer(u.URL+"/mcp", `["up/*"]`), "up")
	code := s.invite("bot")
	state := filepath.Join(t.TempDir(), "state")
	cmd := exec.CommandContext(t.Context(), s.bin, "-v", "connect", "--enroll", "--gateway", s.d.AgentsURL, "--state", state)
	cmd.Env, cmd.Stdin = []string{}, strings.NewReader(code+"\n")
	said, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("enrolling: %v\n%s", err, said)
	}
	profile, err := os.ReadFile(filepath.Join(state, "bot.json"))
	if err != nil {
		t.Fatal(err)
	}
	var doc struct{ Key struct{ D string } }
	if err := json.Unmarshal(profile, &doc); err != nil || doc.Key.D == "" {
		t.Fatalf("the profile has no key: %v", err)
	}
	s.state = state
	run, diagnostics := s.command(t.Context(), "up", "-v")
	run.Stdin = strings.NewReader(modernBody("1", "tools/call", `"name":"echo","arguments":{"text":"x"}`) + "\n" + "nonsense\n")
	out, err := run.Output()
	if err != nil || !strings.Contains(string(out), `"result"`) {
		t.Fatalf("connecting: %v\n%s\n%s", err, out, diagnostics)
	}
	if err := s.d.Close(t.Context()); err != nil { // so that everything is in its files
		t.Fatal(err)
	}
	_, seed, _ := strings.Cut(code, ".")
	rawSeed, _ := base64.RawURLEncoding.DecodeString(seed)
	rawKey, _ := base64.RawURLEncoding.DecodeString(doc.Key.D)
	secrets := map[string]string{"code": seed, "code bytes": string(rawSeed), "code hex": hex.EncodeToString(rawSeed), "key": doc.Key.D, "key bytes": string(rawKey), "key hex": hex.EncodeToString(rawKey)}
	look := func(where, text string) {
		for name, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%s holds the %s", where, name)
			}
		}
	}
	look("the enrollment's output", string(said))
	look("standard output", string(out))
	look("the diagnostics", diagnostics.String())
	look("the arguments", strings.Join(append(cmd.Args, run.Args...), " "))
	look("the gateway's log", s.logs.String())
	for _, text := range []string{string(out), diagnostics.String()} {
		if strings.Contains(text, "eyJ") {
			t.Errorf("a token or assertion is said: %s", text)
		}
	}
	files := 0
	err = filepath.WalkDir(s.d.Config.Data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		files++
		look(path, string(b))
		return err
	})
	if err != nil || files < 5 {
		t.Errorf("looked at %d files: %v", files, err)
	}
}

// TestEveryStepOfAnEnrollmentIsRecorded reads the evidence of one life of a key.
func TestEveryStepOfAnEnrollmentIsRecorded(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.apply(twoAgents)
	from := r.d.Evidence.Size()
	if _, err := r.redeem(r.invite("bot")); err != nil {
		t.Fatal(err)
	}
	id := identity.KeyID(json.RawMessage(r.enrolledKeys("bot")[0].JWK))
	if _, err := r.d.Admin.Unenroll(t.Context(), operator, "bot", id[:8], "lost laptop"); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range r.leaves(from) {
		for _, verb := range []string{"invite", "enroll", "unenroll"} {
			if strings.Contains(l.raw, `"verb":"`+verb+`"`) && strings.Contains(l.raw, `"kind":"Agent"`) && !strings.Contains(l.raw, `"bot"`) {
				got = append(got, verb)
			}
		}
	}
	if strings.Join(got, " ") != "invite enroll unenroll" {
		t.Errorf("recorded: %q", got)
	}
}

func endsWithItsKey(t *testing.T, bin string) {
	u := newUpstream(t)
	s := newShimRig(t, bin, botAndServer(u.URL+"/mcp", `["up/*"]`), "up")
	cmd, diagnostics := s.command(t.Context(), "up")
	c := converse(t, cmd)
	c.send(modernBody("1", "tools/call", `"name":"echo","arguments":{}`))
	if got := c.next(); !strings.Contains(got, `"result"`) {
		t.Fatalf("got %s\n%s", got, diagnostics)
	}
	if _, err := s.d.Admin.Unenroll(t.Context(), operator, "bot", "", ""); err != nil {
		t.Fatal(err)
	}
	calls := u.count()
	c.send(modernBody("2", "tools/call", `"name":"echo","arguments":{}`))
	if got := c.next(); !strings.Contains(got, `"unauthenticated"`) || !strings.Contains(got, "enroll") {
		t.Errorf("with a removed key: %s", got)
	}
	if u.count() != calls {
		t.Error("the call went through")
	}
	c.end(0)
}

func TestCodesExpire(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.apply(twoAgents)
	for _, ttl := range []time.Duration{time.Second, 2 * time.Hour, -time.Minute} {
		if in, err := r.d.Admin.Invite(t.Context(), operator, "bot", ttl); err == nil {
			t.Errorf("a code lives %v: %v", ttl, in.Expires)
		}
	}
	for range 16 {
		r.invite("bot")
	}
	if _, err := r.d.Admin.Invite(t.Context(), operator, "bot", 0); err == nil {
		t.Error("codes are without bound")
	}
	if _, err := r.d.Admin.Invite(t.Context(), admin.Actor{}, "bot", 0); err == nil {
		t.Error("nobody made a code")
	}
}
