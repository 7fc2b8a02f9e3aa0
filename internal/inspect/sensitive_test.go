package inspect_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rutile/internal/inspect"
)

// Values are put together here, so that no scanner of repositories takes them for
// real ones.
func TestSensitiveData(t *testing.T) {
	e := engine(t)
	hex := "5d8f0c1e93ab4c7d8e2f60b1a4d97c3510fe8d72"
	letters := "aB3dE5fG7hJ9kL1mN2pQ4rS6tU8vW0xYzAcCeEgGiI"
	for _, c := range []struct{ text, kind string }{
		{"use ghp_" + letters[:36] + " for that", "vendor-token"},
		{"AWS " + "AKIA" + "Z7QHMB2NTC4XKD5V", "aws-access-key"},
		{"db postgres://app:" + "hT7-qq2Lm" + "@db.internal/main", "url-password"},
		{"Authorization: Bearer " + letters, "auth-header"},
		{`acme_api_key = "` + letters[:24] + `"`, "named-secret"},
		{`{"clientSecret":"` + letters[:30] + `"}`, "named-secret"},
		{"-----BEGIN RSA " + "PRIVATE KEY-----\n" + strings.Repeat("MIIEpAIBAAKCAQEA7bq2\n", 6) + "-----END RSA PRIVATE KEY-----", "private-key"},
		{"curl -u api:" + "d81LkV00zLx" + " https://api.internal/", "basic-auth"},

		{`curl --user "{4f1b-` + `99}":"{Zq5kVr1n8tA2}" https://api.internal/`, "basic-auth"},
		{"machine api.internal login bot password " + "k2~vQ9!x", "netrc-password"},
		{`sonar.login ::= "` + hex[:40] + `"`, "named-secret"},
		{"PMAK-" + hex[:24] + "-" + hex[:34], "vendor-token"},
		{"hub pat-na1-" + "5d8f0c1e-93ab-4c7d-8e2f-60b1a4d97c35", "vendor-token"},
		{"HRKU-AA" + (letters + letters)[:58], "vendor-token"},
		{letters[:14] + ".atlasv1." + (letters + letters)[:64], "vendor-token"},
		{"LTAI" + letters[:20], "vendor-token"},
		{"AKID" + letters[:32], "vendor-token"},
		{"mail key-" + hex[:32], "vendor-token"},
		{"toss test_sk_" + letters[:30], "vendor-token"},
		{"bot 123456789:AA" + letters[:33], "vendor-token"},
		{"app " + letters[:3] + "8Q~" + letters[:34], "vendor-token"},
		{"https://discord.com/api/webhooks/" + "112233445566778899/" + (letters + letters)[:68], "webhook"},

		{"write to anna.karlsson@firma.se", "email"},
		{"연락처: 1588-1234", "kr-phone"},
		{"전화 02) 345-6789", "kr-phone"},
		{"電話 03-1234-5678", "phone"},
		{"Führerschein Nr. 0720054321", "driver-license"},
		{"パスポート（旅券）TK1234567", "passport"},
		{"IBAN DE89 3704 0044 0532 0130 00", "iban"},
		{"card 4539 5787 6362 1486", "card"},
		{"call +49 30 1234567", "phone"},
		{"SSN 536-90-4399", "us-ssn"},
		{"NINO AB 12 34 56 C", "uk-nino"},
		{"TC 10000000146", "tr-national-id"},
		{"DNI 12345678Z", "es-nif"},
		{"Aadhaar 2345 6789 0124", "in-aadhaar"},
		{"personnummer 19811228-9874", "se-personnummer"},
		{"NRIC S1234567D", "sg-nric"},
		{"CPF 529.982.247-25", "br-cpf"},
		{"身份证 11010519491231002X", "cn-id"},
		{"My name is Anna Karlsson.", "name"},

		{"주민등록번호 900101-1234568", "kr-resident-number"},
		{"Resident registration number: 900101-1234568. Phone: on request.", "kr-resident-number"}, // the word behind it is of something else
		{"외국인등록 9001015000004", "kr-resident-number"},                                              // beside its word no check digit is needed
		{"주민번호는 201012-3123456 입니다", "kr-resident-number"},                                         // since October 2020: no check digit
		{"휴대폰 010-1234-5678", "kr-phone"},
		{"대표번호 02-345-6789", "kr-phone"},
		{"운전면허 11-21-123456-60", "kr-driver-license"},
		{"여권번호 M12345678", "kr-passport"},
		{"여권 M123A4567", "kr-passport"},
		{"계좌 110-234-567890 (신한은행)", "kr-bank-account"},
		{"사업자등록번호 124-81-00998", "kr-business-number"},
	} {
		found := e.Sensitive([]byte(c.text))
		if len(found) == 0 || found[0].Kind != c.kind {
			t.Errorf("%s: found %v", c.kind, found)
		}
		sameValues(t, e, c.text)
		for _, d := range found {
			if d.Start < 0 || d.End > len(c.text) || d.Start >= d.End {
				t.Errorf("%s: span %d to %d", c.kind, d.Start, d.End)
			}
		}
	}
}

// sameValues is the test that the gateway's way through a text, which asks the
// detectors only of what stands out, finds what the detectors find, alone and deep in
// a long text. A private key ends sooner there, where its last line says so.
func sameValues(t *testing.T, e *inspect.Engine, text string) {
	t.Helper()
	deep := strings.Repeat(prose, 3) + text + "\n" + strings.Repeat(prose, 3)
	for _, s := range []string{text, deep} {
		all, found := e.Sensitive([]byte(s)), e.Values([]byte(s))
		if len(all) == 1 && len(found) == 1 && all[0].Kind == "private-key" {
			all[0].End = found[0].End
		}
		if d := cmp.Diff(all, found); d != "" {
			t.Errorf("%q among %d bytes: %s", text, len(s), d)
		}
	}
}

// A number without a valid check digit or a word beside it is no finding, nor is
// what stands where a value would.
func TestOrdinaryNumbersAreNoData(t *testing.T) {
	e := engine(t)
	for _, text := range []string{
		"order 4539578763621487 of 2026-11-27",   // Luhn fails
		"IBAN DE89 3704 0044 0532 0130 01",       // 97 fails
		"test card 4242 4242 4242 4242",          // known to all
		"id 9001011234567",                       // no check digit, no word
		"주민등록번호 901301-1234567",                  // no thirteenth month
		"사업자 124-81-00999",                       // check digit
		"trace 4bf92f3577b34da6a3ce929d0e0e4736", // an id
		"uuid 550e8400-e29b-41d4-a716-446655440000",
		"key = process.env.API_KEY",
		`curl --user "{username}:{password}" https://api.internal/`,
		`curl -u "{user}":"{api_token}" https://api.internal/`,
		"machine learning login and password",
		"machine api.internal login bot password $TOKEN",
		"PMAK-5d8f0c1e93ab", "pat-na1-5d8f0c1e", "key-5d8f0c1e93ab4c7d8e2f60b1a4d97c", "LTAI and AKID are prefixes", "a task_sk_of_many_words_and_more",
		"at 12345678:AA", "E8Q~ is short", "https://discord.com/api/webhooks/112233445566778899",
		"sonar.login is read from the environment",
		"재고 1588-1234", "Abteilung Nr. 0720054321", "품번 TK1234567",
		// What documentation, sources and logs are full of.
		"License: Apache-2.0", "SPDX-License-Identifier: GPL-2.0-or-later", `"license": "BlueOak-1.0.0"`, "License: BSD-3-clause-PADL",
		"aesKey:  aes128KeyBytes,", "Setenv(testEnvVariable1Key, testEnvVariable1Val)", "Attr{key, Uint64Value(v)}", "LogonUser(name16, pwd16, LOGON32_LOGON_INTERACTIVE)",
		"key1 = 1979-05-27T07:32:00Z", "keyid:06:B5:A4:AC:A7:AA:75:44:EA:15:9C:4F:DF:05:83:4F:6A:1E:FE:0B", `createTokenAuth("ghp_Personal` + `AccessToken01245678900000000")`,
		"password policy: at least 12Characters", "the password is documented in section-4A", "Basic authentication2026overview", "mysql -u root -p database",
		"0.28282777640193788", "3.4866391734702598,", "go-tpm-tools v0.3.13-0.20230620182252-4639ecce2aba",
		"Sat Feb 16 01:24:58 HKT 2008", "fewer calls.\n\n2017-07-26  fixed", "call 2022-4450 (CVE)", "called 2017-2020", "color: #B0C4DE;", "the Fujitsu A64FX",
		"t=1735689600; h=From", "we define an implementation of the T2 template", "명령 이름은 옵션입니다", "이름으로 강제로 끝내는",
		"60112000-0000", "page 123-456-789 10", "2025-12-31-1234-5", "30조 5000억 원", "12시 3000명",
		`password: "${DB_PASSWORD}"`,
		`token = "your-token-here-12345"`,
		"api_key: xxxxxxxxxxxxxxxxxxxxxxxx",
		"git@example.com and noreply@firma.se",
		"version 10.0.19041.1, build 20261127123456",
		"Read config.keystore.file=env/cert.p12",
		"The keyboard has 104 keys and costs 39.90.",
		"commit 5696e46 and 1234 more; 99.95 % of 120000 rows",
	} {
		if found := e.Sensitive([]byte(text)); len(found) > 0 {
			t.Errorf("%q: %v", text, found)
		}
	}
}

// Of two that overlap only the more specific one is reported.
func TestOneDatumForEachPlace(t *testing.T) {
	text := "api_token = ghp_" + "aB3dE5fG7hJ9kL1mN2pQ4rS6tU8vW0xYzAcC" + " or 010-1234-5678"
	found := engine(t).Sensitive([]byte(text))
	if len(found) != 2 || found[0].Kind != "vendor-token" || found[0].Label != inspect.Secret || found[1].Kind != "kr-phone" || found[1].Label != inspect.Personal {
		t.Errorf("%v", found)
	}
	if s := fmt.Sprintf("%+v", found); strings.Contains(s, "ghp_") || strings.Contains(s, "1234") {
		t.Error("a datum holds its value")
	}
}

// A part of a number that has another form does not leave the rest of it to be read: the
// whole is one datum.
func TestAPartOfANumberHidesAllOfIt(t *testing.T) {
	for text, want := range map[string]string{
		"tel 020 79460958, the account of the office":   "020 79460958",
		"Call 4155 12345678 about the bank account":     "4155 12345678",
		"Phone 0171 12345678, passport pending":         "0171 12345678",
		"customs phone 03 98765432 driver license":      "03 98765432",
		"registration number 900101-1234568, no phone":  "900101-1234568",
		"mobile 030 1234-567890, of the bank's account": "030 1234-567890",
	} {
		found := engine(t).Values([]byte(text))
		if len(found) != 1 || text[found[0].Start:found[0].End] != want {
			t.Errorf("%q: %+v", text, found)
		}
	}
}

func FuzzSensitive(f *testing.F) {
	f.Add("주민등록번호 900101-1234568, A123456789, 2893081508152, U1K123A45B")
	f.Add("12345678z Z12345678 T12AB1234C 123456789012")
	e := engine(f)
	f.Fuzz(func(t *testing.T, s string) {
		last := 0
		for _, d := range e.Sensitive([]byte(s)) {
			if d.Start < last || d.End <= d.Start || d.End > len(s) {
				t.Fatalf("%+v after %d in %d bytes", d, last, len(s))
			}
			last = d.End
		}
	})
}
