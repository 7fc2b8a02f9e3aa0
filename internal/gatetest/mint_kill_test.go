package gatetest_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rutile/internal/admin"
	"rutile/internal/audit"
	"rutile/internal/credential"
	"rutile/internal/grant"
)

// revokingPart makes the test binary the gateway that is killed: where its data is and
// a file that says what it is to do.
const revokingPart = "GATETEST_REVOKING"

// orders are what that gateway is to do.
type orders struct {
	Manifests string
	Seeds     map[string]string
}

// TestGatewayKilledWhileRevoking is not a test: it is that gateway. It calls every
// server under a grant, revokes the grants, says which while their issuers are being
// asked, and waits.
func TestGatewayKilledWhileRevoking(t *testing.T) {
	data := os.Getenv(revokingPart)
	if data == "" {
		return
	}
	raw, err := os.ReadFile(filepath.Join(filepath.Dir(data), "orders"))
	if err != nil {
		t.Fatal(err)
	}
	var do orders
	if err := json.Unmarshal(raw, &do); err != nil {
		t.Fatal(err)
	}
	r := rigAt(t, data, "127.0.0.1:0")
	for id, seed := range do.Seeds {
		if _, err := r.d.Admin.SetCredential(t.Context(), operator, credential.Secret{ID: id, MaxTier: 3}, []byte(seed)); err != nil {
			t.Fatal(err)
		}
	}
	r.apply(do.Manifests, mintedBy...)
	fmt.Println("listed") // issuers wait from here on
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	ids := map[string]string{}
	for _, server := range mintedBy {
		g, err := r.d.Desk.CreateGrant(t.Context(), operator, admin.GrantSpec{Agent: "bot", Server: server, Tool: "echo", Seconds: 600})
		if err != nil {
			t.Fatal(err)
		}
		if got := r.call(r.token("bot", server), server, "echo", `{}`); got.msg.Result == nil || problemOf(got.msg.Result) != "" {
			t.Fatalf("%s: %s", server, got.body)
		}
		ids[server] = g.ID
	}
	for _, id := range ids {
		go func() { _, _ = r.d.Desk.RevokeGrant(t.Context(), operator, id, "enough") }()
	}
	eventually(t, "the grants are being revoked", func() bool {
		for _, id := range ids {
			// One that nobody can end is partial at once, and one whose issuer hangs once a
			// try has run out: what it minted lives either way.
			g, err := r.d.Desk.Grant(t.Context(), id)
			if err != nil || g.State != grant.GrantRevoking && g.State != grant.GrantRevokePartial {
				return false
			}
		}
		return true
	})
	said, err := json.Marshal(ids)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("revoking", string(said))
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// TestWhatWasMintedEndsAfterAKill: a gateway is killed while the issuers of a token
// exchange, an OpenBao lease and an installation token are being asked to end them. The
// next start, whose memory holds none of them, ends them by what was kept; the session
// of AWS, which nobody can end, is said to live and until when.
func TestWhatWasMintedEndsAfterAKill(t *testing.T) {
	t.Parallel()
	s, p, dir := startIssuers(t), newPeer(t, v2026), t.TempDir()
	data := filepath.Join(dir, "data")
	raw, err := json.Marshal(orders{Manifests: s.manifests(p.URL + "/mcp"), Seeds: s.seeds()})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "orders"), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	ids := killedWhileRevoking(t, s, data)
	calls := p.got("tools/call")
	if got := s.lives(calls); fmt.Sprint(got) != "[exchange bao github]" {
		t.Errorf("before the kill of %d calls those of %v lived", len(calls), got)
	}
	tries := map[string]int{}
	for _, who := range mintedBy {
		tries[who] = s.tries(who)
	}
	s.release() // what the killed gateway asked is not answered: its connections are gone
	r := rigAt(t, data, "127.0.0.1:0")
	var session []grant.Left
	eventually(t, "the session of AWS is said to live", func() bool {
		g, err := r.d.Desk.Grant(t.Context(), ids["sts"])
		session = g.Left
		return err == nil && g.State == grant.GrantRevokePartial && len(session) == 1
	})
	if l := session[0]; l.Credential != "of-sts" || !strings.Contains(l.Why, "no revocation") || l.Assumed || time.Until(l.Until) < 10*time.Minute || time.Until(l.Until) > 15*time.Minute {
		t.Errorf("the session of AWS lives on: %+v", l)
	}
	for _, server := range []string{"exchange", "bao", "github"} {
		eventually(t, server+" is revoked", func() bool {
			g, err := r.d.Desk.Grant(t.Context(), ids[server])
			return err == nil && g.State == grant.GrantRevoked && len(g.Left) == 0
		})
		if s.tries(server) <= tries[server] {
			t.Errorf("%s was not asked again", server)
		}
	}
	if got := s.lives(calls); len(got) > 0 {
		t.Errorf("after it those of %v live", got)
	}
	if g, err := r.d.Desk.Grant(t.Context(), ids["sts"]); err != nil || g.State != grant.GrantRevokePartial || len(g.Left) != 1 || !g.Left[0].Until.Equal(session[0].Until) {
		t.Errorf("the session of AWS then: %s, %+v, %v", g.State, g.Left, err)
	}
	for server, id := range ids {
		if got := r.call(r.token("bot", server), server, "echo", `{}`); !strings.Contains(got.body, "require_approval") {
			t.Errorf("%s under grant %s: %s", server, id, got.body)
		}
	}
	eventually(t, "the evidence says it", func() bool {
		n := 0
		for _, l := range r.leaves(0) {
			if strings.Contains(l.raw, `"revoke-end"`) {
				n++
			}
		}
		return n == 3
	})
	r.stop()
	if report, err := audit.Verify(filepath.Join(data, "evidence"), audit.VerifyOptions{Complete: true}); err != nil || report.ExitStatus() != 0 {
		t.Errorf("the evidence: %v, %q %q", err, report.Problems, report.Lacking)
	}
}

// killedWhileRevoking runs the gateway and kills it once it says that issuers are being
// asked. The grants are by server.
func killedWhileRevoking(t *testing.T, s *issuers, data string) map[string]string {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestGatewayKilledWhileRevoking$")
	cmd.Env = append(os.Environ(), revokingPart+"="+data)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var heard []string
	ids := map[string]string{}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		heard = append(heard, lines.Text())
		if lines.Text() == "listed" {
			s.wait()
			if _, err := io.WriteString(stdin, "\n"); err != nil {
				t.Fatal(err)
			}
		}
		if said, ok := strings.CutPrefix(lines.Text(), "revoking "); ok {
			if err := json.Unmarshal([]byte(said), &ids); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
	if len(ids) != len(mintedBy) {
		t.Fatalf("the gateway said:\n%s", strings.Join(heard, "\n"))
	}
	return ids
}
