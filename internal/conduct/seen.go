package conduct

import (
	"bytes"
	"math"
	"net/netip"
	"slices"
	"strings"

	"rutile/internal/rawjson"
)

// sample is what is kept of one call.
type sample struct {
	Size  float32 `json:"s"`           // logarithm of the answer's bytes
	Shape uint32  `json:"h,omitempty"` // 0 if it could not be read
	Marks mark    `json:"m,omitempty"`
	hosts []string
}

// mark is a set of things about a call.
type mark uint8

const (
	markFailed mark = 1 << iota
	markFlagged
	markClaims  // the answer says that it changed something
	markRemoves // the answer says that it removed something
	markTold    // the server said that something of its own changed
	markChecked
	markMisfit
)

// maxScanned bounds how many bytes of an answer are looked through for hosts, half of
// them at its end.
const maxScanned = 8 << 10

// seen reads what counts of one call.
func seen(c *Call) sample {
	s := sample{Size: float32(math.Log(float64(len(c.Body) + 1))), Shape: shape(c.Result)}
	set := func(on bool, m mark) {
		if on {
			s.Marks |= m
		}
	}
	set(c.Failed, markFailed)
	set(c.Flagged, markFlagged)
	set(c.Told, markTold)
	set(c.Checked, markChecked)
	set(c.Misfit, markMisfit)
	if !c.Failed && (c.Claims.ReadOnly || c.Claims.Additive) {
		changes, removes := claims(c.Result)
		set(changes, markClaims)
		set(removes, markRemoves)
	}
	body := c.Body
	if len(body) > maxScanned {
		s.hosts = hosts(body[:maxScanned/2], s.hosts)
		body = body[len(body)-maxScanned/2:]
	}
	s.hosts = hosts(body, s.hosts)
	return s
}

// maxHostsSeen bounds the hosts of one answer.
const maxHostsSeen = 16

// hosts adds the hosts of web addresses in text, each once. A slash may be escaped, and
// that again.
func hosts(text []byte, to []string) []string {
	var last []byte
	for len(to) < maxHostsSeen {
		i := bytes.IndexByte(text, '/')
		if i < 0 {
			break
		}
		before := bytes.TrimRight(text[:i], `\`)
		rest := bytes.TrimLeft(text[i:], `\/`)
		run := len(text) - i - len(rest)
		text = rest
		if run < 2 || run > 8 || !http(before) {
			continue
		}
		end := 0
		for end < len(rest) && ofAuthority(rest[end]) {
			end++
		}
		text = rest[end:]
		if bytes.Equal(rest[:end], last) {
			continue
		}
		last = rest[:end]
		if h := host(string(last)); h != "" && !slices.Contains(to, h) {
			to = append(to, h)
		}
	}
	return to
}

func ofAuthority(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_' || c == '@' || c == ':'
}

// http reports whether text ends in the scheme of a web address and a colon.
func http(text []byte) bool {
	n := len(text)
	return n >= 5 && bytes.EqualFold(text[n-5:], []byte("http:")) || n >= 6 && bytes.EqualFold(text[n-6:], []byte("https:"))
}

// host is the part of a host that somebody registers, roughly: its last three labels,
// or an address as it is.
func host(authority string) string {
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		authority = authority[i+1:]
	}
	name, _, _ := strings.Cut(strings.ToLower(authority), ":")
	name = strings.Trim(name, ".-_")
	if len(name) < 3 || len(name) > 253 {
		return ""
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return name
	}
	labels := strings.Split(name, ".")
	if len(labels) < 2 {
		return ""
	}
	return strings.Join(labels[max(0, len(labels)-3):], ".")
}

// shape is a number for what kinds of content a result has and how its structured
// content is built, two levels deep. How many of a kind there are does not count.
func shape(result rawjson.Value) uint32 {
	if result.Kind() != rawjson.Object {
		return 0
	}
	h := fnv(2166136261)
	kinds := map[string]bool{}
	for item := range result.Get("content").Items() {
		kind, _ := item.Get("type").Str()
		if !kinds[kind] && len(kinds) < 8 {
			kinds[kind] = true
		}
	}
	var sum uint32
	for k := range kinds { // in any order
		sum += uint32(fnv(2166136261).add(k))
	}
	h = h.add("content").mix(sum).mix(members(result.Get("structuredContent"), 2))
	if h == 0 {
		return 1
	}
	return uint32(h)
}

// members is a number for the names and kinds of an object's members.
func members(v rawjson.Value, depth int) uint32 {
	sum := uint32(v.Kind()) + 1
	if depth == 0 || v.Kind() != rawjson.Object {
		return sum
	}
	n := 0
	for key, member := range v.Members() {
		if n++; n > 64 {
			break
		}
		sum += uint32(fnv(2166136261).add(string(key.Raw())).mix(members(member, depth-1)))
	}
	return sum
}

// fnv is FNV-1a: the numbers are kept, so they must be the same in every run.
type fnv uint32

func (h fnv) add(s string) fnv {
	for i := range len(s) {
		h = (h ^ fnv(s[i])) * 16777619
	}
	return h
}

func (h fnv) mix(n uint32) fnv {
	for range 4 {
		h = (h ^ fnv(n&0xff)) * 16777619
		n >>= 8
	}
	return h
}
