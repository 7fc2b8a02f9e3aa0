package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/judge"
	"rutile/internal/store"
)

// A verdict is of one model, and the first one stays.
func TestVerdictsAreOfAModel(t *testing.T) {
	both(t, func(t *testing.T, s *store.Store, _ store.Config) {
		v := func(model, digest, label string, n int) judge.Verdict {
			return judge.Verdict{Kind: judge.Result, Digest: digest, Model: model, Label: label, Confidence: .5, Server: "web", Name: "fetch", At: at(n)}
		}
		for _, x := range []judge.Verdict{v("m-1", "a", judge.Benign, 1), v("m-1", "b", judge.Malicious, 2), v("m-2", "a", judge.Suspicious, 3), v("m-1", "a", judge.Malicious, 4)} {
			if err := s.PutVerdict(t.Context(), x); err != nil {
				t.Fatal(err)
			}
		}
		want := []judge.Verdict{v("m-1", "b", judge.Malicious, 2), v("m-1", "a", judge.Benign, 1)}
		if d := cmp.Diff(want, must[[]judge.Verdict](t)(s.Verdicts(t.Context(), "m-1", 10))); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
		if got := must[[]judge.Verdict](t)(s.Verdicts(t.Context(), "m-1", 1)); len(got) != 1 || got[0].Digest != "b" {
			t.Errorf("the newest is %+v", got)
		}
	})
}
