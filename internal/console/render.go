package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"sync"

	"rutile/internal/access"
)

//go:embed page.html style.css en.json ko.json views/*.html static/*
var files embed.FS

// load reads the templates and makes the policy that lets only our style in.
func (c *Console) load() error {
	css, err := files.ReadFile("style.css")
	if err != nil {
		return fmt.Errorf("console: %w", err)
	}
	c.style = template.CSS(css)
	sum := sha256.Sum256(css)
	style := "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	const rest = "; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
	c.csp = "default-src 'none'; style-src " + style + rest
	c.homeCSP = "default-src 'none'; style-src 'self' " + style + "; script-src 'self'; connect-src 'self'; img-src 'self'" + rest
	if c.langs, err = languages(); err != nil {
		return err
	}
	if c.assets, err = assets(); err != nil {
		return err
	}
	c.views, c.pages = map[string]*template.Template{}, map[string]*template.Template{}
	for lang, w := range c.langs {
		if c.views[lang], c.pages[lang], err = written(c.funcs(w)); err != nil {
			return fmt.Errorf("console: %w", err)
		}
	}
	return nil
}

// written are the templates of the views and of the single pages, with functions
// of their own.
func written(funcs template.FuncMap) (views, pages *template.Template, err error) {
	t, err := parsed()
	if err != nil {
		return nil, nil, err
	}
	if views, err = t[0].Clone(); err != nil {
		return nil, nil, err
	}
	if pages, err = t[1].Clone(); err != nil {
		return nil, nil, err
	}
	return views.Funcs(funcs), pages.Funcs(funcs), nil
}

// parsed are the templates as they are in the program, read once for all
// languages: that takes longer than anything else here. They are never executed.
var parsed = sync.OnceValues(func() (t [2]*template.Template, err error) { //nolint:gochecknoglobals // never changed
	names := (&Console{}).funcs(words{})
	if t[0], err = template.New("").Funcs(names).ParseFS(files, "views/*.html"); err != nil {
		return t, err
	}
	t[1], err = template.New("").Funcs(names).ParseFS(files, "page.html", "views/scores.html")
	return t, err
})

// notice is a page that only says something.
type notice struct{ Title, Text string }

// frame is what every page stands in.
type frame struct {
	Lang  string
	Back  string // the address of the page, "" where it cannot be loaded again
	Style template.CSS
	Page  any
}

// render writes a page whole or, where it cannot be made, an error.
func (c *Console) render(w http.ResponseWriter, r *http.Request, status int, page string, data any) {
	var b bytes.Buffer
	f := frame{Lang: c.wordsOf(r).lang, Style: c.style, Page: data}
	if rest, ok := strings.CutPrefix(r.URL.EscapedPath(), Path); ok && c.work != nil && approvalPlace(rest) {
		f.Back = r.URL.EscapedPath()
	}
	if err := c.pages[f.Lang].ExecuteTemplate(&b, page, f); err != nil {
		_, text := c.told(r, err)
		http.Error(w, text, http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the reader may have gone
}

// refuse answers with a page that says why.
func (c *Console) refuse(w http.ResponseWriter, r *http.Request, err error) {
	status, text := c.told(r, err)
	title := c.wordsOf(r).t("Nothing was done")
	if access.CodeOf(err) == access.CodePartial {
		title = c.wordsOf(r).t("Not all of it was done")
	}
	c.render(w, r, status, "notice", notice{Title: title, Text: text})
}

func (c *Console) missing(w http.ResponseWriter, r *http.Request) {
	c.refuse(w, r, access.Errorf(access.CodeNotFound, "there is no such page: the address of a request ends in its id, as in %sreq_…", Path))
}
