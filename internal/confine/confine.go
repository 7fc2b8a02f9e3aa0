// Package confine takes from a program of ours what it is not to have before it
// becomes another program.
//
// On Linux the program is started through this binary: Wrap turns a command
// into one that runs Main of this package, which reads what to become from an
// inherited descriptor, confines itself (Landlock, a system call filter, no new
// privileges, no capabilities, resource limits) and then executes the command.
// What a Profile demands and the kernel cannot do MUST keep the command from
// starting; what it merely wants and the kernel cannot do is in the Report.
// Elsewhere nothing is confined, and the Report says so. The package knows no
// server, no manifest and no protocol.
package confine

import (
	"fmt"
	"slices"
	"strconv"
)

// Command is the first argument that makes a program of ours call Main.
const Command = "__confine"

// Measure is one thing that is taken away.
type Measure string

// The measures, in the order they are reported.
const (
	Files      Measure = "files"        // no file but those granted
	Truncate   Measure = "truncation"   // files that are not granted cannot be cut either
	Connect    Measure = "connect"      // no connection but those granted
	Listen     Measure = "listen"       // no listening but on the ports granted
	Sockets    Measure = "unix sockets" // no socket of another program
	Signals    Measure = "signals"      // no signal to a process outside
	Tracing    Measure = "tracing"      // no look into a process outside
	System     Measure = "system calls" // none that servers do not need and attackers do
	Privileges Measure = "privileges"   // none, and none to be gained
	Processes  Measure = "processes"    // a bound
	OpenFiles  Measure = "open files"   // a bound
	Memory     Measure = "memory"       // a bound
	FileSize   Measure = "file size"    // a bound
	CoreDumps  Measure = "core dumps"   // none
)

// Access is what may be done beneath a path.
type Access string

// The accesses. Each holds the ones before it but Own, which is Write and Exec
// in a directory that belongs to the process.
const (
	Read  Access = "read"
	Exec  Access = "exec"  // read and execute
	Write Access = "write" // read, write, make, remove; not execute
	Own   Access = "own"
)

// Grant lets a file, or a directory and all beneath it, be used.
type Grant struct {
	Path     string `json:"path"`
	Access   Access `json:"access"`
	Optional bool   `json:"optional,omitempty"` // no error if it does not exist
}

// Ports are TCP ports. The zero value is none.
type Ports struct {
	Any  bool  `json:"any,omitempty"`
	List []int `json:"list,omitempty"`
}

// None reports whether no port is in p.
func (p Ports) None() bool { return !p.Any && len(p.List) == 0 }

// DNS is the port that lets a list of ports carry datagrams, which names are
// resolved with. The kernel cannot tell the port of a datagram.
const DNS = 53

// datagrams reports whether datagrams may be sent.
func (p Ports) datagrams() bool { return p.Any || slices.Contains(p.List, DNS) }

// Limits bound a process. 0 is no bound.
type Limits struct {
	Processes int   `json:"processes,omitempty"` // beside those the user has at the start
	Files     int   `json:"files,omitempty"`     // open in one process
	Memory    int64 `json:"memory,omitempty"`    // bytes of data of one process
	FileSize  int64 `json:"fileSize,omitempty"`  // bytes
}

// Profile is what a program may have. The zero value is nothing.
type Profile struct {
	Grants  []Grant   `json:"grants"`
	Private []string  `json:"private"` // no grant but Own may touch these, whatever it says
	Connect Ports     `json:"connect"`
	Listen  Ports     `json:"listen"`
	Sockets bool      `json:"sockets,omitempty"` // unix sockets may be used
	Limits  Limits    `json:"limits"`
	Demand  []Measure `json:"demand,omitempty"` // what must hold, or the program does not start
}

// Lack is a measure the kernel cannot take, or not wholly.
type Lack struct {
	Measure Measure `json:"measure"`
	Why     string  `json:"why"`
}

// MissingError says that what a profile demands cannot be had.
type MissingError struct{ Lack }

func (e *MissingError) Error() string {
	return fmt.Sprintf("its confinement demands %s, which cannot be had here: %s", e.Measure, e.Why)
}

// Report says what holds a program and what does not.
type Report struct {
	ABI   int       `json:"landlock"` // its version, 0 if the kernel has none
	Held  []Measure `json:"held,omitempty"`
	Lacks []Lack    `json:"lacks,omitempty"`
}

// kernel is what the machine offers.
type kernel struct {
	abi    int  // of Landlock
	filter bool // system call filters, and we know this processor's numbers
	root   bool // the kernel bounds the processes of every user but root
}

// report says what will hold of p on k.
func (p *Profile) report(k kernel) Report {
	r := Report{ABI: k.abi}
	say := func(m Measure, ok bool, why string) {
		if ok {
			r.Held = append(r.Held, m)
		} else {
			r.Lacks = append(r.Lacks, Lack{m, why})
		}
	}
	const noLandlock = "the kernel has no Landlock, or it is switched off (lsm=landlock,…)"
	say(Files, k.abi >= 1, noLandlock)
	say(Truncate, k.abi >= 3, "needs Linux 6.2")
	if !p.Connect.Any {
		switch {
		case !k.filter:
			say(Connect, false, noFilter)
		case p.Connect.None():
			say(Connect, true, "")
		default:
			say(Connect, k.abi >= 4, "a list of ports needs Linux 6.7; Landlock is at version "+abiName(k.abi))
		}
	}
	if !p.Listen.Any {
		switch {
		case !k.filter:
			say(Listen, false, noFilter)
		case p.Listen.None():
			say(Listen, true, "")
		default:
			say(Listen, k.abi >= 4, "a list of ports needs Linux 6.7; Landlock is at version "+abiName(k.abi))
		}
	}
	if !p.Sockets {
		say(Sockets, k.filter || k.abi >= 9, noFilter)
	}
	say(Signals, k.abi >= 6, "needs Linux 6.12")
	say(Tracing, k.abi >= 1 || k.filter, noLandlock)
	say(System, k.filter, noFilter)
	say(Privileges, true, "")
	if p.Limits.Processes > 0 {
		say(Processes, !k.root, "the kernel does not hold root to it: run the gateway as a user of its own")
	}
	for _, l := range []struct {
		m  Measure
		on bool
	}{{OpenFiles, p.Limits.Files > 0}, {Memory, p.Limits.Memory > 0}, {FileSize, p.Limits.FileSize > 0}} {
		if l.on {
			say(l.m, true, "")
		}
	}
	say(CoreDumps, true, "")
	return r
}

func abiName(abi int) string {
	if abi == 0 {
		return "none"
	}
	return strconv.Itoa(abi)
}

const noFilter = "the kernel has no system call filters, or not for this kind of processor"

// missing returns the first measure that is demanded and does not hold.
func (p *Profile) missing(r Report) *Lack {
	for _, l := range r.Lacks {
		if slices.Contains(p.Demand, l.Measure) {
			return &l
		}
	}
	return nil
}
