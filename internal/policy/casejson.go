package policy

import (
	"encoding/json"
	"fmt"

	"go.yaml.in/yaml/v4"

	"rutile/internal/rawjson"
)

// Bounds of the arguments of one test case, aliases followed.
const (
	maxCaseNodes = 100_000
	maxCaseBytes = 8 << 20
)

// jsonOf writes the arguments of a case as a call would hold them: what is written
// without quotes keeps its digits, and a date is a string.
func jsonOf(n *yaml.Node) ([]byte, error) {
	nodes := 0
	return appendJSON(nil, n, &nodes)
}

func appendJSON(b []byte, n *yaml.Node, nodes *int) ([]byte, error) {
	if *nodes++; *nodes > maxCaseNodes || len(b) > maxCaseBytes {
		return nil, fmt.Errorf("when.arguments has more than %d values or %d bytes", maxCaseNodes, maxCaseBytes)
	}
	var err error
	switch n.Kind {
	case yaml.AliasNode:
		return appendJSON(b, n.Alias, nodes)
	case yaml.MappingNode:
		b = append(b, '{')
		for i := 0; i+1 < len(n.Content); i += 2 {
			k := n.Content[i]
			if k.Kind != yaml.ScalarNode || k.Tag == "!!merge" {
				return nil, fmt.Errorf("line %d: a key of when.arguments must be text", k.Line)
			}
			if i > 0 {
				b = append(b, ',')
			}
			b = append(rawjson.AppendString(b, k.Value), ':')
			if b, err = appendJSON(b, n.Content[i+1], nodes); err != nil {
				return nil, err
			}
		}
		return append(b, '}'), nil
	case yaml.SequenceNode:
		b = append(b, '[')
		for i, c := range n.Content {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = appendJSON(b, c, nodes); err != nil {
				return nil, err
			}
		}
		return append(b, ']'), nil
	}
	switch n.Tag {
	case "!!null":
		return append(b, "null"...), nil
	case "!!bool", "!!int", "!!float":
		var v any
		if json.Unmarshal([]byte(n.Value), &v) != nil {
			return nil, fmt.Errorf("line %d: %s is not how JSON writes it: write true, false or a decimal number, or put it in quotes", n.Line, n.Value)
		}
		return append(b, n.Value...), nil
	default:
		return rawjson.AppendString(b, n.Value), nil
	}
}
