package mcpproxy_test

import (
	"encoding/json"
	"testing"

	"golang.org/x/text/unicode/norm"

	"rutile/internal/mcpproxy"
	"rutile/internal/rawjson"
)

// form is a form with one field of text.
func form(message, name, title, description string) string {
	field := map[string]any{"type": "string"}
	if title != "" {
		field["title"] = title
	}
	if description != "" {
		field["description"] = description
	}
	raw, _ := json.Marshal(map[string]any{"message": message, "requestedSchema": map[string]any{"type": "object", "properties": map[string]any{name: field}}})
	return string(raw)
}

func secretForm(t *testing.T, params string) bool {
	t.Helper()
	v, err := rawjson.Parse([]byte(params), rawjson.Limits{})
	if err != nil {
		t.Fatalf("%s: %v", params, err)
	}
	return mcpproxy.SecretForm(v)
}

// A form that asks for a credential or a means of payment is known as one
// wherever it says so, in the languages people are asked in, and through the
// disguises a server would try first.
func TestFormsAskingForSecrets(t *testing.T) {
	t.Parallel()
	names := []string{
		"password", "userPassword", "PASSWORD", "db_password", "passwd", "pwd", "passphrase", "pass-phrase", "apiKey", "api_key", "API-KEY", "APIKey", "accessToken",
		"token", "githubToken", "secret", "clientSecret", "client_secret", "privateKey", "sshKey", "pin", "userPIN", "otp", "totpCode", "cvv", "cvc", "cardNumber",
		"creditCard", "credit_card_number", "securityCode", "verificationCode", "seedPhrase", "recoveryCode", "mnemonic", "jwt", "credentials", "비밀번호", "토큰", "인증번호", "카드번호",
		"passw0rd", "p4ssword", "p_a_s_s_w_o_r_d", "раssword", "ｐａｓｓｗｏｒｄ", "pass\u200bword", "pássword", "contraseña", "mot_de_passe", "Passwort", "пароль", "パスワード", "密码",
	}
	for _, n := range names {
		for place, params := range map[string]string{
			"name": form("Tell us", n, "", ""), "title": form("Tell us", "value", n, ""), "description": form("Tell us", "value", "", "Your "+n+" please"), "message": form("Please enter your "+n+".", "value", "", ""),
		} {
			if !secretForm(t, params) {
				t.Errorf("%q as %s is not known", n, place)
			}
		}
	}
	for _, m := range []string{
		"What is your password?", "Enter the API key of your account", "Your access token is needed", "비밀번호를 입력하세요", norm.NFD.String("비밀번호를 입력하세요"), "API 키를 알려 주세요", "신용카드 번호와 유효기간",
		"휴대폰으로 받은 인증번호", "액세스 키 입력", "パスワードを入力してください", "クレジットカード番号", "暗証番号", "请输入密码", "請輸入驗證碼", "银行卡卡号", "Bitte geben Sie Ihr Passwort ein", "Ihr Kennwort", "Kreditkartennummer und Prüfziffer",
		"Saisissez votre mot de passe", "Numéro de carte bancaire", "Introduzca su contraseña", "número de tarjeta", "Digite sua senha", "Inserisci la password", "Введите пароль", "Код подтверждения из СМС", "номер карты", "Nhập mật khẩu",
		"Masukkan kata sandi", "กรุณากรอกรหัสผ่าน", "अपना पासवर्ड दर्ज करें", "أدخل كلمة المرور", "Şifre giriniz", "Podaj hasło", "Voer uw wachtwoord in", "We never store it: your password",
		"Do not share this with anyone. Enter the pin", "Never share it! Type your token here",
	} {
		if !secretForm(t, form(m, "value", "", "")) {
			t.Errorf("%q is not known", m)
		}
	}
	for _, params := range []string{
		`{"message":"Hi","requestedSchema":{"type":"object","properties":{"v":{"type":"string","format":"password"}}}}`,
		`{"message":"Hi","requestedSchema":{"type":"object","properties":{"v":{"type":"string","writeOnly":true}}}}`,
		`{"message":"Hi","requestedSchema":{"type":"object","title":"Password","properties":{"v":{"type":"string"}}}}`,
		`{"message":"Hi","requestedSchema":{"type":"object","properties":{"v":{"type":"object","properties":{"password":{"type":"string"}}}}}}`,
		`{"message":"Hi","requestedSchema":{"type":"object","properties":{"v":{"type":"array","items":{"type":"string","title":"Token"}}}}}`,
		`{"message":"Hi","requestedSchema":{"type":"object","properties":{"cardNumber":{"type":"integer"}}}}`,
		`{"message":"Hi","requestedSchema":{"type":"object","properties":{"pin":{"type":"number"}}}}`,
		`{"message":"Hi","requestedSchema":{"type":"object","properties":{"ok":{"type":"boolean"}},"allOf":[{"properties":{"password":{"type":"string"}}}]}}`,
		`{"message":"Hi","requestedSchema":{"type":"object","properties":{"ok":{"type":"boolean"}},"patternProperties":{"^password$":{"type":"string"}}}}`,
		`{"message":"Hi","requestedSchema":{"type":"object","properties":{"v":{"type":"string","oneOf":[{"const":"a","title":"Token"},{"title":"Token"}]}}}}`,
		`{"message":"Hi","requestedSchema":{"type":"object","properties":{"password":{}}}}`,
		`{"message":"Password?","requestedSchema":{"type":"object","properties":{"a":{"type":"boolean"},"b":{"type":"string"}}}}`,
	} {
		if !secretForm(t, params) {
			t.Errorf("%s is not known", params)
		}
	}
}

// Ordinary forms pass.
func TestOrdinaryFormsPass(t *testing.T) {
	t.Parallel()
	for _, params := range []string{
		form("What are you called?", "name", "Your name", "As people call you"), form("Please provide your contact information", "email", "E-mail", "Your email address"),
		form("Which branch should be released?", "branch", "", ""), form("Pick a colour for the map pins", "colour", "", ""), form("How many tokens may be generated?", "maxTokens", "", ""),
		form("Your GitHub username", "username", "", ""), form("주문하실 이름을 입력하세요", "name", "이름", ""), form("어느 지점으로 보낼까요?", "branch", "", "암호화 방식은 그대로 둡니다"),
		form("お名前を入力してください", "name", "", ""), form("请输入您的姓名", "name", "", ""), form("Numéro de la maison", "number", "", ""), form("Straße und Hausnummer", "address", "", ""),
		`{"message":"Your favorite integer","requestedSchema":{"type":"object","properties":{"integer":{"type":"integer","description":"Your favorite integer (do not give us your phone number, pin, or other sensitive info)"}}}}`,
		`{"message":"How do you sign in?","requestedSchema":{"type":"object","properties":{"method":{"type":"string","enum":["password","token"]}}}}`,
		`{"message":"How do you sign in?","requestedSchema":{"type":"object","properties":{"method":{"type":"string","oneOf":[{"const":"p","title":"Password"},{"const":"t","title":"Token"}]}}}}`,
		`{"message":"Reset the password of this user?","requestedSchema":{"type":"object","properties":{"sure":{"type":"boolean","title":"Reset the password"}}}}`,
		`{"message":"ok?","requestedSchema":{"type":"object","properties":{}}}`, `{"message":"Rotate the API key now?","requestedSchema":{"type":"object","properties":{}}}`, `{}`,
	} {
		if secretForm(t, params) {
			t.Errorf("%s is taken for a secret", params)
		}
	}
}

// People are sent to https addresses, and to their own machine.
func TestAuthURLSchemes(t *testing.T) {
	t.Parallel()
	for _, link := range []string{"https://a.example/x?y=z#f", "https://a.example:8443/", "http://127.0.0.1:9000/cb", "http://localhost/", "http://[::1]:80/"} {
		if !mcpproxy.Openable(link) {
			t.Errorf("%q is refused", link)
		}
	}
	for _, link := range []string{
		"", "a.example", "//a.example/", "http://a.example/", "http://10.0.0.1/", "javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "https:a.example", "https://", "https:///x",
		"https://user@a.example/", "https://a.example@evil.example/", "ftp://a.example/", "vscode://x", "https://a.example/\n", "HTTPS ://a", " https://a.example/", "http://localhost.evil.example/", "http://127.0.0.1.evil.example/",
	} {
		if mcpproxy.Openable(link) {
			t.Errorf("%q is opened", link)
		}
	}
}
