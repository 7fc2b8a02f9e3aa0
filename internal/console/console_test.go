package console_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"rutile/internal/access"
	"rutile/internal/console"
)

// TestEveryCodeHasAStatus runs each code through a page.
func TestEveryCodeHasAStatus(t *testing.T) {
	want := map[access.Code]int{
		access.CodeInvalid: 400, access.CodeUsage: 400, access.CodeUnauthenticated: 401, access.CodeDenied: 403, access.CodeNotFound: 404, access.CodeConflict: 409,
		access.CodeTooLarge: 413, access.CodeFindings: 422, access.CodeUnsupported: 501, access.CodeUpstream: 502, access.CodeUnavailable: 503, access.CodeEvidence: 503,
		access.CodeTimeout: 504, access.CodePartial: 500, access.CodeInternal: 500,
	}
	for _, code := range access.Codes() {
		if got := console.HTTPStatus(code); got != want[code] {
			t.Errorf("%s: %d, want %d", code, got, want[code])
		}
	}
}

func TestAnAddressOfAPage(t *testing.T) {
	for public, want := range map[string]string{origin: origin + "/approve/req_1", "https://r.example/": "https://r.example/approve/req_1"} {
		if got := console.URL(public, "req_1"); got != want {
			t.Errorf("%s: %s", public, got)
		}
	}
	if got := console.URL(origin, "../x?y#z"); got != origin+"/approve/..%2Fx%3Fy%23z" {
		t.Error(got)
	}
}

func TestABodyTooLargeIsRefused(t *testing.T) {
	r := newRig(t)
	req := r.ask(`{}`)
	b := r.signedIn("ann", req.ID)
	b.answer(req.ID, "approve", "reason", strings.Repeat("x", 20<<10)).wants(t, "a long form", http.StatusBadRequest, "16384 bytes")
}

// TestTheConsoleNeedsItsParts: nothing half-made serves.
func TestTheConsoleNeedsItsParts(t *testing.T) {
	if _, err := console.New(console.Config{Public: origin}, nil, nil); err == nil {
		t.Error("a console without an admin was made")
	}
	w := httptest.NewRecorder()
	newRig(t).page.ServeHTTP(w, httptest.NewRequest("GET", "http://"+host+"/approve/req_", nil))
	if w.Code != http.StatusNotFound {
		t.Error(w.Code)
	}
}
