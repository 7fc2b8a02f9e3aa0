package gatetest_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"rutile/internal/daemon"
	"rutile/internal/risk"
	"rutile/internal/store"
	"rutile/internal/store/storetest"
)

// TestScoresOutliveAKill: what calls came to right before a gateway was killed, which it
// had not kept yet, is there again at the next start: an agent gains nothing by having it
// end.
func TestScoresOutliveAKill(t *testing.T) {
	t.Parallel()
	up, data := newUpstream(t), storetest.Dir(t)
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledGateway$")
	cmd.Env = append(os.Environ(), killedPart+"="+data+" "+up.URL+"/mcp")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	said := strings.Fields(line)
	if err != nil || len(said) != 3 || said[0] != "ready" {
		_ = cmd.Process.Kill()
		t.Fatalf("it said %q, %v, %v", line, err, cmd.Wait())
	}
	k := &killing{t: t, up: up, data: data, answered: map[string]bool{}, denied: map[string]bool{}}
	client := &http.Client{Transport: &http.Transport{}}
	for n := range 40 {
		k.call(client, said[1], said[2], fmt.Sprint("probe-", n), true)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
	client.CloseIdleConnections()
	if len(k.denied) != 40 {
		t.Fatalf("%d of 40 calls were denied", len(k.denied))
	}
	unkept(t, data)
	var scores []int
	for range 2 { // and a start changes nothing about it
		d, err := daemon.New(context.WithoutCancel(t.Context()), daemon.Config{
			Mode: "enforce", Data: data, Listen: daemon.Listen{Agents: "127.0.0.1:0", Operators: "127.0.0.1:0"}, Log: daemon.Log{Level: "error"},
		}, daemon.Options{})
		if err != nil {
			t.Fatal(err)
		}
		list, err := d.Effects.List(t.Context(), "", 10, false)
		if err != nil || len(list) != 1 {
			t.Fatalf("%d sessions, %v", len(list), err)
		}
		s, err := d.Effects.Session(t.Context(), list[0].ID)
		if err != nil {
			t.Fatal(err)
		}
		if s.Scores == nil || s.Scores.Session < 15 || len(s.Scores.Top) == 0 || s.Scores.Top[0].Family != "probing" {
			t.Errorf("after the kill it is %+v", s.Scores)
		} else {
			scores = append(scores, s.Scores.Session)
		}
		if err := d.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	if len(scores) == 2 && scores[1] > scores[0] {
		t.Errorf("it is %d, then %d", scores[0], scores[1])
	}
}

// unkept takes back what a gateway that was killed kept of scores, as if that had been
// before it kept any, however long it ran.
func unkept(t *testing.T, data string) {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{DSN: "sqlite", Dir: data})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	rows, err := db.Risks(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	marks := 0
	for _, r := range rows {
		var put []risk.Row
		if r.Kind == risk.KindLog {
			put = []risk.Row{{Key: r.Key, Doc: []byte(`{"v":1,"size":0}`)}}
			marks++
		}
		if err := db.SaveRisks(t.Context(), r.Node, put, []risk.Key{r.Key}); err != nil {
			t.Fatal(err)
		}
	}
	if marks != 1 {
		t.Fatalf("%d logs are kept how far they were told of", marks)
	}
}
