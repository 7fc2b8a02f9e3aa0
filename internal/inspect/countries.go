package inspect

import (
	"slices"
	"strings"
)

// countryDetectors are more numbers of people, by country. As everywhere, a narrow
// form or a check digit stands alone; bare digits need a word beside them.
var countryDetectors = []detector{
	// Devices and purses.
	{label: Personal, kind: "mac-address", need: []string{":", "-"}, pattern: `(?:^|[^\w:.-])((?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}|(?:[0-9A-Fa-f]{2}-){5}[0-9A-Fa-f]{2})(?:[^\w:-]|$)`, check: deviceAddress},
	{label: Personal, kind: "ip-address", need: []string{"ip", "address", "client", "visitor", "login", "logged"}, pattern: `(?:^|[^\w.])((?:[0-9]{1,3}\.){3}[0-9]{1,3})(?:[^\w.]|\.?$|\.\s)`, check: publicAddress, context: `\b(?:ip|ips|ip address|visitor|client address|logg?ed in|login)\b`},
	{label: Personal, kind: "crypto-address", pattern: `\b[13][1-9A-HJ-NP-Za-km-z]{25,34}\b`, check: base58},
	{label: Personal, kind: "crypto-address", need: []string{"bc1"}, pattern: `\bbc1[02-9ac-hj-np-z]{11,71}\b`, check: bech32},
	// The days people were born on.
	{label: Personal, kind: "date-of-birth", need: bornNeeds, pattern: `(?i)\b(?:[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}|[0-9]{1,2}[-/.][0-9]{1,2}[-/.](?:[0-9]{4}|[0-9]{2})|(?:[0-9]{1,2}(?:st|nd|rd|th)? (?:of )?)?(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\.? (?:[0-9]{1,2}(?:st|nd|rd|th)?,? )?[0-9]{4})\b|[0-9]{4}[년年] ?[0-9]{1,2}[월月] ?[0-9]{1,2}[일日]`, context: `\b(?:born|f\. ?nac\.|birth|birthday|birthdate|dob|née?|geboren|geb\.|geburtsdatum|nacid[oa]|nacimiento|naissance|nascid[oa]|nascimento|nat[oa] il|nascita|geboortedatum|fødselsdato|födelsedatum|urodzenia|doğum)(?:\W|$)|\b(?:né|née) le\b|рожд|(?:^|\PL)род\.|출생|생년월일|생일|出生|生年月日`},
	// North America.
	{label: Personal, kind: "us-itin", pattern: `\b9[0-9]{2}[- ](?:5[0-9]|6[0-5]|7[0-9]|8[0-8]|9[0-24-9])[- ][0-9]{4}\b`},
	{label: Personal, kind: "us-medicare", pattern: `\b[1-9][AC-HJKMNP-RT-Y][0-9AC-HJKMNP-RT-Y][0-9]-?[AC-HJKMNP-RT-Y][0-9AC-HJKMNP-RT-Y][0-9]-?[AC-HJKMNP-RT-Y]{2}[0-9]{2}\b`},
	{label: Personal, kind: "mx-curp", pattern: `\b[A-Z][AEIOUX][A-Z]{2}[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])[HMX][A-Z]{2}[B-DF-HJ-NP-TV-Z]{3}[0-9A-Z][0-9]\b`},
	// Europe.
	{label: Personal, kind: "de-social-insurance", pattern: `\b[0-9]{2} ?(?:[0-2][0-9]|3[01]|[5-8][0-9])(?:0[1-9]|1[0-2])[0-9]{2} ?[A-Z] ?[0-9]{3}\b`, check: germanSocial},
	{label: Personal, kind: "de-doctor-number", need: []string{"lanr", "arztnummer"}, pattern: `\b[0-9]{9}\b`, context: `(?:lanr|arztnummer)`},
	{label: Personal, kind: "de-vat", pattern: `\bDE ?[1-9][0-9]{8}\b`, check: func(v string) bool { return mod1110(only(v)) }},
	{label: Personal, kind: "it-identity-card", pattern: `\bC[A-Z][0-9]{5}[A-Z]{2}\b`},
	{label: Personal, kind: "it-identity-card", need: []string{"identit", "identity card"}, pattern: `(?i)\b(?:[A-Z]{2} ?[0-9]{7}|[0-9]{7}[A-Z]{2})\b`, context: `(?:identit|identity card)`},
	{label: Personal, kind: "it-vat", need: []string{"iva", "vat"}, pattern: `\b[0-9]{11}\b`, check: luhn, context: `\b(?:partita iva|p\. ?iva|vat)`},
	{label: Personal, kind: "passport", need: []string{"passport", "pasaporte", "passeport", "passaporto", "pass"}, pattern: `(?i)\b(?:[A-Z]{3}[0-9]{6}[A-Z]?|[0-9]{2}[A-Z]{2}[0-9]{5})\b`, context: `(?:passport|pasaporte|passeport|passaporto|reisepass)`},
	{label: Personal, kind: "uk-plate", pattern: `\b[A-Z]{2}(?:0[2-9]|[12][0-9]|5[1-9]|6[0-9]|7[0-9]) [A-HJ-PR-Z]{3}\b`},
	{label: Personal, kind: "uk-plate", need: plateNeeds, pattern: `(?i)\b(?:[A-Z]{2}[0-9]{2} ?[A-Z]{3}|[A-Z][0-9]{1,3} ?[A-Z]{3}|[A-Z]{3} ?[0-9]{1,3}[A-Z])\b`, context: plateWords},
	{label: Personal, kind: "se-organisation", pattern: `\b[0-9]{2}[2-9][0-9]{3}-[0-9]{4}\b`, check: func(v string) bool { return luhn(only(v)) }},
	{label: Personal, kind: "se-personnummer", pattern: `\b[0-9]{10}\b`, check: func(v string) bool { return swedish(v[:6] + "-" + v[6:]) }, context: `\b(?:personnummer|personal identity|swedish)`, field: true},
	{label: Personal, kind: "dk-cpr", need: []string{"cpr", "person"}, pattern: `\b(?:0[1-9]|[12][0-9]|3[01])(?:0[1-9]|1[0-2])[0-9]{2}-?[0-9]{4}\b`, context: `\b(?:cpr|personnummer)`},
	{label: Personal, kind: "no-national-id", pattern: `\b[0-7][0-9][0189][0-9] ?[0-9]{2} ?[0-9]{5}\b`, check: norwegian},
	{label: Personal, kind: "fi-hetu", pattern: `\b(?:0[1-9]|[12][0-9]|3[01])(?:0[1-9]|1[0-2])[0-9]{2}[B-FU-Y][0-9]{3}[0-9A-FHJ-NPR-Y]\b`, check: finnish},
	{label: Personal, kind: "be-national-id", pattern: `\b[0-9]{2}\.[0-9]{2}\.[0-9]{2}-[0-9]{3}\.[0-9]{2}\b`, check: belgian},
	{label: Personal, kind: "ch-ahv", need: []string{"756"}, pattern: `\b756\.?[0-9]{4}\.?[0-9]{4}\.?[0-9]{2}\b`, check: func(v string) bool { return ean(only(v)) }},
	{label: Personal, kind: "ie-pps", need: []string{"pps"}, pattern: `\b[0-9]{7}[A-W][A-IW]?\b`, check: irish, context: `\bpps`},
	{label: Personal, kind: "pl-pesel", pattern: `\b[0-9]{2}(?:[02468][1-9]|[13579][0-2])(?:0[1-9]|[12][0-9]|3[01])[0-9]{5}\b`, check: polish, context: `\b(?:pesel|polish)`, field: true},
	// Asia, Africa, Oceania, South America.
	{label: Personal, kind: "au-abn", pattern: `\b[1-9][0-9] [0-9]{3} [0-9]{3} [0-9]{3}\b`, check: australianBusiness},
	{label: Personal, kind: "au-abn", need: []string{"abn", "business"}, pattern: `\b[1-9][0-9]{10}\b`, check: australianBusiness, context: `\b(?:abn|australian business)`},
	{label: Personal, kind: "au-medicare", pattern: `\b[2-6][0-9]{3} [0-9]{5} [0-9]\b`, check: australianMedicare},
	{label: Personal, kind: "au-medicare", need: []string{"medicare"}, pattern: `\b[2-6][0-9]{9}\b`, check: australianMedicare, context: `\bmedicare`},
	{label: Personal, kind: "in-gstin", pattern: `\b(?:0[1-9]|[12][0-9]|3[0-8])[A-Z]{5}[0-9]{4}[A-Z][1-9A-Z]Z[0-9A-Z]\b`},
	{label: Personal, kind: "in-plate", pattern: `\b[A-Z]{2}[ -]?[0-9]{1,2}[ -]?[A-HJ-NP-Z]{1,2}[ -]?[0-9]{4}\b`, check: indianPlate},
	{label: Personal, kind: "ng-national-id", need: []string{"nin", "national id"}, pattern: `\b[1-9][0-9]{10}\b`, check: verhoeff, context: `\b(?:nin|national id)`},
	{label: Personal, kind: "ng-plate", need: plateNeeds, pattern: `\b[A-Z]{3}[ -]?[0-9]{3}[ -]?[A-Z]{2}\b`, context: plateWords},
	{label: Personal, kind: "th-national-id", pattern: `\b[1-8]-[0-9]{4}-[0-9]{5}-[0-9]{2}-[0-9]\b`, check: thai},
	{label: Personal, kind: "th-national-id", need: []string{"thai", "national id", "บัตรประชาชน", "tnin"}, pattern: `\b[1-8][0-9]{12}\b`, check: thai, context: `(?:thai|national id|tnin|บัตรประชาชน)`},
	{label: Personal, kind: "hk-id", pattern: `\b[A-Z]{1,2}[0-9]{6}\([0-9A]\)`, check: hongKong},
	{label: Personal, kind: "tw-id", need: []string{"身分證", "身份證", "taiwan", "arc "}, pattern: `\b[A-Z][1289][0-9]{8}\b`, check: taiwanese, context: `身分證|身份證|taiwan|\barc\b`},
	{label: Personal, kind: "cl-rut", pattern: `\b[0-9]{1,2}\.[0-9]{3}\.[0-9]{3}-[0-9Kk]\b`, check: chilean},
	{label: Personal, kind: "phone", need: []string{"("}, pattern: `(?:^|[^\w.-])([08] ?\([1-9][0-9]{1,3}\) ?[0-9]{3}[ -]?[0-9]{2}[ -]?[0-9]{2})(?:[^\w-]|$)`},
	// People by name: after what says so. Other names see names.go.
	{label: Personal, kind: "name", need: []string{"mr.", "mr ", "mrs", "ms.", "dr.", "prof", "herr ", "frau ", "señor", "monsieur", "madame"}, pattern: `\b(?:Mr|Mrs|Ms|Mx|Sr|Sra|Mme|Herr|Frau|Señora?|Monsieur|Madame)\.? (\p{Lu}[\pL'’-]+(?: \p{Lu}[\pL'’-]+)?)|\b(?:Dr|Prof)\. (?:\p{Lu}\. ?)?(\p{Lu}[\pL'’-]+(?: \p{Lu}[\pL'’-]+)?)`},
	{label: Personal, kind: "name", need: []string{"name is", "call me", "named ", "name:", "patient"}, pattern: `(?:\b(?:[Mm]y|[Hh]is|[Hh]er|[Tt]heir|[Ww]hose|[Pp]atient|[Cc]ustomer|[Cc]lient|[Ee]mployee)(?:'s)? name is|\b(?:[Cc]all|[Cc]alls|[Cc]alled) me|\b(?:[Pp]atient|[Cc]ustomer|[Cc]lient|[Ee]mployee)(?: [Nn]ame)?:) (?:Mr\.? |Mrs\.? |Ms\.? |Dr\.? )?(\p{Lu}[\pL'’-]+(?: \p{Lu}[\pL'’-]+){0,2})`},
	{label: Personal, kind: "kr-name", need: []string{"성명", "이름", "예금주", "환자명", "고객명", "수취인", "담당자", "신청인", "대표자", "보호자", "주문자", "신청자", "성함", "보내는", "받는"}, pattern: `(?:성명|이름|예금주|환자명|고객명|수취인|담당자|신청인|대표자|보호자|주문자|신청자|성함|보내는 ?사람|받는 ?사람)["']? ?[:：은는이가]? ?["']?([가-힣]{2,4})(?:[^가-힣]|입니다|이며|이고|$)`, check: koreanName},
}

var (
	bornNeeds  = []string{"born", "birth", "dob", "né", "geb", "nac", "naissance", "nat", "nasc", "geboorte", "dsdat", "delsedatum", "urodz", "doğum", "рожд", "род.", "출생", "생년월일", "생일", "出生", "生年月日"}
	plateNeeds = []string{"plate", "vehicle", "registration", "car "}
)

const plateWords = `\b(?:plates?|vehicle|registration|reg\.? (?:no|number)|car)\b`

// surnames are those that nearly all people of Korea have.
const surnames = "김이박최정강조윤장임한오서신권황안송류유전홍고문양손배백허남심노하곽성차주우구민진지엄채원천방공현함변염여추도소석선설마길연위표명기반왕금옥육인맹제모탁국"

// koreanName is a family name and one or two syllables, or two and two.
func koreanName(v string) bool {
	name := []rune(v)
	if strings.HasSuffix(v, "를") || strings.HasSuffix(v, "을") || len(name) == 4 {
		return len(name) == 4 && slices.Contains([]string{"남궁", "황보", "제갈", "선우", "독고", "사공", "서문"}, string(name[:2]))
	}
	return strings.ContainsRune(surnames, name[0])
}

// deviceAddress refuses the addresses no device has.
func deviceAddress(v string) bool {
	s := strings.ToLower(strings.NewReplacer(":", "", "-", "").Replace(v))
	return withDigit(s) && !same9(s) && strings.Trim(s, "0123456789") != ""
}

// indianPlate begins with a state or territory.
func indianPlate(v string) bool {
	return strings.Contains(" AN AP AR AS BR CG CH DD DL DN GA GJ HP HR JH JK KA KL LA LD MH ML MN MP MZ NL OD OR PB PY RJ SK TG TN TR TS UA UK UP WB ", " "+v[:2]+" ")
}
