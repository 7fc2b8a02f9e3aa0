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
