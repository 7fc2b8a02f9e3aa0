package confine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// Start is a command on its way.
type Start struct {
	spec   []byte
	theirs []*os.File
	in     *os.File // the spec is written here
	out    *os.File // the answers are read here
}

// Foresee says what will hold a program under p on this machine.
func (p *Profile) Foresee() Report { return p.report(probe()) }

// Wrap turns cmd into one that confines itself under p and then becomes what
// cmd was. cmd must have its Path, Args, Env and Dir, no ExtraFiles, and be
// started next; Started must be called whether or not that worked.
func Wrap(cmd *exec.Cmd, p Profile) (*Start, error) {
	if cmd.Err != nil {
		return nil, cmd.Err
	}
	if len(cmd.ExtraFiles) > 0 {
		return nil, errors.New("a confined command passes on no descriptors")
	}
	dir, err := filepath.Abs(cmd.Dir)
	if err != nil {
		return nil, err
	}
	path := cmd.Path
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	raw, err := json.Marshal(spec{Path: path, Args: cmd.Args, Env: cmd.Env, Dir: dir, Parent: os.Getpid(), Profile: p})
	if err != nil {
		return nil, fmt.Errorf("writing down what to start: %w", err)
	}
	specR, specW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	answerR, answerW, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, specR.Close(), specW.Close())
	}
	// The running program itself, whatever its name has come to mean since. It
	// gets no environment: that of the command, with its secret, goes with the
	// spec.
	cmd.Path, cmd.Args, cmd.Env, cmd.Dir = "/proc/self/exe", []string{"rutile", Command}, []string{}, "/"
	cmd.ExtraFiles = []*os.File{specR, answerW}
	return &Start{spec: raw, theirs: cmd.ExtraFiles, in: specW, out: answerR}, nil
}

// Started must be called after cmd.Start, with its error. It returns when the
// command has been executed, with what holds it, or with the reason why not.
// The process must then be waited for in both cases, if it was started at all.
// Killing it makes Started return.
func (s *Start) Started(err error) (Report, error) {
	defer s.in.Close()
	defer s.out.Close()
	for _, f := range s.theirs {
		_ = f.Close() // the child's end, which it has or never will
	}
	if err != nil {
		return Report{}, err
	}
	sent := make(chan error, 1)
	go func() {
		_, err := s.in.Write(s.spec)
		sent <- errors.Join(err, s.in.Close())
	}()
	var last answer
	n := 0
	for dec := json.NewDecoder(s.out); ; n++ {
		var a answer
		if err = dec.Decode(&a); err != nil {
			break
		}
		last = a
	}
	_ = s.in.Close() // wakes a writer whose reader has gone
	wrote := <-sent
	s.spec = nil // it holds the secret of the environment
	switch {
	case last.Lack != nil:
		return last.Report, &MissingError{*last.Lack}
	case last.Error != "":
		return last.Report, reason(last)
	case !errors.Is(err, io.EOF):
		return Report{}, fmt.Errorf("reading what became of it: %w", err)
	case n != 1:
		return Report{}, errors.Join(errors.New("it ended before it was confined"), wrote)
	}
	return last.Report, nil
}

// reason makes the error of an answer, with the system's own reason in it.
func reason(a answer) error {
	if a.Errno == 0 {
		return errors.New(a.Error)
	}
	return &startError{a.Error, syscall.Errno(a.Errno)}
}

// startError says in words what a system call's number was about.
type startError struct {
	words string
	errno syscall.Errno
}

func (e *startError) Error() string { return e.words }
func (e *startError) Unwrap() error { return e.errno }
