package export

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"rutile/internal/discovery"
	"rutile/internal/discovery/inventory"
)

// facts are those of a server, in the order they are shown.
var facts = []discovery.Fact{discovery.Configured, discovery.Running, discovery.Used, discovery.Reachable, discovery.Sourced}

// tabular writes one row for each server, variant or sighting (RFC 4180).
func tabular(s *Snapshot, id string, o Options) ([]byte, error) {
	var head []string
	var rows [][]string
	switch o.Rows {
	case Variants:
		head = []string{"variant", "server", "kind", "transport", "launchers", "package", "version", "pinned", "command", "arguments", "url", "first_seen"}
		for i := range s.Variants {
			rows = append(rows, variantRow(&s.Variants[i]))
		}
	case Sightings:
		head = []string{
			"sighting", "server", "variant", "host", "host_name", "user", "source", "fact", "strength", "clients", "scope", "path", "pointer", "line", "pid", "address", "commit", "name",
			"disabled", "routed", "executable", "credentials", "data_scopes", "why", "first_seen", "last_seen", "gone", "reappeared",
		}
		names := hostNames(s, o)
		for i := range s.Sightings {
			rows = append(rows, sightingRow(&s.Sightings[i], names))
		}
	default:
		head = []string{
			"server", "kind", "names", "owner", "status", "condition", "registered", "state", "facts", "places", "gone", "routed", "hosts", "findings", "worst", "merged", "first_seen", "last_seen",
		}
		for i := range s.Servers {
			rows = append(rows, serverRow(&s.Servers[i]))
		}
	}
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	w.UseCRLF = true
	if err := w.Write(append(head, "snapshot")); err != nil {
		return nil, err
	}
	for _, r := range rows {
		for i := range r {
			r[i] = inert(r[i])
		}
		if err := w.Write(append(r, id)); err != nil {
			return nil, err
		}
	}
	w.Flush()
	return b.Bytes(), w.Error()
}

// formulas are the first characters by which spreadsheets take a cell for a
// formula, the wide forms that some locales read like them, and the mark itself, so
// that taking one mark off gives back the text.
const formulas = "=+-@＝＋－＠'"

// inert is text that a spreadsheet does not run. A tab or CR at its beginning is
// spelled out already.
func inert(s string) string {
	s = shown(s)
	if s != "" && strings.ContainsRune(formulas, []rune(s)[0]) {
		return "'" + s
	}
	return s
}

func hostNames(s *Snapshot, o Options) map[string]string {
	out := map[string]string{}
	for i := range s.Hosts {
		if o.Identifiable {
			out[s.Hosts[i].ID] = s.Hosts[i].Name
		}
	}
	return out
}

func list(s []string) string { return strings.Join(s, "; ") }

func serverRow(e *inventory.Entry) []string {
	var now []string
	for _, f := range facts {
		if e.Facts[f].Now {
			now = append(now, string(f))
		}
	}
	return []string{
		e.Key, string(e.Kind), list(e.Names), e.Owner, string(e.Status), string(e.Condition), e.Registered, e.State, list(now), strconv.Itoa(e.Sightings), strconv.Itoa(e.Gone),
		strconv.Itoa(e.Routed), strconv.Itoa(e.Hosts), strconv.Itoa(e.Findings), string(e.Worst), list(e.Merged), stamp(e.First), stamp(e.Last),
	}
}

func variantRow(v *inventory.Variant) []string {
	t := &v.Target
	args := ""
	if len(t.Args) > 0 {
		args = plain(t.Args)
	}
	return []string{
		v.ID, v.Server, string(t.Kind), t.Transport, list(t.Launchers), t.Package, t.Version, strconv.FormatBool(t.Pinned), t.Command, args, t.URL, stamp(v.First),
	}
}

// plain is a list as JSON, which tells its members apart.
func plain(list []string) string {
	b, err := json.Marshal(list)
	if err != nil {
		return "" // no list of texts cannot be written
	}
	return string(b)
}

func sightingRow(s *inventory.Sighting, names map[string]string) []string {
	return []string{
		s.ID, s.Server, s.Variant, s.Host, names[s.Host], s.User, s.Source, string(s.Fact), strconv.FormatFloat(s.Strength, 'g', -1, 64), list(s.Clients), string(s.Scope), s.Place.Path, s.Place.Pointer,
		number(s.Place.Line), number(s.Place.PID), s.Place.Address, s.Place.Commit, s.Name, strconv.FormatBool(s.Disabled), strconv.FormatBool(s.Routed), strconv.FormatBool(s.Executable),
		list(credentials(s)), list(dataScopes(s)), list(s.Why), stamp(s.First), stamp(s.Last), stamp(s.Gone), stamp(s.Reappeared),
	}
}

// number is one that counts from 1, nothing for none.
func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// credentials are the secrets of an entry: name and kind.
func credentials(s *inventory.Sighting) []string {
	var out []string
	for i := range s.Secrets {
		out = append(out, s.Secrets[i].Name+" ("+string(s.Secrets[i].Kind)+")")
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// dataScopes are what an entry may reach.
func dataScopes(s *inventory.Sighting) []string {
	var out []string
	for i := range s.Scopes {
		out = append(out, s.Scopes[i].Name)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
