package inspect

import "strings"

// koreanDetectors find numbers of people in Korea.
var koreanDetectors = []detector{
	{label: Personal, kind: "kr-resident-number", pattern: `\b([0-9]{6}[ -]?[1-8][0-9]{6})\b`, check: residentDate, alone: resident, context: `(?:주민|외국인등록|resident|rrn|foreigner registration)`},
	{label: Personal, kind: "kr-phone", need: []string{"01"}, pattern: `(?:^|[^\w-])((?:\+82[ -]?|0)1[016789][ .-]?[0-9]{3,4}[ .-]?[0-9]{4})(?:[^\w-]|$)`},
	{label: Personal, kind: "kr-phone", pattern: `(?:^|[^\w-])(0(?:2|3[1-3]|4[1-4]|5[1-5]|6[1-4]|70|50[0-9])-[0-9]{3,4}-[0-9]{4})(?:[^\w-]|$)`},
	{label: Personal, kind: "kr-phone", need: []string{"전화", "연락처", "대표번호", "팩스"}, pattern: `(?:^|[^\w-])(1[568][0-9]{2}-[0-9]{4}|0(?:2|3[1-3]|4[1-4]|5[1-5]|6[1-4]|70)[ .)]{0,2}[0-9]{3,4}[ .-]?[0-9]{4})(?:[^\w-]|$)`, context: `전화|연락처|대표번호|팩스`},
	{label: Personal, kind: "kr-driver-license", pattern: `(?:^|[^\w-])((?:1[1-9]|2[0-8])[ -][0-9]{2}[ -][0-9]{6}[ -][0-9]{2})(?:[^\w-]|$)`},
	{label: Personal, kind: "kr-driver-license", pattern: `\b(?:1[1-9]|2[0-8])[0-9]{10}\b`, context: `(?:운전면허|면허|driver|licen[cs]e)`},
	{label: Personal, kind: "kr-business-number", pattern: `(?:^|[^\w-])([0-9]{3}-[0-9]{2}-[0-9]{5})(?:[^\w-]|$)`, check: business},
	{label: Personal, kind: "kr-business-number", pattern: `\b[0-9]{10}\b`, check: business, context: `(?:사업자|brn|business registration)`},
	{label: Personal, kind: "kr-passport", pattern: `\b[MSRODG](?:[0-9]{8}|[0-9]{3}[A-Z][0-9]{4})\b`, context: `(?:여권|passport)`, alone: func(v string) bool { return v[4] >= 'A' }},
	{label: Personal, kind: "kr-bank-account", pattern: `(?:^|[^\w-])([0-9]{2,6}-[0-9]{2,6}-[0-9]{2,8}(?:-[0-9]{1,4})?|[0-9]{10,14})(?:[^\w-]|$)`, check: digitsBetween(10, 14), context: `(?:계좌|은행|입금|송금|예금주|농협|카카오뱅크|토스|account)`},
}

// residentDate reports whether the first part of a resident or alien registration
// number is a date of birth.
func residentDate(v string) bool {
	d := only(v)
	century := "19"
	if strings.ContainsRune("3478", rune(d[6])) {
		century = "20"
	}
	return born(century, d[:6])
}

// resident reports whether a number needs no word beside it. Since October 2020 the
// last six digits are random, so written with its hyphen a number is taken without
// a check digit; thirteen digits in a row must have one.
func resident(v string) bool {
	if strings.Contains(v, "-") {
		return true
	}
	d := only(v)
	sum := (11 - weighted(d, 2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)%11) % 10
	if d[6] >= '5' { // registered as a foreigner
		sum = (sum + 2) % 10
	}
	return sum == int(d[12]-'0')
}

// business is a registration number of a business: weights and a carry.
func business(v string) bool {
	d := only(v)
	if len(d) != 10 || same9(d) {
		return false
	}
	sum := weighted(d, 1, 3, 7, 1, 3, 7, 1, 3, 5) + int(d[8]-'0')*5/10
	return (10-sum%10)%10 == int(d[9]-'0')
}
