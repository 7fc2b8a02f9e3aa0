package inspect_test

import (
	"strings"
	"testing"
)

// Published samples of each country's number are found, and not found with one
// digit of the part that is checked changed, or without the word they need.
func TestNumbersOfCountries(t *testing.T) {
	e := engine(t)
	for _, c := range []struct{ kind, good, bad string }{
		{"mac-address", "device 3c:22:fb:0a:91:7e joined", "fingerprint 3c:22:fb:0a:91:7e:00:11"},
		{"ip-address", "the visitor came from IP 81.2.69.142", "the IP of the gateway is 192.168.0.1"},
		{"crypto-address", "pay to 1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "pay to 1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb"},
		{"crypto-address", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5"},
		{"date-of-birth", "she was born on 12 March 1984", "the store opened on 12 March 1984"},
		{"date-of-birth", "생년월일: 1984년 3월 12일", "개점일: 1984년 3월 12일"},
		{"us-itin", "ITIN 912-70-1234", "ITIN 912-69-1234"},
		{"us-medicare", "MBI 1EG4-TE5-MK73", "MBI 1EG4-TE5-MKS3"},
		{"mx-curp", "CURP BADD110313HCMLNS09", "CURP BADD111313HCMLNS09"},
		{"de-social-insurance", "15070649C103", "15070649C113"},
		{"it-identity-card", "CA00000AA", "CA000000A"},
		{"se-organisation", "556016-0680", "556016-0681"},
		{"be-national-id", "85.07.30-033.28", "85.07.30-033.29"},
		{"ch-ahv", "756.9217.0769.85", "756.9217.0769.86"},
		{"ie-pps", "PPS 1234567T", "part 1234567T"},
		{"pl-pesel", "44051401359", "44051401358"},
		{"au-abn", "51 824 753 556", "51 824 753 557"},
		{"au-medicare", "2123 45670 1", "2123 45671 1"},
		{"in-gstin", "27AAPFU0939F1ZV", "27AAPFU0939F1XV"},
		{"in-plate", "KA-01-AB-1234", "QQ-01-AB-1234"},
		{"hk-id", "A123456(3)", "A123456(4)"},
		{"tw-id", "身分證 A123456789", "lot A123456789"},
		{"cl-rut", "12.345.678-5", "12.345.678-6"},
		{"uk-plate", "the car AB12CDE", "the part AB12CDE"},
		{"ca-sin", "SIN 130 692 544", "about 130 692 544 people"},
		{"se-personnummer", "8112289874", "8113289874"},
	} {
		found := e.Sensitive([]byte(c.good))
		if len(found) != 1 || found[0].Kind != c.kind {
			t.Errorf("%s: found %v", c.kind, found)
		}
		sameValues(t, e, c.good)
		for _, d := range e.Sensitive([]byte(c.bad)) {
			if d.Kind == c.kind {
				t.Errorf("%s is found in what is none", c.kind)
			}
		}
	}
}

// Full names and names after what says so are found; other words with capitals,
// lone first names and addresses are not.
func TestNamesOfPeople(t *testing.T) {
	e := engine(t)
	for text, want := range map[string]string{
		"Signed by Anna Karlsson.":                  "Anna Karlsson",
		"Peter J. O'Neill wrote it":                 "Peter J. O'Neill",
		"Jean-Luc is not known, Marie Dupont is":    "Marie Dupont",
		"please ask Mr. Tanaka about it":            "Tanaka",
		"seen by Dr. Weiss today":                   "Weiss",
		"They call me Bayu":                         "Bayu",
		"성명: 홍길동, 부서: 영업":                           "홍길동",
		"reviewers: José García, Björn Ångström-Li": "Björn Ångström-Li",
	} {
		found := e.Sensitive([]byte(text))
		if len(found) != 1 || text[found[0].Start:found[0].End] != want {
			t.Errorf("%q: %v", text, found)
		}
		sameValues(t, e, text)
	}
	for _, text := range []string{
		"Anna sent it", "The John package", "see github.com/Peter/Repo", "Robert\nSmith", "PETER SMITH", "Thomas and Maria",
		"Dr Seuss Street", "The Quarterly Report", "new issues in Visual Studio Code", "고객님 안녕하세요", "MariaDB Server", "Elm Dr. 5",
	} {
		if found := e.Sensitive([]byte(text)); len(found) > 0 {
			t.Errorf("%q: %v", text, found)
		}
	}
}

// A name deep in a long text with nothing else in it is found as well.
func TestNameInLongTextIsFound(t *testing.T) {
	text := strings.Repeat(prose, 40) + "Written by Anna Karlsson. " + strings.Repeat(prose, 40)
	found := engine(t).Values([]byte(text))
	if len(found) != 1 || text[found[0].Start:found[0].End] != "Anna Karlsson" {
		t.Errorf("found %v", found)
	}
}
