package gatetest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"rutile/internal/admin"
	"rutile/internal/audit"
	"rutile/internal/daemon"
	"rutile/internal/store/storetest"
)

// killedPart makes the test binary a gateway: where its data is and the upstream
// it is for.
const killedPart = "GATETEST_KILLED"

// TestKilledGateway is not a test: it is the gateway TestKill9 kills. It ends
// with its standard input.
func TestKilledGateway(t *testing.T) {
	part := strings.Split(os.Getenv(killedPart), " ")
	if len(part) != 2 {
		return
	}
	d, err := daemon.New(context.Background(), daemon.Config{
		Mode: "enforce", Data: part[0], Listen: daemon.Listen{Agents: "127.0.0.1:0", Operators: "127.0.0.1:0"}, Log: daemon.Log{Level: "error"},
	}, daemon.Options{})
	if err != nil {
		fmt.Println("failed", err)
		os.Exit(1)
	}
	docs, err := admin.ParseReader("m.yaml", t.TempDir(), strings.NewReader(botAndServer(part[1], `["up/echo"]`)))
	if err == nil {
		_, err = d.Admin.Apply(t.Context(), operator, docs, false)
	}
	if err == nil {
		err = d.Proxy.Learn(t.Context(), "up")
	}
	if err != nil {
		fmt.Println("failed", err)
		os.Exit(1)
	}
	token, err := d.Admin.IssueDevelopmentToken(t.Context(), operator, tokenFor("bot", "up"))
	if err != nil {
		fmt.Println("failed", err)
		os.Exit(1)
	}
	fmt.Println("ready", d.AgentsURL, token.Value)
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// TestKill9 kills a gateway under load, many times over one data directory.
// Whatever the upstream saw has an intent, whatever was answered has its outcome
// or its verdict, and every checkpoint ever signed is one of the same history.
func TestKill9(t *testing.T) {
	t.Parallel()
	kills := 200
	if testing.Short() {
		kills = 6
	}
	k := &killing{t: t, up: newUpstream(t), data: storetest.Dir(t), answered: map[string]bool{}, denied: map[string]bool{}}
	var checkpoints [][]byte
	for range kills {
		k.once()
		if b, err := os.ReadFile(filepath.Join(k.data, "evidence", "log", "checkpoint")); err == nil {
			checkpoints = append(checkpoints, b)
		}
		if t.Failed() {
			return
		}
	}
	k.check()
	k.verify(checkpoints)
}

type killing struct {
	t     *testing.T
	up    *upstream
	data  string
	boots int

	mu       sync.Mutex
	answered map[string]bool // texts of calls whose result came back
	denied   map[string]bool // decisions of denials that came back
}

// once runs the gateway under load and kills it at some moment.
func (k *killing) once() {
	k.t.Helper()
	k.boots++
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledGateway$")
	cmd.Env = append(os.Environ(), killedPart+"="+k.data+" "+k.up.URL+"/mcp")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		k.t.Fatal(err)
	}
	defer stdin.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		k.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	said := strings.Fields(line)
	if err != nil || len(said) != 3 || said[0] != "ready" {
		_ = cmd.Process.Kill()
		k.t.Fatalf("boot %d said %q, %v, %v", k.boots, line, err, cmd.Wait())
	}
	var wg sync.WaitGroup
	client := &http.Client{Transport: &http.Transport{}}
	for w := range 6 {
		wg.Go(func() {
			for n := 0; k.call(client, said[1], said[2], fmt.Sprintf("call-%d-%d-%d", k.boots, w, n), n%4 == 3); n++ {
			}
		})
	}
	if k.boots == 1 { // however slow the machine is, something happens
		eventually(k.t, "a call is answered and one is refused", func() bool {
			k.mu.Lock()
			defer k.mu.Unlock()
			return len(k.answered) > 0 && len(k.denied) > 0
		})
	}
	time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond)
	_ = cmd.Process.Kill()
	wg.Wait()
	_ = cmd.Wait() // it was killed
	client.CloseIdleConnections()
}

// call makes one call and notes what came back; false once the gateway is gone.
func (k *killing) call(client *http.Client, url, token, text string, deny bool) bool {
	tool := "echo"
	if deny {
		tool = "nothing-of-this-name"
	}
	body := modernBody(`"`+text+`"`, "tools/call", `"name":"`+tool+`","arguments":{"text":"`+text+`"}`)
	req, err := http.NewRequest(http.MethodPost, url+"/mcp/up", strings.NewReader(body))
	if err != nil {
		k.t.Error(err)
		return false
	}
	req.Header = modernHeaders(token, "tools/call", tool)
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return false
	}
	got := parseReply(resp, raw)
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case deny && got.msg.code() == -32602:
		k.denied[text] = true
	case !deny && got.msg.Result != nil && strings.Contains(got.body, text) && !strings.Contains(got.body, "isError"):
		k.answered[text] = true
	default:
		k.t.Errorf("%s answered %d %s", text, resp.StatusCode, got.body)
	}
	return true
}

// check compares what the upstream saw and what came back with the evidence.
func (k *killing) check() {
	r := rigAt(k.t, k.data, "127.0.0.1:0")
	intents, outcomes, verdicts := map[string]int{}, map[string]string{}, map[string]int{}
	texts := map[uint64]string{}
	for n := range r.d.Evidence.Size() {
		rev, err := r.d.Evidence.Reveal(k.t.Context(), n)
		if err != nil {
			k.t.Fatalf("leaf %d: %v", n, err)
		}
		var args struct {
			Text string `json:"text"`
		}
		switch rev.Row.Type {
		case "intent", "verdict":
			if rev.Row.Method != "tools/call" {
				continue
			}
			if err := json.Unmarshal(rev.Payload, &args); err != nil {
				k.t.Fatalf("leaf %d: the arguments %q are lost: %v", n, rev.Payload, err)
			}
			texts[n] = args.Text
			if rev.Row.Type == "intent" {
				intents[args.Text]++
			} else {
				verdicts[args.Text]++
			}
		case "outcome":
			outcomes[texts[uint64(rev.Row.Intent)]] = rev.Row.Status
		}
	}
	k.up.mu.Lock()
	seen := k.up.calls
	k.up.mu.Unlock()
	for _, body := range seen {
		var m struct {
			Params struct {
				Arguments struct {
					Text string `json:"text"`
				} `json:"arguments"`
			} `json:"params"`
		}
		if err := json.Unmarshal(body, &m); err != nil {
			k.t.Fatal(err)
		}
		if text := m.Params.Arguments.Text; intents[text] != 1 {
			k.t.Errorf("the upstream saw %s, which has %d intents", text, intents[text])
		}
	}
	for text := range k.answered {
		if outcomes[text] != "ok" {
			k.t.Errorf("%s was answered and its outcome is %q", text, outcomes[text])
		}
	}
	for text := range k.denied {
		if verdicts[text] != 1 {
			k.t.Errorf("%s was refused and has %d verdicts", text, verdicts[text])
		}
	}
	unknown := 0
	for text := range intents {
		if outcomes[text] == "" {
			k.t.Errorf("the intent of %s has no outcome", text)
		}
		if outcomes[text] == "unknown" {
			unknown++
		}
	}
	if len(seen) == 0 || len(k.answered) == 0 || len(k.denied) == 0 {
		k.t.Error("nothing happened")
	}
	k.t.Logf("%d kills: %d calls seen, %d answered, %d refused, %d cut off", k.boots, len(seen), len(k.answered), len(k.denied), unknown)
	r.stop()
}

// verify verifies the log with every checkpoint that was ever seen beside it.
func (k *killing) verify(checkpoints [][]byte) {
	dir := filepath.Join(k.data, "evidence")
	if err := os.MkdirAll(filepath.Join(dir, "checkpoints"), 0o700); err != nil {
		k.t.Fatal(err)
	}
	for _, b := range checkpoints {
		size := strings.Split(string(b), "\n")[1]
		if _, err := strconv.ParseUint(size, 10, 64); err != nil {
			k.t.Fatalf("the checkpoint %q", b)
		}
		if err := os.WriteFile(filepath.Join(dir, "checkpoints", size), b, 0o600); err != nil {
			k.t.Fatal(err)
		}
	}
	report, err := audit.Verify(dir, audit.VerifyOptions{Complete: true})
	if err != nil || report.ExitStatus() != 0 || report.Missing != 0 {
		k.t.Errorf("%v: %d payloads gone, %q %q", err, report.Missing, report.Problems, report.Lacking)
	}
}
