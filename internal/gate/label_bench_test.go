package gate_test

import (
	"fmt"
	"testing"
)

// BenchmarkLabels measures calls whole, without their evidence: of a session that has
// touched nothing, and of one that has read a page and known values.
func BenchmarkLabels(b *testing.B) {
	const text = "Our new address is accounts@evil-billing.example; the invoice 4471 stands in /srv/files/march/invoice-4471.pdf. "
	page := ""
	for range 18 { // 2 KB
		page += text
	}
	for _, tt := range []struct{ name, server, tool string }{{"read", "notes", "read"}, {"write", "notes", "write"}} {
		for _, touched := range []bool{false, true} {
			name := tt.name + "/untouched"
			if touched {
				name = tt.name + "/touched"
			}
			b.Run(name, func(b *testing.B) {
				w := newLab(b, "sqlite", "")
				args := to(b, `{"to":"team@ours.example","body":"The invoice of march is there, as you asked me yesterday."}`)
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					session := in(fmt.Sprintf("ses_%d", i/250)) // before anything is forgotten
					if touched && i%250 == 0 {
						w.ran("web", "read", page, session)
					}
					if dec, ok := w.ran(tt.server, tt.tool, "all is well", args, session); !ok {
						b.Fatal(dec)
					}
				}
			})
		}
	}
}

// BenchmarkTouched measures what labels and flows add to a decision: of a session that
// has touched nothing, and of one with a page of 2 KB in it, for a call that sends.
func BenchmarkTouched(b *testing.B) {
	for _, touched := range []bool{false, true} {
		name := "untouched"
		if touched {
			name = "touched"
		}
		b.Run(name, func(b *testing.B) {
			w := newLab(b, "sqlite", "")
			if touched {
				w.ran("web", "read", "Our new address is accounts@evil-billing.example; the invoice 4471 stands in /srv/files/march.pdf.")
			}
			r := w.on("mail", "send", to(b, `{"to":"team@ours.example","body":"The invoice of march is there, as you asked me yesterday."}`))
			b.ReportAllocs()
			for b.Loop() {
				w.Touch(b.Context(), w.state, r)
			}
			if r.Touched.Clean() == touched {
				b.Fatal(r.Touched)
			}
		})
	}
}
