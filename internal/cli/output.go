package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
	"golang.org/x/text/width"

	"rutile/internal/admin"
	"rutile/internal/api"
)

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// print writes a result in the form asked for; human writes the form for people.
func (a *app) print(v any, human func(io.Writer)) error {
	if a.format == "table" {
		human(a.out)
		return nil
	}
	b, err := api.Marshal(v)
	if err != nil {
		return err
	}
	if a.format == "json" {
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, b, "", "  "); err != nil {
			return err
		}
		_, _ = a.out.Write(plainJSON(pretty.Bytes())) // the sink keeps the error
		return nil
	}
	text, err := toYAML(b)
	if err != nil {
		return err
	}
	_, _ = io.WriteString(a.out, text)
	return nil
}

// cell is text somebody else wrote as one line a terminal shows as it is.
func cell(s string) string {
	return strings.NewReplacer("\n", `\u{a}`, "\t", `\u{9}`).Replace(admin.Visible(s))
}

// lines is text of several lines a terminal shows as it is.
func lines(s string) string { return strings.ReplaceAll(admin.Visible(s), "\t", "    ") }

// concealed reports whether a reader does not see r.
func concealed(r rune) bool {
	return r != '\n' && r != ' ' && (!unicode.IsGraphic(r) || unicode.IsSpace(r) || unicode.In(r, unicode.Cf, unicode.Variation_Selector)) || admin.Visible(string(r)) != string(r) && r != '\n' && r != '\\'
}

// plainJSON escapes what a reader would not see. Outside of strings JSON has
// only ASCII.
func plainJSON(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r < 0x7F || !concealed(r):
			out = append(out, b[:n]...)
		case r > 0xFFFF:
			r -= 0x10000
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xD800+(r>>10), 0xDC00+(r&0x3FF))
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		b = b[n:]
	}
	return out
}

var plainYAML = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_./@-]*( [A-Za-z0-9_./@-]+)*$`)

// toYAML writes JSON as YAML, members in the same order.
func toYAML(doc []byte) (string, error) {
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	var b strings.Builder
	if err := yamlValue(d, &b, 0, false); err != nil {
		return "", err
	}
	return b.String(), nil
}

// yamlValue writes the next value. inline says that it follows "- ", where the
// first member goes on the same line.
func yamlValue(d *json.Decoder, b *strings.Builder, depth int, inline bool) error {
	tok, err := d.Token()
	if err != nil {
		return err
	}
	delim, ok := tok.(json.Delim)
	if !ok {
		b.WriteString(yamlScalar(tok) + "\n")
		return nil
	}
	if !d.More() {
		_, err := d.Token()
		b.WriteString(map[json.Delim]string{'{': "{}\n", '[': "[]\n"}[delim])
		return err
	}
	if depth > 0 && !inline {
		b.WriteString("\n")
	}
	for first := true; d.More(); first = false {
		if !inline || !first {
			b.WriteString(strings.Repeat("  ", depth))
		}
		if delim == '[' {
			b.WriteString("- ")
			if err := yamlValue(d, b, depth+1, true); err != nil {
				return err
			}
			continue
		}
		key, err := d.Token()
		if err != nil {
			return err
		}
		b.WriteString(yamlScalar(key) + ":")
		if err := yamlMember(d, b, depth); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}

// yamlMember writes a value after its key: a scalar after a blank.
func yamlMember(d *json.Decoder, b *strings.Builder, depth int) error {
	var v strings.Builder
	if err := yamlValue(d, &v, depth+1, false); err != nil {
		return err
	}
	if s := v.String(); s[0] != '\n' {
		b.WriteByte(' ')
	}
	b.WriteString(v.String())
	return nil
}

func yamlScalar(tok json.Token) string {
	switch v := tok.(type) {
	case nil:
		return "null"
	case string:
		if plainYAML.MatchString(v) && !slices.Contains([]string{"true", "false", "null", "yes", "no", "on", "off", "y", "n"}, strings.ToLower(v)) {
			return v
		}
		var b strings.Builder
		b.WriteByte('"')
		for _, r := range v {
			switch {
			case r == '"' || r == '\\':
				b.WriteString(`\` + string(r))
			case r == '\n':
				b.WriteString(`\n`)
			case !concealed(r):
				b.WriteRune(r)
			default:
				fmt.Fprintf(&b, `\U%08x`, r)
			}
		}
		return b.String() + `"`
	default:
		return fmt.Sprint(v)
	}
}

// table is rows of cells under a header.
type table struct {
	rows   [][]string
	colour bool
}

func (a *app) table(header ...string) *table {
	return &table{rows: [][]string{header}, colour: a.coloured()}
}

func (a *app) coloured() bool {
	if a.noColor || os.Getenv("NO_COLOR") != "" {
		return false
	}
	return os.Getenv("FORCE_COLOR") != "" || a.terminal && os.Getenv("TERM") != "dumb"
}

// add adds a row; every cell is spelled out.
func (t *table) add(cells ...string) {
	for i := range cells {
		if cells[i] = cell(cells[i]); cells[i] == "" {
			cells[i] = "-"
		}
	}
	t.rows = append(t.rows, cells)
}

func (t *table) write(w io.Writer) {
	widths := make([]int, len(t.rows[0]))
	for _, r := range t.rows {
		for i, c := range r {
			widths[i] = max(widths[i], columns(c))
		}
	}
	for n, r := range t.rows {
		var line strings.Builder
		for i, c := range r {
			pad := strings.Repeat(" ", widths[i]-columns(c)+2)
			if i == len(r)-1 {
				pad = ""
			}
			line.WriteString(t.paint(c, n == 0) + pad)
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}

// paint colours words that say a state. The word itself stays.
func (t *table) paint(s string, header bool) string {
	if !t.colour {
		return s
	}
	var code string
	switch {
	case header:
		code = "1"
	case slices.Contains([]string{"ok", "active", "sanctioned", "approved", "permit", "create"}, s):
		code = "32"
	case slices.Contains([]string{"warning", "pending", "changed", "discovered", "triaged", "deprecated", "suspended", "scheduled", "revoking", "revoke_partial", "expired", "update", "absent"}, s):
		code = "33"
	case slices.Contains([]string{"broken", "blocked", "quarantined", "retired", "deny"}, s):
		code = "31"
	default:
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// columns is how wide a terminal shows s.
func columns(s string) int {
	n := 0
	for _, r := range s {
		switch width.LookupRune(r).Kind() {
		case width.EastAsianWide, width.EastAsianFullwidth:
			n += 2
		default:
			if !unicode.In(r, unicode.Mn, unicode.Me) {
				n++
			}
		}
	}
	return n
}

// fields writes what is known of one object, a line each, leaving out what is
// empty.
func fields(w io.Writer, pairs ...string) {
	wide := 0
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			wide = max(wide, columns(pairs[i]))
		}
	}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			fmt.Fprintf(w, "%s%s  %s\n", pairs[i], strings.Repeat(" ", wide-columns(pairs[i])), cell(pairs[i+1]))
		}
	}
}

func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Add(-time.Nanosecond).Format(time.DateOnly)
}

// more says how many entries a page leaves out.
func (a *app) more(more int, next string) {
	if next == "" {
		return
	}
	if more < 0 {
		a.say("there may be more: --cursor %s", shellWord(next))
		return
	}
	a.say("%d more: --cursor %s", more, shellWord(next))
}

func itoa(n int) string { return strconv.Itoa(n) }
