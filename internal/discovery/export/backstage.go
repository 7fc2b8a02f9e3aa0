package export

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"rutile/internal/discovery"
	"rutile/internal/discovery/inventory"
)

// The parts of the entities of Backstage's catalog (its descriptor format, version
// backstage.io/v1alpha1) that an inventory needs. The order of members is that of
// its documentation.
type (
	entity struct {
		APIVersion string     `yaml:"apiVersion"`
		Kind       string     `yaml:"kind"`
		Metadata   entityMeta `yaml:"metadata"`
		Spec       entitySpec `yaml:"spec"`
	}
	entityMeta struct {
		Name        string            `yaml:"name"`
		Title       string            `yaml:"title,omitempty"`
		Description string            `yaml:"description,omitempty"`
		Annotations map[string]string `yaml:"annotations"`
	}
	entitySpec struct {
		Type       string         `yaml:"type"`
		Lifecycle  string         `yaml:"lifecycle,omitempty"`
		Owner      string         `yaml:"owner,omitempty"`
		Provides   []string       `yaml:"providesApis,omitempty"`
		Consumes   []string       `yaml:"consumesApis,omitempty"`
		DependsOn  []string       `yaml:"dependsOn,omitempty"`
		Remotes    []entityRemote `yaml:"remotes,omitempty"`
		Definition string         `yaml:"definition,omitempty"`
		Children   *[]string      `yaml:"children,omitempty"` // of a group, which has to have it
	}
	entityRemote struct {
		Type string `yaml:"type"`
		URL  string `yaml:"url"`
	}
)

// annotation begins the names of our annotations.
const annotation = "io.rutile/"

// unowned is the group that stands for nobody: every entity has to have an owner.
const unowned = "rutile-unowned"

// catalog is a set of entities that is being made.
type catalog struct {
	s      *Snapshot
	id     string
	live   map[string][]*inventory.Sighting // by server
	kinds  map[string][]*inventory.Variant
	groups map[string]string // names of entities, by the team
	out    []entity
}

// backstage writes what is there at present as entities, one document each: a
// server is an API and the component that provides it, its credentials are
// resources, a client is a component that consumes its servers, an owner a group.
func backstage(s *Snapshot, id string) ([]byte, error) {
	c := &catalog{s: s, id: id, live: map[string][]*inventory.Sighting{}, kinds: map[string][]*inventory.Variant{}, groups: map[string]string{}}
	for i := range s.Sightings {
		if x := &s.Sightings[i]; x.Gone.IsZero() {
			c.live[x.Server] = append(c.live[x.Server], x)
		}
	}
	for i := range s.Variants {
		c.kinds[s.Variants[i].Server] = append(c.kinds[s.Variants[i].Server], &s.Variants[i])
	}
	apis := map[string]string{}
	for i := range s.Servers {
		if e := &s.Servers[i]; e.Status != inventory.StatusGone {
			apis[e.Key] = c.server(e)
		}
	}
	c.clients(apis)
	for _, team := range slices.Sorted(maps.Keys(c.groups)) {
		g := c.entity("Group", c.groups[team], team, "A team that answers for servers.", map[string]string{"team": team})
		if team == "" {
			g = c.entity("Group", unowned, "Nobody", "Stands for the owner of what nobody answers for yet.", nil)
		}
		g.Spec = entitySpec{Type: "team", Children: &[]string{}}
		c.out = append(c.out, g)
	}
	var b bytes.Buffer
	b.WriteString("# Entities for Backstage's catalog, written by Rutile. Snapshot " + id + "\n")
	for i := range c.out {
		doc, err := yaml.Dump(c.out[i], yaml.WithIndent(2))
		if err != nil {
			return nil, err
		}
		b.WriteString("---\n")
		b.Write(doc)
	}
	return b.Bytes(), nil
}

// entity begins one.
func (c *catalog) entity(kind, name, title, description string, notes map[string]string) entity {
	m := entityMeta{Name: name, Title: shown(title), Description: shown(description), Annotations: map[string]string{annotation + "snapshot": c.id}}
	for k, v := range notes {
		if v != "" {
			m.Annotations[annotation+k] = shown(v)
		}
	}
	return entity{APIVersion: "backstage.io/v1alpha1", Kind: kind, Metadata: m}
}

// entityName is what Backstage takes for a name: at most 63 letters, digits and
// - _ . between them.
var entityName = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?$`)

// named is the name of the entity for id, which is itself where that can be. Else
// it ends with a digest, since what strangers wrote may be alike.
func entityNamed(id, words string) string {
	if entityName.MatchString(id) {
		return id
	}
	var b strings.Builder
	for _, r := range strings.ToLower(words) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			b.WriteRune(r)
		} else if s := b.String(); s != "" && !strings.HasSuffix(s, "-") {
			b.WriteByte('-')
		}
	}
	sum := sha256.Sum256([]byte(id))
	stem := b.String()
	stem = strings.Trim(stem[:min(len(stem), 40)], "-")
	return strings.TrimPrefix(stem+"-"+hex.EncodeToString(sum[:8]), "-")
}

// owner refers to who answers for something.
func (c *catalog) owner(id string) string {
	switch {
	case id == "":
		c.groups[""] = unowned
		return "group:default/" + unowned
	case slices.Contains(c.s.Teams, id):
		c.groups[id] = entityNamed(id, id)
		return "group:default/" + c.groups[id]
	}
	return "user:default/" + entityNamed(id, id)
}

func lifecycle(e *inventory.Entry) string {
	switch e.State {
	case "sanctioned":
		return "production"
	case "deprecated", "retired", "blocked":
		return "deprecated"
	}
	return "experimental"
}

// server adds one server and returns the name of its API.
func (c *catalog) server(e *inventory.Entry) string {
	title := e.Key
	if len(e.Names) > 0 {
		title = e.Names[0]
	}
	// What has a digest is never what an operator called something.
	name := entityNamed("\x00"+e.Key, title)
	if e.Registered != "" {
		name = entityNamed(e.Registered, title)
	}
	notes := map[string]string{
		"key": e.Key, "kind": string(e.Kind), "status": string(e.Status), "state": e.State, "registered": e.Registered,
		"places": strconv.Itoa(e.Sightings), "hosts": strconv.Itoa(e.Hosts), "findings": strconv.Itoa(e.Findings), "worst": string(e.Worst), "last-seen": stamp(e.Last),
	}
	describe := "An MCP server that was found " + count(e.Sightings, "time") + " on " + count(e.Hosts, "host") + "."
	owner := c.owner(e.Owner)
	var needs []string
	for _, s := range c.secrets(e.Key) {
		r := c.entity("Resource", entityNamed("\x00"+e.Key+"\x00"+s, title+" "+s), s, "A credential of "+title+": its name and kind, never its value.", map[string]string{"key": e.Key})
		r.Spec = entitySpec{Type: "credential", Owner: owner}
		c.out = append(c.out, r)
		needs = append(needs, "resource:default/"+r.Metadata.Name)
	}
	api := c.entity("API", name, title, describe, notes)
	api.Spec = entitySpec{Type: "mcp-server", Lifecycle: lifecycle(e), Owner: owner, Remotes: c.remotes(e), Definition: c.definition(e)}
	if e.Kind == discovery.KindAgent {
		api.Spec.Type = "a2a"
	}
	of := c.entity("Component", name, title, describe, notes)
	of.Spec = entitySpec{Type: api.Spec.Type, Lifecycle: lifecycle(e), Owner: owner, Provides: []string{"api:default/" + name}, DependsOn: needs}
	c.out = append(c.out, api, of)
	return name
}

func count(n int, of string) string {
	if n != 1 {
		of += "s"
	}
	return strconv.Itoa(n) + " " + of
}

// secrets are the names and kinds of the credentials of a server's entries.
func (c *catalog) secrets(server string) []string {
	var out []string
	for _, x := range c.live[server] {
		out = append(out, credentials(x)...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// remotes are how a server is reached. Where it goes through the gateway that is
// its one address: whoever takes it from the catalog is routed.
func (c *catalog) remotes(e *inventory.Entry) []entityRemote {
	if e.Registered != "" && (e.State == "sanctioned" || e.State == "deprecated") && c.s.Gateway != "" {
		return []entityRemote{{"streamable-http", strings.TrimRight(c.s.Gateway, "/") + "/mcp/" + e.Registered}}
	}
	var out []entityRemote
	for _, v := range c.kinds[e.Key] {
		t := &v.Target
		r := entityRemote{cmp.Or(t.Transport, "stdio"), cmp.Or(t.URL, t.Package, t.Command, e.Key)}
		if r.Type == "http" {
			r.Type = "streamable-http"
		}
		if t.URL == "" && t.Package != "" && t.Version != "" {
			r.URL += "@" + t.Version
		}
		out = append(out, entityRemote{shown(r.Type), shown(r.URL)})
	}
	if len(out) == 0 {
		out = []entityRemote{{"stdio", shown(e.Key)}}
	}
	slices.SortFunc(out, func(a, b entityRemote) int { return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.URL, b.URL)) })
	return slices.Compact(out)
}

// definition says what a server offers, as far as that is approved. Catalogs that do
// not know MCP servers yet ask for one.
func (c *catalog) definition(e *inventory.Entry) string {
	var b strings.Builder
	b.WriteString("server: " + shown(e.Key) + "\n")
	for _, t := range c.s.Tools[e.Registered] {
		b.WriteString("tool: " + shown(t) + "\n")
	}
	for _, s := range c.scopes(e.Key) {
		b.WriteString("data scope: " + shown(s) + "\n")
	}
	return b.String()
}

func (c *catalog) scopes(server string) []string {
	var out []string
	for _, x := range c.live[server] {
		out = append(out, dataScopes(x)...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// clients adds each client once, with the servers it has.
func (c *catalog) clients(apis map[string]string) {
	names, has := map[string]string{}, map[string]map[string]bool{}
	for i := range c.s.Agents {
		a := &c.s.Agents[i]
		if has[a.Client] == nil {
			has[a.Client] = map[string]bool{}
		}
		if names[a.Client] == "" || a.Name < names[a.Client] {
			names[a.Client] = a.Name
		}
	}
	for server, name := range apis {
		for _, x := range c.live[server] {
			if x.Disabled || x.Fact == discovery.Sourced {
				continue
			}
			for _, client := range x.Clients {
				if has[client] != nil { // others would read the file, and are not there
					has[client]["api:default/"+name] = true
				}
			}
		}
	}
	for _, client := range slices.Sorted(maps.Keys(has)) {
		title := cmp.Or(names[client], client)
		x := c.entity("Component", entityNamed("\x00client\x00"+client, title), title, "A client of MCP servers.", map[string]string{"client": client})
		x.Spec = entitySpec{Type: "mcp-client", Lifecycle: "production", Owner: c.owner(""), Consumes: slices.Sorted(maps.Keys(has[client]))}
		c.out = append(c.out, x)
	}
}
