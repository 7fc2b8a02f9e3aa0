package mcpproxy

import (
	"regexp"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"rutile/internal/rawjson"
)

// secretForm reports whether a form elicitation asks for a secret: a
// credential, or what authorises a payment. Servers must send people to an
// address of theirs for those (2026-07-28, Elicitation), and what a form
// collects passes through the agent. It reads words, so it can be evaded by a
// server that hides what it wants, and it errs towards refusing.
func secretForm(params rawjson.Value) bool {
	schema := params.Get("requestedSchema")
	free := false
	for key, field := range schema.Get("properties").Members() {
		if closed(field) {
			continue // it can only be answered with what the server offers
		}
		free = true
		name, _ := key.Str()
		if secretWords(name) || secretField(field, 0) {
			return true
		}
	}
	if !free {
		return unread(schema) && secretField(schema, 0)
	}
	message, _ := params.Get("message").Str()
	title, _ := schema.Get("title").Str()
	text, _ := schema.Get("description").Str()
	return secretWords(message) || secretWords(title) || secretWords(text) || unread(schema) && secretField(schema, 0)
}

// unread reports whether the schema says more than its properties: forms are
// flat, so whatever else it holds is read as a whole.
func unread(schema rawjson.Value) bool {
	for k := range schema.Members() {
		if !k.Equals("type") && !k.Equals("properties") && !k.Equals("required") && !k.Equals("title") && !k.Equals("description") {
			return true
		}
	}
	return false
}

// closed reports whether a field can hold only values the server itself wrote.
func closed(field rawjson.Value) bool {
	if field.Get("type").Equals("boolean") {
		return true
	}
	if field.Get("type").Equals("array") {
		field = field.Get("items")
	}
	if enum := field.Get("enum"); enum.Kind() == rawjson.Array && enum.Len() > 0 {
		return true
	}
	for _, of := range []string{"oneOf", "anyOf"} {
		all := field.Get(of)
		if all.Kind() != rawjson.Array || all.Len() == 0 {
			continue
		}
		constant := true
		for item := range all.Items() {
			constant = constant && item.Get("const").Exists()
		}
		if constant {
			return true
		}
	}
	return false
}

// secretField reads every name and text of a schema, at any depth.
func secretField(v rawjson.Value, depth int) bool {
	switch v.Kind() {
	case rawjson.String:
		s, _ := v.Str()
		return secretWords(s)
	case rawjson.Array:
		for item := range v.Items() {
			if secretField(item, depth+1) {
				return true
			}
		}
	case rawjson.Object:
		if yes, _ := v.Get("writeOnly").Bool(); yes {
			return true // JSON Schema's own word for it
		}
		for k, item := range v.Members() {
			if k.Equals("default") || k.Equals("pattern") {
				continue // an example, not a question
			}
			name, _ := k.Str()
			if depth > 0 && secretWords(name) || secretField(item, depth+1) {
				return true
			}
		}
	}
	return false
}

// secretWords reports whether a text names a secret.
func secretWords(s string) bool {
	words, run := fold(s)
	for _, w := range words {
		if secrets.words[w] {
			return true
		}
	}
	words, _ = fold(warning.ReplaceAllString(s, " "))
	for _, w := range words {
		if secrets.short[w] {
			return true
		}
	}
	for _, part := range secrets.parts {
		if strings.Contains(run, part) {
			return true
		}
	}
	return false
}

// warning is a sentence that tells people what not to enter. Short words in it
// are no question; that a password is not asked for needs no saying.
var warning = regexp.MustCompile(`(?i)\b(do not|don't|don’t|never) (give|enter|share|include|provide|send|put|type|write)\b[^.;:!?]*`)

// secrets are the names of secrets, folded: words that stand alone, short ones
// that mean other things too, and what is telling anywhere in a text.
var secrets = func() (l struct {
	words, short map[string]bool
	parts        []string
}) {
	set := func(list string) map[string]bool {
		m := map[string]bool{}
		for w := range strings.FieldsSeq(list) {
			words, _ := fold(w)
			m[strings.Join(words, "")] = true
		}
		return m
	}
	l.words, l.short = set(secretWordList), set(secretShortList)
	for p := range strings.SplitSeq(secretPartList, ",") {
		_, run := fold(p)
		l.parts = append(l.parts, run)
	}
	return l
}()

const secretWordList = `password passwd pwd passcode passphrase passkey otp totp credential credentials
	cvv cvv2 cvc cvc2 csc apikey jwt mnemonic mdp jeton contrasena senha haslo sifre parola pasahitza heslo jelszo salasana
	losenord wachtwoord adgangskode пароль токен`

const secretShortList = `pin tan puk token secret secrets clave секрет пин`

const secretPartList = `password,passwort,kennwort,passphrase,api key,api token,api secret,apischlüssel,api-schlüssel,access key,access token,
auth token,authentication token,bearer token,refresh token,session token,security token,secret key,signing key,private key,ssh key,
encryption key,client secret,shared secret,recovery code,recovery phrase,recovery key,backup code,seed phrase,one time code,
one time password,one-time pin,verification code,authentication code,authenticator code,security code,two factor code,2fa,mfa code,
sms code,card number,credit card,debit card,payment card,card verification,card details,card security,expiry of your card,
mot de passe,clé api,clé d'api,clé secrète,clé privée,code secret,code de vérification,carte bancaire,carte de crédit,numéro de carte,
contraseña,clave secreta,clave privada,clave de acceso,clave de api,código de verificación,código de seguridad,tarjeta de crédito,
tarjeta de débito,número de tarjeta,palavra-passe,chave de api,chave privada,chave secreta,cartão de crédito,número do cartão,
código de verificação,chiave api,chiave privata,chiave segreta,carta di credito,numero di carta,numero della carta,codice di verifica,
geheimschlüssel,privater schlüssel,zugangsschlüssel,zugangsdaten,zugangscode,zugriffstoken,kreditkarte,kartennummer,kartenprüfnummer,
prüfziffer,bestätigungscode,sicherheitscode,creditcard,kaartnummer,geheime sleutel,numer karty,klucz api,klucz prywatny,
пароль,ключ api,api-ключ,секретный ключ,закрытый ключ,приватный ключ,номер карты,банковской карты,кредитной карты,код подтверждения,
비밀번호,패스워드,비번,암호를,암호 입력,토큰,인증번호,인증코드,인증키,보안코드,보안카드,카드번호,신용카드,체크카드,카드 비밀,개인키,비밀키,시크릿,
api키,api 키,액세스 키,액세스키,접근 키,복구 코드,복구 구문,시드 구문,일회용,공동인증서,공인인증서,
パスワード,パスコード,暗証番号,秘密鍵,秘密キー,トークン,クレジットカード,カード番号,認証コード,確認コード,セキュリティコード,apiキー,アクセスキー,
密码,密碼,口令,令牌,密钥,密鑰,金鑰,私钥,私鑰,信用卡,银行卡,卡号,卡號,验证码,驗證碼,安全码,安全碼,助记词,助記詞,
mật khẩu,mã xác thực,thẻ tín dụng,kata sandi,kartu kredit,รหัสผ่าน,บัตรเครดิต,पासवर्ड,पासवर्ड,كلمة المرور,كلمة السر,رمز التحقق,بطاقة الائتمان,
סיסמה,κωδικός πρόσβασης,kredi kartı,kart numarası`

// fold returns the words of s and all its letters and digits in one run, in
// lower case, without accents, width, invisible characters and the most usual
// disguises.
func fold(s string) (words []string, run string) {
	var word, all strings.Builder
	end := func() {
		if word.Len() > 0 {
			words = append(words, word.String())
			word.Reset()
		}
	}
	before := rune(0)
	runes := []rune(norm.NFKC.String(s))
	for i, r := range runes {
		if unicode.In(r, unicode.Cf, unicode.Mn, unicode.Variation_Selector) && !unicode.In(r, unicode.Arabic, unicode.Devanagari, unicode.Thai) {
			continue
		}
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.In(r, unicode.M) {
			end()
			before = r
			continue
		}
		// aB and ABc are two words each.
		next := i+1 < len(runes) && unicode.IsLower(runes[i+1])
		if unicode.IsUpper(r) && (unicode.IsLower(before) || unicode.IsUpper(before) && next) {
			end()
		}
		before = r
		for _, p := range norm.NFD.String(string(plain(unicode.ToLower(r)))) {
			if unicode.Is(unicode.Mn, p) && p < 0x370 {
				continue
			}
			word.WriteRune(p)
			all.WriteRune(leet(p))
		}
	}
	end()
	for i := range words {
		words[i] = norm.NFC.String(words[i])
	}
	return words, norm.NFC.String(all.String())
}

// plain replaces letters that look like a Latin one by it.
func plain(r rune) rune {
	if i := strings.IndexRune(lookalikes, r); i >= 0 {
		return rune(latin[len([]rune(lookalikes[:i]))])
	}
	return r
}

const (
	lookalikes = "ıłøđßαаεеοорρсхуіιјѕԁɡһк"
	latin      = "ilodsaaeeooppcxyiijsdghk"
)

func leet(r rune) rune {
	switch r {
	case '0':
		return 'o'
	case '1':
		return 'i'
	case '3':
		return 'e'
	case '4':
		return 'a'
	case '5':
		return 's'
	case '7':
		return 't'
	}
	return r
}
