package inspect

import "strings"

// Check digits of numbers of people. Each takes a value as it is written.

// luhn is ISO/IEC 7812-1, annex B.
func luhn(d string) bool {
	sum, n := 0, len(d)
	for i := range n {
		x := int(d[n-1-i] - '0')
		if i%2 == 1 {
			if x *= 2; x > 9 {
				x -= 9
			}
		}
		sum += x
	}
	return n > 0 && sum%10 == 0
}

// card checks the issuer's range, length and Luhn, and refuses the cards that tests use.
func card(v string) bool {
	d := only(v)
	if !issued(d) || !luhn(d) || strings.Contains(d, "00000000") || same9(d) {
		return false
	}
	switch d {
	case "4242424242424242", "4111111111111111", "4000056655665556", "5555555555554444", "378282246310005", "4012888888881881", "5105105105105100", "6011111111111117":
		return false
	}
	return true
}

// issued reports whether an issuer of cards has numbers that begin so, and so long
// (ISO/IEC 7812-1; the ranges are those the networks publish).
func issued(d string) bool {
	in := func(n int, low, high string) bool { return len(d) > n && d[:n] >= low && d[:n] <= high }
	switch n := len(d); {
	case in(1, "4", "4"):
		return n == 13 || n == 16 || n == 19
	case in(2, "51", "55"), in(4, "2221", "2720"), in(4, "2200", "2204"):
		return n == 16
	case in(2, "34", "34"), in(2, "37", "37"):
		return n == 15
	case in(3, "300", "305"), in(2, "36", "36"), in(2, "38", "39"):
		return n == 14 || n == 16
	case in(4, "3528", "3589"):
		return n == 16
	case in(2, "62", "62"), in(4, "6011", "6011"), in(3, "644", "649"), in(2, "65", "65"), in(2, "60", "60"):
		return n >= 16 && n <= 19
	case in(2, "50", "50"), in(2, "56", "69"):
		return n == 16 || n >= 18 && n <= 19
	}
	return false
}

// iban is ISO 13616: as long as the accounts of its country, and the remainder by 97 is 1.
func iban(v string) bool {
	s := strings.ToUpper(strings.NewReplacer(" ", "", "-", "", "\u00a0", "", "\u202f", "").Replace(v))
	return len(s) == ibanLength[s[:2]] && mod97(s[4:]+s[:4]) == 1
}

func mod97(s string) int {
	n := 0
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			n = (n*10 + int(c-'0')) % 97
		case c >= 'A' && c <= 'Z':
			n = (n*100 + int(c-'A') + 10) % 97
		default:
			return -1
		}
	}
	return n
}

// weighted is the sum of digits times weights.
func weighted(d string, weights ...int) int {
	sum := 0
	for i, w := range weights {
		if i < len(d) {
			sum += int(d[i]-'0') * w
		}
	}
	return sum
}

// canadian is a social insurance number: Luhn.
func canadian(v string) bool { d := only(v); return luhn(d) && !same9(d) }

func dea(v string) bool {
	d := v[2:]
	return (weighted(d, 1, 0, 1, 0, 1)+2*weighted(d, 0, 1, 0, 1, 0, 1))%10 == int(d[6]-'0')
}

// nhs is modulus 11 with weights from 10.
func nhs(v string) bool {
	d := only(v)
	return len(d) == 10 && (11-weighted(d, 10, 9, 8, 7, 6, 5, 4, 3, 2)%11)%11 == int(d[9]-'0')
}

// germanTax is ISO 7064 MOD 11,10 over an identification number in which one digit
// stands two or three times.
func germanTax(v string) bool {
	var count [10]int
	for i := range 10 {
		count[v[i]-'0']++
	}
	twice := 0
	for _, n := range count {
		if n > 3 {
			return false
		}
		if n > 1 {
			twice++
		}
	}
	return twice == 1 && mod1110(v)
}

func mod1110(d string) bool {
	p := 10
	for i := range len(d) - 1 {
		s := (int(d[i]-'0') + p) % 10
		if s == 0 {
			s = 10
		}
		p = s * 2 % 11
	}
	return (11-p)%10 == int(d[len(d)-1]-'0')
}

// machineReadable is ICAO 9303: weights 7, 3, 1.
func machineReadable(s string) int {
	sum := 0
	for i := range len(s) {
		n := int(s[i] - '0')
		if s[i] >= 'A' {
			n = int(s[i]-'A') + 10
		}
		sum += n * []int{7, 3, 1}[i%3]
	}
	return sum % 10
}

// germanPassport has nine signs, the last or a tenth its check digit.
func germanPassport(v string) bool {
	if !withDigit(v) {
		return false
	}
	if len(v) == 10 {
		return machineReadable(v[:9]) == int(v[9]-'0')
	}
	return len(v) == 9 && machineReadable(v[:8]) == int(v[8]-'0')
}

// germanHealth is a letter as two digits, then eight, then the check digit: digits
// times 1 and 2 in turn, summed across.
func germanHealth(v string) bool {
	n := int(v[0]&^0x20-'A') + 1
	d := string([]byte{byte('0' + n/10), byte('0' + n%10)}) + v[1:9]
	sum := 0
	for i := range len(d) {
		x := int(d[i]-'0') * (1 + i%2)
		sum += x/10 + x%10
	}
	return sum%10 == int(v[9]-'0')
}

func spanish(v string) bool {
	s := strings.ToUpper(strings.ReplaceAll(v, "-", ""))
	body := s[:len(s)-1]
	if n := strings.IndexByte("XYZ", body[0]); n >= 0 {
		body = string([]byte{byte('0' + n)}) + body[1:]
	}
	n := 0
	for i := range len(body) {
		n = (n*10 + int(body[i]-'0')) % 23
	}
	return s[len(s)-1] == "TRWAGMYFPDXBNJZSQVHLCKE"[n]
}

// french is 97 minus the remainder of thirteen digits by 97; Corsica counts as 19
// and 18.
func french(v string) bool {
	s := strings.ReplaceAll(v, " ", "")
	if len(s) != 15 {
		return false
	}
	s = strings.NewReplacer("2A", "19", "2B", "18").Replace(s)
	n := 0
	for i := range 13 {
		n = (n*10 + int(s[i]-'0')) % 97
	}
	return 97-n == int(s[13]-'0')*10+int(s[14]-'0')
}

func dutch(v string) bool { return weighted(v, 9, 8, 7, 6, 5, 4, 3, 2, -1)%11 == 0 && !same9(v) }

func polish(v string) bool {
	return (10-weighted(v, 1, 3, 7, 9, 1, 3, 7, 9, 1, 3)%10)%10 == int(v[10]-'0')
}

// swedish is a date of birth (the day plus 60 for coordination numbers) and Luhn.
func swedish(v string) bool {
	d := only(v)
	century := "19"
	if len(d) == 12 {
		century, d = d[:2], d[2:]
	} else if !strings.ContainsAny(v, "-+") {
		return false // ten digits alone are any number
	}
	if len(d) != 10 || !luhn(d) {
		return false
	}
	day := []byte(d[:6])
	if day[4] >= '6' {
		day[4] -= 6
	}
	return born(century, string(day)) || century == "19" && born("20", string(day))
}

func finnish(v string) bool {
	n := 0
	for _, b := range []byte(v[:6] + v[7:10]) {
		n = n*10 + int(b-'0')
	}
	return v[10] == "0123456789ABCDEFHJKLMNPRSTUVWXY"[n%31]
}

// turkish has two check digits.
func turkish(v string) bool {
	odd, even := weighted(v, 1, 0, 1, 0, 1, 0, 1, 0, 1), weighted(v, 0, 1, 0, 1, 0, 1, 0, 1)
	return ((odd*7-even)%10+10)%10 == int(v[9]-'0') && (weighted(v, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1))%10 == int(v[10]-'0')
}

// australian is a company number (complement of a weighted sum by 10) or a tax
// file number (a weighted sum divisible by 11).
func australian(v string) bool {
	d := only(v)
	if len(d) != 9 || same9(d) {
		return false
	}
	return (10-weighted(d, 8, 7, 6, 5, 4, 3, 2, 1)%10)%10 == int(d[8]-'0') || weighted(d, 1, 4, 3, 7, 5, 8, 6, 9, 10)%11 == 0
}

// aadhaar is Verhoeff's check (1969), not a number that reads the same backwards.
func aadhaar(v string) bool {
	d := only(v)
	if len(d) != 12 {
		return false
	}
	palindrome := true
	c := 0
	for i := range 12 {
		c = verhoeffD(c, verhoeffP(i%8, int(d[11-i]-'0')))
		palindrome = palindrome && d[i] == d[11-i]
	}
	return c == 0 && !palindrome
}

// verhoeffD multiplies in the group of the symmetries of a pentagon.
func verhoeffD(a, b int) int {
	switch {
	case a < 5 && b < 5:
		return (a + b) % 5
	case a < 5:
		return 5 + (a+b-5)%5
	case b < 5:
		return 5 + (a-5-b+5)%5
	default:
		return (a - b + 5) % 5
	}
}

// verhoeffP permutes a digit n times.
func verhoeffP(n, d int) int {
	for range n {
		d = int("1576283094"[d] - '0')
	}
	return d
}

func singapore(v string) bool {
	sum := weighted(v[1:8], 2, 7, 6, 5, 4, 3, 2)
	switch v[0] {
	case 'S':
		return v[8] == "JZIHGFEDCBA"[sum%11]
	case 'T':
		return v[8] == "JZIHGFEDCBA"[(sum+4)%11]
	case 'F':
		return v[8] == "XWUTRQPNMLK"[sum%11]
	case 'G':
		return v[8] == "XWUTRQPNMLK"[(sum+4)%11]
	default:
		return v[8] == "XWUTRQPNJLK"[(sum+3)%11]
	}
}

// singaporeUEN is the number of a business or a company.
func singaporeUEN(v string) bool {
	switch len(v) {
	case 9:
		return v[8] == "XMKECAWLJDB"[weighted(v, 10, 4, 9, 3, 8, 2, 7, 1)%11]
	case 10:
		if v[0] >= '0' && v[0] <= '9' {
			return v[9] == "ZKCMDNERGWH"[weighted(v, 10, 8, 6, 4, 9, 7, 5, 3, 1)%11]
		}
		const alphabet = "ABCDEFGHJKLMNPQRSTUVWX0123456789"
		sum := 0
		for i, w := range []int{4, 3, 5, 3, 10, 2, 2, 5, 7} {
			n := strings.IndexByte(alphabet, v[i])
			if n < 0 {
				return false
			}
			sum += n * w
		}
		return v[9] == alphabet[((sum-5)%11+11)%11]
	}
	return false
}

// chinese is ISO 7064 MOD 11-2.
func chinese(v string) bool {
	sum := weighted(v, 7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
	return strings.ToUpper(v[17:]) == string("10X98765432"[sum%11])
}

func japanese(v string) bool {
	d := only(v)
	n := weighted(d, 6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2) % 11
	check := 0
	if n > 1 {
		check = 11 - n
	}
	return len(d) == 12 && check == int(d[11]-'0')
}

func brazilian(v string) bool {
	d := only(v)
	if len(d) != 11 || same9(d) {
		return false
	}
	for _, n := range []int{9, 10} {
		sum := 0
		for i := range n {
			sum += int(d[i]-'0') * (n + 1 - i)
		}
		if sum*10%11%10 != int(d[n]-'0') {
			return false
		}
	}
	return true
}
