package webhook

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strconv"
	"time"
)

// The headers of a delivery (Standard Webhooks 1.0).
const (
	HeaderID        = "webhook-id"
	HeaderTimestamp = "webhook-timestamp" // seconds since 1970, of this attempt
	HeaderSignature = "webhook-signature" // "v1," and the signature in base64
)

// minKey is the least bytes of a key.
const minKey = 16

// Sign signs one attempt: HMAC-SHA256 over id, timestamp and body with dots
// between them. A secret that starts with whsec_ is its key in base64; any other
// is the key itself. The error never repeats a byte of it.
func Sign(secret []byte, id string, at time.Time, body []byte) (string, error) {
	key := bytes.TrimSpace(secret)
	if coded, ok := bytes.CutPrefix(key, []byte("whsec_")); ok {
		raw := make([]byte, base64.StdEncoding.DecodedLen(len(coded)))
		defer clear(raw)
		n, err := base64.StdEncoding.Decode(raw, coded)
		if err != nil {
			return "", errors.New("the secret starts with whsec_ and is no base64 after it")
		}
		key = raw[:n]
	}
	if len(key) < minKey {
		return "", errors.New("the secret is too short to sign with: it needs 16 bytes or more")
	}
	h := hmac.New(sha256.New, key)
	h.Write([]byte(id + "." + strconv.FormatInt(at.Unix(), 10) + "."))
	h.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(h.Sum(nil)), nil
}
