package webhook

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
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

// tolerance is how far the time of an attempt may be from ours.
const tolerance = 5 * time.Minute

// Verify checks the signature of one attempt that somebody sent us, by its headers and
// its body as it came, and that it is of now. The caller MUST take an id once.
func Verify(secret []byte, h http.Header, body []byte, now time.Time) (id string, err error) {
	for _, name := range []string{HeaderID, HeaderTimestamp, HeaderSignature} {
		if len(h.Values(name)) != 1 {
			return "", fmt.Errorf("the header %s is missing, or there twice", name)
		}
	}
	seconds, err := strconv.ParseInt(h.Get(HeaderTimestamp), 10, 64)
	at := time.Unix(seconds, 0)
	if err != nil || seconds < 0 || strconv.FormatInt(seconds, 10) != h.Get(HeaderTimestamp) || at.Before(now.Add(-tolerance)) || at.After(now.Add(tolerance)) {
		return "", errors.New("the time is none, or more than five minutes from ours")
	}
	id = h.Get(HeaderID)
	if id == "" || len(id) > 256 {
		return "", errors.New("the id is empty or has more than 256 bytes")
	}
	want, err := Sign(secret, id, at, body)
	if err != nil {
		return "", err
	}
	// There may be several, while a key is changed.
	for one := range strings.FieldsSeq(h.Get(HeaderSignature)) {
		if hmac.Equal([]byte(one), []byte(want)) {
			return id, nil
		}
	}
	return "", errors.New("no signature is of this key")
}
