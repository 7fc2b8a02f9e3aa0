package inspect_test

import "testing"

// Values of few digits or none are found where the detectors would find them: a field
// of a plate, a postcode in a sentence, a password of an environment.
func TestValuesThatHardlyStandOut(t *testing.T) {
	e := engine(t)
	for _, c := range []struct{ text, kind string }{
		{"34 ABC 1234", "tr-plate"},
		{"a car, 34 ABC 1234, was seen", "tr-plate"},
		{"Kennzeichen M XY 999 gesehen", "de-plate"},
		{"Send it to EC1A 1BB please", "uk-postcode"},
		{"Send it to M1 1AA please", "uk-postcode"},
		{"Send it to GIR 0AA please", "uk-postcode"},
		{"the red AB12 CDE of Thursday", "uk-plate"},
		{"the car AB12CDE of Thursday", "uk-plate"},
		{"joined by aa:bb:cc:dd:ee:f1 today", "mac-address"},
		{"joined by 3c:aa:bb:cc:dd:ee today", "mac-address"},
		{"eingetragen im HRB 99", "de-register"},
		{"the pass L01X00T44 is", "de-passport"},
		{"card CA00000AA of", "it-identity-card"},
		{"born on 12 March 1984", "date-of-birth"},
		{"ask Mrs. Okafor", "name"},
		{"They call me Bayu", "name"},
		{"수취인: 홍길동", "kr-name"},
		{"curl -s -u 'jon:h0p~k1ns' https://api.internal/", "basic-auth"},
		{"DB_PASSWORD=h7!kQ~2p#x9", "named-secret"},
	} {
		found := e.Values([]byte(c.text))
		if len(found) != 1 || found[0].Kind != c.kind {
			t.Errorf("%q: %v, want %s", c.text, found, c.kind)
		}
		sameValues(t, e, c.text)
	}
}

// What looks a little like a plate or a postcode is none.
func TestShortCodesThatAreNoData(t *testing.T) {
	e := engine(t)
	for _, text := range []string{"HTTP 404", "ISO 8601", "16 GB", "16GB of RAM", "at 5 PM 2026", "Q3 2026", "UTF-8", "v1.2.3", "item-12", "the plate is hot", "born to run", "404", "HRX 12", "a:1:b", "std::a1::b2"} {
		if found := e.Values([]byte(text)); len(found) > 0 {
			t.Errorf("%q: %v", text, found)
		}
		sameValues(t, e, text)
	}
}
