package cli

import (
	"cmp"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"rutile/internal/access"
	"rutile/internal/daemon"
	"rutile/internal/discovery"
	"rutile/internal/discovery/identify"
)

// copies are offline copies of public data to compare with, in place of those the
// configuration names.
type copies struct{ registry, vulnerabilities string }

const copiesHelp = `

With --registry and --vulnerabilities what was found is compared with copies of
public data on this machine; nothing is fetched. How old a copy is is told, and one
whose newest record is older than 14 days warns. What a copy cannot tell is told as
unknown and never as clean. rutile.yaml may name both under discovery:.`

func (c *copies) flags(f *pflag.FlagSet) {
	f.StringVar(&c.registry, "registry", "", "a `path` of a copy of the official registry's listing: a page, or a folder of pages")
	f.StringVar(&c.vulnerabilities, "vulnerabilities", "", "a `path` of OSV records: one, a folder of them, or the zip archive of an ecosystem")
}

// sources are those that compare. They come after all that see.
func (c *copies) sources(cfg daemon.Discovery, paths *discovery.Paths, now func() time.Time) ([]discovery.Source, error) {
	var out []discovery.Source
	if at := cmp.Or(c.registry, cfg.Registry); at != "" {
		abs, err := filepath.Abs(at)
		if err != nil {
			return nil, access.Errorf(access.CodeUsage, "--registry %s: %w", at, err)
		}
		out = append(out, identify.Registry{Path: abs, Paths: paths, Now: now})
	}
	if at := cmp.Or(c.vulnerabilities, cfg.Vulnerabilities); at != "" {
		abs, err := filepath.Abs(at)
		if err != nil {
			return nil, access.Errorf(access.CodeUsage, "--vulnerabilities %s: %w", at, err)
		}
		out = append(out, identify.Vulnerabilities{Path: abs, Paths: paths, Now: now})
	}
	return out, nil
}

// identified shows what copies of public data say, and how old they are.
func (a *app) identified(w io.Writer, r *discovery.Report) {
	if len(r.Identified) > 0 {
		fmt.Fprintln(w)
		t := a.table("SERVER", "VERSION", "COPY", "SAYS")
		for _, i := range r.Identified {
			says := string(i.Verdict)
			if i.By != "" {
				says = "known by its " + i.By + " as " + strings.Join(i.Candidates, ", ")
			}
			if len(i.Records) > 0 {
				says += ": " + strings.Join(i.Records, ", ")
			}
			t.add(i.Key, cmp.Or(i.Version, "-"), i.Source, says)
		}
		t.write(w)
	}
	for _, c := range r.Copies {
		age := "none of its records says when it was changed"
		if !c.Newest.IsZero() {
			age = fmt.Sprintf("its newest is %d days old", c.Days)
		}
		fmt.Fprintf(w, "\n%s: %s, %d records, %s\n", c.Source, cell(c.Path), c.Records, age)
		if c.Unread > 0 {
			fmt.Fprintf(w, "warning: %d records of it cannot be read, and what they say is missing\n", c.Unread)
		}
		if c.Old {
			fmt.Fprintln(w, "warning: this copy is too old to rely on; get a new one")
		}
	}
}
