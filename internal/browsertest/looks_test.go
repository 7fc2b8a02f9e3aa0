package browsertest_test

import (
	_ "embed"
	"encoding/json"
	"strconv"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

//go:embed looks.js
var looks string

// look has the page say what one measure finds wrong.
func (b *browser) look(measure string) []string {
	b.t.Helper()
	var out []string
	if b.ask("typeof looks") == "undefined" {
		b.ask(looks + `; ""`)
	}
	if err := json.Unmarshal([]byte(b.ask("JSON.stringify(looks."+measure+"())")), &out); err != nil {
		b.t.Fatal(err)
	}
	return out
}

// wants fails for whatever the measures find on a page.
func (b *browser) wants(page string, measures ...string) {
	b.t.Helper()
	for _, m := range measures {
		for _, wrong := range b.look(m) {
			b.t.Errorf("%s: %s", page, wrong)
		}
	}
}

// size is that of the browser's window, in CSS pixels: half of it is what zooming to
// 200 % leaves.
func (b *browser) size(width, height int64) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, height))
}

func (b *browser) scheme(name string) {
	b.t.Helper()
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}})
}

// tab goes from the top of a page by keyboard alone: past the navigation by its link,
// and then through everything there is.
func (b *browser) tab(page string) {
	b.t.Helper()
	presses, err := strconv.Atoi(b.look("follow")[0])
	if err != nil {
		b.t.Fatal(err)
	}
	if b.ask(`String(document.querySelectorAll(".skip").length)`) == "1" {
		b.do(chromedp.KeyEvent("\t"), chromedp.KeyEvent("\r"))
		if at := b.ask("location.hash"); at != "#main" {
			b.t.Errorf("%s: the first Tab is not on the link past the navigation: it leads to %q", page, at)
		}
	}
	for range presses {
		b.do(chromedp.KeyEvent("\t"))
	}
	b.wants(page, "lost")
}

// TestPagesAreReadAndUsedByAll: each page of the console fits a desk, a phone and a
// page zoomed to 200 %, its text stands out in the light and in the dark, what is
// pressed is large enough, and Tab goes everywhere and is seen.
func TestPagesAreReadAndUsedByAll(t *testing.T) {
	r, b := newRig(t), open(t, true)
	b.size(1280, 800)
	b.scheme("light")
	b.visit(r.base + "/console/")
	check := func(page string) {
		b.visit(r.base + page)
		b.wants(page, "overflow", "whole", "contrast", "targets")
		b.scheme("dark")
		b.wants(page+" in the dark", "contrast")
		b.size(640, 400)
		b.wants(page+" at 200 %", "overflow")
		b.size(390, 800)
		b.wants(page+" on a phone", "overflow", "targets")
		b.size(1280, 800)
		b.scheme("light")
		b.tab(page)
	}
	check("/console/") // signing in
	b.enter(r.link(keeper))
	for _, p := range append(r.once(), "inventory?has=secret", "findings?state=muted") {
		check("/console/" + p)
	}
	check("/approve/" + r.request().ID)
	b.quiet("looking at it")
}

// TestPagesFitInKorean: its words have other lengths.
func TestPagesFitInKorean(t *testing.T) {
	r, b := newRig(t), open(t, true)
	b.size(1280, 800)
	b.enter(r.link(keeper))
	b.click(`button[value="ko"]`)
	for _, p := range r.once() {
		b.visit(r.base + "/console/" + p)
		b.wants(p, "overflow", "whole")
		b.size(390, 800)
		b.wants(p+" on a phone", "overflow")
		b.size(1280, 800)
	}
}
