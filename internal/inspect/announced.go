package inspect

import (
	"slices"
	"strings"
	"unicode"
)

// announcedDetectors find numbers that only the word beside them tells of, in the
// languages of those who have them, by the forms and check digits their registers
// publish. Where a form is narrow enough to stand alone, it has no context.
var announcedDetectors = []detector{
	// Everywhere: ICAO 9303 part 4, the lower line of a passport, with three check digits.
	{label: Personal, kind: "machine-readable", need: []string{"<"}, pattern: `(?:^|[^A-Z0-9<])([A-Z0-9<]{9}[0-9][A-Z<]{3}[0-9]{6}[0-9][MFX<][0-9]{6}[0-9][A-Z0-9<]{8,16})(?:[^A-Z0-9<]|$)`, check: machineLine},
	{label: Personal, kind: "passport", need: passportNeeds, pattern: `(?i)\b(?:[A-Z]{0,3} ?[0-9]{6,9}[A-Z]{0,2}|[0-9]{2}[A-Z]{2}[0-9]{5,6}|[0-9]{2} ?[0-9]{2} [0-9]{6}|[CFGHJKLMNPRTVWXYZ][CFGHJKLMNPRTVWXYZ0-9]{7}[0-9]{1,2})\b`, check: all(atLeast(5), notDay, func(v string) bool { return len(strings.ReplaceAll(v, " ", "")) >= 8 }), context: passportWords},
	{label: Personal, kind: "driver-license", need: []string{"licen", "conduc", "condui", "motorist", "habilita", "führerschein", "водительск", "免許", "驾驶", "driving", "dl"}, pattern: `\b(?:[A-Z]{1,2}[0-9]{2,12}[A-Z]{0,2}|[A-Z]{0,2}[0-9]{2,6}(?:[- ][0-9]{2,7}){1,4}|[0-9]{8,12})\b`, check: all(atLeast(6), notDay), context: `\b(?:driv(?:er'?s?|ing) ?licen[cs]e|dl ?(?:#|no|num)|führerschein|permis de conduire|permiso de conduc|licencia de conduc|carteira (?:de motorista|nacional de habilita)|cnh\b)|водительск|免許証|驾驶证`},
	{label: Personal, kind: "ip-address", need: []string{"ip", "address", "client", "visitor", "login", "logged"}, pattern: `(?i)(?:^|[^\w:])([23][0-9a-f]{3}:(?:[0-9a-f]{0,4}:){1,6}[0-9a-f]{1,4})(?:[^\w:]|$)`, check: publicAddress, context: `\b(?:ip|ips|ipv6|ip address|visitor|client address|logg?ed in|login)\b`},
	{label: Personal, kind: "vehicle", need: []string{"vin", "vehicle", "chassis", "fahrgestell", "차대번호", "車台番号"}, pattern: `\b[A-HJ-NPR-Z0-9]{11}[0-9A-HJ-NPR-Z]{2}[0-9]{4}\b`, check: atLeast(5), context: `\b(?:vin|vehicle identification|chassis|fahrgestell)|차대번호|車台番号`},
	{label: Personal, kind: "device-number", need: []string{"imei"}, pattern: `\b[0-9]{15}\b`, check: luhn, context: `\bimei`},
	{label: Personal, kind: "crypto-address", need: []string{"0x"}, pattern: `\b0x[0-9a-fA-F]{40}\b`, check: withDigit, context: `\b(?:eth|ether|ethereum|wallet|erc-?20|metamask)\b|지갑`},
	{label: Personal, kind: "name", need: []string{"name", "surname"}, pattern: `(?i:\b(?:full|first|last|given|family|middle|maiden|customer|patient|contact|employee|guest|passenger|(?:card|account) ?holder|beneficiary)s?[_ ]?name|\bsurname)["']?: ?["']?(\p{Lu}[\pL'’-]+(?: \p{Lu}[\pL'’.-]+){0,3})(?:["',;\n]|$)`},
	// North America.
	{label: Personal, kind: "us-ssn", need: []string{"ssn", "social", "seguro"}, pattern: `\b[0-8][0-9]{2}[ -]?[0-9]{2}[ -]?[0-9]{4}\b`, check: func(v string) bool { d := only(v); return ssn(d[:3] + "-" + d[3:5] + "-" + d[5:]) }, context: `\bssn\b|\bsocial security|\bseguro social`},
	// Europe.
	{label: Personal, kind: "iban", need: []string{"iban"}, pattern: `(?i)\b[A-Z]{2}[0-9]{2}(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,4})?\b`, check: iban},
	{label: Personal, kind: "uk-nino", need: []string{"nino", "national insurance", "ni no", "ni number"}, pattern: `(?i)\b[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z][ -]?[0-9]{2}[ -]?[0-9]{2}[ -]?[0-9]{2}[ -]?[A-D]\b`, check: nino, context: `\bnino\b|\bnational insurance|\bni (?:no|number)`},
	{label: Personal, kind: "uk-tax-reference", need: []string{"utr", "taxpayer"}, pattern: `\b[0-9]{5} ?[0-9]{5}\b`, check: notSame, context: `\butr\b|\bunique taxpayer`},
	{label: Personal, kind: "de-tax-id", pattern: `\b[1-9][0-9] [0-9]{3} [0-9]{3} [0-9]{3}\b`, check: func(v string) bool { return germanTax(only(v)) }},
	{label: Personal, kind: "de-tax-number", need: []string{"steuer", "st.-nr", "st-nr"}, pattern: `\b(?:[0-9]{10,13}|[0-9]{2,3}[ /][0-9]{3,4}[ /][0-9]{4,5})\b`, context: `\b(?:steuernummer|steuer ?-?nr|st\.?-? ?nr)`},
	{label: Personal, kind: "de-id-card", need: []string{"ausweis", "reisepass", "perso-", "pass-n"}, pattern: `\b[CFGHJKLMNPRTVWXYZ][CFGHJKLMNPRTVWXYZ0-9]{7}[0-9][0-9]?\b`, check: atLeast(2), context: `ausweis|reisepass|\bperso-|\bpass-?n`},
	{label: Personal, kind: "at-social-insurance", need: []string{"sozialvers", "sv-n", "svnr", "versicherungsn"}, pattern: `\b[1-9][0-9]{3} ?[0-3][0-9][01][0-9]{3}\b`, check: austrian, context: `sozialvers|\bsv-?n|\bsvnr|versicherungsn`},
	{label: Personal, kind: "fr-id-card", need: []string{"identit", "cni"}, pattern: `\b(?:[0-9]{12}|[A-Z0-9]{9})\b`, check: atLeast(3), context: `\bcarte nationale d|\bcarte d.identit|\bcni\b`},
	{label: Personal, kind: "es-nif", need: []string{"dni", "nif", "nie", "identidad"}, pattern: `(?i)\b[0-9]{1,2}\.[0-9]{3}\.[0-9]{3} ?-? ?[A-Z]\b`, check: func(v string) bool { return spanish(only(v) + v[len(v)-1:]) }},
	{label: Personal, kind: "es-social-security", need: []string{"nss", "nuss", "seguridad social", "afiliaci"}, pattern: `\b[0-9]{2}[ /-]?[0-9]{8}[ /-]?[0-9]{2}\b`, check: func(v string) bool { d := only(v); return mod97(d[:10]) == valueOf(d[10:]) }, context: `\bnu?ss\b|seguridad social|afiliaci`},
	{label: Personal, kind: "it-tax-code", need: []string{"fiscal", "c.f.", " cf"}, pattern: `(?i)\b[A-Z]{6}[0-9LMNP-V]{2}[A-EHLMPRST][0-9LMNP-V]{2}[A-Z][0-9LMNP-V]{3}[A-Z]\b`, check: italian},
	{label: Personal, kind: "nl-bsn", need: []string{"bsn", "burgerservice", "sofi"}, pattern: `\b[0-9]{3,4}[. ]?[0-9]{2,3}[. ]?[0-9]{3}\b`, check: func(v string) bool { d := only(v); return len(d) == 9 && dutch(d) }, context: `\b(?:bsn|burgerservice|sofi)`},
	{label: Personal, kind: "pt-tax-number", need: []string{"nif", "contribuinte", "fiscal"}, pattern: `\b[1-35689][0-9]{2} ?[0-9]{3} ?[0-9]{3}\b`, check: portuguese, context: `\bnif\b|contribuinte|identificação fiscal`},
	{label: Personal, kind: "be-national-id", need: []string{"rijksregister", "national", "insz", "niss", "nrn"}, pattern: `\b[0-9]{2}[. ]?[0-9]{2}[. ]?[0-9]{2}[- ]?[0-9]{3}[. ]?[0-9]{2}\b`, check: belgian, context: `rijksregister|(?:registre|numéro) national|\binsz\b|\bniss\b|\bnrn\b`},
	{label: Personal, kind: "pl-id-card", need: []string{"dow", "osobist"}, pattern: `\b[A-Z]{3} ?[0-9]{6}\b`, check: polishCard, context: `\bdow[oó]d|osobist`},
	{label: Personal, kind: "pl-tax-number", need: []string{"nip"}, pattern: `\b[1-9][0-9]{2}-?[0-9]{3}-?[0-9]{2}-?[0-9]{2}\b`, check: func(v string) bool { d := only(v); return weighted(d, 6, 5, 7, 2, 3, 4, 5, 6, 7)%11 == int(d[9]-'0') }, context: `\bnip\b`},
	{label: Personal, kind: "cz-birth-number", need: []string{"rodn", "r.č", "r. č", "rč", "birth number"}, pattern: `\b[0-9]{2}[0-8][0-9][0-3][0-9]/?[0-9]{3,4}\b`, check: czech, context: `\brodn|\br\.? ?č|birth number`},
	{label: Personal, kind: "ro-personal-code", need: []string{"cnp", "personal"}, pattern: `\b[1-9][0-9]{2}[01][0-9][0-3][0-9]{7}\b`, check: func(v string) bool {
		return weighted(v, 2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9)%11%10 == int(v[12]-'0') || tenIsOne(v)
	}, context: `\bcnp\b|cod numeric personal`},
	{label: Personal, kind: "bg-civil-number", need: []string{"егн", "egn"}, pattern: `\b[0-9]{2}[0-5][0-9][0-3][0-9]{5}\b`, check: func(v string) bool { return weighted(v, 2, 4, 8, 5, 10, 9, 7, 3, 6)%11%10 == int(v[9]-'0') }, context: `егн|\begn\b`},
	{label: Personal, kind: "hr-personal-number", need: []string{"oib", "osobni"}, pattern: `\b[0-9]{11}\b`, check: mod1110, context: `\boib\b|osobni identifikacijski`},
	{label: Personal, kind: "gr-social-security", need: []string{"αμκα", "amka"}, pattern: `\b[0-3][0-9][01][0-9]{8}\b`, check: luhn, context: `αμκα|\bamka\b`},
	{label: Personal, kind: "baltic-personal-code", need: []string{"isikukood", "asmens", "personas kods", "personal code"}, pattern: `\b[1-6][0-9]{2}[01][0-9][0-3][0-9]{5}\b|\b[0-9]{6}-[0-9]{5}\b`, context: `isikukood|asmens kod|personas kod|personal code`},
	{label: Personal, kind: "ru-snils", pattern: `\b[0-9]{3}-?[0-9]{3}-?[0-9]{3}[- ]?[0-9]{2}\b`, check: snils, context: `снилс|\bsnils\b`, alone: func(v string) bool { return strings.Count(v, "-") == 2 && v[11] == ' ' }},
	{label: Personal, kind: "ru-tax-number", need: []string{"инн", "inn"}, pattern: `\b[0-9]{12}\b`, check: russianTax, context: `инн|\binn\b`},
	{label: Personal, kind: "ua-tax-number", need: []string{"рнокпп", "іпн", "rnokpp"}, pattern: `\b[0-9]{10}\b`, check: func(v string) bool {
		return notSame(v) && ((weighted(v[1:], 5, 7, 9, 4, 6, 10, 5, 7)-int(v[0]-'0'))%11+11)%11%10 == int(v[9]-'0')
	}, context: `рнокпп|іпн|rnokpp`},
	// Near East and Africa.
	{label: Personal, kind: "il-identity-number", need: []string{"zehut", "זהות", "ת.ז", "israel"}, pattern: `\b[0-9]{9}\b`, check: func(v string) bool { return luhn(v) && notSame(v) }, context: `zehut|זהות|ת\.ז|israeli? id`},
	{label: Personal, kind: "sa-national-id", need: []string{"iqama", "saudi", "الهوية", "إقامة"}, pattern: `\b[12][0-9]{9}\b`, check: luhn, context: `\biqama|\bsaudi|الهوية|إقامة`},
	{label: Personal, kind: "ae-identity-number", need: []string{"784"}, pattern: `\b784-?(?:19|20)[0-9]{2}-?[0-9]{7}-?[0-9]\b`, check: func(v string) bool { return luhn(only(v)) }},
	{label: Personal, kind: "za-identity-number", need: []string{"south african", "rsa", "sa id", "identity number", "id number"}, pattern: `\b[0-9]{2}[01][0-9][0-3][0-9]{5}[0-2][0-9]{2}\b`, check: func(v string) bool { return luhn(v) && (born("19", v[:6]) || born("20", v[:6])) }, context: `\bsouth african|\brsa\b|\bsa id|\bidentity number|\bid number`},
	// Asia and Oceania.
	{label: Personal, kind: "in-aadhaar", need: []string{"aadhaar", "आधार", "uidai"}, pattern: `\b[2-9][0-9]{3}[ -]?[0-9]{4}[ -]?[0-9]{4}\b`, check: func(v string) bool { return verhoeff(only(v)) }, context: `aadhaar|आधार|uidai`},
	{label: Personal, kind: "pk-cnic", pattern: `(?:^|[^\w-])([1-7][0-9]{4}-[0-9]{7}-[0-9])(?:[^\w-]|$)`, check: notSame},
	{label: Personal, kind: "hk-id", need: []string{"hkid", "身份證", "hong kong"}, pattern: `\b[A-Z]{1,2}[0-9]{6}[0-9A]\b`, check: func(v string) bool { n := len(v) - 1; return hongKong(v[:n] + "(" + v[n:] + ")") }, context: `\bhkid\b|身份證|hong kong id`},
	{label: Personal, kind: "tw-id", need: []string{"身分", "身份證"}, pattern: `\b[A-Z][1289][0-9]{8}\b`, check: taiwanese, context: `身分|身份證`},
	{label: Personal, kind: "my-identity-number", pattern: `(?:^|[^\w-])([0-9]{2}[01][0-9][0-3][0-9]-[0-9]{2}-[0-9]{4})(?:[^\w-]|$)`, check: malaysian},
	{label: Personal, kind: "th-national-id", need: []string{"ประชาชน", "ประจำตัว"}, pattern: `\b[1-8][0-9]{12}\b`, check: thai, context: `ประชาชน|ประจำตัว`},
	{label: Personal, kind: "vn-identity-number", need: []string{"cccd", "căn cước", "can cuoc", "cmnd", "chứng minh"}, pattern: `\b(?:0[0-9]{2}[0-9][0-9]{8}|[0-9]{9})\b`, check: notSame, context: `\bcccd\b|căn cước|can cuoc|\bcmnd\b|chứng minh`},
	{label: Personal, kind: "id-nik", need: []string{"nik", "ktp", "kependudukan"}, pattern: `\b[1-9][0-9]{5}[0-7][0-9][01][0-9][0-9]{6}\b`, check: notSame, context: `\bnik\b|\bktp\b|kependudukan`},
	{label: Personal, kind: "ph-social-security", need: []string{"sss", "philhealth"}, pattern: `\b[0-9]{2}-[0-9]{7}-[0-9]\b|\b[0-9]{2}-[0-9]{9}-[0-9]\b`, context: `\bsss\b|philhealth`},
	{label: Personal, kind: "jp-driver-license", need: []string{"免許"}, pattern: `\b[0-9]{12}\b`, check: notSame, context: `免許`},
	{label: Personal, kind: "au-number", need: []string{"acn", "a.c.n", "tfn", "tax file", "company number", "australian"}, pattern: `\b[0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{3}\b`, check: australian, context: australianWords},
	{label: Personal, kind: "nz-ird", need: []string{"ird"}, pattern: `\b(?:1[0-9]|[1-9])[0-9]-?[0-9]{3}-?[0-9]{3}\b`, check: newZealand, context: `\bird\b`},
	{label: Personal, kind: "nz-health-index", need: []string{"nhi", "health index"}, pattern: `\b[A-HJ-NP-Z]{3}[0-9]{2}(?:[0-9]{2}|[0-9][A-HJ-NP-Z])\b`, context: `\bnhi\b|health index`},
	// South and Central America.
	{label: Personal, kind: "br-cpf", need: []string{"cpf"}, pattern: `\b[0-9]{9}-?[0-9]{2}\b`, check: func(v string) bool { return brazilian(only(v)) }, context: `\bcpf\b`},
	{label: Personal, kind: "br-cnpj", need: []string{"/0", "cnpj"}, pattern: `\b(?:[0-9]{2}\.[0-9]{3}\.[0-9]{3}/[0-9]{4}-[0-9]{2}|[0-9]{14})\b`, check: brazilianCompany, context: `\bcnpj\b`, alone: func(v string) bool { return strings.Contains(v, "/") }},
	{label: Personal, kind: "ar-tax-number", need: []string{"cuit", "cuil", "-"}, pattern: `(?:^|[^\w-])((?:20|2[3-7]|3[034])-?[0-9]{8}-?[0-9])(?:[^\w-]|$)`, check: argentine, context: `\bcui[tl]\b`, alone: func(v string) bool { return strings.Count(v, "-") == 2 }},
	{label: Personal, kind: "identity-number", need: []string{"dni", "d.n.i", "cédula", "cedula", "documento", "cc ", "c.c.", "c.i."}, pattern: `\b[0-9]{1,2}\.?[0-9]{3}\.?[0-9]{3}(?:\.?[0-9]{3})?(?:-[0-9])?\b`, check: all(atLeast(7), notDay), context: `\bd\.?n\.?i\b|\bc[ée]dula|\bdocumento (?:de|nacional|n)|\bc\.[ci]\.|\bcc (?:n|no|núm)?\W{0,2}$`},
	{label: Personal, kind: "cl-rut", need: []string{"rut", "run"}, pattern: `\b[0-9]{7,8}-[0-9Kk]\b`, check: chilean, context: `\bru[tn]\b`},
	{label: Personal, kind: "mx-tax-number", pattern: `\b[A-ZÑ&]{4}[0-9]{2}[01][0-9][0-3][0-9][A-Z0-9]{3}\b`, check: mexican, context: `\brfc\b|contribuyente`},
	// Korea.
	{label: Personal, kind: "kr-resident-number", need: []string{"주민", "외국인등록"}, pattern: `\b[0-9]{6} {0,2}[-–] {0,2}[1-8][0-9]{6}\b`, check: func(v string) bool { return residentDate(only(v)) }, context: `주민|외국인등록`},
	{label: Personal, kind: "kr-corporation-number", need: []string{"법인"}, pattern: `\b[0-9]{6}-?[0-9]{7}\b`, check: corporation, context: `법인`},
	{label: Personal, kind: "kr-driver-license", need: []string{"서울", "부산", "경기", "강원", "충북", "충남", "전북", "전남", "경북", "경남", "제주", "대구", "인천", "광주", "대전", "울산"}, pattern: `(?:서울|부산|경기|강원|충북|충남|전북|전남|경북|경남|제주|대구|인천|광주|대전|울산)[ -]?[0-9]{2}-[0-9]{6}-[0-9]{2}\b`},
	{label: Personal, kind: "kr-plate", need: []string{"차량", "차번호", "번호판", "자동차", "주차", "plate", "vehicle"}, pattern: `(?:^|[^0-9])([0-9]{2,3}[가나다라마거너더러머버서어저고노도로모보소오조구누두루무부수우주하허호배바사아자육해공국합] ?[0-9]{4})(?:[^0-9]|$)`, context: `차량|차번호|번호판|자동차|주차|\bplate|\bvehicle`},
	{label: Personal, kind: "kr-phone", need: []string{"전화", "연락", "사무실", "휴대", "핸드폰", "문의", "팩스", "tel", "h.p", "hp"}, pattern: `(?:^|[^\w-])(\(?0(?:2|3[1-3]|4[1-4]|5[1-5]|6[1-4]|70|1[016-9])[ .)-]{0,2}[0-9]{3,4}[ .-]?[0-9]{4})(?:[^\w-]|$)`, context: `전화|연락|사무실|휴대|핸드폰|문의|팩스|\btel\b|\bh\.?p\b`},
}

const passportWords = `\bpassport|\bpasse?port|\bpasaport|\bpassaport|\breisepass|\bpaspoort|\bpaszport|\bpasaport|\bpas nr|\bpass-?n|паспорт|旅券|パスポート|护照|護照|여권|جواز`

var passportNeeds = []string{"passport", "passeport", "pasaport", "passaport", "reisepass", "paspoort", "paszport", "pas nr", "pass-n", "passn", "паспорт", "旅券", "パスポート", "护照", "護照", "여권", "جواز"}

// atLeast is the check that a value has so many digits.
func atLeast(n int) func(string) bool { return func(v string) bool { return len(only(v)) >= n } }

func notSame(v string) bool { return !same9(only(v)) }

// notDay refuses days and spans of years: 2026-11-27, 20261127, 2017-2020.
func notDay(v string) bool {
	d := only(v)
	if len(d) != 8 || d[:2] != "19" && d[:2] != "20" {
		return true
	}
	if strings.HasPrefix(strings.TrimLeft(v, "("), d[:4]+"-"+d[4:]) {
		return false
	}
	return d[4:6] > "12" || d[6:] > "31" || d[4:6] == "00" || d[6:] == "00"
}

// valueOf is what digits say.
func valueOf(d string) int {
	n := 0
	for i := range len(d) {
		n = n*10 + int(d[i]-'0')
	}
	return n
}

// spread writes a text of names as words: birth_date and dateOfBirth are two and three.
func spread(s string) string {
	fine := true
	for i := 0; i < len(s) && fine; i++ {
		fine = s[i] != '_' && (i == 0 || !capital(s[i]) || s[i-1] < 'a' || s[i-1] > 'z')
	}
	if fine {
		return s
	}
	var b strings.Builder
	last := ' '
	for _, r := range s {
		if unicode.IsLower(last) && unicode.IsUpper(r) {
			b.WriteByte(' ')
		}
		if last = r; r == '_' {
			r = ' '
		}
		b.WriteRune(r)
	}
	return b.String()
}

// tellingWords are what the name of a member has that may tell of its value, and
// muteWords what it has where the value opens nothing.
var (
	tellingWords = strings.Fields("pass pwd secret token key credential auth pin license licence ssn sin social tax tin nif nie dni cpf cnpj cuit rut curp rfc " + //nolint:gochecknoglobals // a table
		"pesel nip cnp egn oib amka snils inn bsn nin nric nik insz niss ahv avs svnr steuer personn hetu cpr fiscal iban account acct bank routing card phone mobile tel fax " +
		"birth dob born name identity national citizen resident aadhaar pan voter passport driver medicare nhs npi dea utr tfn acn abn imei vin plate vehicle vat")
	muteWords = strings.Fields("page next cursor continuation public hash count limit type size file path url uri") //nolint:gochecknoglobals // a table
)

// telling reports whether the name of a member may tell what its value is. A name in
// another writing always may.
func telling(name string) bool {
	for i := range len(name) {
		if name[i] >= 0x80 {
			return true
		}
	}
	tells := false
	for word := range strings.FieldsFuncSeq(strings.ToLower(spread(name)), func(r rune) bool { return r < '0' || r > '9' && r < 'a' }) {
		if slices.Contains(muteWords, word) {
			return false
		}
		tells = tells || slices.ContainsFunc(tellingWords, func(w string) bool { return strings.HasPrefix(word, w) || strings.HasSuffix(word, w) })
	}
	return tells
}
