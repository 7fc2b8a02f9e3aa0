package discovery

import (
	"slices"
	"strings"
)

// Judge tells what is wrong with a sighting by itself, whatever its source: what
// it fetches, what it may touch, and where its secrets stand.
func Judge(s *Sighting) []Finding {
	var out []Finding
	find := func(rule Rule, severity Severity, why, next string, evidence ...string) {
		f := NewFinding(rule, severity, s.Target.Key, s.Place, why, next)
		f.Evidence = evidence
		out = append(out, f)
	}
	t := &s.Target
	if !t.Pinned && (t.Package != "" || t.URL != "") && t.Kind != KindGateway {
		what := t.Package
		if what == "" {
			what = "the bridge " + t.Launchers[len(t.Launchers)-1]
		}
		find(Unpinned, Medium, "another version of "+what+" may run tomorrow than the one that was looked at", "name an exact version or digest", "version "+orNone(t.Version))
	}
	for _, like := range lookalikes(t.Package) {
		find(LookalikeName, Critical, t.Package+" is named almost like the well-known "+like, "compare the two; if it was meant to be the known one, remove this and rotate what it was given")
	}
	for _, sc := range s.Scopes {
		if sc.Broad() {
			find(BroadScope, Medium, "it may touch all of "+strings.TrimPrefix(sc.Name, "fs:"), "name the folders it needs", sc.From)
			break
		}
	}
	literal, argv, address := s.leaks()
	if len(literal) > 0 {
		severity := Medium
		if s.Scope == ScopeProject || s.Source == "repository" {
			severity = High // whoever has the repository has it
		}
		find(LiteralSecret, severity, "secrets stand in the file itself", "seal them (rutile credential set) and let Rutile inject them", literal...)
	}
	if len(argv) > 0 {
		find(SecretInArgv, High, "secrets are arguments, which every program of this machine may read", "give them in the environment, or seal them (rutile credential set)", argv...)
	}
	if len(address) > 0 {
		find(SecretInURL, High, "an address has a secret in it, which ends up in logs of others", "send it as a header, or seal it (rutile credential set)", address...)
	}
	return out
}

// leaks are the secrets that stand in clear, by where they do.
func (s *Sighting) leaks() (literal, argv, address []string) {
	for _, ref := range s.Secrets {
		if ref.Kind != SecretLiteral || !ref.Sensitive {
			continue
		}
		what := ref.Where + " " + ref.Name
		if ref.Shape != "" {
			what += " (" + ref.Shape + ")"
		}
		switch ref.Where {
		case "argument":
			argv = append(argv, what)
		case "url":
			address = append(address, what)
		default:
			literal = append(literal, what)
		}
	}
	return slices.Compact(literal), slices.Compact(argv), slices.Compact(address)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
