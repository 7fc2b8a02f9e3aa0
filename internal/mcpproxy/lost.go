package mcpproxy

import (
	"bytes"
	"io"
	"net/http"
	"strings"

	"rutile/internal/rawjson"
)

// lostBytes bounds what is read of an answer to find out whether it is about the
// session.
const lostBytes = 4 << 10

// lost reports whether an answer says that the server knows the session no more.
// The specification has 404 for that; many servers, made after the examples of
// the SDKs, say 400 and name the session in words (decision 0071). The body can
// still be read as a whole.
func (l *httpLegacy) lost(resp *http.Response) bool {
	switch {
	case l == nil || l.session == "":
		return false
	case resp.StatusCode == http.StatusNotFound:
		return true
	case resp.StatusCode != http.StatusBadRequest:
		return false
	}
	head, err := io.ReadAll(io.LimitReader(resp.Body, lostBytes))
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), resp.Body), resp.Body}
	return err == nil && tellsOfSession(head)
}

// tellsOfSession reads the reason of a 400. An error with a code of its own is
// the tool's, whatever its words.
func tellsOfSession(body []byte) bool {
	said := string(body)
	if v, err := rawjson.Parse(body, rawjson.Limits{Bytes: lostBytes}); err == nil {
		switch code, _ := v.Path("error", "code").Int64(); code {
		case -32000, -32001, codeInvalidRequest: // what the SDKs use
		default:
			return false
		}
		said, _ = v.Path("error", "message").Str()
	}
	said = strings.ToLower(said)
	return strings.Contains(said, "session") || strings.Contains(said, "not initialized")
}
