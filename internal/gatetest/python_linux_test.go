package gatetest_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"rutile/internal/confine"
	"rutile/internal/gatetest"
)

// A Python server starts confined as it comes, through what uvx does: a cache
// and an environment at home, made of links, and a program in it that is
// executed. It still reads nothing of a person.
func TestPythonServerStartsConfined(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed: run scripts/prepare")
	}
	here, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	person := gatetest.TempFile(t, "id_ed25519", "PRIVATE KEY of a person")
	r := newRig(t)
	r.apply(strings.Replace(botAndServer("", `["up/*"]`), `{http: {url: ""}}`,
		fmt.Sprintf("{stdio: {command: %q, args: [%q, %q], confine: {bestEffort: true, read: [%q]}}}", python, here+"/runner.py", here+"/server.py", here), 1), "up")
	got := r.call(r.token("bot", "up"), "up", "look", fmt.Sprintf(`{"file":%q}`, person))
	var result struct{ Content []struct{ Text string } }
	var saw struct {
		Prefix, Home, Address, Child, File string
		Authorities                        bool
	}
	if err := json.Unmarshal(got.msg.Result, &result); err != nil || len(result.Content) != 1 {
		t.Fatalf("answered %d %s", got.status, got.body)
	}
	if err := json.Unmarshal([]byte(result.Content[0].Text), &saw); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(r.d.Config.Data, "servers", "up")
	if !strings.HasPrefix(saw.Home, data+"/") || saw.Prefix != saw.Home+"/.cache/runner/environment" || saw.Address != "127.0.0.1" || saw.Child != "child" || !saw.Authorities {
		t.Errorf("it saw %+v", saw)
	}
	if saw.File != "PermissionError" && !lacks(t, r, confine.Files) {
		t.Errorf("it read the file of a person: %s", saw.File)
	}
}
