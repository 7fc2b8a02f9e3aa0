//go:build !linux

package process

import (
	"context"
	"fmt"

	"github.com/shirou/gopsutil/v4/process"
)

// read asks the system through gopsutil, for command lines and parents only:
// its tables of sockets start a program on some systems, and discovery starts
// none.
func (s Scanner) read(ctx context.Context) (*Table, error) {
	pids, err := process.PidsWithContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the processes: %w", err)
	}
	t := &Table{Procs: map[int]*Proc{}, Blind: "listening sockets and connections of processes are read on Linux only"}
	for _, pid := range pids {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		p, err := process.NewProcessWithContext(ctx, pid)
		if err != nil {
			continue // it has ended
		}
		args, err := p.CmdlineSliceWithContext(ctx)
		if err != nil {
			t.Hidden++
			continue
		}
		parent, _ := p.PpidWithContext(ctx)
		exe, _ := p.ExeWithContext(ctx)
		t.Procs[int(pid)] = &Proc{PID: int(pid), Parent: int(parent), User: -1, Exe: exe, Args: args}
	}
	return t, nil
}

// pids are the processes there are.
func (s Scanner) pids(ctx context.Context) ([]int, error) {
	pids, err := process.PidsWithContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the processes: %w", err)
	}
	out := make([]int, len(pids))
	for i, p := range pids {
		out[i] = int(p)
	}
	return out, nil
}

// args are the command line of a process, nil if it is not visible.
func (s Scanner) args(ctx context.Context, pid int) []string {
	p, err := process.NewProcessWithContext(ctx, int32(pid))
	if err != nil {
		return nil
	}
	args, _ := p.CmdlineSliceWithContext(ctx) // it may have ended
	return args
}

// sockets are not read here.
func (s Scanner) sockets() []Socket { return nil }
