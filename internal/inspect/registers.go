package inspect

import "strings"

// Check digits of numbers that a word announces (see announced.go).

// machineLine is the lower line of ICAO 9303: the number, the day of birth and the last
// day it is valid have a check digit each.
func machineLine(v string) bool {
	sum := func(s string) int {
		n := 0
		for i := range len(s) {
			x := 0
			switch c := s[i]; {
			case digit(c):
				x = int(c - '0')
			case capital(c):
				x = int(c-'A') + 10
			}
			n += x * []int{7, 3, 1}[i%3]
		}
		return n % 10
	}
	return sum(v[:9]) == int(v[9]-'0') && sum(v[13:19]) == int(v[19]-'0') && sum(v[21:27]) == int(v[27]-'0')
}

// austrian weighs the three digits and the day of birth round the check digit.
func austrian(v string) bool {
	d := only(v)
	return len(d) == 10 && weighted(d, 3, 7, 9, 0, 5, 8, 4, 2, 1, 6)%11 == int(d[3]-'0')
}

// italian is the tax code of a person: signs at odd places count by a table.
func italian(v string) bool {
	const odd = "\x01\x00\x05\x07\x09\x0d\x0f\x11\x13\x15\x02\x04\x12\x14\x0b\x03\x06\x08\x0c\x0e\x10\x0a\x16\x19\x18\x17"
	s, sum := strings.ToUpper(v), 0
	for i := range 15 {
		n := int(s[i] - '0')
		if capital(s[i]) {
			n = int(s[i] - 'A')
		}
		if i%2 == 0 {
			n = int(odd[n])
		}
		sum += n
	}
	return s[15] == byte('A'+sum%26)
}

// portuguese is modulus 11 with weights from 9.
func portuguese(v string) bool {
	d := only(v)
	n := 11 - weighted(d, 9, 8, 7, 6, 5, 4, 3, 2)%11
	if n > 9 {
		n = 0
	}
	return len(d) == 9 && n == int(d[8]-'0')
}

// polishCard has its check digit behind the letters: weights 7, 3, 1 and again.
func polishCard(v string) bool {
	s := strings.ReplaceAll(v, " ", "")
	sum := 7*int(s[0]-'A'+10) + 3*int(s[1]-'A'+10) + int(s[2]-'A'+10)
	return (sum+weighted(s[4:], 7, 3, 1, 7, 3))%10 == int(s[3]-'0')
}

// czech is a day of birth (months of women plus 50) and a number, divisible by 11 since
// 1954.
func czech(v string) bool {
	d := only(v)
	month := valueOf(d[2:4]) % 50
	if month > 20 {
		month -= 20
	}
	if month < 1 || month > 12 || d[4:6] > "31" || d[4:6] == "00" {
		return false
	}
	n := valueOf(d[:9]) % 11 % 10
	return len(d) == 9 || n == int(d[9]-'0')
}

// tenIsOne is the rest of the Romanian check digit: of ten it is one.
func tenIsOne(v string) bool {
	return weighted(v, 2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9)%11 == 10 && v[12] == '1'
}

// snils is a weighted sum by 101.
func snils(v string) bool {
	d := only(v)
	return len(d) == 11 && notSame(d) && weighted(d, 9, 8, 7, 6, 5, 4, 3, 2, 1)%101%100 == valueOf(d[9:])
}

// russianTax has two check digits.
func russianTax(d string) bool {
	return weighted(d, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8)%11%10 == int(d[10]-'0') && weighted(d, 3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8)%11%10 == int(d[11]-'0') && notSame(d)
}

// malaysian is a day of birth and the number of a place.
func malaysian(v string) bool {
	d := only(v)
	return (born("19", d[:6]) || born("20", d[:6])) && d[6:8] != "00" && (d[6:8] <= "68" || d[6:8] == "71" || d[6:8] == "72" || d[6:8] == "74" || d[6:8] == "82")
}

// newZealand has two rows of weights: the second where the first gives ten.
func newZealand(v string) bool {
	d := only(v)
	for len(d) < 9 {
		d = "0" + d
	}
	n := (11 - weighted(d, 3, 2, 7, 6, 5, 4, 3, 2)%11) % 11
	if n == 10 {
		n = (11 - weighted(d, 7, 4, 3, 2, 5, 2, 7, 6)%11) % 11
	}
	return n == int(d[8]-'0')
}

// brazilianCompany has two check digits.
func brazilianCompany(v string) bool {
	d := only(v)
	of := func(weights ...int) int {
		if n := weighted(d, weights...) % 11; n > 1 {
			return 11 - n
		}
		return 0
	}
	return len(d) == 14 && notSame(d) && of(5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2) == int(d[12]-'0') && of(6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2) == int(d[13]-'0')
}

// argentine is modulus 11 with weights 5, 4, 3, 2, 7, 6, 5, 4, 3, 2.
func argentine(v string) bool {
	d := only(v)
	return (11-weighted(d, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2)%11)%11 == int(d[10]-'0')
}

// mexican has a day in the middle.
func mexican(v string) bool {
	d := only(v)
	return len(d) >= 6 && (born("19", d[:6]) || born("20", d[:6]))
}

// corporation is a registration number of a company: weights 1 and 2.
func corporation(v string) bool {
	d := only(v)
	return len(d) == 13 && notSame(d) && (10-weighted(d, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2)%10)%10 == int(d[12]-'0')
}

// ibanLength is how many signs the accounts of a country have (ISO 13616, the registry).
var ibanLength = map[string]int{
	"AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29, "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24,
	"DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27,
	"GT": 28, "HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20,
	"LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24,
	"PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "SO": 23, "ST": 25,
	"SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20, "YE": 30,
}
