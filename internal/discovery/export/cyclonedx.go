package export

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"rutile/internal/discovery"
	"rutile/internal/discovery/inventory"
)

// bomRoot is the ref of what the document is about.
const bomRoot = "inventory"

// bom is a bill of materials that is being made (CycloneDX 1.7). Servers and
// clients are components, addresses are services; which client has which server is
// in the dependencies.
type bom struct {
	s     *Snapshot
	o     Options
	live  map[string][]*inventory.Sighting // by server
	kinds map[string][]*inventory.Variant  // by server
	refs  map[string][]string              // what stands for a server
	names map[string]string                // of hosts, where they are named

	components []cdx.Component
	services   []cdx.Service
	needs      map[string][]string
}

// cyclonedx writes what is there at present. It has no serial number or time of
// its own: both follow from the snapshot, so that the same state is the same bytes.
func cyclonedx(s *Snapshot, id string, o Options) ([]byte, error) {
	b := &bom{s: s, o: o, live: map[string][]*inventory.Sighting{}, kinds: map[string][]*inventory.Variant{}, refs: map[string][]string{}, needs: map[string][]string{}, names: hostNames(s, o)}
	for i := range s.Sightings {
		if x := &s.Sightings[i]; x.Gone.IsZero() {
			b.live[x.Server] = append(b.live[x.Server], x)
		}
	}
	for i := range s.Variants {
		v := &s.Variants[i]
		b.kinds[v.Server] = append(b.kinds[v.Server], v)
	}
	for i := range s.Servers {
		if e := &s.Servers[i]; e.Status != inventory.StatusGone {
			b.server(e)
		}
	}
	b.clients()

	doc := cdx.NewBOM()
	doc.SerialNumber = serial(id)
	doc.Metadata = &cdx.Metadata{
		Timestamp:  stamp(newest(s)),
		Lifecycles: &[]cdx.Lifecycle{{Phase: cdx.LifecyclePhaseDiscovery}},
		Tools:      &cdx.ToolsChoice{Components: &[]cdx.Component{{Type: cdx.ComponentTypeApplication, Name: "Rutile"}}},
		Component:  &cdx.Component{BOMRef: bomRoot, Type: cdx.ComponentTypeApplication, Name: "inventory of agents and MCP servers"},
		Properties: &[]cdx.Property{{Name: "rutile:snapshot", Value: id}},
	}
	doc.Components, doc.Services = some(b.components), some(b.services)
	doc.Dependencies = some(b.dependencies())
	doc.Vulnerabilities = some(b.vulnerabilities())
	doc.Annotations = some(b.annotations())
	var out bytes.Buffer
	err := cdx.NewBOMEncoder(&out, cdx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false).EncodeVersion(doc, cdx.SpecVersion1_7)
	return out.Bytes(), err
}

// some is a list, nil where there is nothing in it.
func some[T any](list []T) *[]T {
	if len(list) == 0 {
		return nil
	}
	return &list
}

// serial is the serial number of a snapshot, a UUID of version 8 (RFC 9562).
func serial(id string) string {
	sum := sha256.Sum256([]byte("rutile-bom/1\n" + id))
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80
	h := hex.EncodeToString(sum[:16])
	return fmt.Sprintf("urn:uuid:%s-%s-%s-%s-%s", h[:8], h[8:12], h[12:16], h[16:20], h[20:])
}

// newest is when something was seen last, zero if nothing was.
func newest(s *Snapshot) time.Time {
	var at time.Time
	for i := range s.Servers {
		if s.Servers[i].Last.After(at) {
			at = s.Servers[i].Last
		}
	}
	return at
}

// ref names a part of the document. Keys are what strangers wrote: a digest of them
// is unique and harmless.
func ref(kind string, of ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(of, "\x00")))
	return kind + "-" + hex.EncodeToString(sum[:10])
}

// server adds what stands for one server: a component for each version of it, a
// service for its addresses.
func (b *bom) server(e *inventory.Entry) {
	about := b.about(e)
	var versions []string
	of := map[string]*inventory.Variant{}
	endpoints := map[string]bool{}
	remote := e.Kind == discovery.KindRemote || e.Kind == discovery.KindAgent
	for _, v := range b.kinds[e.Key] {
		if t := &v.Target; t.Kind == discovery.KindRemote || t.Kind == discovery.KindAgent {
			remote = true
			endpoints[t.URL] = true
			continue
		}
		at := v.Target.Package + "\x00" + v.Target.Version
		if of[at] == nil {
			of[at] = v
			versions = append(versions, at)
		}
	}
	if remote {
		b.service(e, slices.Sorted(maps.Keys(endpoints)), about)
	} else if len(versions) == 0 {
		b.component(e, &inventory.Variant{}, about)
	}
	slices.Sort(versions)
	for _, at := range versions {
		b.component(e, of[at], about)
	}
}

// component is one version of a server that is a program.
func (b *bom) component(e *inventory.Entry, v *inventory.Variant, about []cdx.Property) {
	t := &v.Target
	c := cdx.Component{BOMRef: ref("server", e.Key, t.Package, t.Version), Type: cdx.ComponentTypeApplication, Name: shown(e.Key), Version: shown(t.Version)}
	if t.Kind == discovery.KindImage {
		c.Type = cdx.ComponentTypeContainer
	}
	exact := t.Version
	if !t.Pinned {
		exact = ""
	}
	if len(e.Names) > 0 {
		c.Name = shown(e.Names[0])
	}
	if p, ok := purl(t.Package, exact); ok {
		c.Group, c.Name, c.PackageURL = shown(p.Namespace), shown(p.Name), p.ToString()
	}
	own := slices.Clone(about)
	own = append(own, cdx.Property{Name: "rutile:mcp:pinned", Value: fmt.Sprint(t.Pinned)})
	if t.Transport != "" {
		own = append(own, cdx.Property{Name: "rutile:mcp:transport", Value: shown(t.Transport)})
	}
	c.Properties = &own
	b.components = append(b.components, c)
	b.refs[e.Key] = append(b.refs[e.Key], c.BOMRef)
}

// service is a server that is reached at addresses.
func (b *bom) service(e *inventory.Entry, endpoints []string, about []cdx.Property) {
	s := cdx.Service{BOMRef: ref("server", e.Key), Name: shown(e.Key), Properties: &about}
	if len(e.Names) > 0 {
		s.Name = shown(e.Names[0])
	}
	var at []string
	crosses := false
	for _, x := range endpoints {
		// What is no plain address is in the key alone.
		if u, err := url.Parse(x); err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && shown(u.String()) == u.String() {
			at = append(at, u.String())
			crosses = crosses || !loopback(u.Hostname())
		}
	}
	s.Endpoints = some(at)
	if len(at) > 0 {
		s.CrossesTrustBoundary = &crosses
	}
	if len(b.secrets(e.Key)) > 0 { // none seen says nothing: a client may sign in
		yes := true
		s.Authenticated = &yes
	}
	var data []cdx.DataClassification
	for _, scope := range b.scopes(e.Key) {
		data = append(data, cdx.DataClassification{Flow: cdx.DataFlowBidirectional, Classification: shown(scope)})
	}
	s.Data = some(data)
	b.services = append(b.services, s)
	b.refs[e.Key] = append(b.refs[e.Key], s.BOMRef)
}

// dependencies say what the inventory has, and which client has which server.
func (b *bom) dependencies() []cdx.Dependency {
	var all []string
	for i := range b.components {
		all = append(all, b.components[i].BOMRef)
	}
	for i := range b.services {
		all = append(all, b.services[i].BOMRef)
	}
	slices.Sort(all)
	out := []cdx.Dependency{{Ref: bomRoot, Dependencies: some(all)}}
	for _, r := range all {
		on := slices.Sorted(slices.Values(b.needs[r]))
		out = append(out, cdx.Dependency{Ref: r, Dependencies: some(slices.Compact(on))})
	}
	return out
}
