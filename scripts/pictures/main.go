// Command pictures photographs the console: it runs the demonstration, adds what its
// pages lack, looks at each in a Chromium of 1280 by 800 and keeps what it sees.
//
//	pictures PROGRAM DIRECTORY [NAME…]
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "pictures:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) < 2 {
		return errors.New("say which program to run and where to put the pictures")
	}
	s, err := play(ctx, args[0])
	if err != nil {
		return err
	}
	defer s.end()
	c, err := open(ctx)
	if err != nil {
		return err
	}
	defer c.end()
	if err := c.signIn(s); err != nil {
		return err
	}
	list, err := s.shots(c)
	if err != nil {
		return err
	}
	for _, x := range list {
		if len(args) > 2 && !slices.Contains(args[2:], x.name) {
			continue
		}
		if err := c.take(x, s.operators, args[1]); err != nil {
			return fmt.Errorf("%s: %w", x.name, err)
		}
	}
	return nil
}

// shot is one picture of a page.
type shot struct {
	name, path   string
	dark, korean bool
	before       func(*camera) error // what is done on the page first, nil if nothing
}

// tallest is how much of a page is shown, in CSS pixels.
const tallest = 1500

// camera is a browser.
type camera struct {
	ctx context.Context
	end context.CancelFunc
}

func open(ctx context.Context) (*camera, error) {
	var program string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			program = path
			break
		}
	}
	if program == "" {
		return nil, errors.New("there is no Chromium: install it with scripts/prepare")
	}
	opts := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.Flag("lang", "en"), chromedp.Flag("hide-scrollbars", true))
	alloc, stop := chromedp.NewExecAllocator(ctx, opts...)
	bctx, cancel := chromedp.NewContext(alloc)
	c := &camera{ctx: bctx, end: func() { cancel(); stop() }}
	if err := chromedp.Do(bctx, chromedp.EmulateViewport(1280, 800)); err != nil {
		c.end()
		return nil, err
	}
	return c, nil
}

func (c *camera) do(steps ...chromedp.Action[chromedp.Void]) error {
	ctx, cancel := context.WithTimeout(c.ctx, time.Minute)
	defer cancel()
	return chromedp.Do(ctx, steps...)
}

// click presses what a selector finds and waits for the page it leads to.
func (c *camera) click(sel string) error {
	ctx, cancel := context.WithTimeout(c.ctx, time.Minute)
	defer cancel()
	_, err := chromedp.RunResponse(ctx, chromedp.Click(chromedp.CSS(sel), chromedp.NodeVisible))
	return err
}

func (c *camera) visit(url string) error {
	return c.do(chromedp.Navigate(url), chromedp.WaitVisible(chromedp.CSS("#main")))
}

// signIn is with a token, as a person.
func (c *camera) signIn(s *stage) error {
	if err := c.visit(s.operators + "/console/"); err != nil {
		return err
	}
	if err := c.do(chromedp.SendKeys(chromedp.CSS("#token"), s.token)); err != nil {
		return err
	}
	return c.click(`form[action="/approve/sign-in"] button`)
}

func (c *camera) take(x shot, base, dir string) error {
	scheme := "light"
	if x.dark {
		scheme = "dark"
	}
	if _, err := chromedp.Call(c.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}); err != nil {
		return err
	}
	if err := c.visit(base + x.path); err != nil {
		return err
	}
	if x.korean {
		if err := c.click(`button[value="ko"]`); err != nil {
			return err
		}
		defer func() { _ = c.click(`button[value="en"]`) }()
	}
	if x.before != nil {
		if err := x.before(c); err != nil {
			return err
		}
	}
	high, err := chromedp.Run(c.ctx, chromedp.Evaluate[int](`Math.max(600, Math.ceil(document.querySelector("main").getBoundingClientRect().bottom + scrollY))`))
	if err != nil {
		return err
	}
	got, err := chromedp.Call(c.ctx, page.CaptureScreenshot, page.CaptureScreenshotParams{
		Format: page.CaptureScreenshotFormatPng, CaptureBeyondViewport: new(true),
		Clip: &page.Viewport{Width: 1280, Height: float64(min(high, tallest)), Scale: 1},
	})
	if err != nil {
		return err
	}
	small, err := reduce(got.Data)
	if err != nil {
		return err
	}
	return os.WriteFile(dir+"/"+x.name+".png", small, 0o644)
}
