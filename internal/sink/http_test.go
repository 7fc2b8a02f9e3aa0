package sink_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	collector "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"google.golang.org/protobuf/proto"

	"rutile/internal/audit"
	"rutile/internal/sink"
)

// taker is a receiver over HTTP that keeps the ids it takes.
type taker struct {
	*httptest.Server
	mu     sync.Mutex
	form   string
	ids    []string
	asked  int
	before func(w http.ResponseWriter, r *http.Request, n int, ids []string) bool // true: it has answered
}

func newTaker(t *testing.T, form string) *taker {
	k := &taker{form: form}
	k.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		ids, err := idsOf(k.form, body)
		if err != nil {
			t.Errorf("it is sent what cannot be read: %v", err)
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		k.asked++
		if k.before != nil && k.before(w, r, k.asked, ids) {
			return
		}
		k.ids = append(k.ids, ids...)
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(k.Close)
	return k
}

func (k *taker) taken() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.ids)
}

// idsOf returns the ids events have for whoever must know a repetition.
func idsOf(form string, body []byte) ([]string, error) {
	var ids []string
	switch form {
	case sink.FormOTLP:
		var req collector.ExportLogsServiceRequest
		if err := proto.Unmarshal(body, &req); err != nil {
			return nil, err
		}
		for _, rec := range req.ResourceLogs[0].ScopeLogs[0].LogRecords {
			for _, a := range rec.Attributes {
				if a.Key == "rutile.evidence.leaf" {
					ids = append(ids, a.Value.GetStringValue())
				}
			}
		}
		return ids, nil
	case sink.FormCloudEvents:
		var list []struct{ ID string }
		err := json.Unmarshal(body, &list)
		for _, e := range list {
			ids = append(ids, e.ID)
		}
		return ids, err
	}
	for _, line := range strings.Split(strings.TrimSuffix(string(body), "\n"), "\n") {
		switch form {
		case sink.FormCEF:
			_, rest, ok := strings.Cut(line, "externalId=")
			if !ok || !strings.HasPrefix(line, "CEF:0|rutile|rutile|") {
				return nil, fmt.Errorf("no CEF: %q", line)
			}
			id, _, _ := strings.Cut(rest, " ")
			ids = append(ids, id)
		default:
			var e struct {
				Metadata struct{ UID string }
				Leaf     struct{ ID string }
			}
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				return nil, err
			}
			ids = append(ids, e.Metadata.UID+e.Leaf.ID)
		}
	}
	return ids, nil
}

// TestEveryEventIsHandedOnInOrder: in every form, over a restart, each once.
func TestEveryEventIsHandedOnInOrder(t *testing.T) {
	var sinks []sink.Sink
	takers := map[string]*taker{}
	for _, form := range sink.Forms() {
		takers[form] = newTaker(t, form)
		sinks = append(sinks, sink.Sink{ID: "to-" + form, Form: form, URL: takers[form].URL + "/v1/logs"})
	}
	r := newRig(t, sinks...)
	r.call("bot", "read", audit.StatusOK)
	r.refuse("bot", "drop")
	r.change("approve", "files")
	open := r.intent("bot", "slow")
	r.start()
	for _, form := range sink.Forms() {
		r.idle("to-" + form)
	}
	r.sender.Close()
	r.call("bot", "write", audit.StatusToolError)
	if _, err := r.log.Outcome(t.Context(), audit.Outcome{Request: r.request("bot", "slow"), Intent: open, Status: audit.StatusOK, Reached: "yes"}); err != nil {
		t.Fatal(err)
	}
	r.start()
	for _, form := range sink.Forms() {
		r.idle("to-" + form)
		if diff := cmp.Diff(r.ids(), takers[form].taken()); diff != "" {
			t.Errorf("%s got others (-log +got):\n%s", form, diff)
		}
	}
	if tr := strings.ReplaceAll(r.troubles(), "\n", " "); strings.Contains(tr, "not") {
		t.Errorf("there was trouble: %s", tr)
	}
}

// TestANewSinkBeginsWhereItSays: from now, what was before is not sent.
func TestANewSinkBeginsWhereItSays(t *testing.T) {
	k := newTaker(t, sink.FormLeaf)
	r := newRig(t, sink.Sink{ID: "a", Form: sink.FormLeaf, URL: k.URL, From: sink.FromNow, Events: []string{sink.KindCall}})
	r.call("bot", "before", audit.StatusOK)
	r.start()
	r.idle("a")
	r.refuse("bot", "unwanted")
	r.call("bot", "after", audit.StatusOK)
	r.idle("a")
	all := r.ids()
	if diff := cmp.Diff(all[len(all)-1:], k.taken()); diff != "" {
		t.Errorf("it got others (-want +got):\n%s", diff)
	}
}

// flaky is Cursors that keep nothing once.
type flaky struct {
	sink.Cursors
	mu   sync.Mutex
	left int
}

func (f *flaky) MoveSinkCursor(ctx context.Context, id, origin string, from uint64, c sink.Cursor) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left--; f.left == 0 {
		return errors.New("the store is away")
	}
	return f.Cursors.MoveSinkCursor(ctx, id, origin, from, c)
}

// TestWhatIsSentAgainHasTheIDItHad: where the cursor could not be kept after a batch
// was taken, the batch comes again, and nothing is left out.
func TestWhatIsSentAgainHasTheIDItHad(t *testing.T) {
	k := newTaker(t, sink.FormOCSF)
	r := newRig(t, sink.Sink{ID: "a", Form: sink.FormOCSF, URL: k.URL})
	r.cursors = &flaky{Cursors: r.db, left: 2}
	r.call("bot", "read", audit.StatusOK)
	r.start()
	r.idle("a")
	want := append(r.ids(), r.ids()...)
	if diff := cmp.Diff(want, k.taken()); diff != "" {
		t.Errorf("it got others (-want +got):\n%s", diff)
	}
}

// TestAReceiverThatIsAwayLosesNothing: errors, redirects, broken answers and one that
// takes nothing of what OTLP says hold up its own sink and no other.
func TestAReceiverThatIsAwayLosesNothing(t *testing.T) {
	var stolen []string
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { stolen = append(stolen, r.URL.String()) }))
	defer thief.Close()
	bad, fine := newTaker(t, sink.FormOTLP), newTaker(t, sink.FormOTLP)
	release := make(chan struct{})
	bad.before = func(w http.ResponseWriter, r *http.Request, n int, _ []string) bool {
		switch n {
		case 1:
			http.Redirect(w, r, thief.URL, http.StatusTemporaryRedirect)
		case 2:
			<-release // it hangs, and then breaks off
			panic(http.ErrAbortHandler)
		default:
			return false
		}
		return true
	}
	r := newRig(t, sink.Sink{ID: "a", Form: sink.FormOTLP, URL: bad.URL}, sink.Sink{ID: "b", Form: sink.FormOTLP, URL: fine.URL})
	r.call("bot", "read", audit.StatusOK)
	r.start()
	r.until("a is retrying", func() bool { return r.sender.Status("a").State == sink.StateRetrying })
	r.call("bot", "write", audit.StatusOK)
	r.idle("b")
	if len(bad.taken()) != 0 || r.sender.Status("a").Next != 0 {
		t.Errorf("it moved on: %v", r.sender.Status("a"))
	}
	close(release)
	r.idle("a")
	if diff := cmp.Diff(r.ids(), bad.taken()); diff != "" {
		t.Errorf("it got others (-log +got):\n%s", diff)
	}
	if len(stolen) != 0 {
		t.Errorf("a redirect was followed to %v", stolen)
	}
}

// TestARefusedEventWaitsForAPerson: what is before it is taken, it is known, nothing
// behind it is sent, and only it can be left out.
func TestARefusedEventWaitsForAPerson(t *testing.T) {
	k := newTaker(t, sink.FormOTLP)
	r := newRig(t, sink.Sink{ID: "a", Form: sink.FormOTLP, URL: k.URL})
	for range 9 {
		r.call("bot", "read", audit.StatusOK)
	}
	all := r.ids()
	poison := all[6]
	k.before = func(w http.ResponseWriter, _ *http.Request, _ int, ids []string) bool {
		if !slices.Contains(ids, poison) {
			return false
		}
		if len(ids) > 2 {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return true
		}
		b, _ := proto.Marshal(&collector.ExportLogsServiceResponse{PartialSuccess: &collector.ExportLogsPartialSuccess{RejectedLogRecords: 1, ErrorMessage: "no\x1b[2J"}})
		_, _ = w.Write(b)
		return true
	}
	r.start()
	r.until("it is refused", func() bool { return r.sender.Status("a").Refused != nil })
	s := r.sender.Status("a")
	if diff := cmp.Diff(all[:6], k.taken()); diff != "" || s.State != sink.StateRefused || strings.Contains(s.Why, "\x1b") {
		t.Errorf("%+v (-want +got):\n%s", s, diff)
	}
	if err := r.sender.Skip(t.Context(), "a", *s.Refused+1); err == nil {
		t.Error("another event was left out")
	}
	if err := r.sender.Skip(t.Context(), "a", *s.Refused); err != nil {
		t.Fatal(err)
	}
	r.idle("a")
	if diff := cmp.Diff(slices.Delete(slices.Clone(all), 6, 7), k.taken()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	r.until("the trouble is over", func() bool { return strings.HasSuffix(r.troubles(), "a: ") })
}

// TestASinksCredentialGoesToItsReceiverAlone: in the header it says, and nowhere else.
func TestASinksCredentialGoesToItsReceiverAlone(t *testing.T) {
	k := newTaker(t, sink.FormLeaf)
	var got []string
	k.before = func(_ http.ResponseWriter, r *http.Request, _ int, _ []string) bool {
		got = append(got, r.Header.Get("Authorization"))
		return false
	}
	r := newRig(t, sink.Sink{ID: "a", Form: sink.FormLeaf, URL: k.URL, Secret: "token", Header: "Authorization", Value: "Splunk {secret}"},
		sink.Sink{ID: "b", Form: sink.FormLeaf, URL: k.URL, Secret: "other", Header: "Authorization", Value: "Bearer {secret}"})
	r.start()
	r.idle("a")
	r.until("b fails", func() bool { return r.sender.Status("b").State == sink.StateRetrying })
	if len(got) != 1 || got[0] != "Splunk "+r.secret {
		t.Errorf("it was sent %q", got)
	}
	if why := r.sender.Status("b").Why; !strings.Contains(why, `"other"`) || strings.Contains(why, r.secret) {
		t.Errorf("why: %s", why)
	}
}

// TestARetiredSinkGetsNothingAndGoesOnLater: its cursor stays.
func TestARetiredSinkGetsNothingAndGoesOnLater(t *testing.T) {
	k := newTaker(t, sink.FormLeaf)
	r := newRig(t, sink.Sink{ID: "a", Form: sink.FormLeaf, URL: k.URL})
	r.start()
	r.idle("a")
	r.sender.Close()
	active := r.sinks["a"]
	retired := active
	retired.State = sink.Retired
	r.sinks = map[string]sink.Sink{"a": retired}
	told := strings.Count(r.troubles(), "a: ")
	r.start()
	r.until("its trouble is over", func() bool { return strings.Count(r.troubles(), "a: ") > told })
	r.call("bot", "read", audit.StatusOK)
	if s := r.sender.Status("a"); s.State != sink.StateStopped {
		t.Errorf("it is %+v", s)
	}
	if err := r.sender.Skip(t.Context(), "a", 0); err == nil {
		t.Error("something was left out")
	}
	r.sender.Close()
	r.sinks = map[string]sink.Sink{"a": active}
	r.start()
	r.idle("a")
	if diff := cmp.Diff(r.ids(), k.taken()); diff != "" {
		t.Errorf("(-log +got):\n%s", diff)
	}
}
