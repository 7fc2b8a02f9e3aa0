package identify

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"rutile/internal/discovery"
	"rutile/internal/rawjson"
)

// Vulnerabilities compares packages that were seen before it with a copy of OSV
// records. It is to be the last of the sources.
type Vulnerabilities struct {
	Path  string // a record, a folder of records or an archive of them
	Paths *discovery.Paths
	Now   func() time.Time
}

// Name is "vulnerabilities".
func (Vulnerabilities) Name() string { return "vulnerabilities" }

// recordBounds are the bounds of a copy of records: an ecosystem has some hundred thousand, of a few
// kilobytes each.
func recordBounds() bounds {
	return bounds{file: 8 << 20, total: 16 << 30, files: 2_000_000, zips: true}
}

// maxUnread is how many records may be unreadable in a copy that is used.
const maxUnread = 1000

// known is what a copy has of the packages that were asked for.
type known struct {
	wanted  map[string][]hit // by purl
	records int
	aged    aged
	bad     unread
}

type hit struct {
	rec *record
	of  affected
	by  order
}

// Discover reads the copy and compares.
func (v Vulnerabilities) Discover(ctx context.Context, into *discovery.Sink) error {
	ids, by := subjects(into.Sightings())
	k := known{wanted: map[string][]hit{}, aged: aged{now: v.Now()}, bad: unread{into: into}}
	for _, id := range ids {
		if t := &by[id][0].Target; strings.HasPrefix(t.Package, "pkg:") {
			k.wanted[t.Package] = nil
		}
	}
	shown := v.Paths.Show(v.Path)
	w := walk{bounds: recordBounds(), each: k.take, skipped: k.bad.add}
	if err := w.run(ctx, v.Path); err != nil {
		return fmt.Errorf("the copy of vulnerability records %s is not used: %w", shown, err)
	}
	if k.records == 0 {
		return fmt.Errorf("the copy of vulnerability records %s is not used: no record in it can be read", shown)
	}
	into.Compared(k.aged.copy(shown, k.records, k.bad.n))
	into.Looked(discovery.Coverage{Place: shown, Outcome: discovery.Read, Entries: k.records})
	for _, id := range ids {
		k.judge(into, by[id])
	}
	return nil
}

// take reads one record.
func (k *known) take(name string, raw []byte) error {
	var r record
	err := decode(raw, rawjson.Limits{Bytes: int(recordBounds().file), Members: 100_000}, &r)
	if err == nil {
		err = r.check()
	}
	if err == nil {
		err = k.aged.add(r.Modified)
	}
	if err != nil {
		if k.bad.add(name, err.Error()); k.bad.n > maxUnread {
			return fmt.Errorf("more than %d records in it cannot be read, %q is one: %w", maxUnread, bounded(name), err)
		}
		return nil
	}
	k.records++
	if r.Withdrawn != "" {
		return nil
	}
	for _, a := range r.Affected {
		purl, by, ok := a.purl()
		if !ok {
			continue
		}
		if had, asked := k.wanted[purl]; asked {
			k.wanted[purl] = append(had, hit{&r, a, by})
		}
	}
	return nil
}

// judge says what the records say of one way a package is run.
func (k *known) judge(into *discovery.Sink, seen []discovery.Sighting) {
	t := &seen[0].Target
	if t.Package == "" {
		return
	}
	out := discovery.Identified{Key: t.Key, Version: t.Version, Verdict: discovery.NoData}
	worst := map[discovery.Verdict]discovery.Severity{}
	evidence := map[discovery.Verdict][]string{}
	ids := map[discovery.Verdict][]string{}
	for _, h := range k.wanted[t.Package] {
		got := h.of.matches(t.Version, h.by)
		if out.Verdict == discovery.NoData {
			out.Verdict = discovery.NotAffected
		}
		severity := h.rec.grave(&h.of)
		if worst[got] == "" || severity.AtLeast(worst[got]) {
			worst[got] = severity
		}
		ids[got] = append(ids[got], h.rec.ID)
		evidence[got] = append(evidence[got], h.describe(severity, t.Version))
	}
	for _, got := range []discovery.Verdict{discovery.UnknownVersion, discovery.Affected} { // the worse last
		if len(ids[got]) > 0 {
			slices.Sort(ids[got])
			slices.Sort(evidence[got])
			out.Verdict, out.Records = got, slices.Compact(ids[got])
		}
	}
	if out.Verdict == discovery.NotAffected && k.bad.n > 0 {
		out.Verdict = discovery.NoData // what could not be read may speak of it
	}
	into.Identified(out)
	said := evidence[out.Verdict]
	said = slices.Compact(said)
	said = said[:min(len(said), maxNamed)]
	what := strings.TrimSpace(t.Package + " " + bounded(t.Version))
	switch out.Verdict {
	case discovery.Affected:
		find(into, seen, discovery.KnownVulnerable, worst[discovery.Affected], what+" is affected by known vulnerabilities", "run a version that is not affected, or block it: rutile server block", said)
	case discovery.UnknownVersion:
		severity := worst[discovery.UnknownVersion]
		if severity.AtLeast(discovery.Medium) {
			severity = discovery.Medium
		}
		find(into, seen, discovery.KnownVulnerable, severity, "versions of "+t.Package+" have known vulnerabilities, and which version runs is not known", "name an exact version that is not affected", said)
	}
}

// describe is a record in a few words, for what runs a version.
func (h *hit) describe(severity discovery.Severity, version string) string {
	out := h.rec.ID + " (" + string(severity)
	if fixed := h.of.fixedAfter(version, h.by); len(fixed) > 0 {
		out += ", fixed in " + bounded(strings.Join(fixed[:min(len(fixed), 5)], ", "))
	}
	return out + ")"
}
