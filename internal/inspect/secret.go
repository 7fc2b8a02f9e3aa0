package inspect

import (
	"encoding/base64"
	"math"
	"strings"
)

// secretDetectors find what opens something. Values with a form of their own come
// first, values that only their name gives away last.
var secretDetectors = []detector{
	{label: Secret, kind: "private-key", need: []string{"private key"}, pattern: `-----BEGIN[ A-Z0-9_-]{0,60}PRIVATE KEY(?: BLOCK)?-----[\sA-Za-z0-9+/=\\:;,.@()-]{48,}`},
	{label: Secret, kind: "age-key", need: []string{"age-secret-key-1"}, pattern: `AGE-SECRET-KEY-1[A-Z0-9]{58}`},
	{label: Secret, kind: "jwt", need: []string{"eyj"}, pattern: `\beyJ[A-Za-z0-9_-]{15,}\.eyJ[A-Za-z0-9_/-]{15,}\.[A-Za-z0-9_/-]{10,}={0,2}`},
	{label: Secret, kind: "aws-access-key", need: []string{"akia", "asia", "abia", "acca", "a3t"}, pattern: `\b((?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16})\b`, check: random(3)},
	{label: Secret, kind: "google-api-key", need: []string{"aiza"}, pattern: `\b(AIza[\w-]{35})(?:[^\w-]|$)`, check: all(random(4), notKnown)},
	// Vendors that begin their tokens with a word and a separator.
	{label: Secret, kind: "vendor-token", need: vendorNeeds, check: all(random(3), notPlaceholder, notExact, func(v string) bool { return withDigit(v) || !inWords(v) }), pattern: `(?:^|[^A-Za-z0-9+/_-])((?:ghp_|gho_|ghu_|ghs_|ghr_|github_pat_|gl(?:pat|dt|rt|soat|ptt|ft|imt|agent|cbt|ffct|oas)-|xox[abeoprs]-|xapp-|sk_(?:live|test|prod)_|rk_(?:live|test|prod)_|sk-proj-|sk-or-|sk-|npm_|pypi-|do[opr]_v1_|hv[sbr]\.|shp(?:at|ca|pa|ss)_|lin_api_|rdme_|pul-|pscale_(?:tkn|oauth|pw)_|dckr_(?:pat|oat)_|dp\.(?:pt|st|ct|sa|scim|audit)\.|dt0c01\.|glc_|glsa_|fo1_|fm[12][ar]?_|hf_|api_org_|NRAK-|NRJS-|NRII-|ATATT3|ATCTT3|rubygems_|sgp_|r8_|tfp_|CLOJARS_|duffel_(?:test|live)_|EZAK|EZTK|FLWSECK|fio-u-|ops_eyJ|p8e-|CFPAT-|pnu_|xkeysib-|pplx-|sha256~|shippo_(?:live|test)_|nvapi-|gsk_|xai-|ico-|figd_|cal_live_|phc_|phx_|whsec_|sq0(?:atp|csp|idp)-|EAAA|patp?_|secret_|key_live_|live_|test_pub_|tok_|ntn_|cio_|apify_api_|dapi|sbp_|vercel_|tskey-[a-z]+-|ptr_|tr_|wandb_|lsv2_|co_api_|bkua_|snyk_|a0_|okta_|ra_|prefix_|zpka_|jfrt_|AKCp)[A-Za-z0-9_.~+/=-]{16,})`},
	{label: Secret, kind: "vendor-token", need: []string{"sk-ant-", "sntry", "sm_"}, check: all(random(3.5), notPlaceholder), pattern: `\b(sk-ant-(?:api|admin|oat|sid)[0-9]{2}-[\w-]{93}AA|sntryu_[a-f0-9]{64}|sntrys_eyJpYXQiO[A-Za-z0-9+/]{20,}={0,2}_[A-Za-z0-9+/]{43}|sm_(?:aat|pat|sat)_[A-Za-z0-9]{16})(?:[^\w-]|$)`},
	// Vendors whose whole form is documented.
	{label: Secret, kind: "vendor-token", need: formNeeds, check: all(random(3), notPlaceholder, withDigit), pattern: `(?:^|[^\w.~-])(PMAK-[0-9a-f]{24}-[0-9a-f]{34}|pat-(?:na|eu)[0-9]-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|HRKU-AA[\w-]{58}|[A-Za-z0-9]{14}\.atlasv1\.[\w-]{60,70}|[ps]k\.eyJ[\w-]{60,}\.[\w-]{22}|LTAI[A-Za-z0-9]{20}|AKID[A-Za-z0-9]{32}|key-[0-9a-f]{32}|pcsk_[A-Za-z0-9]{4,8}_[A-Za-z0-9]{40,70}|v1\.0-[0-9a-f]{24}-[0-9a-f]{146}|GR1348941[\w-]{20}|(?:test|live)_g?sk_[A-Za-z0-9]{20,60}|[0-9]{8,10}:AA[\w-]{33}|[\w.~-]{3}[0-9]Q~[\w.~-]{31,34})(?:[^\w~-]|$)`},
	{label: Secret, kind: "artifactory-reference-token", need: []string{"cmvmd"}, pattern: `\b(cmVmd[A-Za-z0-9]{59})\b`, check: random(4)},
	{label: Secret, kind: "1password-secret-key", need: []string{"a3-"}, pattern: `\bA3-[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})-[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{5}\b`, check: random(3.8)},
	{label: Secret, kind: "sendgrid-key", need: []string{"sg."}, pattern: `\bSG\.[\w-]{16,32}\.[\w-]{16,64}`, check: random(3.5)},
	{label: Secret, kind: "google-oauth", need: []string{"ya29", "gocspx"}, pattern: `\b(?:ya29\.[\w-]{20,}|GOCSPX-[\w-]{20,})`},
	{label: Secret, kind: "octopus-key", need: []string{"api-"}, pattern: `(?:^|[^\w-])(API-[A-Z0-9]{26})(?:[^\w-]|$)`, check: random(3)},
	{label: Secret, kind: "yandex-token", need: []string{"t1.", "aqvn", "yc"}, pattern: `\b(t1\.[A-Z0-9a-z_-]+=*\.[A-Z0-9a-z_-]{86}=*|AQVN[A-Za-z0-9_-]{35,38}|YC[a-zA-Z0-9_-]{38})(?:\W|$)`, check: random(3)},
	{label: Secret, kind: "vault-token", need: []string{"s."}, pattern: `(?:^|[^\w.])(s\.[A-Za-z0-9]{24})(?:\W|$)`, check: all(random(3.6), mixed)},
	{label: Secret, kind: "airtable-token", need: []string{"pat"}, pattern: `\b(pat[A-Za-z0-9]{14}\.[a-f0-9]{64})\b`},
	{label: Secret, kind: "twilio-key", need: []string{"sk", "ac"}, pattern: `\b(SK[0-9a-f]{32})\b`, check: random(3)},
	{label: Secret, kind: "grafana-key", need: []string{"eyjr"}, pattern: `\b(eyJrIjoi[A-Za-z0-9+/]{50,400}={0,3})`, check: random(3)},
	{label: Secret, kind: "slack-webhook", need: []string{"hooks."}, pattern: `https://hooks\.(?:slack\.com/(?:services|workflows)/|zapier\.com/hooks/catch/)[A-Za-z0-9+/_-]{20,}`},
	{label: Secret, kind: "webhook", need: []string{"/webhook"}, pattern: `https://(?:(?:[a-z]{2,8}\.)?discord(?:app)?\.com/api/(?:v[0-9]{1,2}/)?webhooks/[0-9]{17,20}/[\w-]{60,80}|[a-z0-9-]{1,63}\.webhook\.office\.com/webhookb2/[\w@-]{73}/IncomingWebhook/[0-9a-f]{32}/[\w-]{36})`},
	{label: Secret, kind: "connection-key", need: []string{"accountkey=", "sharedaccess", "sig="}, pattern: `(?i)(?:AccountKey|SharedAccessKey|SharedAccessSignature|sig)=([A-Za-z0-9%+/=]{32,})`, check: random(4)},
	{label: Secret, kind: "url-password", need: []string{"://"}, pattern: `\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@'"<>$%{}]{0,64}:([^\s/@'"<>${}\[\]]{3,128})@[A-Za-z0-9\[]`, check: all(notPlaceholder, notWord)},
	{label: Secret, kind: "sidekiq-url", need: []string{"contribsys"}, pattern: `\bhttps?://([a-f0-9]{8}:[a-f0-9]{8})@`},
	{label: Secret, kind: "basic-auth", need: []string{"curl"}, pattern: `\bcurl\b[^|;&]{0,400}?\s(?:-u|--user)[ =]{0,3}["']?(\{?[^\s"':$<{}]{0,64}\}?["']?:["']?\{?[^\s"'$<>{}]{4,128})["'}]?`, check: all(notPlaceholder, credentials)},
	{label: Secret, kind: "basic-auth", need: []string{"basic "}, pattern: `\b[Bb]asic ([A-Za-z0-9+/]{16,400}={0,2})`, check: encodedPair},
	{label: Secret, kind: "basic-auth", need: []string{"mysql", "sshpass"}, pattern: `\b(?:mysql\w*|sshpass)\b[^|;&\n]{0,200}?\s-p ?([^\s"'$<>{}-][^\s"'$<>{}]{5,64})`, check: all(notPlaceholder, plausiblePair)},
	{label: Secret, kind: "netrc-password", need: []string{"machine "}, pattern: `\bmachine\s+[^\s]{1,253}\s+login\s+[^\s]{1,64}\s+password\s+([^\s"'$<>{}]{6,128})`, check: all(notPlaceholder, notWord)},
	{label: Secret, kind: "auth-header", need: []string{"authorization", "x-api-key", "token", "api-key"}, pattern: `(?i)\b(?:authorization|x-[a-z-]*(?:key|token))["']?\s*[:=]\s*["']?(?:(?:bearer|token|basic|apikey|api-token|key)\s+)?["']?([A-Za-z0-9_.~+/=-]{12,})`, check: all(random(3), notPlaceholder, withDigit)},
	{label: Secret, kind: "bearer", need: []string{"bearer"}, pattern: `(?i)\bbearer\s+([A-Za-z0-9_.~+/=-]{20,})`, check: all(random(3.3), notPlaceholder, withDigit)},
	// What a name gives away: an identifier of secrets, and a value beside it.
	{label: Secret, kind: "named-secret", need: []string{"key", "token", "secret", "passw", "pwd", "credential", "auth", "access", "client", "api", "cert", "license", "contribsys", "sonar.login", "session=", "sessionid", "schlüssel", "clé", "clave", "키", "キー", "密钥", "密鑰", "令牌", "토큰"}, check: all(random(3), notPlaceholder, plausible),
		refuse:  `(?i)(?:next|page|cursor|continuation|public|nonmatching|wrong|invalid|fake|dummy|mock|example|sample|credentialsid|(?:name|url|uri|type|version|path|file|host|selector|count|length|size|algorithm)["'\x60\]>)]*\s{0,5}[:=>,])`,
		pattern: `(?i)[\w.-]{0,50}?(?:key|token|secret|passw(?:or)?d|passwd|pwd|credentials?|auth|access|api|client_?id|license|contribsys__com|sonar\.login|schlüssel|session(?:_?id)?|인증 ?키|비밀 ?키|키|토큰|キー|トークン|密[钥鑰]|令牌)[\w.-]{0,20}(?:["'\x60\]>)]|&quot;|\\")*\s{0,5}(?:string|:string|str)?\s{0,5}(?:\.=|\?=|:{1,3}=|\|\||=>|=|:|：|,|>|는|은|は|\bis\b)\s{0,5}(?:string\s*=\s*)?(?:["'\x60>=(\[]|\\"|&quot;|\s){0,8}([\w.=+/~!@#%^&*:-]{10,200})`},
	// In prose nothing stands between the name and the value: it must be long.
	{label: Secret, kind: "named-secret", need: []string{"secret ", "token ", "key ", "key:"}, check: all(random(3.5), notPlaceholder, long),
		pattern: `(?i)\b(?:secret|token|(?:api|access|secret|private|encryption|signing|master|session|auth)[ _-]?key)(?: (?:is|lautet|ist|es|est|è|é))?\s{1,3}["'\x60]?([A-Za-z0-9_-]{24,128})(?:[^\w-]|$)`},
	// What people write beside the word: shorter, and of signs no key has.
	{label: Secret, kind: "password", need: passwordNeeds, check: all(notPlaceholder, passwordLike),
		refuse:  `(?i)(?:hash|policy|length|reset|forgot|expire|field|file|path|min|max|example|sample|dummy|hint)`,
		pattern: `(?i)(?:(?:pass ?word|passwd|passphrase|passwort|kennwort|mot de passe|contraseña|clave|senha|parola|пароль|비밀번호|패스워드|비번|암호|パスワード|暗証番号|密码|密碼|\bpwd|\bpin|\bpasscode)(?:["'\x60)\]]|&quot;)*(?: (?:for|of|to|für|para|de|du|von)(?: [\pL-]{1,20}){1,3})?\s{0,3}(?:is|ist|es|est|é|è|は|은|는|為|为|是|:=|=>|=|:|：|/|\s)|\b(?:pw|pass)\s?[:=])\s{0,3}["'\x60]?([^\s"'\x60<>(){}\[\],;：]{6,64})`},
	{label: Secret, kind: "one-time-seed", need: []string{"otpauth", "2fa", "totp", "mfa", "authenticator"}, check: all(random(3.4), notPlaceholder),
		pattern: `(?i:otpauth://[^\s"'<>]{1,200}?[?&]secret=|\b(?:2fa|totp|mfa|authenticator)[ _-]?(?:secret|seed|key|setup key)?["']?\s{0,3}(?:is|:|=|\s)\s{0,3}["']?)([A-Z2-7]{16,64})(?:[^A-Za-z0-9]|$)`},
	{label: Secret, kind: "private-key", need: []string{"private-lines"}, pattern: `Private-Lines: [0-9]{1,3}\s+([A-Za-z0-9+/=\s]{40,})`},
}

var passwordNeeds = []string{"password", "passwd", "pass word", "passphrase", "passcode", "pw:", "pw=", "pass:", "pass=", "passwort", "kennwort", "mot de passe", "contraseña", "clave", "senha", "parola", "пароль", "비밀번호", "패스워드", "비번", "암호", "パスワード", "暗証番号", "密码", "密碼", "pwd", "pin"}

var vendorNeeds = []string{"ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "gl", "xox", "xapp-", "sk", "rk_", "npm_", "pypi-", "_v1_", "hvs.", "hvb.", "hvr.", "shp", "sntry", "lin_", "rdme_", "pul-", "pscale", "dckr", "dp.", "dt0c", "fo1_", "fm1", "fm2", "hf_", "api_", "nr", "atatt3", "atctt3", "rubygems", "sgp_", "r8_", "tfp_", "sm_", "clojars", "duffel", "ezak", "eztk", "flwseck", "fio-u", "ops_", "p8e-", "cfpat", "pnu_", "xkeysib", "pplx-", "sha256~", "shippo", "nvapi", "gsk_", "xai-", "ico-", "figd", "live_", "ph", "whsec", "sq0", "eaaa", "pat", "secret_", "tok_", "ntn_", "cio_", "apify", "dapi", "sbp_", "vercel", "tskey", "tr_", "wandb", "lsv2", "bkua", "snyk", "a0_", "okta", "ra_", "zpka", "jfrt", "akcp"}

var formNeeds = []string{"pmak-", "pat-", "hrku-", ".atlasv1.", "k.eyj", "ltai", "akid", "key-", "pcsk_", "v1.0-", "gr1348941", "_sk_", "_gsk_", ":aa", "q~"}

// all joins checks.
func all(checks ...func(string) bool) func(string) bool {
	return func(v string) bool {
		for _, c := range checks {
			if !c(v) {
				return false
			}
		}
		return true
	}
}

// random is the check that a value has at least so many bits of entropy a letter
// (Shannon 1948).
func random(bits float64) func(string) bool {
	return func(v string) bool {
		var count [256]int
		for i := range len(v) {
			count[v[i]]++
		}
		h, n := 0.0, float64(len(v))
		for _, c := range count {
			if c > 0 {
				h -= float64(c) / n * math.Log2(float64(c)/n)
			}
		}
		return h >= min(bits, 0.85*math.Log2(n))
	}
}

func withDigit(v string) bool { return strings.ContainsAny(v, "0123456789") }

func mixed(v string) bool {
	return withDigit(v) && strings.ToUpper(v) != v && strings.ToLower(v) != v
}

// placeholders are what stands where a secret would.
var placeholders = []string{"example", "xxxx", "your", "changeme", "change_me", "placeholder", "redacted", "dummy", "insert", "<", "${", "{{", "$(", "process.env", "os.environ", "getenv", "1234567890abcdef1234", "abcdefghij", "test-token", "sample", "****", "...", "replace", "put_", "todo", "env.", "secrets.", "undefined", "null", "abcdef012345", "foobar", "mytoken", "my-token", "my_secret"}

func notPlaceholder(v string) bool {
	if repeats(v) {
		return false
	}
	low := strings.ToLower(v)
	for _, p := range placeholders {
		if strings.Contains(low, p) {
			return false
		}
	}
	return true
}

// repeats reports whether one sign stands so often in a row as nothing random has it.
func repeats(v string) bool {
	run := 1
	for i := 1; i < len(v); i++ {
		if v[i] != v[i-1] {
			run = 1
		} else if run++; run >= 7 {
			return true
		}
	}
	return false
}

// inWords reports whether v is made of words with few digits between them, as names in
// programs and licences are: testVariable2Value, Apache-2.0. One of them at least begins
// with a capital, or signs stand between them.
func inWords(v string) bool {
	digits, letters, worded, short, parted := 0, 0, 0, 0, false
	for i := 0; i < len(v); {
		if !letter(v[i]) {
			if digit(v[i]) {
				digits++
			} else if i > 0 && i+1 < len(v) {
				parted = true
			}
			i++
			continue
		}
		from := i
		for i++; i < len(v) && letter(v[i]) && (!capital(v[i]) || capital(v[i-1])) && (capital(v[i]) || !capital(v[i-1]) || i == from+1); i++ {
		}
		n := i - from
		letters += n
		title := capital(v[from]) && n > 2 && !capital(v[i-1])
		parted = parted || title
		switch {
		case n >= 3 && strings.ContainsAny(v[from:i], "aeiouAEIOU"):
			worded += n
		case (from == 0 || !letter(v[from-1]) && !digit(v[from-1])) && (i == len(v) || !letter(v[i])): // GPL, PKCS1
			short += n
		}
	}
	return parted && letters >= 5 && digits*4 <= len(v) && digits < 9 && worded >= short && (worded+short)*10 >= letters*8
}

func letter(b byte) bool { return b|0x20 >= 'a' && b|0x20 <= 'z' }

// long refuses what prose has behind such a name: names, words, digits alone.
func long(v string) bool { return len(only(v)) >= 3 && len(only(v)) < len(v) && !inWords(v) }

// notExact refuses what begins like a token whose whole form is known: a detector
// of its own has looked at it.
func notExact(v string) bool {
	for _, prefix := range []string{"sk-ant-", "sntry", "sm_aat_", "sm_pat_", "sm_sat_"} {
		if strings.HasPrefix(v, prefix) {
			return false
		}
	}
	return true
}

// notKnown refuses placeholders and keys of browser clients that documentation and
// widely used programs have made public.
func notKnown(v string) bool {
	for _, known := range []string{"AIzaSyA8vmApnrHN", "AIzaSyD3asb-2pEZ", "AIzaSyDSb51JiIcB", "AIzaSyASWm6HmTMd", "AIzaSyabcdefghij"} {
		if strings.HasPrefix(v, known) {
			return false
		}
	}
	return notPlaceholder(v)
}

// notWord refuses passwords like "password" and "pass".
func notWord(v string) bool {
	switch strings.ToLower(v) {
	case "pass", "password", "passwd", "pwd", "secret", "user", "token", "admin", "key", "xxx", "pw":
		return false
	}
	return true
}

// credentials is a name and a password that is more than a word. In braces, where
// templates name what stands there, it needs a digit.
func credentials(v string) bool {
	_, password, _ := strings.Cut(v, ":")
	password = strings.Trim(password, `"'`)
	if inner, braced := strings.CutPrefix(password, "{"); braced {
		return len(inner) >= 8 && withDigit(inner) && random(3)(inner)
	}
	return len(password) >= 4 && notWord(password) && (withDigit(password) || random(2.8)(password) && len(password) >= 8)
}

// encodedPair is a name and a password in base64 (RFC 7617).
func encodedPair(v string) bool {
	b, err := base64.StdEncoding.DecodeString(v)
	name, password, ok := strings.Cut(string(b), ":")
	return err == nil && ok && name != "" && len(password) > 3 && strings.IndexFunc(string(b), func(r rune) bool { return r < ' ' || r == 0xfffd }) < 0
}

// plausiblePair is a password behind an option.
func plausiblePair(v string) bool { return credentials("user:" + v) }

// plausible refuses values beside a name that are words, code or paths.
func plausible(v string) bool {
	v = strings.Trim(v, ".:,=-")
	if len(v) < 8 || !withDigit(v) || isCode(v) || inWords(v) || isFingerprint(v) {
		return false
	}
	digits, letters := 0, 0
	for i := range len(v) {
		switch c := v[i]; {
		case c >= '0' && c <= '9':
			digits++
		case c|0x20 >= 'a' && c|0x20 <= 'z':
			letters++
		}
	}
	return notExact(v) && letters > 0 && (digits >= 2 || len(v) >= 16) && letters+digits >= len(v)*2/3
}

// passwordLike is what people make passwords of: letters and digits, in both cases or
// with a sign, and no name of a program.
func passwordLike(v string) bool {
	v = strings.TrimRight(v, ".:!?")
	if len(v) < 8 || isCode(v) {
		return false
	}
	cases := strings.ToLower(v) != v && strings.ToUpper(v) != v
	signs := strings.ContainsAny(v, "!#$%&*+?@^~|")
	if strings.ContainsAny(v, "$%&") && (v[0] == '$' || v[0] == '%' || v[0] == '&') || strings.ContainsAny(v, "/\\=") {
		return false // a variable, a path, an address
	}
	if !withDigit(v) {
		return signs && cases
	}
	return (signs || cases) && (signs || !inWords(v))
}

// isFingerprint reports whether v is pairs of hexadecimal digits with colons between
// them, or a moment (RFC 3339): neither opens anything.
func isFingerprint(v string) bool {
	return strings.Count(v, ":")*3 >= len(v)-2 || len(v) >= 16 && v[4] == '-' && v[7] == '-' && (v[10] == 'T' || v[10] == ' ') && v[13] == ':'
}

// isCode reports whether v looks like a path, an address, a file or a name of
// several words rather than like something random.
func isCode(v string) bool {
	if strings.HasPrefix(v, "http") || strings.HasPrefix(v, "/") {
		return true
	}
	dot := strings.LastIndexByte(v, '.')
	if dot >= 0 && len(v)-dot <= 5 && len(v)-dot > 1 && strings.Trim(strings.ToLower(v[dot+1:]), "abcdefghijklmnopqrstuvwxyz") == "" {
		return true // a file
	}
	return strings.Trim(strings.TrimRight(v, "0123456789"), "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._/:-") == "" && len(v)-len(strings.TrimRight(v, "0123456789")) <= 3
}
