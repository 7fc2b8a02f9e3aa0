package inspect

// cue is a word that tells of a secret, a name or a number beside it. It is looked
// for by its rarest byte.
type cue struct {
	word string
	at   int // of that byte
}

// keyBegins is before a private key, which may be longer than a region.
const keyBegins = "-----BEGIN"

// cues are words beside which a value may stand that does not stand out itself: one
// of signs, or of few digits.
var cues = []cue{
	{keyBegins, 8},
	// Names of secrets, as prose, programs and environments write them.
	{"assw", 3}, {"ASSW", 3}, {"ecret", 1}, {"ECRET", 1}, {"oken", 1}, {"OKEN", 1}, {"uthoriz", 6}, {"UTHORIZ", 6},
	{"pwd", 1}, {"PWD", 1}, {"_key", 0}, {"_KEY", 0}, {"piKey", 2}, {" -u", 1}, {"--user", 0},
	{"пароль", 0}, {"비밀번호", 5}, {"패스워드", 5}, {"비번", 2}, {"パスワード", 8}, {"密码", 1}, {"密碼", 1}, {"인증키", 5}, {"contraseña", 7}, {"senha", 3}, {"de passe", 3}, {" -p", 1}, {"asic ", 0}, {"pw:", 1}, {"pw=", 1}, {"토큰", 1},
	// Plates of Korea, whose digits have a letter between them.
	{"차량", 2}, {"차번호", 2}, {"번호판", 2},
	// Names of people.
	{"name is", 2}, {"ame:", 3}, {"heißt", 4}, {"m'appelle", 1}, {"llamo", 3}, {"call me", 5}, {"calls me", 6}, {"called me", 7},
	{"Mr", 0}, {"Ms", 0}, {"Mx", 0}, {"Mme", 0}, {"Madame", 0}, {"Monsieur", 0}, {"Dr. ", 0}, {"Prof. ", 0}, {"Herr ", 0}, {"Frau ", 0}, {"Señor", 0},
	{"atient:", 6}, {"ustomer:", 7}, {"lient:", 5}, {"mployee:", 7},
	{"성명", 5}, {"이름", 5}, {"예금주", 2}, {"환자명", 2}, {"고객명", 5}, {"수취인", 5}, {"담당자", 2}, {"신청인", 2}, {"대표자", 2}, {"보호자", 2}, {"주문자", 2}, {"신청자", 2}, {"성함", 2}, {"보내는", 5}, {"받는", 2},
	// Days people were born on.
	{"born", 0}, {"birth", 0}, {"Birth", 0}, {"DOB", 2}, {"dob", 2}, {"geboren", 2}, {"eburt", 1}, {"생년월일", 1}, {"생일", 1}, {"出生", 2}, {"生年月日", 0},
	// Plates and registers, of which few digits are asked.
	{"plate", 0}, {"Plate", 0}, {"vehicle", 0}, {"Vehicle", 0}, {"egistration", 1}, {"ennzeichen", 3}, {"ahrzeug", 3}, {"laka", 2}, {"HRA", 0}, {"HRB", 0},
}

func cuesByByte() (by [256][]cue) {
	for _, c := range cues {
		b := c.word[c.at]
		by[b] = append(by[b], c)
	}
	return by
}

// codeAt reports whether the digit at i stands where a plate, a postcode or the
// address of a device has one: "34 ABC 12", "AB12 CDE", "SW1A 1AA", "aa:b1:cc".
func codeAt(text []byte, i int) bool {
	if pairs(text, i) {
		return true
	}
	next := i + 1
	if next < len(text) && text[next] == ' ' {
		next++
	}
	end := next
	for end < len(text) && end < next+3 && capital(text[end]) {
		end++
	}
	if end == next || end < len(text) && wordByte(text[end]) {
		return false
	}
	if next == i+2 && i > 0 && digit(text[i-1]) { // two digits, capitals
		if end+1 < len(text) && text[end] == ' ' && digit(text[end+1]) {
			return true
		}
	}
	if end == next+3 && i > 2 && digit(text[i-1]) && capital(text[i-2]) && capital(text[i-3]) {
		return true
	}
	return next == i+1 && end == next+2 && postTown(text[:i])
}

// postTown reports whether text ends like the first half of a British postcode: one
// or two capitals and a digit or two signs.
func postTown(text []byte) bool {
	end := len(text)
	if end > 0 && text[end-1] == ' ' {
		end--
	}
	start := end
	for start > 0 && end-start < 4 && (capital(text[start-1]) || digit(text[start-1])) {
		start--
	}
	word := string(text[start:end])
	return word == "GIR" || len(word) > 1 && capital(word[0]) && withDigit(word) && (start == 0 || !wordByte(text[start-1]))
}

// pairs reports whether the digit at i is in a pair of hexadecimal digits between
// colons, or beside one that is.
func pairs(text []byte, i int) bool {
	between := func(colon int) bool {
		return colon >= 0 && colon+3 < len(text) && text[colon] == ':' && text[colon+3] == ':' && hexadecimal(text[colon+1]) && hexadecimal(text[colon+2])
	}
	return between(i+1) || between(i+2) || between(i-1) || between(i-2) || between(i-4) || between(i-5)
}

func hexadecimal(b byte) bool { return digit(b) || b|0x20 >= 'a' && b|0x20 <= 'f' }

func capital(b byte) bool { return b >= 'A' && b <= 'Z' }
func digit(b byte) bool   { return b >= '0' && b <= '9' }
