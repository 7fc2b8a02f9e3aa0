package inspect

import (
	"strings"
	"time"
)

// personalDetectors find what is about a person, by country. A pattern narrow
// enough, or a check digit, stands alone; anything else needs a word beside it.
var personalDetectors = []detector{
	{label: Personal, kind: "email", need: []string{"@"}, pattern: `\b[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24}\b`, check: ownMail},
	{label: Personal, kind: "iban", pattern: `\b[A-Z]{2}[0-9]{2}(?:[ \x{a0}\x{202f}]?[A-Z0-9]{4}){2,7}(?:[ \x{a0}\x{202f}]?[A-Z0-9]{1,4})?\b`, check: iban},
	{label: Personal, kind: "card", pattern: `(?:^|[^\w.])([2-6][0-9]{3}[ -]?[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{1,7}|3[47][0-9]{2}[ -]?[0-9]{6}[ -]?[0-9]{5}|3[0689][0-9]{2}[ -]?[0-9]{6}[ -]?[0-9]{4})(?:\W|$)`, check: card},
	// Phones: the international form, forms of North America.
	{label: Personal, kind: "phone", pattern: `(?:^|[^\w+])(\+[1-9][0-9]{0,2}[ .-]?(?:\([0-9]{1,4}\)[ .-]?)?(?:[0-9]{1,5}[ .-]?){1,5}[0-9]{2,4})\b`, check: digitsBetween(8, 15)},
	{label: Personal, kind: "phone", pattern: `(?:^|[^\w(.-])(\([2-9][0-9]{2}\)[ .-]?[2-9][0-9]{2}[ .-][0-9]{4}|[2-9][0-9]{2}-[2-9][0-9]{2}-[0-9]{4})(?:[^\w-]|$)`},
	{label: Personal, kind: "phone", need: []string{"09", "639"}, pattern: `(?:^|[^\w.-])((?:63[ .-]?|0)9[0-9]{2}[ .-]?[0-9]{3}[ .-]?[0-9]{4})(?:[^\w-]|$)`, check: philippine},
	// North America.
	{label: Personal, kind: "us-ssn", pattern: `\b[0-8][0-9]{2}-[0-9]{2}-[0-9]{4}\b`, check: ssn},
	{label: Personal, kind: "ca-sin", pattern: `\b[1-79][0-9]{2}[ -][0-9]{3}[ -][0-9]{3}\b`, check: canadian, context: `\b(?:sin|nas|social insurance|assurance sociale)\b`, field: true, alone: func(v string) bool { return strings.Contains(v, "-") }},
	{label: Personal, kind: "ca-sin", need: []string{"sin", "nas", "social"}, pattern: `\b[1-79][0-9]{8}\b`, check: canadian, context: `\b(?:sin|nas|social insurance|assurance sociale)\b`},
	{label: Personal, kind: "us-npi", pattern: `\b[12][0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{3}\b`, check: func(v string) bool { return luhn("80840"+only(v)) && !same9(only(v)[:9]) }, context: `\b(?:npi|provider|prescriber|physician)\b`, alone: notMoment, field: true},
	{label: Personal, kind: "us-dea", pattern: `\b[A-HJ-MP-UX][A-Z9][0-9]{7}\b`, check: dea},
	{label: Personal, kind: "us-passport", pattern: `\b[A-Z]?[0-9]{8,9}\b`, context: `\bpassport`},
	{label: Personal, kind: "us-bank", pattern: `\b[0-9]{8,17}\b`, context: `\b(?:bank|account|acct|routing|checking|savings)\b`},
	{label: Personal, kind: "driver-license", pattern: `\b[A-Z]{0,2}[0-9]{4,13}\b`, check: all(atLeast(6), notDay), context: `\b(?:driver'?s? licen[cs]e|driving licen[cs]e|licen[cs]e (?:no|number)|dl ?#|führerschein|fahrerlaubnis|permis de conduire|(?:licencia|carnet) de conducir|patente di guida|rijbewijs|carta de condução)|運転免許|驾驶证`},
	// Europe.
	{label: Personal, kind: "uk-driving-licence", pattern: `(?i)\b(?:[A-Z]{5}|[A-Z]{4}9|[A-Z]{3}99|[A-Z]{2}999)[0-9](?:0[1-9]|1[0-2]|5[1-9]|6[0-2])(?:0[1-9]|[12][0-9]|3[01])[0-9](?:[A-Z]{2}|[A-Z]9|99)[A-Z0-9][A-Z]{2}\b`},
	{label: Personal, kind: "uk-nino", pattern: `(?i)\b[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]\b`, check: nino},
	{label: Personal, kind: "uk-postcode", pattern: `(?:^|[^\w#.-])(GIR ?0AA|(?:[A-PR-UWYZ][0-9][0-9]?|[A-PR-UWYZ][A-HK-Y][0-9][0-9]?|[A-PR-UWYZ][0-9][A-HJKPSTUW]|[A-PR-UWYZ][A-HK-Y][0-9][ABEHMNPRVWXY]) ?[0-9][ABD-HJLNP-UW-Z]{2})\b`, check: postArea},
	{label: Personal, kind: "uk-nhs", pattern: `\b[0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{4}\b`, check: nhs, context: `\b(?:nhs|patient|medical)`},
	{label: Personal, kind: "passport", pattern: `(?i)\b[A-Z]{1,2}[0-9]{7,8}[A-Z]?\b`, context: `\b(?:passport|passeport|pasaporte|passaporto|reisepass|paspoort|paszport|pasaport)|旅券|护照|護照`},
	{label: Personal, kind: "passport", pattern: `\A\s*((?i:[A-Z]{2})[0-9]{7}|[A-PR-WY][1-9][0-9]{5}[1-9])\s*\z`},
	{label: Personal, kind: "de-tax-id", pattern: `\b[1-9][0-9]{10}\b`, check: germanTax},
	{label: Personal, kind: "de-tax-number", pattern: `\b[0-9]{2,3}/[0-9]{3,4}/[0-9]{4,5}\b`},
	{label: Personal, kind: "de-passport", pattern: `\b[CFGHJKLMNPRTVWXYZ][CFGHJKLMNPRTVWXYZ0-9]{7}[0-9][0-9]?\b`, check: germanPassport},
	{label: Personal, kind: "de-passport", pattern: `\A\s*([cfghjklmnprtvwxyz][0-9]{8})\s*\z`, check: func(v string) bool { return germanPassport(strings.ToUpper(v)) }},
	{label: Personal, kind: "de-health-insurance", pattern: `(?i)\b[A-Z][0-9]{9}\b`, check: germanHealth},
	{label: Personal, kind: "de-register", need: []string{"hra", "hrb"}, pattern: `(?i)\bHR[AB] ?[0-9]{1,6}\b`},
	{label: Personal, kind: "de-plate", pattern: `\b[A-ZÄÖÜ]{1,3}[ -][A-Z]{1,2}[ -]?[1-9][0-9]{0,3}[EH]?\b`, field: true, context: `kennzeichen|fahrzeug|\b(?:plate|vehicle|registration)`},
	{label: Personal, kind: "de-plate", pattern: `(?i)\A\s*([A-ZÄÖÜ]{1,3}[ -][A-Z]{1,2}[ -]?[1-9][0-9]{0,3}[EH]?)\s*\z`},
	{label: Personal, kind: "de-site-number", pattern: `\b[0-9]{9}\b`, context: `\b(?:bsnr|betriebsstätten)`},
	{label: Personal, kind: "de-tax-number", pattern: `\b[0-9]{10,13}\b`, context: `\b(?:steuernummer|steuer-nr|st\.-nr)`},
	{label: Personal, kind: "es-nif", pattern: `(?i)\b(?:[0-9]{7,8}|[XYZ][0-9]{7})-?[A-Z]\b`, check: spanish},
	{label: Personal, kind: "it-driving-licence", pattern: `\b(?:[A-Z]{2}[0-9]{7}[A-Z]|U1[B-HJ-NPR-UW-Z0-9]{7}[A-Z])\b`},
	{label: Personal, kind: "it-tax-code", pattern: `\b[A-Z]{6}[0-9]{2}[A-EHLMPRST][0-9]{2}[A-Z][0-9]{3}[A-Z]\b`},
	{label: Personal, kind: "fr-nir", pattern: `\b[12] ?[0-9]{2} ?(?:0[1-9]|1[0-2]) ?[0-9AB]{2} ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}\b`, check: french},
	{label: Personal, kind: "nl-bsn", pattern: `\b[0-9]{9}\b`, check: dutch, context: `\b(?:bsn|burgerservicenummer|sofinummer)`},
	{label: Personal, kind: "pl-pesel", pattern: `\b[0-9]{11}\b`, check: polish, context: `\bpesel`},
	{label: Personal, kind: "se-personnummer", pattern: `(?:\b|[a-z])((?:18|19|20)?[0-9]{6}[-+]?[0-9]{4})\b`, check: swedish},
	{label: Personal, kind: "fi-hetu", pattern: `\b[0-3][0-9][01][0-9]{3}[-+A][0-9]{3}[0-9A-FHJ-NPR-Y]\b`, check: finnish},
	{label: Personal, kind: "tr-national-id", pattern: `\b[1-9][0-9]{10}\b`, check: turkish},
	{label: Personal, kind: "tr-plate", pattern: `(?i)(?:^|[^\w:.])((?:0[1-9]|[1-7][0-9]|8[01]) ?[A-PR-VYZ]{1,3} ?[0-9]{2,5})\b`, field: true, context: `\b(?:plaka|plate|vehicle|araç)`, alone: func(v string) bool { return strings.Count(v, " ") == 2 && strings.ToUpper(v) == v }},
	// Asia, Oceania, South America.
	// Nine digits in threes are also how large numbers are written: alone they count
	// with a hyphen, a leading zero or as a whole field.
	{label: Personal, kind: "au-number", pattern: `\b[0-9]{3} [0-9]{3} [0-9]{3}\b`, check: australian, context: australianWords, field: true, alone: func(v string) bool { return v[0] == '0' }},
	{label: Personal, kind: "au-number", need: []string{"acn", "tfn", "tax file", "company number", "australian"}, pattern: `\b[0-9]{9}\b`, check: australian, context: australianWords},
	{label: Personal, kind: "in-aadhaar", pattern: `\b[2-9][0-9]{3}[ :-]?[0-9]{4}[ :-]?[0-9]{4}\b`, check: aadhaar},
	{label: Personal, kind: "in-pan", pattern: `\b[A-Z]{3}[ABCFGHLJPT][A-Z][0-9]{4}[A-Z]\b`},
	{label: Personal, kind: "in-voter", pattern: `(?i)\b[A-Z]{3}[0-9]{7}\b`, field: true, context: `\b(?:vot(?:e|er|ing)|epic|election)\b`},
	{label: Personal, kind: "sg-nric", pattern: `\b[STFGM][0-9]{7}[A-Z]\b`, check: singapore},
	{label: Personal, kind: "sg-uen", pattern: `\b(?:[0-9]{8,9}[A-Z]|[TSR][0-9]{2}[A-Z]{2}[0-9]{4}[A-Z])\b`, check: singaporeUEN},
	{label: Personal, kind: "cn-id", pattern: `\b[1-9][0-9]{5}(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])[0-3][0-9][0-9]{3}[0-9Xx]\b`, check: chinese},
	{label: Personal, kind: "jp-my-number", pattern: `\b[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{4}\b`, check: japanese, context: `(?:my number|マイナンバー|個人番号)`},
	{label: Personal, kind: "br-cpf", pattern: `\b[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}\b`, check: brazilian},
	{label: Personal, kind: "name", need: []string{"name is", "name:", "i am called", "mein name ist", "je m'appelle", "me llamo"}, pattern: `(?i:\b(?:my name is|my name's|full name:|i am called|mein name ist|je m'appelle|me llamo)) ((?:[A-Z][\pL'-]+)(?: [A-Z][\pL'-]+){0,3})`},
}

// looseDetectors find what has nearly any form and only a word beside it. They come last,
// after whatever says more of the same digits; what says it of a part of them only would
// leave the rest unseen.
var looseDetectors = []detector{
	{label: Personal, kind: "phone", widest: true, pattern: `(?:^|[^\w.])(\(?0?[0-9]{1,4}\)?(?:[ .-]?[0-9]{2,4}){2,4})(?:[^\w]|$)`, check: all(digitsBetween(8, 13), notDay), context: `\b(?:phone|tel|telephone|mobile|cell|celular|call|fax|whatsapp|sms|number is|telefon|telefone|teléfono|móvil|téléphone|mon numéro|mein(?:e)? nummer|mi número|rufnummer|handy|cellulare)|тел|連絡先|電話|携帯|手机|电话|联系`},
}

const australianWords = `\b(?:a\.?c\.?n|t\.?f\.?n|tax file|company number|australian)`

// only returns the digits of v.
func only(v string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, v)
}

func digitsBetween(low, high int) func(string) bool {
	return func(v string) bool { n := len(only(v)); return n >= low && n <= high && !same9(only(v)) }
}

// same9 reports whether all digits are the same.
func same9(d string) bool { return d != "" && strings.Count(d, d[:1]) == len(d) }

// ownMail refuses addresses of documentation (RFC 2606) and of machines.
func ownMail(v string) bool {
	low := strings.ToLower(v)
	_, host, _ := strings.Cut(low, "@")
	return host != "example.com" && host != "example.org" && host != "example.net" && !strings.HasSuffix(host, ".example") && !strings.HasSuffix(host, ".invalid") && !strings.HasSuffix(host, ".test") &&
		!strings.HasPrefix(low, "noreply@") && !strings.HasPrefix(low, "git@") && !strings.HasSuffix(host, ".png") && !strings.HasSuffix(host, ".js")
}

// postAreas are the letters that postcodes of the United Kingdom begin with.
const postAreas = " AB AL B BA BB BD BH BL BN BR BS BT CA CB CF CH CM CO CR CT CV CW DA DD DE DG DH DL DN DT DY E EC EH EN EX FK FY G GIR GL GU GY HA HD HG HP HR HS HU HX IG IM IP IV JE KA KT KW KY L LA LD LE LL LN LS LU M ME MK ML N NE NG NN NP NR NW OL OX PA PE PH PL PO PR RG RH RM S SA SE SG SK SL SM SN SO SP SR SS ST SW SY TA TD TF TN TQ TR TS TW UB W WA WC WD WF WN WR WS WV YO ZE "

func postArea(v string) bool {
	return strings.Contains(postAreas, " "+v[:strings.IndexFunc(v, func(r rune) bool { return r < 'A' })]+" ")
}

// notMoment refuses ten bare digits that are seconds since 1970, from 2014 to 2033.
func notMoment(v string) bool { return len(v) > 10 || v < "1400000000" || v >= "2000000000" }

// philippine refuses ten digits without the zero or the country.
func philippine(v string) bool {
	d := only(v)
	return len(d) == 11 && d[0] == '0' || len(d) == 12 && d[:2] == "63"
}

// ssn refuses numbers that are never given out.
func ssn(v string) bool {
	return v[:3] != "000" && v[:3] != "666" && v[4:6] != "00" && v[7:] != "0000" && v != "078-05-1120" && v != "219-09-9999" && !same9(only(v)) && v != "123-45-6789"
}

func nino(v string) bool {
	switch strings.ToUpper(v[:2]) {
	case "BG", "GB", "KN", "NK", "NT", "TN", "ZZ":
		return false
	}
	return true
}

// born reports whether yymmdd is a date; century is of the year.
func born(century, yymmdd string) bool {
	_, err := time.Parse("20060102", century+yymmdd)
	return err == nil
}
