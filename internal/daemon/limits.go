package daemon

// Defaults of the bounds on connections. Agents behind one proxy or in one
// process have one address, so that a fifth of all is for each.
const (
	connections           = 20_000
	connectionsPerAddress = 4_000
)

func (l Limits) withDefaults() Limits {
	if l.Connections == 0 {
		l.Connections = connections
	}
	if l.ConnectionsPerAddress == 0 {
		l.ConnectionsPerAddress = connectionsPerAddress
	}
	return l
}

// check notes the bounds that are none.
func (l Limits) check(note func(key, format string, args ...any)) {
	count := func(key string, v, most int) {
		if v < 0 || v > most {
			note("limits."+key, "must be a whole number from 1 to %d", most)
		}
	}
	// One that is over another is a mistake where it was written down: it would
	// hold nothing back.
	within := func(key string, v int, other string, most int) {
		if v > most {
			note("limits."+key, "is over limits.%s, which is %d", other, most)
		}
	}
	d := l.withDefaults()
	count("connections", l.Connections, 1_000_000)
	count("connectionsPerAddress", l.ConnectionsPerAddress, 1_000_000)
	within("connectionsPerAddress", l.ConnectionsPerAddress, "connections", d.Connections)
}
