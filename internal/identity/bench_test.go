package identity_test

import (
	"testing"

	"rutile/internal/identity"
)

// benchWorld uses the real clock, because reading it is part of the cost.
func benchWorld(b *testing.B) (*world, identity.Token) {
	w := newWorld(b)
	w.cfg.Now = nil
	w.restart()
	tok, err := w.Development(b.Context(), "release-bot", files, "", "", 0)
	if err != nil {
		b.Fatal(err)
	}
	return w, tok
}

func BenchmarkVerifyCached(b *testing.B) {
	w, tok := benchWorld(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.Verify(b.Context(), tok.Value, files); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(tok.Value)), "token-bytes")
}

func BenchmarkVerifyUncached(b *testing.B) {
	w, tok := benchWorld(b)
	b.ReportAllocs()
	for b.Loop() {
		w.Invalidate()
		if _, err := w.Verify(b.Context(), tok.Value, files); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyForged(b *testing.B) {
	w, tok := benchWorld(b)
	forged := tok.Value[:len(tok.Value)-2] + "AA"
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.Verify(b.Context(), forged, files); err == nil {
			b.Fatal("accepted")
		}
	}
}

func BenchmarkIssue(b *testing.B) {
	w, _ := benchWorld(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.Development(b.Context(), "release-bot", files, "", "", 0); err != nil {
			b.Fatal(err)
		}
	}
}
