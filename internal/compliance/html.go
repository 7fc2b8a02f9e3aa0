package compliance

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"
)

//go:embed report.html
var page string

//go:embed report.css
var css string

// WriteHTML writes the report as one file that loads nothing and holds no script.
// operators is the address of the gateway that links lead to.
func WriteHTML(w io.Writer, r *Report, operators string) error {
	sum := sha256.Sum256([]byte(css))
	t, err := template.New("report").Funcs(template.FuncMap{
		"link":      func(path string) string { return strings.TrimSuffix(operators, "/") + path },
		"when":      func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
		"word":      stateWord,
		"style":     func() template.CSS { return template.CSS(css) },
		"styleHash": func() string { return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'" },
	}).Parse(page)
	if err != nil {
		return fmt.Errorf("the template of the report: %w", err)
	}
	return t.Execute(w, r)
}

// stateWord is how a state is said.
func stateWord(s State) string {
	switch s {
	case Covered:
		return "covered"
	case Partly:
		return "partly covered"
	default:
		return "not by Rutile"
	}
}
