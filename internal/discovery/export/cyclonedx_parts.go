package export

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
	packageurl "github.com/package-url/packageurl-go"

	"rutile/internal/discovery"
	"rutile/internal/discovery/inventory"
)

// purl is the package URL of a package at an exact version, "" for none: a range or
// a tag is no version of it.
func purl(pkg, version string) (packageurl.PackageURL, bool) {
	p, err := packageurl.FromString(pkg)
	if err != nil {
		return packageurl.PackageURL{}, false
	}
	p.Version = version
	if p.Normalize() != nil {
		return packageurl.PackageURL{}, false
	}
	// What does not come back as it was written is not the package that was meant.
	again, err := packageurl.FromString(p.ToString())
	if err != nil || again.Name != p.Name || again.Namespace != p.Namespace || again.Version != p.Version {
		return packageurl.PackageURL{}, false
	}
	return p, true
}

func loopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// about are the properties of whatever stands for a server: where it stands, and
// names. An owner who is no team is a person.
func (b *bom) about(e *inventory.Entry) []cdx.Property {
	var out []cdx.Property
	add := func(name string, values ...string) {
		for _, v := range values {
			if v != "" {
				out = append(out, cdx.Property{Name: name, Value: shown(v)})
			}
		}
	}
	add("rutile:key", e.Key)
	add("rutile:kind", string(e.Kind))
	add("rutile:status", string(e.Status))
	add("rutile:condition", string(e.Condition))
	add("rutile:registered", e.Registered)
	add("rutile:state", e.State)
	if b.o.Identifiable || slices.Contains(b.s.Teams, e.Owner) {
		add("rutile:owner", e.Owner)
	}
	for _, f := range facts {
		if e.Facts[f].Now {
			add("rutile:fact", string(f))
		}
	}
	add("rutile:places", strconv.Itoa(e.Sightings))
	add("rutile:hosts", strconv.Itoa(e.Hosts))
	add("rutile:firstSeen", stamp(e.First))
	add("rutile:lastSeen", stamp(e.Last))
	add("rutile:mcp:name", e.Names...)
	add("rutile:mcp:credential", b.secrets(e.Key)...)
	add("rutile:mcp:dataScope", b.scopes(e.Key)...)
	add("rutile:mcp:tool", b.s.Tools[e.Registered]...)
	if b.o.Identifiable {
		hosts := map[string]bool{}
		for _, x := range b.live[e.Key] {
			hosts[b.host(x.Host)] = true
		}
		add("rutile:host", slices.Sorted(maps.Keys(hosts))...)
	}
	return out
}

// host is the name of a host where it gave one, else its pseudonym.
func (b *bom) host(id string) string {
	if n := b.names[id]; n != "" {
		return n
	}
	return id
}

// secrets are the names and kinds of the credentials of a server's entries.
func (b *bom) secrets(server string) []string {
	var out []string
	for _, x := range b.live[server] {
		out = append(out, credentials(x)...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// scopes are what a server's entries may reach.
func (b *bom) scopes(server string) []string {
	var out []string
	for _, x := range b.live[server] {
		out = append(out, dataScopes(x)...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// clients adds each client that is there once, with the servers it has: where and
// whose it is, is named only where asked.
func (b *bom) clients() {
	names, hosts := map[string]string{}, map[string]map[string]bool{}
	for i := range b.s.Agents {
		a := &b.s.Agents[i]
		if hosts[a.Client] == nil {
			hosts[a.Client] = map[string]bool{}
		}
		hosts[a.Client][a.Host] = true
		if names[a.Client] == "" || a.Name < names[a.Client] {
			names[a.Client] = a.Name
		}
	}
	for server, refs := range b.refs {
		for _, x := range b.live[server] {
			if x.Disabled || x.Fact == discovery.Sourced {
				continue
			}
			for _, c := range x.Clients {
				if hosts[c] != nil { // others would read the file, and are not there
					r := ref("client", c)
					b.needs[r] = append(b.needs[r], refs...)
				}
			}
		}
	}
	for _, c := range slices.Sorted(maps.Keys(hosts)) {
		name := names[c]
		if name == "" {
			name = c
		}
		p := []cdx.Property{{Name: "rutile:client", Value: shown(c)}, {Name: "rutile:hosts", Value: strconv.Itoa(len(hosts[c]))}}
		if b.o.Identifiable {
			for _, h := range slices.Sorted(maps.Keys(hosts[c])) {
				p = append(p, cdx.Property{Name: "rutile:host", Value: shown(b.host(h))})
			}
		}
		b.components = append(b.components, cdx.Component{BOMRef: ref("client", c), Type: cdx.ComponentTypeApplication, Name: shown(name), Properties: &p})
	}
}
