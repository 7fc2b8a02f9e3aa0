// Package kube finds MCP servers in Kubernetes manifests: resources of operators
// for them, workloads and routes that look like them (discovery.md 10).
//
// It reads files and asks no cluster. It MUST NOT keep the value of an
// environment variable or of a secret: discovery.Secret takes the name, place and
// kind of it. Labels, names and annotations are claims; why something is taken
// for a server is said with each. Of a Secret nothing is read but that it is one.
package kube

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"rutile/internal/discovery"
)

// Strengths of the evidence (discovery.md 3).
const (
	declared = 1.0  // a resource that is a server
	labelled = 0.98 // a label of an operator
	guessed  = 0.5  // by name, image, path or arguments
)

// Bounds of one file.
const (
	maxDocuments = 10_000
	maxDepth     = 64
	maxNodes     = 200_000
)

// Object is one resource that is or leads to an MCP server.
type Object struct {
	Kind      string // as the manifest has it
	Name      string
	Namespace string
	Line      int
	Image     string
	Command   []string // in clear: of the container, its arguments included
	URL       string   // in clear: where it is reached, or what it stands for
	Transport string
	Secrets   []discovery.SecretRef
	Strength  float64
	Why       []string
}

// Config is an entry of a ConfigMap that may be a client's file.
type Config struct {
	Name, Namespace, Key string
	Line                 int
	Text                 []byte // in clear
}

// File is what one file holds.
type File struct {
	Documents int
	Objects   []Object
	Configs   []Config
}

// Read reads the documents of one file. An error says at which line the file
// ends to be readable, and quotes nothing of it; what came before is returned.
func Read(data []byte) (File, error) {
	var f File
	if bytes.IndexByte(data, 0) >= 0 {
		return f, errors.New("it holds a NUL byte")
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	for f.Documents < maxDocuments {
		var doc yaml.Node
		err := d.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return f, nil
		}
		if err != nil {
			return f, fmt.Errorf("document %d is no YAML%s", f.Documents+1, lineOf(err))
		}
		f.Documents++
		if len(doc.Content) != 1 {
			continue
		}
		budget := maxNodes
		if !bounded(doc.Content[0], maxDepth, &budget) {
			return f, fmt.Errorf("document %d is nested too deep, too large, or uses aliases", f.Documents)
		}
		f.document(doc.Content[0])
	}
	return f, fmt.Errorf("it has more than %d documents", maxDocuments)
}

var errLine = regexp.MustCompile(`line (\d{1,9})`)

// lineOf is the line an error of YAML names, without its text.
func lineOf(err error) string {
	if m := errLine.FindStringSubmatch(err.Error()); m != nil {
		return " at line " + m[1]
	}
	return ""
}

// bounded reports whether a document is small, shallow and without aliases,
// which manifests do not use and which multiply.
func bounded(n *yaml.Node, depth int, budget *int) bool {
	*budget--
	if depth < 0 || *budget < 0 || n.Kind == yaml.AliasNode {
		return false
	}
	for _, c := range n.Content {
		if !bounded(c, depth-1, budget) {
			return false
		}
	}
	return true
}

// operators are groups whose resources are MCP servers or lead to them.
var operators = map[string][]string{
	"toolhive.stacklok.dev": {"MCPServer", "MCPRemoteProxy", "VirtualMCPServer", "MCPServerEntry"},
	"kagent.dev":            {"MCPServer", "RemoteMCPServer", "ToolServer"},
}

// document reads one resource, or the items of a List.
func (f *File) document(n *yaml.Node) {
	kind := text(get(n, "kind"))
	if strings.HasSuffix(kind, "List") {
		for _, item := range items(get(n, "items")) {
			f.document(item)
		}
		return
	}
	meta := get(n, "metadata")
	o := Object{Kind: kind, Name: text(get(meta, "name")), Namespace: text(get(meta, "namespace")), Line: n.Line}
	group, _, _ := strings.Cut(text(get(n, "apiVersion")), "/")
	switch {
	case slices.Contains(operators[group], kind):
		f.operated(o, get(n, "spec"))
	case kind == "ConfigMap":
		f.configs(o, n)
	case slices.Contains([]string{"Pod", "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "ReplicationController"}, kind):
		f.workload(o, n)
	case kind == "Service":
		f.service(o, n)
	case kind == "Ingress" || kind == "HTTPRoute" || kind == "GRPCRoute":
		f.route(o, n)
	}
}

func get(n *yaml.Node, path ...string) *yaml.Node {
	for _, key := range path {
		if n == nil || n.Kind != yaml.MappingNode {
			return nil
		}
		var found *yaml.Node
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				found = n.Content[i+1] // the last one, as the API server reads it
			}
		}
		n = found
	}
	return n
}

func text(n *yaml.Node) string {
	if n == nil || n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		return ""
	}
	return n.Value
}

func items(n *yaml.Node) []*yaml.Node {
	if n == nil || n.Kind != yaml.SequenceNode {
		return nil
	}
	return n.Content
}

func texts(n *yaml.Node) []string {
	var out []string
	for _, i := range items(n) {
		out = append(out, text(i))
	}
	return out
}
