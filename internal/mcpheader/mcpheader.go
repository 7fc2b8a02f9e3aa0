// Package mcpheader writes and reads the values of the HTTP headers that repeat
// parts of an MCP message (mcp.md 1.5). The proxy and the shim write them the
// same way, and what one writes the other reads back.
package mcpheader

import (
	"encoding/base64"
	"strconv"
	"strings"
	"unicode/utf8"

	"rutile/internal/rawjson"
)

const (
	sentinelOpen  = "=?base64?"
	sentinelClose = "?="
)

// Encode returns the header form of s: as is where that is safe and
// unambiguous, otherwise base64 between the sentinels.
func Encode(s string) string {
	if Plain(s) && !encoded(s) && s == strings.Trim(s, " ") {
		return s
	}
	return sentinelOpen + base64.StdEncoding.EncodeToString([]byte(s)) + sentinelClose
}

// Decode returns the value a header stands for; ok is false if it is not a
// correct encoding of anything (rule 25). It decodes exactly once.
func Decode(h string) (s string, ok bool) {
	h = strings.Trim(h, " \t")
	for i := range len(h) {
		if (h[i] < 0x20 && h[i] != '\t') || h[i] > 0x7e {
			return "", false
		}
	}
	if !encoded(h) {
		return h, true
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(h[len(sentinelOpen) : len(h)-len(sentinelClose)])
	if err != nil || strings.ContainsAny(h, "\r\n") || !utf8.Valid(raw) {
		return "", false
	}
	return string(raw), true
}

// encoded reports whether s reads as base64 between the sentinels.
func encoded(s string) bool {
	return len(s) >= len(sentinelOpen)+len(sentinelClose) && strings.HasPrefix(s, sentinelOpen) && strings.HasSuffix(s, sentinelClose)
}

// Plain reports whether s is of visible ASCII characters and spaces.
func Plain(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// Text returns the text a scalar argument has in a header, before it is
// encoded. ok is false for what is no scalar.
func Text(v rawjson.Value) (text string, ok bool) {
	switch v.Kind() {
	case rawjson.String:
		return v.Str()
	case rawjson.Number:
		if n, ok := v.Int64(); ok {
			return strconv.FormatInt(n, 10), true
		}
		return string(v.Raw()), true
	case rawjson.True:
		return "true", true
	case rawjson.False:
		return "false", true
	default:
		return "", false
	}
}

// Token reports whether s is an RFC 9110 token, as the name of a header is.
func Token(s string) bool {
	for _, c := range []byte(s) {
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0 {
			continue
		}
		return false
	}
	return s != ""
}
