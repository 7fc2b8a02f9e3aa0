package signin

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // RFC 6238 and every authenticator app use it; HMAC does not need it to be free of collisions
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"net/url"
	"time"
)

// One-time codes are those of RFC 6238 as authenticator apps make them: six digits of
// HMAC-SHA-1, a new one every 30 seconds.
const (
	codeStep   = 30 // seconds
	codeWindow = 1  // steps before and after the present one
	codeDigits = 6
	codeSecret = 20 // bytes
)

// code is the one of a time step (RFC 4226, section 5.3).
func code(secret []byte, step int64) string {
	mac := hmac.New(sha1.New, secret)
	_ = binary.Write(mac, binary.BigEndian, step) // a hash takes everything
	sum := mac.Sum(nil)
	at := sum[len(sum)-1] & 0xf
	return fmt.Sprintf("%06d", (binary.BigEndian.Uint32(sum[at:])&0x7fffffff)%1_000_000)
}

// stepOf returns the time step a code is of, and 0 if of none that counts at now.
// Every step is compared, so that nobody learns which is near.
func stepOf(secret []byte, given string, now time.Time) int64 {
	var found int64
	for i := int64(-codeWindow); i <= codeWindow; i++ {
		step := now.Unix()/codeStep + i
		if subtle.ConstantTimeCompare([]byte(code(secret, step)), []byte(given)) == 1 {
			found = step
		}
	}
	return found
}

// secretText is a secret as people type it into an app.
func secretText(secret []byte) string {
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(secret)
}

// codeAddress is a secret as apps read it from a picture.
func codeAddress(user string, secret []byte) string {
	q := url.Values{"secret": {secretText(secret)}, "issuer": {"Rutile"}, "digits": {fmt.Sprint(codeDigits)}, "period": {fmt.Sprint(codeStep)}}
	return "otpauth://totp/" + url.PathEscape("Rutile:"+user) + "?" + q.Encode()
}
