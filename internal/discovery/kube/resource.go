package kube

import (
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"rutile/internal/discovery"
)

// saysMCP are names and images that say MCP as a word of theirs.
var saysMCP = regexp.MustCompile(`(?i)(^|[^a-z0-9])mcp([^a-z0-9]|$)|modelcontextprotocol`)

// clientFile is how files of clients begin to be told.
var clientFile = regexp.MustCompile(`"?(mcpServers|mcp_servers|context_servers)"?\s*[:=\]]`)

// operated reads a resource of an operator.
func (f *File) operated(o Object, spec *yaml.Node) {
	o.Strength, o.Why = declared, []string{"it is a " + o.Kind + " of an operator for MCP servers"}
	o.Image, o.Transport = text(get(spec, "image")), text(get(spec, "transport"))
	o.URL = text(get(spec, "remoteUrl"))
	for _, key := range []string{"remoteURL", "url"} {
		if u := text(get(spec, key)); o.URL == "" {
			o.URL = u
		}
	}
	o.Command = append(texts(get(spec, "command")), texts(get(spec, "args"))...)
	o.environment(get(spec, "env"))
	for _, s := range items(get(spec, "secrets")) {
		name := text(get(s, "targetEnvName"))
		if name == "" {
			name = text(get(s, "key"))
		}
		o.Secrets = append(o.Secrets, discovery.SecretRef{Name: name, Where: "env", Kind: discovery.SecretReference, Ref: "secret/" + text(get(s, "name"))})
	}
	if d := get(spec, "deployment"); d != nil { // of kmcp
		o.Image = first(o.Image, text(get(d, "image")))
		o.Command = append(append(o.Command, text(get(d, "cmd"))), texts(get(d, "args"))...)
		for i := 0; i < len(pairs(get(d, "env"))); i += 2 {
			o.Secrets = append(o.Secrets, discovery.Secret(get(d, "env").Content[i].Value, "env", text(get(d, "env").Content[i+1])))
		}
	}
	o.Command = slices.DeleteFunc(o.Command, func(s string) bool { return s == "" })
	f.Objects = append(f.Objects, o)
}

func pairs(n *yaml.Node) []*yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	return n.Content
}

// workload reads what runs containers.
func (f *File) workload(o Object, n *yaml.Node) {
	pod, meta := get(n, "spec"), get(n, "metadata")
	if o.Kind != "Pod" {
		if o.Kind == "CronJob" {
			pod = get(pod, "jobTemplate", "spec")
		}
		meta, pod = get(pod, "template", "metadata"), get(pod, "template", "spec")
	}
	strength, why := labels(get(n, "metadata", "labels"))
	if s, w := labels(get(meta, "labels")); s > strength {
		strength, why = s, w
	}
	for _, list := range []string{"containers", "initContainers"} {
		for _, c := range items(get(pod, list)) {
			one := o
			one.Line, one.Image = c.Line, text(get(c, "image"))
			one.Strength = strength
			if why != "" {
				one.Why = []string{why}
			}
			one.Command = append(texts(get(c, "command")), texts(get(c, "args"))...)
			if claims := f.claims(one, c); len(claims) > 0 {
				one.Strength = max(one.Strength, guessed)
				one.Why = append(one.Why, claims...)
			}
			if one.Strength == 0 {
				continue
			}
			one.environment(get(c, "env"))
			for _, from := range items(get(c, "envFrom")) {
				if name := text(get(from, "secretRef", "name")); name != "" {
					one.Secrets = append(one.Secrets, discovery.SecretRef{Name: "*", Where: "env", Kind: discovery.SecretReference, Ref: "secret/" + name})
				}
			}
			f.Objects = append(f.Objects, one)
		}
	}
}

// claims are what a container says of itself.
func (f *File) claims(o Object, c *yaml.Node) []string {
	var why []string
	if saysMCP.MatchString(o.Image) {
		why = append(why, "its image says MCP")
	}
	if slices.ContainsFunc(o.Command, func(a string) bool { return !strings.Contains(a, " ") && saysMCP.MatchString(a) }) {
		why = append(why, "its command says MCP")
	}
	for _, p := range items(get(c, "ports")) {
		if saysMCP.MatchString(text(get(p, "name"))) {
			why = append(why, "a port of it says MCP")
		}
	}
	return why
}

// labels are those that operators and registries set.
func labels(n *yaml.Node) (float64, string) {
	switch {
	case text(get(n, "toolhive")) == "true":
		return labelled, "it has ToolHive's label"
	case text(get(n, "docker-mcp")) == "true":
		return labelled, "it has the label of Docker's MCP toolkit"
	case text(get(n, "io.modelcontextprotocol.server.name")) != "":
		return labelled, "it has a label of the MCP registry"
	case saysMCP.MatchString(text(get(n, "app.kubernetes.io/name"))), saysMCP.MatchString(text(get(n, "app.kubernetes.io/component"))), saysMCP.MatchString(text(get(n, "app"))):
		return guessed, "a label of it says MCP"
	}
	return 0, ""
}

// environment takes the names of the variables and how they are given.
func (o *Object) environment(n *yaml.Node) {
	for _, e := range items(n) {
		name := text(get(e, "name"))
		switch from := get(e, "valueFrom", "secretKeyRef"); {
		case name == "":
		case from != nil:
			o.Secrets = append(o.Secrets, discovery.SecretRef{Name: name, Where: "env", Kind: discovery.SecretReference, Ref: "secret/" + text(get(from, "name")) + "/" + text(get(from, "key"))})
		case get(e, "valueFrom") != nil:
		default:
			if v := text(get(e, "value")); discovery.SecretName(name) || discovery.Sensitive(v) {
				o.Secrets = append(o.Secrets, discovery.Secret(name, "env", v))
			}
		}
	}
}

// service reads a name inside of the cluster.
func (f *File) service(o Object, n *yaml.Node) {
	spec := get(n, "spec")
	port := ""
	for _, p := range items(get(spec, "ports")) {
		if port == "" || saysMCP.MatchString(text(get(p, "name"))) {
			port = text(get(p, "port"))
		}
		if saysMCP.MatchString(text(get(p, "name"))) || text(get(p, "appProtocol")) == "mcp" {
			o.Why = append(o.Why, "a port of it says MCP")
		}
	}
	if saysMCP.MatchString(o.Name) {
		o.Why = append(o.Why, "its name says MCP")
	}
	s, w := labels(get(n, "metadata", "labels"))
	if w != "" {
		o.Why = append(o.Why, w)
	}
	if len(o.Why) == 0 || o.Name == "" || port == "" {
		return
	}
	o.Strength, o.Transport = max(guessed, s), "http"
	o.URL = "http://" + o.Name + "." + first(o.Namespace, "default") + ".svc:" + port
	f.Objects = append(f.Objects, o)
}

// route reads what leads from outside to a service.
func (f *File) route(o Object, n *yaml.Node) {
	spec := get(n, "spec")
	scheme := "http"
	if len(items(get(spec, "tls"))) > 0 || o.Kind != "Ingress" {
		scheme = "https"
	}
	hosts := texts(get(spec, "hostnames"))
	for _, r := range items(get(spec, "rules")) {
		at := hosts
		if h := text(get(r, "host")); h != "" {
			at = []string{h}
		}
		var paths []string
		for _, p := range items(get(r, "http", "paths")) {
			if path := text(get(p, "path")); saysMCP.MatchString(path) || saysMCP.MatchString(text(get(p, "backend", "service", "name"))) {
				paths = append(paths, path)
			}
		}
		for _, m := range items(get(r, "matches")) {
			if path := text(get(m, "path", "value")); saysMCP.MatchString(path) {
				paths = append(paths, path)
			}
		}
		for _, h := range at {
			if len(paths) == 0 && (saysMCP.MatchString(h) || saysMCP.MatchString(o.Name)) {
				paths = []string{"/"}
			}
			for _, p := range paths {
				one := o
				one.Line, one.Strength, one.Transport, one.URL = r.Line, guessed, "http", scheme+"://"+h+p
				one.Why = []string{"its path, host or service says MCP"}
				f.Objects = append(f.Objects, one)
			}
		}
	}
}

// configs reads entries of a ConfigMap that look like files of clients.
func (f *File) configs(o Object, n *yaml.Node) {
	data := pairs(get(n, "data"))
	for i := 0; i+1 < len(data); i += 2 {
		if v := data[i+1]; clientFile.MatchString(v.Value) {
			f.Configs = append(f.Configs, Config{Name: o.Name, Namespace: o.Namespace, Key: data[i].Value, Line: v.Line, Text: []byte(v.Value)})
		}
	}
}

func first(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}
