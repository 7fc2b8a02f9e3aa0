package signal_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"rutile/internal/signal"
	"rutile/internal/webhook"
)

// TestPollingLosesNothing: a source that tells again what was not acknowledged, over an
// answer that is none, a refused event and another process.
func TestPollingLosesNothing(t *testing.T) {
	x := newTransmitter(t)
	waiting := map[string]string{}
	for i := range 5 {
		id := fmt.Sprintf("j%d", i)
		waiting[id] = x.set("secevent+jwt", map[string]any{"jti": id})
	}
	waiting["bad"] = x.set("secevent+jwt", map[string]any{"jti": "bad", "aud": "other"})
	asked, acked := 0, make(chan string, 100)
	x.mux.HandleFunc("POST /poll", func(w http.ResponseWriter, r *http.Request) {
		x.mu.Lock()
		defer x.mu.Unlock()
		var in struct {
			Ack  []string `json:"ack"`
			Errs map[string]struct {
				Err string `json:"err"`
			} `json:"setErrs"`
		}
		if asked++; json.NewDecoder(r.Body).Decode(&in) != nil || r.Header.Get("Authorization") != "Bearer 0123456789abcdef" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if asked == 1 { // it breaks off
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		for _, id := range in.Ack {
			delete(waiting, id)
			acked <- id
		}
		for id, e := range in.Errs {
			delete(waiting, id)
			acked <- id + " " + e.Err
		}
		sets := map[string]string{}
		for id, raw := range waiting {
			if len(sets) < 3 {
				sets[id] = raw
			}
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"sets": sets, "moreAvailable": len(sets) < len(waiting)})
	})
	s := x.source()
	s.Poll, s.Secret = x.URL+"/poll", "idp-token"
	box := newInbox()
	_, a := receiver(t, box, s)
	var got []string
	for len(got) < 6 {
		select {
		case id := <-acked:
			got = append(got, id)
		case <-time.After(30 * time.Second):
			t.Fatalf("acknowledged are %v only", got)
		}
	}
	slices.Sort(got)
	if want := []string{"bad invalid_audience", "j0", "j1", "j2", "j3", "j4"}; !slices.Equal(got, want) {
		t.Errorf("acknowledged: %v", got)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	slices.Sort(a.did)
	if len(a.did) != 5 || len(slices.Compact(a.did)) != 5 || len(a.refused) != 1 {
		t.Errorf("done %v, refused %v", a.did, a.refused)
	}
}

// TestAWebhookIsHeldToItsSignature: what is changed, old or sent again does nothing, and
// what it may say is little.
func TestAWebhookIsHeldToItsSignature(t *testing.T) {
	r, a := receiver(t, newInbox(), signal.Source{ID: "idp", Form: signal.FormWebhook, Secret: "edr", May: signal.Mays(), State: signal.Active})
	now := time.Now()
	send := func(id, body string, at time.Time, secret string, change func(http.Header)) error {
		mac, err := webhook.Sign([]byte(secret), id, at, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		h := http.Header{}
		h.Set("Content-Type", "application/json")
		h.Set(webhook.HeaderID, id)
		h.Set(webhook.HeaderTimestamp, fmt.Sprint(at.Unix()))
		h.Set(webhook.HeaderSignature, mac)
		if change != nil {
			change(h)
		}
		return r.Push(t.Context(), "idp", h, []byte(body))
	}
	const good, secret = `{"type":"revoke","data":{"kind":"agent","id":"bot"}}`, "0123456789abcdef"
	for name, err := range map[string]error{
		"another key":  send("m1", good, now, "fedcba9876543210", nil),
		"an hour ago":  send("m1", good, now.Add(-time.Hour), secret, nil),
		"of tomorrow":  send("m1", good, now.Add(24*time.Hour), secret, nil),
		"another id":   send("m1", good, now, secret, func(h http.Header) { h.Set(webhook.HeaderID, "m2") }),
		"another time": send("m1", good, now, secret, func(h http.Header) { h.Set(webhook.HeaderTimestamp, fmt.Sprint(now.Unix()+1)) }),
		"two ids":      send("m1", good, now, secret, func(h http.Header) { h.Add(webhook.HeaderID, "m2") }),
		"no signature": send("m1", good, now, secret, func(h http.Header) { h.Del(webhook.HeaderSignature) }),
		"another version": send("m1", good, now, secret, func(h http.Header) {
			h.Set(webhook.HeaderSignature, strings.Replace(h.Get(webhook.HeaderSignature), "v1,", "v1a,", 1))
		}),
		"a form":            send("m1", good, now, secret, func(h http.Header) { h.Set("Content-Type", "text/plain") }),
		"another order":     send("m1", `{"type":"approve","data":{"kind":"agent","id":"bot"}}`, now, secret, nil),
		"everything":        send("m1", `{"type":"revoke","data":{"kind":"tenant","id":"default"}}`, now, secret, nil),
		"a server":          send("m1", `{"type":"revoke","data":{"kind":"server","id":"up"}}`, now, secret, nil),
		"nobody":            send("m1", `{"type":"revoke","data":{}}`, now, secret, nil),
		"one and another":   send("m1", `{"type":"revoke","data":{"kind":"agent","id":"bot","subject":{"format":"opaque","id":"x"}}}`, now, secret, nil),
		"more than is read": send("m1", `{"type":"revoke","data":{"kind":"agent","id":"bot"},"and":"more"}`, now, secret, nil),
		"two":               send("m1", good+good, now, secret, nil),
	} {
		if codeOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(a.did) > 0 {
		t.Fatalf("done: %v", a.did)
	}
	for range 2 {
		if err := send("m1", good, now, secret, func(h http.Header) { h.Set(webhook.HeaderSignature, "v1,AAAA "+h.Get(webhook.HeaderSignature)) }); err != nil {
			t.Fatal(err)
		}
	}
	if len(a.did) != 1 {
		t.Errorf("done: %v", a.did)
	}
}
