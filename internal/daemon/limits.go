package daemon

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"rutile/internal/mcpproxy"
)

// Defaults of the bounds on connections. Agents behind one proxy or in one
// process have one address, so that a fifth of all is for each.
const (
	connections           = 20_000
	connectionsPerAddress = 4_000
)

// withDefaults fills in what was left out.
func (l Limits) withDefaults() Limits {
	p := mcpproxy.Defaults()
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	dur := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	def(&l.Connections, connections)
	def(&l.ConnectionsPerAddress, connectionsPerAddress)
	def(&l.InFlight, p.InFlightAll)
	def(&l.InFlightPerPrincipal, p.InFlight)
	def(&l.Sessions, p.Sessions)
	def(&l.SessionsPerPrincipal, p.PerAgent)
	def(&l.Parked, p.ParkedAll)
	def(&l.ParkedPerPrincipal, p.Parked)
	def((*int)(&l.Body), p.MaxBody)
	dur(&l.CallTimeout, p.CallTimeout)
	dur(&l.CallMax, p.CallMax)
	dur(&l.Idle, p.Idle)
	return l
}

// over sets the bounds of the proxy that are written down.
func (l Limits) over(c mcpproxy.Config) mcpproxy.Config {
	set := func(v *int, to int) {
		if to != 0 {
			*v = to
		}
	}
	dur := func(v *time.Duration, to time.Duration) {
		if to != 0 {
			*v = to
		}
	}
	set(&c.InFlightAll, l.InFlight)
	set(&c.InFlight, l.InFlightPerPrincipal)
	set(&c.Sessions, l.Sessions)
	set(&c.PerAgent, l.SessionsPerPrincipal)
	set(&c.ParkedAll, l.Parked)
	set(&c.Parked, l.ParkedPerPrincipal)
	set(&c.MaxBody, int(l.Body))
	dur(&c.CallTimeout, l.CallTimeout)
	dur(&c.CallMax, l.CallMax)
	dur(&c.Idle, l.Idle)
	return c
}

// check notes the bounds that are none.
func (l Limits) check(note func(key, format string, args ...any)) {
	count := func(key string, v, most int) {
		if v < 0 || v > most {
			note("limits."+key, "must be a whole number from 1 to %d", most)
		}
	}
	span := func(key string, v, most time.Duration) {
		if v != 0 && (v < time.Second || v > most) {
			note("limits."+key, "must be a time from 1s to %s", short(most))
		}
	}
	// One that is over another is a mistake where it was written down: it would
	// hold nothing back.
	within := func(key string, over bool, other string, most any) {
		if over {
			note("limits."+key, "is over limits.%s, which is %v", other, most)
		}
	}
	d := l.withDefaults()
	count("connections", l.Connections, 1_000_000)
	count("connectionsPerAddress", l.ConnectionsPerAddress, 1_000_000)
	within("connectionsPerAddress", l.ConnectionsPerAddress > d.Connections, "connections", d.Connections)
	count("inFlight", l.InFlight, 1_000_000)
	count("inFlightPerPrincipal", l.InFlightPerPrincipal, 1_000_000)
	within("inFlightPerPrincipal", l.InFlightPerPrincipal > d.InFlight, "inFlight", d.InFlight)
	count("sessions", l.Sessions, 1_000_000)
	count("sessionsPerPrincipal", l.SessionsPerPrincipal, 10_000)
	within("sessionsPerPrincipal", l.SessionsPerPrincipal > d.Sessions, "sessions", d.Sessions)
	count("parked", l.Parked, 100_000)
	count("parkedPerPrincipal", l.ParkedPerPrincipal, 10_000)
	within("parkedPerPrincipal", l.ParkedPerPrincipal > d.Parked, "parked", d.Parked)
	if l.Body != 0 && (l.Body < 1<<10 || l.Body > 32<<20) {
		note("limits.body", "must be an amount from 1KiB to 32MiB")
	}
	span("callTimeout", l.CallTimeout, time.Hour)
	span("callMax", l.CallMax, 24*time.Hour)
	within("callTimeout", l.CallTimeout > d.CallMax, "callMax", short(d.CallMax))
	span("idle", l.Idle, 7*24*time.Hour)
}

// short is a duration as a configuration has it: 10m rather than 10m0s.
func short(d time.Duration) string {
	s := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, zero) {
			s = s[:len(s)-2]
		}
	}
	return s
}

// parseBytes reads an amount such as 512KiB; the bound keeps the product exact.
func parseBytes(s string) (Bytes, error) {
	for unit, n := range map[string]int{"KiB": 1 << 10, "MiB": 1 << 20} {
		digits, ok := strings.CutSuffix(s, unit)
		if !ok {
			continue
		}
		v, err := strconv.Atoi(digits)
		if err != nil || v <= 0 || v > 1<<20 || strconv.Itoa(v) != digits {
			break
		}
		return Bytes(v * n), nil
	}
	return 0, fmt.Errorf("%q is no amount", s)
}
