package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// cost is what a process and its children have used so far, as the operating
// system counts it. Where it does not tell (only Linux does), ok is false.
type cost struct {
	cpu      time.Duration
	peak     int // KiB, largest resident size ever
	resident int // KiB, now
	ok       bool
}

// tick is the unit of /proc/PID/stat on every Linux.
const tick = 10 * time.Millisecond

func costOf(pid int) cost {
	c := cost{ok: pid != 0}
	if pid == 0 {
		return c
	}
	for _, p := range family(pid) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p))
		if err != nil {
			if p == pid {
				c.ok = false
			}
			continue // a child that has ended is in its parent's account
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		f := strings.Fields(rest)
		if len(f) < 15 {
			c.ok = false
			continue
		}
		user, err1 := strconv.Atoi(f[11])
		system, err2 := strconv.Atoi(f[12])
		c.ok = c.ok && err1 == nil && err2 == nil
		c.cpu += time.Duration(user+system) * tick
		c.peak += statusKiB(p, "VmHWM:")
		c.resident += statusKiB(p, "VmRSS:")
	}
	return c
}

// family returns a process and its children, which is as deep as targets go.
func family(pid int) []int {
	all := []int{pid}
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return all
	}
	for _, list := range lists {
		raw, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		for f := range strings.FieldsSeq(string(raw)) {
			if p, err := strconv.Atoi(f); err == nil {
				all = append(all, p)
			}
		}
	}
	return all
}

func statusKiB(pid int, key string) int {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.SplitSeq(string(raw), "\n") {
		if v, ok := strings.CutPrefix(line, key); ok {
			n, _ := strconv.Atoi(strings.Fields(v)[0]) // the kernel writes "N kB"
			return n
		}
	}
	return 0
}
