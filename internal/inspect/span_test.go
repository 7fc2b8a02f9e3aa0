package inspect_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/inspect"
)

// pieces are of values and of what stands around them, so that they meet in every way.
var pieces = []string{
	" ", " ", " ", "  ", "\n", "\t", ",", ".", "-", "/", ":", "(", ")", "+", "\u00a0", "é", "한", "№", "_", "=", `"`,
	"0", "7", "12", "345", "2026", "49", "030", "1234567", "536", "90", "4399", "AB", "C", "DE89", "3704", "0044", "0532", "0130", "00",
	"4539", "5787", "6362", "1486", "S1234567D", "12345678Z", "S", "sk", "s.", "ghp_", "SK", "AC", "xoxb-", "glpat-", "AKIA",
	"aB3dE5fG7hJ9kL1mN2pQ4rS6tU8vW0xYzAcC", "5d8f0c1e93ab4c7d8e2f60b1a4d97c35", "Z7QHMB2NTC4XKD5V", "reports", "the", "Anna", "phone", "call", "IBAN", "card",
	"passport", "SSN", "연락처", "전화", "주민등록번호", "901010", "1234567", "Kennzeichen", "B", "MW", "postcode", "SW1A", "1AA", "1AA1", "plaka", "34", "XYZ",
}

// Where data are looked for only where they can stand, all is found that is found
// where they are looked for everywhere.
func TestNothingIsMissedWhereDataAreNotLookedFor(t *testing.T) {
	e := engine(t)
	everywhere := inspect.Everywhere(e)
	r := rand.New(rand.NewPCG(7, 11))
	found := 0
	for range 800 {
		var b strings.Builder
		for range 1 + r.IntN(40) {
			b.WriteString(pieces[r.IntN(len(pieces))])
		}
		text := b.String()
		want := everywhere.Sensitive([]byte(text))
		if diff := cmp.Diff(want, e.Sensitive([]byte(text))); diff != "" {
			t.Fatalf("%q (-everywhere +where it can stand):\n%s", text, diff)
		}
		found += len(want)
	}
	if found < 50 {
		t.Errorf("only %d values in all texts", found)
	}
}

// What counts without its context as the whole of a field is found there, with blanks
// around it, and so is what needs its context beside it, in whatever letters.
func TestNothingIsMissedWithoutItsContext(t *testing.T) {
	e := engine(t)
	everywhere := inspect.Everywhere(e)
	for _, text := range []string{
		"B-MW 1234", " B-MW 1234\n", "in a B-MW 1234 of 2019", "Kennzeichen B-MW 1234", "KENNZEICHEN: M-AB 123", "Ken\u212aennzeichen \u212aennzeichen B-MW 1234",
		"046 454 286", "sin 046 454 286", "pa\u017f\u017fport C01X00T47 C1234567", "passport C1234567", "PASSPORT\nC1234567", "reisepass c1234567", "pesel 44051401359",
		"tel 030 901820 11", "routing 021000021", "plaka 34 XYZ 123", "34 XYZ 123",
	} {
		want := everywhere.Sensitive([]byte(text))
		if diff := cmp.Diff(want, e.Sensitive([]byte(text))); diff != "" {
			t.Errorf("%q (-everywhere +where it can stand):\n%s", text, diff)
		}
	}
	for _, text := range []string{" B-MW 1234\n", "pa\u017f\u017fport C1234567", "reisepass c1234567"} {
		if len(e.Sensitive([]byte(text))) == 0 {
			t.Errorf("nothing found in %q", text)
		}
	}
}

func FuzzSensitiveEverywhere(f *testing.F) {
	e := engine(f)
	everywhere := inspect.Everywhere(e)
	f.Add([]byte("call +49 30 1234567, S1234567D or s.aB3dE5fG7hJ9kL1mN2pQ4rS6 s.aB3dE5fG7hJ9kL1mN2pQ4rS6"))
	f.Add([]byte("\xff\xfe12345678Z\x00 DE89 3704 0044 0532 0130 00"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 1<<12 {
			return
		}
		if diff := cmp.Diff(everywhere.Sensitive(text), e.Sensitive(text)); diff != "" {
			t.Errorf("(-everywhere +where it can stand):\n%s", diff)
		}
	})
}
