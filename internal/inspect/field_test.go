package inspect_test

import (
	"strings"
	"testing"

	"rutile/internal/inspect"
	"rutile/internal/rawjson"
)

// Names in a text are read as words too, however they are written.
func TestNamesInTextsTell(t *testing.T) {
	e := engine(t)
	for text, kind := range map[string]string{
		"social_security_number=536904399":      "us-ssn",
		`socialSecurityNumber: "536904399"`:     "us-ssn",
		"date_of_birth=1984-03-12":              "date-of-birth",
		"DL# F211-6933-8861":                    "driver-license",
		"driver_license_number: D211-6933-8861": "driver-license",
	} {
		if found := e.Values([]byte(text)); len(found) != 1 || found[0].Kind != kind {
			t.Errorf("%s: %v", text, found)
		}
		sameValues(t, e, text)
	}
}

// The name of a member tells what its value is, as a word beside it would; what is
// told is in the value alone.
func TestNamesOfMembersTell(t *testing.T) {
	e := engine(t)
	data := func(doc string) []inspect.Values {
		v, err := rawjson.Parse([]byte(doc), rawjson.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		all, over := e.Data(v)
		if over {
			t.Errorf("%s is over", doc)
		}
		return all
	}
	key := "q9" + "Xr4Lm" + "72VbTz0PwKs81Qd"
	for doc, kind := range map[string]string{
		`{"passportNumber":"KX123456"}`:                   "passport",
		`{"user":{"social_security_number":"536904399"}}`: "us-ssn",
		`{"ssn":536904399}`:                               "us-ssn",
		`{"rows":[{"dateOfBirth":"1984-03-12"}]}`:         "date-of-birth",
		`{"driver_license_number":"D12345678"}`:           "driver-license",
		`{"bankAccount":"9876543210"}`:                    "us-bank",
		`{"주민등록번호":"9001011234567"}`:                      "kr-resident-number",
		`{"성명":"홍길동"}`:                                    "kr-name",
		`{"firstName":"Ngozi"}`:                           "name",
		`{"clientSecret":"` + key + `"}`:                  "named-secret",
		`{"password":"Tiger!` + `2031x"}`:                 "named-secret",
	} {
		all := data(doc)
		if len(all) != 1 || len(all[0].Found) != 1 || all[0].Found[0].Kind != kind {
			t.Errorf("%s: %+v", doc, all)
			continue
		}
		if f := all[0].Found[0]; f.Start != 0 || f.End != len(all[0].Text) || !strings.Contains(doc, all[0].Text) {
			t.Errorf("%s: bytes %d to %d of %q", doc, f.Start, f.End, all[0].Text)
		}
	}
	for _, doc := range []string{
		`{"id":"KX123456"}`, `{"issue":536904399}`, `{"created":"1984-03-12"}`, `{"order":"D12345678"}`, `{"total":9876543210}`,
		`{"nextPageToken":"` + key + `"}`, `{"publicKey":"` + key + `"}`, `{"tokenType":"bearer1234567890"}`, `{"passwordPolicy":"12 characters or more"}`,
		`{"password":"${DB_PASSWORD}"}`, `{"accountName":"production"}`, `{"fileName":"Anna"}`, `{"keywords":"tax2026 and more words"}`,
	} {
		if all := data(doc); len(all) > 0 {
			t.Errorf("%s: %+v", doc, all)
		}
	}
}
