package mcpproxy

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"rutile/internal/access"
)

// principals returns the identities of so many agents.
func principals(n int) []access.Identity {
	out := make([]access.Identity, n)
	for i := range out {
		out[i].Actor.Agent = "bot-" + strconv.Itoa(i)
	}
	return out
}

// Requests that make room are few in all, however many principals send them, and
// each that ends lets another in.
func TestMakingRoomIsBoundedInAll(t *testing.T) {
	p := &Proxy{cfg: Config{InFlight: 1, InFlightAll: 1}.withDefaults()}
	begin := func(who access.Identity, method string) (func(), bool) {
		in := &inbound{p: p, who: who, r: httptest.NewRequest(method, "/mcp/up", nil)}
		return in.begin()
	}
	who := principals(34)
	if _, ok := begin(who[0], http.MethodPost); !ok {
		t.Fatal("the one that fills the bound was refused")
	}
	var ends []func()
	for _, w := range who {
		for {
			end, ok := begin(w, http.MethodPost)
			if !ok {
				break
			}
			ends = append(ends, end)
		}
	}
	if len(ends) != 256 {
		t.Errorf("%d of %d principals make room at once, 256 may", len(ends), len(who))
	}
	for _, method := range []string{http.MethodPost, http.MethodDelete} {
		if _, ok := begin(who[33], method); ok {
			t.Errorf("one over was let in with %s", method)
		}
		ends[0]()
		end, ok := begin(who[33], method)
		if !ok {
			t.Fatalf("none was let in with %s after one had ended", method)
		}
		ends[0] = end
	}
	ends[0]()
	if _, ok := begin(who[33], http.MethodGet); ok {
		t.Error("a GET makes no room and was let in")
	}
}

// Who sees which offers is kept up to 16 MiB and then made anew; what replaces a
// sight of the same viewer counts once.
func TestWhoSeesWhatIsBounded(t *testing.T) {
	const bytes, index = 16 << 20, 4
	var s offers
	shown := make([]int32, 100_000) // one array behind all of them, each counted
	kept := func() (n int) {
		for _, g := range s.seen {
			n += index * len(g.shown)
		}
		return n
	}
	most, fell := 0, false
	for _, w := range principals(100) {
		before := kept()
		s.keep(viewer{who: w, list: "tools"}, sight{shown: shown})
		now := kept()
		if _, ok := s.seen[viewer{who: w, list: "tools"}]; !ok {
			t.Fatal("what was just found out is not kept")
		}
		most, fell = max(most, now), fell || now < before
	}
	if most > bytes || most < bytes-bytes/20 || !fell {
		t.Errorf("%d bytes are kept of what 100 agents see, %d may be", most, bytes)
	}
	s = offers{}
	s.keep(viewer{list: "prompts"}, sight{shown: shown})
	for range 1000 {
		s.keep(viewer{list: "tools"}, sight{shown: shown})
	}
	if len(s.seen) != 2 {
		t.Errorf("what one viewer sees counts each time it is found out: %d sights are kept", len(s.seen))
	}
}
