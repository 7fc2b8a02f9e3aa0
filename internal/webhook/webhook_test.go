package webhook_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rutile/internal/webhook"
)

const key = "0123456789abcdef-the-key"

// world is a Sender between a clock and endpoints of the test's own.
type world struct {
	*webhook.Sender
	mu      sync.Mutex
	hooks   map[string]webhook.Webhook
	log     strings.Builder
	got     map[string][]delivery // by host
	answers map[string]func(n int) (*http.Response, error)
}

type delivery struct {
	id, stamp, signature, url, body string
	at                              time.Time
}

// unread fails the test where anything reads the body of an answer.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body of an answer is read")
	return 0, io.EOF
}
func (unread) Close() error { return nil }

func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(r.Body)
	w.mu.Lock()
	h := r.URL.Host
	w.got[h] = append(w.got[h], delivery{r.Header.Get(webhook.HeaderID), r.Header.Get(webhook.HeaderTimestamp), r.Header.Get(webhook.HeaderSignature), r.URL.String(), string(body), time.Now()})
	n, answer := len(w.got[h]), w.answers[h]
	w.mu.Unlock()
	if answer == nil {
		<-r.Context().Done() // a host that is not there any more
		return nil, r.Context().Err()
	}
	return answer(n)
}

func (w *world) Use(_ context.Context, ref, origin string, use func([]byte) error) error {
	switch ref {
	case "key":
		return use([]byte(key + "\n"))
	case "rest":
		return use([]byte("T0/B0/topsecretpath"))
	case "elsewhere":
		return use([]byte("/../..//evil.example/x"))
	}
	return errors.New("no such credential")
}

func (w *world) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(b)
}

func (w *world) declared() map[string]webhook.Webhook {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hooks
}

// declare replaces what is declared.
func (w *world) declare(hooks map[string]webhook.Webhook) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hooks = hooks
}

func (w *world) of(host string) []delivery {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]delivery(nil), w.got[host]...)
}

func newWorld(t *testing.T, answers map[string]func(int) (*http.Response, error), hooks ...webhook.Webhook) *world {
	t.Helper()
	w := &world{hooks: map[string]webhook.Webhook{}, got: map[string][]delivery{}, answers: answers}
	for _, h := range hooks {
		if h.State == "" {
			h.State = webhook.Active
		}
		if h.Events == nil {
			h.Events = webhook.Events()
		}
		w.hooks[h.ID] = h
	}
	var err error
	w.Sender, err = webhook.New(webhook.Config{
		Webhooks: w.declared, Transport: w, Secrets: w, Log: slog.New(slog.NewTextHandler(w, nil)), Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

func says(t *testing.T, statuses ...int) func(int) (*http.Response, error) {
	return func(n int) (*http.Response, error) {
		s := statuses[min(n, len(statuses))-1]
		return &http.Response{StatusCode: s, Header: http.Header{"Location": {"https://evil.example/"}}, Body: unread{t}}, nil
	}
}

type answers = map[string]func(int) (*http.Response, error)

func pending(id string) webhook.Event {
	return webhook.Event{Type: webhook.RequestPending, At: time.Now(), Until: time.Now().Add(15 * time.Minute), Data: webhook.Data{
		Request: id, Agent: "bot", Server: "shop", Kind: "tool", Name: "pay", Tier: 2, Needs: "1 person", State: "pending", Expires: time.Now().Add(15 * time.Minute), URL: "https://gw.example/approve/" + id,
	}}
}

// TestSignaturesAreStandardWebhooks: the published example of the specification's
// own libraries comes out.
func TestSignaturesAreStandardWebhooks(t *testing.T) {
	got, err := webhook.Sign([]byte("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want || err != nil {
		t.Errorf("got %s, %v", got, err)
	}
	raw, _ := base64.StdEncoding.DecodeString("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if same, err := webhook.Sign(raw, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`)); same != got || err != nil {
		t.Errorf("the key itself: %s, %v", same, err)
	}
	for name, secret := range map[string]string{"short": "0123456789abcde", "no base64": "whsec_hunter2hunter2!!", "short in base64": "whsec_" + base64.StdEncoding.EncodeToString([]byte("short")), "none": ""} {
		if mac, err := webhook.Sign([]byte(secret), "a", time.Unix(0, 0), nil); err == nil || mac != "" || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %q, %v", name, mac, err)
		}
	}
}

// TestAWebhookAsksAndNeverAnswers: of what the endpoint says nothing but the
// status is read, a redirect is not followed, and either is tried again.
func TestAWebhookAsksAndNeverAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, answers{"a.example": says(t, 302, 500, 200)}, webhook.Webhook{ID: "a", URL: "https://a.example/hook", Form: webhook.FormJSON, Secret: "key"})
		w.Tell(pending("req_1"))
		synctest.Wait()
		if st := w.Status("a"); st.Last == nil || st.Last.State != webhook.Retrying || st.Last.Status != 302 || st.Waiting != 1 || !strings.Contains(st.Last.Why, "redirect") {
			t.Fatalf("after a redirect: %+v %+v", st, st.Last)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		got := w.of("a.example")
		if len(got) != 3 || len(w.of("evil.example")) != 0 {
			t.Fatalf("deliveries: %+v", got)
		}
		for _, d := range got {
			var stamp int64
			_, _ = fmt.Sscan(d.stamp, &stamp)
			want, err := webhook.Sign([]byte(key), d.id, time.Unix(stamp, 0), []byte(d.body))
			if err != nil || d.signature != want || stamp != d.at.Unix() || d.id != got[0].id || d.body != got[0].body {
				t.Errorf("a delivery: %+v, want %s", d, want)
			}
		}
		if st := w.Status("a"); st.Waiting != 0 || st.Delivered != 1 || st.Last.State != webhook.Delivered || st.Last.Attempts != 3 {
			t.Errorf("at the end: %+v", st)
		}
		w.Tell(pending("req_1")) // as after a restart
		synctest.Wait()
		if again := w.of("a.example"); len(again) != 4 || again[3].id != got[0].id {
			t.Errorf("told again: %+v", again[3:])
		}
		w.Tell(pending("req_2"))
		synctest.Wait()
		if again := w.of("a.example"); len(again) != 5 || again[4].id == got[0].id {
			t.Errorf("another request: %+v", again[4:])
		}
	})
}

// TestADeadEndpointDelaysNobody: telling returns at once, others are told, its own
// queue is bounded, and it is given up in time.
func TestADeadEndpointDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, answers{"b.example": says(t, 204)},
			webhook.Webhook{ID: "a", URL: "https://a.example/", Form: webhook.FormJSON, Secret: "key"}, webhook.Webhook{ID: "b", URL: "https://b.example/", Form: webhook.FormJSON, Secret: "key"})
		start := time.Now()
		for n := range 300 {
			w.Tell(pending(fmt.Sprintf("req_%d", n)))
			if n%50 == 0 {
				synctest.Wait() // the other is not slower for it
			}
		}
		w.Tell(pending("req_0"))
		if !time.Now().Equal(start) {
			t.Error("telling waits")
		}
		synctest.Wait()
		if st := w.Status("b"); st.Delivered < 300 || st.Dropped != 0 {
			t.Errorf("the other: %+v", st)
		}
		if st := w.Status("a"); st.Waiting != 256 || st.Dropped != 44 {
			t.Errorf("the dead one: %+v", st)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		st := w.Status("a")
		if st.Waiting != 0 || st.Failed != 256 || st.Last.State != webhook.Failed || st.Last.Status != 0 {
			t.Errorf("an hour later: %+v %+v", st, st.Last)
		}
	})
}

// TestNobodyIsAskedForWhatIsOver: a delivery is given up when its event is over.
func TestNobodyIsAskedForWhatIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, answers{"a.example": says(t, 503)}, webhook.Webhook{ID: "a", URL: "https://a.example/", Form: webhook.FormJSON, Secret: "key"})
		e := pending("req_1")
		e.Until = time.Now().Add(10 * time.Second)
		w.Tell(e)
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := w.of("a.example"); len(got) != 3 || w.Status("a").Failed != 1 {
			t.Errorf("%d attempts, %+v", len(got), w.Status("a"))
		}
		w.declare(map[string]webhook.Webhook{"a": {ID: "a", State: webhook.Retired, Events: webhook.Events()}})
		w.Tell(pending("req_2"))
		synctest.Wait()
		if n := len(w.of("a.example")); n != 3 {
			t.Errorf("a retired webhook is told: %d", n)
		}
	})
}

// TestWhatWaitsEndsWithItsWebhook: retired while an event is tried again.
func TestWhatWaitsEndsWithItsWebhook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, answers{"a.example": says(t, 503)}, webhook.Webhook{ID: "a", URL: "https://a.example/", Form: webhook.FormJSON, Secret: "key"})
		w.Tell(pending("req_1"))
		synctest.Wait()
		w.declare(nil)
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := len(w.of("a.example")); n != 1 || w.Status("a").Waiting != 0 {
			t.Errorf("%d attempts, %+v", n, w.Status("a"))
		}
	})
}

// TestSecretsStayWhereTheyAre: neither status nor log hold the key or the sealed
// rest of an address, which leads nowhere else.
func TestSecretsStayWhereTheyAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fails := func(int) (*http.Response, error) {
			return nil, errors.New("dial https://a.example/T0/B0/topsecretpath with " + key)
		}
		w := newWorld(t, answers{"a.example": fails, "evil.example": says(t, 200)},
			webhook.Webhook{ID: "a", URL: "https://a.example/services", Path: "rest", Form: webhook.FormSlack},
			webhook.Webhook{ID: "b", URL: "https://a.example/services", Path: "elsewhere", Form: webhook.FormSlack},
			webhook.Webhook{ID: "c", URL: "https://c.example/", Secret: "missing", Form: webhook.FormJSON})
		w.Tell(pending("req_1"))
		synctest.Wait()
		if got := w.of("a.example"); len(got) == 0 || !strings.HasPrefix(got[0].url, "https://a.example/") || len(w.of("evil.example"))+len(w.of("c.example")) != 0 {
			t.Errorf("went to %+v", got)
		}
		all, err := json.Marshal([]webhook.Status{w.Status("a"), w.Status("b"), w.Status("c")})
		if err != nil {
			t.Fatal(err)
		}
		w.mu.Lock()
		said := string(all) + w.log.String()
		w.mu.Unlock()
		if strings.Contains(said, "topsecret") || strings.Contains(said, key) || !strings.Contains(said, "cannot be told") {
			t.Errorf("said: %s", said)
		}
	})
}

// TestNamesAreTextInSlack: what agents and servers are called is no link, mention
// TestABrokenGlassIsToldWithItsOwner, each of its events once.
func TestABrokenGlassIsToldWithItsOwner(t *testing.T) {
	seen := map[string]bool{}
	for kind, want := range map[string]string{webhook.GlassBroken: "must review it by 2026-11-28", webhook.GlassOverdue: "is locked until", webhook.GlassReviewed: "is reviewed by `bob`"} {
		e := webhook.Event{Type: kind, Data: webhook.Data{Grant: "grt_1", Agent: "bot", Server: "pay", Name: "refund", Entitlement: "refunds", Owner: "fin`<!here>", By: "bob", Expires: time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC)}}
		raw, err := e.Body(webhook.FormSlack)
		if err != nil || !strings.Contains(string(raw), want) || !strings.Contains(string(raw), "grt_1") || strings.Contains(string(raw), "<!here>") || strings.Contains(string(raw), "<>") {
			t.Errorf("%s: %s, %v", kind, raw, err)
		}
		raw, err = e.Body(webhook.FormJSON)
		if err != nil || !strings.Contains(string(raw), `"owner":"fin`) {
			t.Errorf("%s: %s, %v", kind, raw, err)
		}
		if seen[e.ID()] {
			t.Errorf("%s has the id of another", kind)
		}
		seen[e.ID()] = true
	}
}

// or markup of its own.
func TestNamesAreTextInSlack(t *testing.T) {
	e := pending("req_1")
	e.Data.Name = "pay` <!channel> <https://evil.example|approve> \u202e" + strings.Repeat("x", 300)
	raw, err := e.Body(webhook.FormSlack)
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ Text string }
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(got.Text, "<!channel>") || strings.Contains(got.Text, "<https://evil") || strings.Contains(got.Text, "\u202e") || len(got.Text) > 600 ||
		strings.Count(got.Text, "`") != 4 || !strings.Contains(got.Text, "<https://gw.example/approve/req_1>") {
		t.Errorf("text: %s", got.Text)
	}
}
