// Package process finds MCP servers that run: by their parent and command line,
// by what their standard input and output are connected to, and by the sockets
// they listen on (discovery.md 6).
//
// It MUST NOT open the environment of a process, start or signal one, or write
// anything. Command lines come out as they are and may hold secrets: who calls
// it redacts them at once and keeps nothing else of them. What belongs to other
// users and is not visible is counted, and is no error.
package process

import (
	"context"
	"net/netip"
	"slices"
)

// Proc is a process as its system shows it.
type Proc struct {
	PID, Parent int
	User        int      // its user id, -1 where there is none
	Exe         string   // the file of its program, "" if not visible
	Args        []string // in clear
	Dir         string   // its working folder, "" if not visible
}

// Socket is a listening TCP socket.
type Socket struct {
	Address netip.AddrPort
	PID     int // its owner, 0 if not visible
}

// Table is the processes of a machine at one time.
type Table struct {
	Procs   map[int]*Proc
	Sockets []Socket
	Hidden  int    // processes of which only that they are there is visible
	Closed  int    // processes whose descriptors are not visible
	Blind   string // why sockets and connections were not read, "" if they were

	ends linker
}

// linker knows what the standard streams of processes are connected to.
type linker interface {
	// joined reports whether standard input and output of child end at the
	// process of parent. known is false where that cannot be seen.
	joined(child, parent int) (yes, known bool)
}

// Server is a process that is taken for an MCP server.
type Server struct {
	Proc     *Proc
	Client   string // the id of the client that started it, "" if none is known
	PIDs     []int  // its own and those of the processes it is made of
	Strength float64
	Joined   bool // its standard streams end at the client
	Why      []string
	Listens  []netip.AddrPort
}

// Scanner reads the processes of one machine.
type Scanner struct {
	Root string // where procfs is mounted, "" for /proc
}

// Scan reads the processes and names those that are taken for MCP servers. An
// error says that the processes cannot be read at all.
func (s Scanner) Scan(ctx context.Context) (*Table, []Server, error) {
	t, err := s.read(ctx)
	if err != nil {
		return nil, nil, err
	}
	return t, t.Servers(), nil
}

// Servers names the processes that are taken for MCP servers, by their PID. Of
// a chain of launchers the outermost stands for all.
func (t *Table) Servers() []Server {
	found := map[int]*Server{}
	for _, pid := range t.pids() {
		if s := t.recognise(t.Procs[pid]); s != nil {
			found[pid] = s
		}
	}
	inner := map[int]int{}
	for pid := range found {
		if outer := t.outermost(pid, found); outer != pid {
			inner[pid] = outer
		}
	}
	for pid, outer := range inner {
		o := found[outer]
		o.PIDs = append(o.PIDs, pid)
		o.Joined = o.Joined || found[pid].Joined && found[pid].Client != ""
		o.Strength = max(o.Strength, found[pid].Strength)
	}
	for pid := range inner {
		delete(found, pid)
	}
	owner := t.owners(found)
	for _, s := range t.Sockets {
		if o := found[owner[s.PID]]; o != nil {
			o.Listens = append(o.Listens, s.Address)
		}
	}
	var out []Server
	for _, pid := range t.pids() {
		if s := found[pid]; s != nil {
			slices.Sort(s.PIDs)
			slices.SortFunc(s.Listens, netip.AddrPort.Compare)
			out = append(out, *s)
		}
	}
	return out
}

func (t *Table) pids() []int {
	var out []int
	for pid := range t.Procs {
		out = append(out, pid)
	}
	slices.Sort(out)
	return out
}

// maxDepth bounds how far parents are followed; ids are reused, so that there
// may be a circle.
const maxDepth = 12

// outermost follows the parents of a server as long as they only launch it.
func (t *Table) outermost(pid int, found map[int]*Server) int {
	best, at := pid, t.Procs[pid]
	for range maxDepth {
		at = t.Procs[at.Parent]
		if at == nil || clientOf(at) != "" {
			break
		}
		if found[at.PID] != nil {
			best = at.PID
		} else if !launcher(at) {
			break
		}
	}
	return best
}

// owners maps every process below a server to that server.
func (t *Table) owners(found map[int]*Server) map[int]int {
	owner := map[int]int{}
	for pid := range t.Procs {
		for at, depth := t.Procs[pid], 0; at != nil && depth < maxDepth; at, depth = t.Procs[at.Parent], depth+1 {
			if found[at.PID] != nil {
				owner[pid] = at.PID
				break
			}
		}
	}
	return owner
}
