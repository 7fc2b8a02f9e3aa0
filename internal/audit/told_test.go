package audit_test

import (
	"encoding/json"
	"testing"

	"rutile/internal/audit"
)

// TestARevocationIsToldAsWhatWasDone: it and its receipt have verb, kind, object and reason
// as other changes have, so that what follows the log can tell others.
func TestARevocationIsToldAsWhatWasDone(t *testing.T) {
	l := start(t, config(t.TempDir()), newMemory())
	detail, err := json.Marshal(audit.Revocation{ID: "rev_1", Epoch: 1, Kind: "user", Target: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[uint64]string{}
	for kind, verb := range map[string]string{audit.KindRevocation: "revoke", audit.KindReceipt: "receipt"} {
		ref, err := l.Admin(t.Context(), audit.Admin{ID: "rev_1", Actor: "user:root", Verb: verb, Kind: kind, Object: "user ann", Reason: "she left", Detail: detail})
		if err != nil {
			t.Fatal(err)
		}
		want[ref.Index] = verb
	}
	told, _, err := l.Teller().Next(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range told {
		verb, ok := want[x.Index]
		if !ok {
			continue
		}
		delete(want, x.Index)
		if c := x.Change; c == nil || c.Verb != verb || c.Reason != "she left" || x.Object != "user ann" || x.Actor != "user:root" {
			t.Errorf("%s is told as %+v of %q by %q", verb, c, x.Object, x.Actor)
		}
	}
	if len(want) != 0 {
		t.Errorf("not told: %v", want)
	}
}

// TestATellerKnowsNamesMadeAfterIt: a person whose name the log has a key for only since a
// Teller read the others is told with their name.
func TestATellerKnowsNamesMadeAfterIt(t *testing.T) {
	s, cfg := newShredder(), config(t.TempDir())
	l := s.start(t, cfg)
	callOf(t, l, 1, "alice")
	tell := l.Teller()
	_, next, err := tell.Next(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	callOf(t, l, 2, "bob")
	told, _, err := tell.Next(t.Context(), next, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if len(told) != 1 || told[0].Call == nil || told[0].Subject != "bob" {
		t.Errorf("told: %+v", told)
	}
}
