package inspect

import (
	"crypto/sha256"
	"net/netip"
	"strings"
	"time"
)

// More check digits of numbers of people and their purses (see checksum.go).

// publicAddress is an address of IPv4 that somebody on the internet has.
func publicAddress(v string) bool {
	a, err := netip.ParseAddr(v)
	if err != nil || !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	for _, documented := range []string{"192.0.2.", "198.51.100.", "203.0.113.", "0."} { // RFC 5737
		if strings.HasPrefix(v, documented) {
			return false
		}
	}
	return true
}

// base58 is an address of Bitcoin: 21 bytes and the first four of their double
// SHA-256.
func base58(v string) bool {
	const alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	var out [25]byte
	for i := range len(v) {
		n := strings.IndexByte(alphabet, v[i])
		if n < 0 {
			return false
		}
		for j := len(out) - 1; j >= 0; j-- {
			n += 58 * int(out[j])
			out[j] = byte(n)
			n >>= 8
		}
		if n != 0 {
			return false
		}
	}
	once := sha256.Sum256(out[:21])
	sum := sha256.Sum256(once[:])
	return string(sum[:4]) == string(out[21:])
}

// bech32 is the checksum of BIP 173, or its later constant of BIP 350.
func bech32(v string) bool {
	const alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
	sum := uint32(1)
	feed := func(x int) {
		top := sum >> 25
		sum = sum&0x1ffffff<<5 ^ uint32(x)
		for i, g := range []uint32{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3} {
			if top>>i&1 == 1 {
				sum ^= g
			}
		}
	}
	for _, x := range []int{3, 3, 0, 'b' & 31, 'c' & 31} {
		feed(x)
	}
	for i := len("bc1"); i < len(v); i++ {
		n := strings.IndexByte(alphabet, v[i])
		if n < 0 {
			return false
		}
		feed(n)
	}
	return sum == 1 || sum == 0x2bc830a3
}

// germanSocial weighs the digits, the letter as two, and sums the products across.
func germanSocial(v string) bool {
	s := strings.ReplaceAll(v, " ", "")
	n := int(s[8]-'A') + 1
	d := s[:8] + string([]byte{byte('0' + n/10), byte('0' + n%10)}) + s[9:11]
	sum := 0
	for i, w := range []int{2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1} {
		x := int(d[i]-'0') * w
		sum += x/10 + x%10
	}
	return sum%10 == int(s[11]-'0')
}

// norwegian is a date of birth (D numbers add 40 to the day) and two check digits.
func norwegian(v string) bool {
	d := only(v)
	if len(d) != 11 {
		return false
	}
	day := []byte(d[:6])
	if day[0] >= '4' {
		day[0] -= 4
	}
	if _, err := time.Parse("020106", string(day)); err != nil {
		return false
	}
	return weighted(d, 3, 7, 6, 1, 8, 9, 4, 5, 2, 1)%11 == 0 && weighted(d, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1)%11 == 0
}

// belgian is 97 minus the remainder of the first nine digits, after 2000 with a 2
// before them.
func belgian(v string) bool {
	d := only(v)
	body, check := 0, int(d[9]-'0')*10+int(d[10]-'0')
	for i := range 9 {
		body = body*10 + int(d[i]-'0')
	}
	return 97-body%97 == check || 97-(2_000_000_000+body)%97 == check
}

// ean is the check digit of thirteen digits, weights 1 and 3.
func ean(d string) bool {
	return len(d) == 13 && weighted(d, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1)%10 == 0
}

// irish weighs the digits from 8 and a second letter by 9.
func irish(v string) bool {
	sum := weighted(v[:7], 8, 7, 6, 5, 4, 3, 2)
	if len(v) == 9 && v[8] != 'W' {
		sum += 9 * int(v[8]-'A'+1)
	}
	return v[7] == "WABCDEFGHIJKLMNOPQRSTUV"[sum%23]
}

// australianBusiness is a weighted sum, less one in the first digit, by 89.
func australianBusiness(v string) bool {
	d := only(v)
	return len(d) == 11 && (weighted(d, 10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19)-10)%89 == 0
}

func australianMedicare(v string) bool {
	d := only(v)
	return len(d) == 10 && weighted(d, 1, 3, 7, 9, 1, 3, 7, 9)%10 == int(d[8]-'0')
}

// verhoeff is Verhoeff's check (1969) over all digits.
func verhoeff(d string) bool {
	c := 0
	for i := range len(d) {
		c = verhoeffD(c, verhoeffP(i%8, int(d[len(d)-1-i]-'0')))
	}
	return c == 0
}

func thai(v string) bool {
	d := only(v)
	return len(d) == 13 && (11-weighted(d, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2)%11)%10 == int(d[12]-'0')
}

// hongKong counts letters from 10 and a missing first one as 36.
func hongKong(v string) bool {
	body, check, _ := strings.Cut(strings.TrimSuffix(v, ")"), "(")
	sum := 0
	if len(body) == 7 {
		sum = 9 * 36
	}
	for i := range len(body) {
		n := int(body[i] - '0')
		if body[i] >= 'A' {
			n = int(body[i]-'A') + 10
		}
		sum += n * (len(body) + 1 - i)
	}
	last := int(check[0] - '0')
	if check == "A" {
		last = 10
	}
	return (sum+last)%11 == 0
}

// taiwanese writes the letter of the place as two digits.
func taiwanese(v string) bool {
	place := strings.IndexByte("ABCDEFGHJKLMNPQRSTUVXYWZIO", v[0]) + 10
	return (place/10+place%10*9+weighted(v[1:], 8, 7, 6, 5, 4, 3, 2, 1, 1))%10 == 0
}

// chilean is modulus 11 with weights 2 to 7 from the right; K is 10.
func chilean(v string) bool {
	body, check, _ := strings.Cut(strings.ToUpper(v), "-")
	d, sum := only(body), 0
	for i := range len(d) {
		sum += int(d[len(d)-1-i]-'0') * (2 + i%6)
	}
	return "0123456789K0"[11-sum%11] == check[0]
}
