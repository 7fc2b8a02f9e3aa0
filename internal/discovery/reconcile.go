package discovery

import "slices"

// Registry is what found servers are compared with.
type Registry struct {
	// Says is what it is, or why there is none.
	Says string
	// Known is false where there is nothing to compare with: then what does not go
	// through Rutile counts as not registered, since nothing shows that it is.
	Known   bool
	Servers []Registered
}

// Registered is a server the gateway has, described as found ones are.
type Registered struct {
	ID     string
	State  string
	Key    string
	Target Target
	Tier   int // its risk tier, where that is known
}

// byID and byKey find a registered server.
func (r Registry) byID(id string) (Registered, bool) {
	for _, s := range r.Servers {
		if s.ID == id {
			return s, true
		}
	}
	return Registered{}, false
}

func (r Registry) byKey(key string) (Registered, bool) {
	for _, s := range r.Servers {
		if s.Key == key && key != "" {
			return s, true
		}
	}
	return Registered{}, false
}

// Resolve gives an entry that leads to the gateway the key of the server behind
// it: otherwise every routed server would be one called rutile.
func (r Registry) Resolve(s Sighting) Sighting {
	if s.Target.Kind != KindGateway {
		return s
	}
	s.Routed = true
	if reg, ok := r.byID(s.Target.Server); ok && reg.Key != "" {
		s.Target.Key, s.Target.Kind = reg.Key, reg.Target.Kind
	}
	return s
}

// judge says where a server stands and what is wrong with that.
func (r Registry) judge(s *Server) []Finding {
	reg, registered := r.byKey(s.Key)
	if registered {
		s.Registered, s.State = reg.ID, reg.State
	}
	live, direct, traffic, routed := 0, []Sighting{}, []Sighting{}, 0
	for _, one := range s.Sightings() {
		switch {
		case one.Disabled, one.Fact == Sourced, one.Fact == Reachable && registered: // a registered server answers where it is
			continue
		case one.Routed:
			routed++
		case one.Fact == Used:
			traffic = append(traffic, one)
		default:
			direct = append(direct, one)
		}
		live++
	}
	findings := r.traffic(s, reg, traffic)
	switch {
	case live == 0 && registered && s.enabled():
		s.Status = StatusRegistered
	case live == 0 && len(s.Facts) == 1 && !s.Facts[Sourced].IsZero():
		s.Status = StatusSource
	case live == 0:
		s.Status = StatusDisabled
	case len(direct) == 0 && len(traffic) == 0:
		s.Status = StatusRouted
	case registered || routed > 0:
		s.Status = StatusBypass
	default:
		s.Status = StatusShadow
	}
	switch {
	case s.Status == StatusShadow && len(direct) > 0:
		findings = append(findings, r.shadow(s, direct))
	case s.Status == StatusBypass:
		findings = append(findings, r.bypass(s, reg, direct)...)
	}
	return findings
}

// enabled reports whether any sighting of a server is not of a switched-off entry.
func (s *Server) enabled() bool {
	return slices.ContainsFunc(s.Sightings(), func(one Sighting) bool { return !one.Disabled })
}

// traffic is a finding for each log that shows requests to a server which did not
// come from the gateway.
func (r Registry) traffic(s *Server, reg Registered, seen []Sighting) []Finding {
	var out []Finding
	for _, one := range seen {
		rule, severity, why, next := UnregisteredTraffic, Medium, "requests to a server that is not in the registry", "find who needs it, write a Server manifest with an owner and apply it, or close the way to it"
		if reg.ID != "" {
			rule, why, next = BypassTraffic, "registered as "+reg.ID+", and these requests did not come from the gateway", "route the clients through /mcp/"+reg.ID+", and let the network refuse the direct way"
			if reg.State == "sanctioned" {
				severity = High
			}
		}
		f := NewFinding(rule, severity, s.Key, one.Place, why, next)
		f.Evidence = one.Why
		out = append(out, f)
	}
	return out
}

// guess is the score at or below which what is seen may as well be something else.
const guess = 0.5

// shadow is one finding for a server nobody registered: at the first place it
// was seen in, with the others as evidence.
func (r Registry) shadow(s *Server, direct []Sighting) Finding {
	severity, why := Medium, "found, and not in the registry"
	if !r.Known {
		why = "it does not go through Rutile, and there is no registry to compare with"
	}
	_, runs := s.Facts[Running]
	_, answers := s.Facts[Reachable]
	switch {
	case (runs || answers) && s.Score <= guess:
		why += "; something runs that may be it"
	case runs:
		severity, why = High, why+"; it runs"
	case answers:
		severity, why = High, why+"; it answers"
	}
	f := NewFinding(ShadowServer, severity, s.Key, direct[0].Place, why, "write a Server manifest with an owner and apply it: rutile apply -f FILE")
	f.ID = digest("fnd", string(ShadowServer), s.Key) // wherever it is seen first next time
	for _, one := range direct {
		f.Evidence = append(f.Evidence, one.Source+" "+one.Place.String())
	}
	f.Evidence = sorted(f.Evidence)
	return f
}

func (r Registry) bypass(s *Server, reg Registered, direct []Sighting) []Finding {
	severity, why := Medium, "a direct entry beside one that goes through Rutile"
	next := "replace the entry's command by: rutile connect SERVER"
	if reg.ID != "" {
		why = "registered as " + reg.ID + ", and this entry does not go through Rutile"
		next = "replace the entry's command by: rutile connect " + reg.ID
	}
	if reg.State == "sanctioned" {
		severity = High
	}
	var out []Finding
	for _, one := range direct {
		out = append(out, NewFinding(BypassEntry, severity, s.Key, one.Place, why, next))
	}
	return out
}
