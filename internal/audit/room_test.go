package audit_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/audit"
	"rutile/internal/rawjson"
)

// What leaves are made from is used again by later ones, while the sealer and
// readers hold what they became: nothing of one call may show in another's.
func TestRoomThatIsUsedAgainKeepsCallsApart(t *testing.T) {
	cfg := config(t.TempDir())
	cfg.SealEvery = time.Millisecond
	l := start(t, cfg, newMemory())
	ctx := context.Background()
	const callers, each = 4, 60
	kept := make([]map[uint64]string, callers) // by leaf, what its payload holds
	var wg sync.WaitGroup
	for c := range callers {
		kept[c] = map[uint64]string{}
		wg.Go(func() {
			for n := range each {
				args := fmt.Sprintf(`{"n":"%d-%d-%s"}`, c, n, strings.Repeat("x", 1+(n*397)%5000))
				r := request(t, c*each+n)
				var err error
				if r.Arguments, err = rawjson.Parse([]byte(args), rawjson.Limits{}); err != nil {
					t.Error(err)
					return
				}
				intent, err := l.Intent(ctx, audit.Intent{Request: r, Decision: permit(r)})
				if err != nil {
					t.Error(err)
					return
				}
				o := outcomeOf(r, intent)
				o.Result = bytes.ToUpper([]byte(args))
				outcome, err := l.Outcome(ctx, o)
				if err != nil {
					t.Error(err)
					return
				}
				kept[c][intent.Index], kept[c][outcome.Index] = args, string(o.Result)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	for _, sealed := range kept {
		for index, want := range sealed {
			r, err := l.Reveal(ctx, index)
			if err != nil {
				t.Fatalf("leaf %d: %v", index, err)
			}
			if string(r.Payload) != want {
				t.Fatalf("leaf %d holds %.40q, want %.40q", index, r.Payload, want)
			}
			if intent := strings.Contains(want, "x"); intent && r.Sealed["task"] != "ship it" {
				t.Fatalf("leaf %d seals %v", index, r.Sealed)
			}
		}
	}
	stop(t, l)
	r, err := audit.VerifyDir(cfg.Dir, audit.VerifyOptions{Keys: []string{l.VerifierKey()}, Complete: true})
	if err != nil || r.ExitStatus() != 0 {
		t.Errorf("verifying: %+v, %v", r, err)
	}
}

// A policy may be called like the first words of those made for an agent.
func TestOnlyAnAgentsPlaceInAPolicysNameIsHidden(t *testing.T) {
	l := start(t, config(t.TempDir()), newMemory())
	r := request(t, 1)
	d := permit(r)
	d.Permits = []string{
		"allow", "allow.", "allow.release-bot", "allow.release-bot.files", "allow.release-bot.", "allow.other.release-bot",
		"entitlement", "entitlement.", "entitlement.x", "entitlement.x.release-bot", "entitlement.x.release-bot.files.ask",
		"entitlement.release-bot.x.files", "release-bot.allow.files", "",
	}
	ref, err := l.Verdict(context.Background(), audit.Intent{Request: r, Decision: d})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := l.Leaf(context.Background(), ref.Index)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(leaf), `"agent":"`)
	name, _, _ := strings.Cut(rest, `"`)
	_, rest, _ = strings.Cut(string(leaf), `"permits":["`)
	shown, _, _ := strings.Cut(rest, `"]`)
	want := []string{
		"allow", "allow.", "allow.release-bot", "allow." + name + ".files", "allow." + name + ".", "allow.other.release-bot",
		"entitlement", "entitlement.", "entitlement.x", "entitlement.x.release-bot", "entitlement.x." + name + ".files.ask",
		"entitlement.release-bot.x.files", "release-bot.allow.files", "",
	}
	if diff := cmp.Diff(want, strings.Split(shown, `","`)); diff != "" {
		t.Errorf("policies in the leaf (-want +got):\n%s", diff)
	}
}
