package traffic

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"rutile/internal/access"
	"rutile/internal/discovery"
)

// Source tells of the servers that logs show traffic to.
type Source struct {
	Files    []string // "-" is Stdin
	Stdin    io.Reader
	Format   string   // one of Formats, "" to tell by their beginning
	Through  []string // addresses of the gateway: what they ask goes through it
	Paths    *discovery.Paths
	Describe *discovery.Describer
}

// Name is "log".
func (Source) Name() string { return "log" }

// Discover reads the files. One that fails hides no other.
func (s Source) Discover(ctx context.Context, into *discovery.Sink) error {
	for _, file := range s.Files {
		sum, err := s.read(ctx, file)
		shown := file
		if file != "-" {
			shown = s.Paths.Show(file)
		}
		for i := range sum.Destinations {
			s.tell(shown, &sum.Destinations[i], into)
		}
		c := discovery.Coverage{Place: shown, Outcome: discovery.Read, Entries: len(sum.Destinations), Why: fmt.Sprintf("%s, %d lines, %d of MCP", sum.Format, sum.Lines, sum.Records)}
		if sum.Unread > 0 {
			c.Why += fmt.Sprintf(", %d not of that form", sum.Unread)
		}
		switch {
		case ctx.Err() != nil:
			c.Outcome = discovery.Cut
		case err != nil:
			c.Outcome, c.Why = discovery.Failed, err.Error()
		case sum.Lines > 0 && sum.Unread == sum.Lines:
			c.Outcome = discovery.Failed
		case sum.Cut:
			c.Outcome, c.Why = discovery.Cut, c.Why+"; it names more destinations than are kept"
		}
		into.Looked(c)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

func (s Source) read(ctx context.Context, file string) (Summary, error) {
	if file == "-" {
		return Read(ctx, s.Stdin, s.Format, s.Through)
	}
	info, err := os.Stat(file)
	if err != nil || !info.Mode().IsRegular() {
		return Summary{}, access.Errorf(access.CodeInvalid, "it is no regular file that can be read")
	}
	f, err := os.Open(file)
	if err != nil {
		return Summary{}, access.Errorf(access.CodeInvalid, "it cannot be opened")
	}
	defer f.Close()
	return Read(ctx, f, s.Format, s.Through)
}

// tell tells of one destination. People are told by pseudonyms, which are the
// same on this machine only.
func (s Source) tell(file string, d *Destination, into *discovery.Sink) {
	desc := s.Describe.Describe(discovery.Spec{URL: d.URL, Transport: "http"})
	why := append(slices.Clone(d.Why), fmt.Sprintf("%d requests in %s", d.Requests, file))
	if len(d.People) > 0 {
		var names []string
		for _, p := range d.People[:min(len(d.People), 5)] {
			names = append(names, "person-"+s.Paths.Digest("person", p)[:10])
		}
		if n := len(d.People) - len(names); n > 0 {
			names = append(names, fmt.Sprintf("%d more", n))
		}
		why = append(why, "asked by "+strings.Join(names, ", "))
	}
	if len(d.Methods) > 0 {
		why = append(why, "methods: "+strings.Join(d.Methods, ", "))
	}
	if !d.Last.IsZero() {
		why = append(why, "last at "+d.Last.Format("2006-01-02T15:04:05Z"))
	}
	into.Saw(discovery.Sighting{
		Fact: discovery.Used, Strength: d.Strength, Place: discovery.Place{Path: file, Address: desc.Target.URL}, Target: desc.Target, Secrets: desc.Secrets, Scopes: desc.Scopes, Why: why,
	})
}
