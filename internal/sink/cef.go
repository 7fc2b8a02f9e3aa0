package sink

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"rutile/internal/audit"
)

// cef is one line of the Common Event Format, version 0. Nothing of a name can end
// the line, the header or a value.
func (e encoder) cef(x *audit.Told) ([]byte, error) {
	r := recordOf(x)
	class, name := r.decided(), r.Target
	switch r.Kind {
	case KindChange:
		class, name = "change."+r.Verb, r.ObjectKind
	case KindLog:
		class, name = r.Type, r.Type
	}
	if name == "" {
		name = r.Method
	}
	severity := map[int]int{1: 1, 2: 4, 3: 6, 4: 9}[r.severity()] // of 0 to 10
	var b strings.Builder
	b.WriteString("CEF:0|rutile|rutile|")
	b.WriteString(strings.Join([]string{cefHeader(e.version), cefHeader(class), cefHeader(name), strconv.Itoa(severity)}, "|"))
	b.WriteByte('|')
	first := true
	put := func(key, v string) {
		if v == "" {
			return
		}
		if !first {
			b.WriteByte(' ')
		}
		first = false
		b.WriteString(key + "=" + cefValue(v))
	}
	custom := func(n int, label, v string) {
		if v != "" {
			put(fmt.Sprintf("cs%d", n), v)
			put(fmt.Sprintf("cs%dLabel", n), label)
		}
	}
	put("rt", strconv.FormatInt(r.At.UnixMilli(), 10))
	put("externalId", r.ID)
	put("act", class)
	put("outcome", r.Status)
	put("suser", either(r.Subject, r.Actor))
	put("destinationServiceName", r.Server)
	put("requestMethod", r.Method)
	put("reason", either(r.Class, r.Reason))
	put("msg", r.Why)
	custom(1, "agent", r.Agent)
	custom(2, "tool", r.Target)
	custom(3, "decision", either(r.Decision, r.Change))
	custom(4, "policies", strings.Join(r.Policies, " "))
	custom(5, "object", r.Object)
	custom(6, "evidence", r.Origin)
	if r.Tier != nil {
		put("cn1", strconv.Itoa(*r.Tier))
		put("cn1Label", "tier")
	}
	put("cn2", strconv.FormatUint(r.Index, 10))
	put("cn2Label", "leaf")
	return []byte(b.String()), nil
}

func either(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// visible spells out characters that would change what a reader sees, and those a
// line must not hold.
func visible(s string, escape string) string {
	var b strings.Builder
	for _, c := range s {
		switch {
		case strings.ContainsRune(escape, c):
			b.WriteByte('\\')
			b.WriteRune(c)
		case c != ' ' && !unicode.IsPrint(c):
			fmt.Fprintf(&b, "u{%04x}", c)
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}

func cefHeader(s string) string { return visible(s, `\|`) }
func cefValue(s string) string  { return visible(s, `\=`) }
