//go:build !linux

package confine

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
)

// Main says that nothing can be confined here.
func Main() int {
	fmt.Fprintln(os.Stderr, "rutile: nothing is confined on "+runtime.GOOS)
	return 2
}

// Foresee says what will hold a program under p on this machine: nothing.
func (p *Profile) Foresee() Report {
	const why = "nothing is confined on " + runtime.GOOS
	wanted := p.report(kernel{})
	var r Report
	for _, l := range wanted.Lacks {
		r.Lacks = append(r.Lacks, Lack{l.Measure, why})
	}
	for _, m := range wanted.Held {
		r.Lacks = append(r.Lacks, Lack{m, why})
	}
	return r
}

// Start is a command on its way.
type Start struct{ report Report }

// Wrap leaves cmd as it is. It refuses if p demands something.
func Wrap(cmd *exec.Cmd, p Profile) (*Start, error) {
	if cmd.Err != nil {
		return nil, cmd.Err
	}
	r := p.Foresee()
	if l := p.missing(r); l != nil {
		return nil, &MissingError{*l}
	}
	return &Start{r}, nil
}

// Started must be called after cmd.Start, with its error.
func (s *Start) Started(err error) (Report, error) { return s.report, err }
