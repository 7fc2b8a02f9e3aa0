package mcpproxy

// These tests are inside the package: nothing above the transport can make it
// meet the answers and moments they are about.

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const h1Enough = 10 * time.Second // what must happen happens long before

func h1Plain() *h1Transport {
	return newH1Transport(&http.Transport{}, (&net.Dialer{}).DialContext)
}

// h1Serve runs script for each connection, with its number from 1, and closes
// the connection when it returns.
func h1Serve(t testing.TB, script func(n int, c net.Conn, in *bufio.Reader)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(func() { l.Close(); running.Wait() })
	running.Go(func() {
		for n := 1; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(3 * h1Enough))
			running.Go(func() {
				defer c.Close()
				script(n, c, bufio.NewReader(c))
			})
		}
	})
	return l.Addr().String()
}

// h1Take reads one request; its body is in memory.
func h1Take(in *bufio.Reader) (*http.Request, string, error) {
	r, err := http.ReadRequest(in)
	if err != nil {
		return nil, "", err
	}
	body, err := io.ReadAll(r.Body)
	return r, string(body), err
}

func h1Request(ctx context.Context, method, addr, body string) *http.Request {
	r := &http.Request{Method: method, URL: &url.URL{Scheme: "http", Host: addr, Path: "/mcp"}, Header: http.Header{}}
	if body != "" {
		r.ContentLength, r.Body = int64(len(body)), io.NopCloser(strings.NewReader(body))
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(body)), nil }
	}
	return r.WithContext(ctx)
}

// h1Call makes one exchange and returns the status and the body.
func h1Call(t testing.TB, tr http.RoundTripper, method, addr, body string) (int, string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), h1Enough)
	defer cancel()
	resp, err := tr.RoundTrip(h1Request(ctx, method, addr, body))
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(got), err
}

func (t *h1Transport) idleCount() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count
}

func h1Eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(h1Enough); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// h1Leaks fails the test if goroutines or descriptors outlive it.
func h1Leaks(t *testing.T) {
	t.Helper()
	fds := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			return 0 // not countable here; the goroutines are
		}
		return len(list)
	}
	goroutines, open := runtime.NumGoroutine(), fds()
	t.Cleanup(func() {
		h1Eventually(t, "goroutines and descriptors are back to where they were", func() bool {
			return runtime.NumGoroutine() <= goroutines && fds() <= open
		})
	})
}

func TestH1RefusesRequestsThatSayMoreThanOne(t *testing.T) {
	var dials atomic.Int32
	tr := newH1Transport(&http.Transport{}, func(context.Context, string, string) (net.Conn, error) {
		dials.Add(1)
		return nil, errors.New("no")
	})
	for name, change := range map[string]func(*http.Request){
		"header value with CRLF":       func(r *http.Request) { r.Header["X-A"] = []string{"a\r\nX-B: b"} },
		"header value with LF":         func(r *http.Request) { r.Header["X-A"] = []string{"ok", "a\nb"} },
		"header value with NUL":        func(r *http.Request) { r.Header["X-A"] = []string{"a\x00b"} },
		"header value with DEL":        func(r *http.Request) { r.Header["X-A"] = []string{"a\x7fb"} },
		"header name with colon":       func(r *http.Request) { r.Header["X-A: b\r\nX"] = []string{"a"} },
		"header name with space":       func(r *http.Request) { r.Header["X A"] = []string{"a"} },
		"header name not ASCII":        func(r *http.Request) { r.Header["X-é"] = []string{"a"} },
		"empty header name":            func(r *http.Request) { r.Header[""] = []string{"a"} },
		"bad header name, no value":    func(r *http.Request) { r.Header["a\r\n"] = nil },
		"Host header":                  func(r *http.Request) { r.Header["host"] = []string{"other"} },
		"Content-Length header":        func(r *http.Request) { r.Header["content-LENGTH"] = []string{"0"} },
		"Transfer-Encoding header":     func(r *http.Request) { r.Header["Transfer-Encoding"] = []string{"chunked"} },
		"Trailer header":               func(r *http.Request) { r.Header["Trailer"] = []string{"X"} },
		"Expect header":                func(r *http.Request) { r.Header["Expect"] = []string{"100-continue"} },
		"Upgrade header":               func(r *http.Request) { r.Header["Upgrade"] = []string{"h2c"} },
		"Connection header":            func(r *http.Request) { r.Header["Connection"] = []string{"upgrade"} },
		"transfer coding":              func(r *http.Request) { r.TransferEncoding = []string{"chunked"} },
		"trailers":                     func(r *http.Request) { r.Trailer = http.Header{"X": nil} },
		"method with space":            func(r *http.Request) { r.Method = "GET / HTTP/1.1\r\nX:" },
		"CONNECT":                      func(r *http.Request) { r.Method = "CONNECT" },
		"query with space":             func(r *http.Request) { r.URL.RawQuery = "a b" },
		"query with CRLF":              func(r *http.Request) { r.URL.RawQuery = "a\r\nb" },
		"query not ASCII":              func(r *http.Request) { r.URL.RawQuery = "é" },
		"query with fragment":          func(r *http.Request) { r.URL.RawQuery = "a#b" },
		"opaque url":                   func(r *http.Request) { r.URL.Opaque = "x y" },
		"absolute target":              func(r *http.Request) { r.URL.Opaque = "//other/path" },
		"relative path":                func(r *http.Request) { r.URL.Path = "*" },
		"host with CRLF":               func(r *http.Request) { r.Host = "a\r\nX: b" },
		"host with user":               func(r *http.Request) { r.Host = "user@h" },
		"host with path":               func(r *http.Request) { r.Host = "h/x" },
		"no host":                      func(r *http.Request) { r.URL.Host = "" },
		"no url":                       func(r *http.Request) { r.URL = nil },
		"other scheme":                 func(r *http.Request) { r.URL.Scheme = "ftp" },
		"unknown length":               func(r *http.Request) { r.ContentLength = -1 },
		"length without a body":        func(r *http.Request) { r.Body = nil },
		"body longer than its length":  func(r *http.Request) { r.ContentLength = 3 },
		"body where none is announced": func(r *http.Request) { r.ContentLength = 0 },
		"body shorter than its length": func(r *http.Request) { r.ContentLength = 5 },
		"broken body": func(r *http.Request) {
			r.Body = io.NopCloser(io.MultiReader(strings.NewReader("body"), h1Broken{errors.New("torn")}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := h1Request(t.Context(), "POST", "127.0.0.1:1", "body")
			change(r)
			closed := false
			if r.Body != nil {
				r.Body = h1Closer{r.Body, func() { closed = true }}
			} else {
				closed = true
			}
			resp, err := tr.RoundTrip(r)
			if err == nil {
				resp.Body.Close()
				t.Fatal("it was sent")
			}
			if !errors.Is(err, h1Unsent) || dials.Load() != 0 {
				t.Errorf("got %v after %d dials, want a refusal before any", err, dials.Load())
			}
			if !closed {
				t.Error("its body was left open")
			}
		})
	}
}

type h1Broken struct{ err error }

func (b h1Broken) Read([]byte) (int, error) { return 0, b.err }

type h1Closer struct {
	io.Reader
	closed func()
}

func (c h1Closer) Close() error { c.closed(); return nil }

func TestH1RequestHasExactlyItsHeaders(t *testing.T) {
	type seen struct {
		Line, Body string
		Lines      []string
	}
	got := make(chan seen, 1)
	addr := h1Serve(t, func(_ int, c net.Conn, in *bufio.Reader) {
		for {
			var s seen
			for line := ""; line != "\r\n"; {
				var err error
				if line, err = in.ReadString('\n'); err != nil {
					return
				}
				if s.Line == "" {
					s.Line = line
				} else if line != "\r\n" {
					s.Lines = append(s.Lines, line)
				}
			}
			slices.Sort(s.Lines)
			for _, l := range s.Lines {
				var n int
				if k, _ := fmt.Sscanf(l, "Content-Length: %d", &n); k == 1 {
					body := make([]byte, n)
					if _, err := io.ReadFull(in, body); err != nil {
						return
					}
					s.Body = string(body)
				}
			}
			got <- s
			io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
		}
	})
	large := strings.Repeat("0123456789", 300_000)
	for _, c := range []struct {
		name, method, body string
		header             http.Header
		change             func(*http.Request)
		line               string
		lines              []string
		writes             int64 // 0: not fixed
	}{
		{name: "get", method: "GET", line: "GET /mcp HTTP/1.1\r\n", writes: 1},
		{name: "no method", method: "", line: "GET /mcp HTTP/1.1\r\n", writes: 1},
		{name: "delete", method: "DELETE", line: "DELETE /mcp HTTP/1.1\r\n", writes: 1},
		{name: "empty post", method: "POST", line: "POST /mcp HTTP/1.1\r\n", lines: []string{"Content-Length: 0\r\n"}, writes: 1},
		{name: "small body is one write", method: "POST", body: "{}", header: http.Header{"Accept": {"a", "b"}, "x-Lower": {"v\té "}, "X-None": {}},
			line: "POST /mcp HTTP/1.1\r\n", lines: []string{"Accept: a\r\n", "Accept: b\r\n", "Content-Length: 2\r\n", "x-Lower: v\té \r\n"}, writes: 1},
		{name: "large body", method: "POST", body: large, line: "POST /mcp HTTP/1.1\r\n", lines: []string{"Content-Length: 3000000\r\n"}},
		{name: "large body from a plain reader", method: "POST", body: large, line: "POST /mcp HTTP/1.1\r\n", lines: []string{"Content-Length: 3000000\r\n"},
			change: func(r *http.Request) { r.Body = io.NopCloser(struct{ io.Reader }{r.Body}) }},
		{name: "host, query, close", method: "GET", line: "GET /mcp?a=%20b HTTP/1.1\r\n", lines: []string{"Connection: close\r\n", "Host: name:8\r\n"}, writes: 1,
			change: func(r *http.Request) { r.Host, r.URL.RawQuery, r.Close = "name:8", "a=%20b", true }},
		{name: "path is escaped", method: "GET", line: "GET /a%20b%0D%0A/c HTTP/1.1\r\n", writes: 1,
			change: func(r *http.Request) { r.URL.Path = "/a b\r\n/c" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			var writes atomic.Int64
			tr := newH1Transport(&http.Transport{}, func(ctx context.Context, network, addr string) (net.Conn, error) {
				nc, err := (&net.Dialer{}).DialContext(ctx, network, addr)
				return &h1Tap{Conn: nc, write: func(p []byte) (int, error) { writes.Add(1); return nc.Write(p) }}, err
			})
			defer tr.CloseIdleConnections()
			r := h1Request(t.Context(), c.method, addr, c.body)
			if c.header != nil {
				r.Header = c.header
			}
			if c.change != nil {
				c.change(r)
			}
			resp, err := tr.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			want := seen{Line: c.line, Body: c.body, Lines: slices.Clone(c.lines)}
			if r.Host == "" {
				want.Lines = append(want.Lines, "Host: "+addr+"\r\n")
			}
			slices.Sort(want.Lines)
			if diff := cmp.Diff(want, <-got); diff != "" {
				t.Errorf("the upstream saw (-want +got):\n%.2000s", diff)
			}
			if c.writes != 0 && writes.Load() != c.writes {
				t.Errorf("%d writes, want %d", writes.Load(), c.writes)
			}
		})
	}
}

// h1Tap is a connection whose writes pass through a function. It hides the
// socket, so reads are tried by deadline, as on systems without descriptors.
type h1Tap struct {
	net.Conn
	write func([]byte) (int, error)
	close func() error // nil closes
}

func (c *h1Tap) Write(p []byte) (int, error) { return c.write(p) }

func (c *h1Tap) Close() error {
	if c.close != nil {
		return c.close()
	}
	return c.Conn.Close()
}

func TestH1RefusesMalformedAnswers(t *testing.T) {
	many := func(n int, line string) string { return strings.Repeat(line, n) }
	const ok, chunked = "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for name, answer := range map[string]string{
		"not HTTP":                           "SSH-2.0-x\r\n",
		"HTTP/2":                             "HTTP/2.0 200 OK\r\n\r\n",
		"HTTP/1.2":                           "HTTP/1.2 200 OK\r\n\r\n",
		"HTTP/0.9":                           "<html>",
		"lower-case version":                 "http/1.1 200 OK\r\n\r\n",
		"empty line first":                   "\r\n" + ok + "\r\n",
		"two spaces":                         "HTTP/1.1  200 OK\r\n\r\n",
		"short status":                       "HTTP/1.1 20\r\n\r\n",
		"long status":                        "HTTP/1.1 2000\r\n\r\n",
		"status 600":                         "HTTP/1.1 600 X\r\n\r\n",
		"status 099":                         "HTTP/1.1 099 X\r\n\r\n",
		"status not a number":                "HTTP/1.1 2x0 X\r\n\r\n",
		"control in reason":                  "HTTP/1.1 200 O\x00K\r\n\r\n",
		"bare LF":                            "HTTP/1.1 200 OK\nX: y\n\n",
		"bare LF in headers":                 ok + "X: y\nZ: w\r\n\r\n",
		"bare CR in a header":                ok + "X: y\rZ: w\r\n\r\n",
		"folded header":                      ok + "X: y\r\n z\r\n\r\n",
		"folded first header":                ok + " X: y\r\n\r\n",
		"space before the colon":             ok + "Content-Length : 0\r\n\r\n",
		"no colon":                           ok + "X\r\n\r\n",
		"empty header name":                  ok + ": x\r\n\r\n",
		"NUL in a header":                    ok + "X: \x00\r\n\r\n",
		"repeated Content-Length":            ok + "Content-Length: 1\r\nContent-Length: 1\r\n\r\na",
		"conflicting Content-Length":         ok + "Content-Length: 1\r\ncontent-length: 2\r\n\r\nab",
		"list of lengths":                    ok + "Content-Length: 1, 1\r\n\r\na",
		"signed length":                      ok + "Content-Length: +1\r\n\r\na",
		"negative length":                    ok + "Content-Length: -1\r\n\r\n",
		"hexadecimal length":                 ok + "Content-Length: 0x1\r\n\r\na",
		"empty length":                       ok + "Content-Length:\r\n\r\n",
		"overflowing length":                 ok + "Content-Length: 99999999999999999999\r\n\r\n",
		"length and chunked":                 ok + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"chunked and length":                 ok + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
		"gzip, chunked":                      ok + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"chunked twice":                      ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"identity":                           ok + "Transfer-Encoding: identity\r\n\r\n",
		"chunked with a control":             ok + "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n",
		"chunked in HTTP/1.0":                "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"201 headers":                        ok + many(201, "A: b\r\n") + "\r\n",
		"64 KiB header":                      ok + "A: " + many(64<<10, "a") + "\r\n\r\n",
		"64 KiB reason":                      "HTTP/1.1 200 " + many(64<<10, "a"),
		"64 KiB of interim heads":            many(4, "HTTP/1.1 103 Early\r\nA: "+many(16<<10, "a")+"\r\n\r\n") + ok + "Content-Length: 0\r\n\r\n",
		"six interim answers":                many(6, "HTTP/1.1 100 Continue\r\n\r\n") + ok + "Content-Length: 0\r\n\r\n",
		"interim with a body":                "HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n" + ok + "Content-Length: 0\r\n\r\n",
		"interim chunked":                    "HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n" + ok + "Content-Length: 0\r\n\r\n",
		"switch of protocols":                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
		"nothing":                            "",
		"half a status line":                 "HTTP/1.1 2",
		"half a head":                        ok + "A: b\r\n",
		"body cut off":                       ok + "Content-Length: 5\r\n\r\nabcd",
		"chunks cut off":                     chunked + "3\r\nabc\r\n",
		"chunk cut off":                      chunked + "5\r\nabc",
		"last chunk cut off":                 chunked + "0\r\n",
		"chunk size empty":                   chunked + "\r\nabc\r\n0\r\n\r\n",
		"chunk size signed":                  chunked + "+3\r\nabc\r\n0\r\n\r\n",
		"chunk size negative":                chunked + "-3\r\nabc\r\n0\r\n\r\n",
		"chunk size 0x":                      chunked + "0x3\r\nabc\r\n0\r\n\r\n",
		"chunk size with underscore":         chunked + "0_3\r\nabc\r\n0\r\n\r\n",
		"chunk size after a space":           chunked + " 3\r\nabc\r\n0\r\n\r\n",
		"chunk size before a space":          chunked + "3 \r\nabc\r\n0\r\n\r\n",
		"extension after a space":            chunked + "3 ;x\r\nabc\r\n0\r\n\r\n",
		"chunk size overflowing":             chunked + "ffffffffffffffff\r\nabc\r\n0\r\n\r\n",
		"chunk size of 16 digits":            chunked + "0000000000000003\r\nabc\r\n0\r\n\r\n",
		"chunk size line with LF":            chunked + "3\nabc\r\n0\r\n\r\n",
		"chunk longer than its size":         chunked + "3\r\nabcd\r\n0\r\n\r\n",
		"chunk shorter than its size":        chunked + "3\r\nab\r\n0\r\n\r\n",
		"chunk ending with LF":               chunked + "3\r\nabc\n0\r\n\r\n",
		"extension with CR":                  chunked + "3;a\rb\r\nabc\r\n0\r\n\r\n",
		"extension with NUL":                 chunked + "3;\x00\r\nabc\r\n0\r\n\r\n",
		"extension too long":                 chunked + "3;" + many(1024, "a") + "\r\nabc\r\n0\r\n\r\n",
		"extension without end":              chunked + "3;" + many(20<<10, "a"),
		"extension bomb":                     chunked + many(20, "1;"+many(1000, "a")+"\r\nx\r\n") + "0\r\n\r\n",
		"trailer without colon":              chunked + "0\r\nabc\r\n\r\n",
		"trailer folded":                     chunked + "0\r\nA: b\r\n c\r\n\r\n",
		"trailers too large":                 chunked + "0\r\n" + many(500, "A: bcdef\r\n") + "\r\n",
		"trailer too long":                   chunked + "0\r\nA: " + many(5000, "a") + "\r\n\r\n",
		"second answer instead of a trailer": chunked + "0\r\n" + ok + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, pieces := range []bool{false, true} {
				var conns atomic.Int32
				addr := h1Serve(t, func(_ int, c net.Conn, in *bufio.Reader) {
					conns.Add(1)
					if _, _, err := h1Take(in); err != nil {
						return
					}
					if pieces && len(answer) < 200 {
						for i := range len(answer) {
							io.WriteString(c, answer[i:i+1])
						}
					} else {
						io.WriteString(c, answer)
					}
					c.(*net.TCPConn).CloseWrite()
					io.Copy(io.Discard, in) // until the transport closes
				})
				tr := h1Plain()
				if status, body, err := h1Call(t, tr, "POST", addr, "{}"); err == nil {
					t.Errorf("accepted: %d %.100q", status, body)
				} else if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, h1Unsent) {
					t.Errorf("not refused for what it is: %v", err)
				} else if strings.Contains(err.Error(), "aaa") || strings.Contains(err.Error(), "abc") {
					t.Errorf("bytes of the answer are in the error: %v", err)
				}
				if tr.idleCount() != 0 || conns.Load() != 1 {
					t.Errorf("%d connections made, %d of them kept; want 1 and 0", conns.Load(), tr.idleCount())
				}
			}
		})
	}
}

// What follows an answer must not become the answer to the next call, which may
// be another principal's.
func TestH1SecondAnswerPoisonsNoOtherCall(t *testing.T) {
	const evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
	for name, first := range map[string]string{
		"length":          "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood",
		"empty":           "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"chunked":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n0\r\n\r\n",
		"204":             "HTTP/1.1 204 No Content\r\n\r\n",
		"204 with length": fmt.Sprintf("HTTP/1.1 204 No Content\r\nContent-Length: %d\r\n\r\n", len(evil)),
		"304":             "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n",
		"one byte more":   "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood\n",
		"large":           "HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n" + strings.Repeat("g", 20000),
	} {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/late=%t", name, late), func(t *testing.T) {
				t.Parallel()
				sent := make(chan bool, 1)
				addr := h1Serve(t, func(n int, c net.Conn, in *bufio.Reader) {
					if _, _, err := h1Take(in); err != nil {
						return
					}
					if n > 1 {
						io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmine")
					} else if late {
						io.WriteString(c, first)
						time.Sleep(20 * time.Millisecond)
						io.WriteString(c, evil)
					} else {
						io.WriteString(c, first+evil)
					}
					sent <- true
					io.Copy(io.Discard, in)
				})
				tr := h1Plain()
				defer tr.CloseIdleConnections()
				if _, body, err := h1Call(t, tr, "POST", addr, "{}"); err != nil || strings.Contains(body, "evil") {
					t.Fatalf("first call: %.50q, %v", body, err)
				}
				<-sent
				time.Sleep(20 * time.Millisecond) // what was sent arrives
				if _, body, err := h1Call(t, tr, "POST", addr, "{}"); err != nil || body != "mine" {
					t.Fatalf("the other call got %.50q, %v", body, err)
				}
			})
		}
	}
}

func TestH1SlowAnswersEndWithTheContext(t *testing.T) {
	h1Leaks(t)
	for name, answer := range map[string]string{
		"head":    "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\nA: b\r\n",
		"headers": "HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", 150),
		"body":    "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nabcdefgh",
		"chunk":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1000",
		"close":   "HTTP/1.1 200 OK\r\n\r\nabc",
	} {
		t.Run(name, func(t *testing.T) {
			begun, gone := make(chan bool), make(chan error, 1)
			addr := h1Serve(t, func(_ int, c net.Conn, in *bufio.Reader) {
				if _, _, err := h1Take(in); err != nil {
					return
				}
				close(begun)
				for i := range len(answer) {
					io.WriteString(c, answer[i:i+1])
					time.Sleep(10 * time.Microsecond)
				}
				_, err := in.ReadByte()
				gone <- err
			})
			tr := h1Plain()
			defer tr.CloseIdleConnections()
			cause := errors.New("time is up")
			ctx, cancel := context.WithCancelCause(t.Context())
			go func() {
				<-begun
				time.Sleep(50 * time.Millisecond)
				cancel(cause)
			}()
			resp, err := tr.RoundTrip(h1Request(ctx, "POST", addr, "{}"))
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
			if err != cause {
				t.Errorf("got %v, want the context's cause itself", err)
			}
			if err := <-gone; err == nil {
				t.Error("the connection stayed open")
			}
		})
	}
}

func TestH1CancellationIsPrompt(t *testing.T) {
	h1Leaks(t)
	const events = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n:\n\n\r\n"
	for _, phase := range []string{"dialling", "writing", "waiting", "reading"} {
		t.Run(phase, func(t *testing.T) {
			busy := make(chan bool, 1)
			gone := make(chan time.Time, 1)
			addr := h1Serve(t, func(_ int, c net.Conn, in *bufio.Reader) {
				if phase == "writing" {
					in.ReadByte()
					busy <- true
					time.Sleep(100 * time.Millisecond) // its buffers are full by now
				} else {
					h1Take(in)
					if phase == "reading" {
						io.WriteString(c, events)
					}
					busy <- true
				}
				io.Copy(io.Discard, in)
				gone <- time.Now()
			})
			tr := h1Plain()
			defer tr.CloseIdleConnections()
			body := "{}"
			switch phase {
			case "writing":
				body = strings.Repeat("x", 64<<20)
			case "dialling":
				tr.dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
					busy <- true
					<-ctx.Done()
					return nil, ctx.Err()
				}
			}
			cause := errors.New("revoked")
			ctx, cancel := context.WithCancelCause(t.Context())
			ended := make(chan error, 1)
			go func() {
				resp, err := tr.RoundTrip(h1Request(ctx, "POST", addr, body))
				if err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
				ended <- err
			}()
			<-busy
			time.Sleep(20 * time.Millisecond)
			start := time.Now()
			cancel(cause)
			if err := <-ended; err != cause {
				t.Errorf("got %v, want the cause itself", err)
			}
			took := time.Since(start)
			if phase != "dialling" {
				took = max(took, (<-gone).Sub(start))
			}
			t.Logf("%s: over after %v", phase, took)
			if took > h1Enough { // else it would never end
				t.Errorf("it took %v", took)
			}
		})
	}
}

// The context of one call may end at the moment its connection passes to the
// next call.
func TestH1LateCancellationHurtsNoOtherCall(t *testing.T) {
	h1Leaks(t)
	addr := h1Serve(t, func(_ int, c net.Conn, in *bufio.Reader) {
		for {
			_, body, err := h1Take(in)
			if err != nil {
				return
			}
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		}
	})
	tr := h1Plain()
	defer tr.CloseIdleConnections()
	var workers sync.WaitGroup
	for w := range 4 {
		workers.Go(func() {
			for i := range 1000 {
				ctx, cancel := context.WithCancel(t.Context())
				resp, err := tr.RoundTrip(h1Request(ctx, "POST", addr, "first"))
				if err != nil {
					t.Errorf("first: %v", err)
					cancel()
					return
				}
				go cancel()
				io.ReadAll(resp.Body)
				resp.Body.Close()
				want := fmt.Sprintf("second %d.%d", w, i)
				if _, got, err := h1Call(t, tr, "POST", addr, want); err != nil || got != want {
					t.Errorf("a call that nobody cancelled: got %q, %v", got, err)
					return
				}
			}
		})
	}
	workers.Wait()
}

// The same moment, stretched: the context has ended and the connection is not
// closed yet when the answer's end is read.
func TestH1ConnectionOfAnEndedContextIsNotKept(t *testing.T) {
	addr := h1Serve(t, func(_ int, c net.Conn, in *bufio.Reader) {
		h1Take(in)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc")
		io.Copy(io.Discard, in)
	})
	closing, carryOn := make(chan bool, 2), make(chan bool)
	tr := newH1Transport(&http.Transport{}, func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		return &h1Tap{Conn: nc, write: nc.Write, close: func() error {
			closing <- true
			<-carryOn
			return nc.Close()
		}}, err
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	resp, err := tr.RoundTrip(h1Request(ctx, "POST", addr, "{}"))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	<-closing
	time.AfterFunc(20*time.Millisecond, func() { close(carryOn) })
	if got, err := io.ReadAll(resp.Body); err != nil || string(got) != "abc" {
		t.Errorf("what had arrived was lost: %q, %v", got, err)
	}
	if n := tr.idleCount(); n != 0 {
		t.Error("a connection that is about to be closed is offered to the next call")
	}
}

// Some servers send the body they announce although there must be none, later.
func TestH1BodilessAnswerWithALengthEndsItsConnection(t *testing.T) {
	for answer, kept := range map[string]int{
		"HTTP/1.1 204 No Content\r\n\r\n":                               1,
		"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n":          1,
		"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n":          0,
		"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n": 0,
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n":        1,
	} {
		addr := h1Serve(t, func(_ int, c net.Conn, in *bufio.Reader) {
			h1Take(in)
			io.WriteString(c, answer)
			io.Copy(io.Discard, in)
		})
		tr := h1Plain()
		if _, _, err := h1Call(t, tr, "POST", addr, "{}"); err != nil || tr.idleCount() != kept {
			t.Errorf("%q: %v, %d kept, want %d", answer, err, tr.idleCount(), kept)
		}
		tr.CloseIdleConnections()
	}
}

func TestH1EventsArriveAsTheyAreSent(t *testing.T) {
	for _, framing := range []string{"chunked", "until close"} {
		t.Run(framing, func(t *testing.T) {
			read := make(chan bool)
			addr := h1Serve(t, func(_ int, c net.Conn, in *bufio.Reader) {
				h1Take(in)
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
				if framing == "chunked" {
					io.WriteString(c, "Transfer-Encoding: chunked\r\n")
				}
				io.WriteString(c, "\r\n")
				for i := range 50 {
					event := fmt.Sprintf("data: %d\n\n", i)
					if framing == "chunked" {
						event = fmt.Sprintf("%x\r\n%s\r\n", len(event), event)
					}
					io.WriteString(c, event)
					<-read // the next is not sent before this one is out
				}
				if framing == "chunked" {
					io.WriteString(c, "0\r\nX-Trailer: dropped\r\n\r\n")
				}
			})
			tr := h1Plain()
			defer tr.CloseIdleConnections()
			ctx, cancel := context.WithTimeout(t.Context(), h1Enough)
			defer cancel()
			resp, err := tr.RoundTrip(h1Request(ctx, "POST", addr, "{}"))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			for i := range 50 {
				want := fmt.Sprintf("data: %d\n\n", i)
				got := make([]byte, len(want))
				if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != want {
					t.Fatalf("event %d: %q, %v", i, got, err)
				}
				read <- true
			}
			if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 || len(resp.Trailer) > 0 {
				t.Errorf("at the end: %q, %v, trailers %v", rest, err, resp.Trailer)
			}
		})
	}
}

// A reply on a stream is whole, and the connection serves the next call although
// the body is closed before its end is read.
func TestNoTruncatedStreams(t *testing.T) {
	h1Leaks(t)
	var conns atomic.Int32
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		for _, part := range []string{"event: message\n", "data: {\"id\":" + string(id) + ",", "\"pad\":\"" + strings.Repeat("p", 600) + "\"}\n\n"} {
			io.WriteString(w, part)
			w.(http.Flusher).Flush()
		}
	}))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns.Add(1)
		}
	}
	srv.Start()
	defer srv.Close()
	tr := h1Plain()
	defer tr.CloseIdleConnections()
	addr := srv.Listener.Addr().String()
	var short atomic.Int32
	var next atomic.Int32
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for i := next.Add(1); i <= 5000; i = next.Add(1) {
				ctx, cancel := context.WithTimeout(t.Context(), h1Enough)
				resp, err := tr.RoundTrip(h1Request(ctx, "POST", addr, fmt.Sprint(i)))
				if err != nil {
					t.Errorf("call %d: %v", i, err)
					cancel()
					return
				}
				ev, err := newSSEReader(resp.Body, 1<<20).next()
				if err != nil || !strings.HasPrefix(string(ev.data), fmt.Sprintf(`{"id":%d,`, i)) || !strings.HasSuffix(string(ev.data), `p"}`) {
					short.Add(1)
				}
				if i%2 == 0 {
					io.Copy(io.Discard, resp.Body)
				}
				resp.Body.Close()
				cancel()
			}
		})
	}
	workers.Wait()
	t.Logf("5000 calls, %d short, %d connections", short.Load(), conns.Load())
	if short.Load() != 0 {
		t.Errorf("%d of 5000 replies were cut short", short.Load())
	}
	if conns.Load() > 1000 {
		t.Errorf("%d connections for 5000 calls: they are not reused", conns.Load())
	}
}

// Servers close idle connections whenever they like. A call may fail then, and
// is never lost without an error, delivered twice or answered with another's.
func TestH1ClosingServersLoseAndDoubleNothing(t *testing.T) {
	h1Leaks(t)
	var mu sync.Mutex
	delivered := map[string]int{}
	addr := h1Serve(t, func(_ int, c net.Conn, in *bufio.Reader) {
		for {
			_, id, err := h1Take(in)
			if err != nil {
				return
			}
			mu.Lock()
			delivered[id]++
			mu.Unlock()
			dice := rand.IntN(12)
			if dice == 0 {
				return // without an answer
			}
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(id), id)
			switch {
			case dice == 1:
				return
			case dice == 2:
				c.(*net.TCPConn).CloseWrite()
				io.Copy(io.Discard, io.LimitReader(in, 1))
				return
			case dice == 3:
				c.(*net.TCPConn).SetLinger(0) // a reset
				return
			case dice < 8:
				c.SetReadDeadline(time.Now().Add(time.Duration(rand.IntN(300)) * time.Microsecond))
			}
		}
	})
	tr := h1Plain()
	defer tr.CloseIdleConnections()
	type outcome struct{ ok, unsent bool }
	outcomes := map[string]outcome{}
	var workers sync.WaitGroup
	for w := range 8 {
		workers.Go(func() {
			for i := range 400 {
				id := fmt.Sprintf("%d.%d", w, i)
				if i%50 == 0 {
					id += strings.Repeat(" ", 20<<10) // more than one buffer
				}
				_, got, err := h1Call(t, tr, "POST", addr, id)
				if err == nil && got != id {
					t.Errorf("call %s was answered %s", id, got)
				}
				mu.Lock()
				outcomes[id] = outcome{ok: err == nil, unsent: errors.Is(err, h1Unsent)}
				mu.Unlock()
				if i%3 == 0 {
					time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
				}
			}
		})
	}
	workers.Wait()
	mu.Lock()
	defer mu.Unlock()
	fine := 0
	for id, o := range outcomes {
		n := delivered[id]
		switch {
		case o.ok && n != 1, n > 1, o.unsent && n > 0:
			t.Errorf("call %.10s: delivered %d times, outcome %+v", id, n, o)
		case o.ok:
			fine++
		}
	}
	t.Logf("%d calls, %d answered", len(outcomes), fine)
	if len(outcomes) != 3200 || fine < 1600 || fine == 3200 {
		t.Errorf("%d of %d calls were answered: this tests nothing", fine, len(outcomes))
	}
}

func TestH1SendsAgainOnlyWhatWasNeverWritten(t *testing.T) {
	for _, c := range []struct {
		name    string
		written int // by the write that fails
		body    string
		getBody bool
		ok      bool
		unsent  bool
	}{
		{"nothing written", 0, "{}", false, true, false},
		{"one byte written", 1, "{}", true, false, false},
		{"large, nothing written", 0, strings.Repeat("x", 20<<10), true, true, false},
		{"large, nothing written, no second body", 0, strings.Repeat("x", 20<<10), false, false, true},
		{"large, head written", 60, strings.Repeat("x", 20<<10), true, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var delivered atomic.Int32
			addr := h1Serve(t, func(_ int, nc net.Conn, in *bufio.Reader) {
				for {
					if _, _, err := h1Take(in); err != nil {
						return
					}
					delivered.Add(1)
					io.WriteString(nc, "HTTP/1.1 204 No Content\r\n\r\n")
				}
			})
			broken, dials := false, 0
			tr := newH1Transport(&http.Transport{}, func(ctx context.Context, network, addr string) (net.Conn, error) {
				nc, err := (&net.Dialer{}).DialContext(ctx, network, addr)
				dials++
				first := dials == 1
				return &h1Tap{Conn: nc, write: func(p []byte) (int, error) {
					if !first || !broken {
						return nc.Write(p)
					}
					nc.Write(p[:min(c.written, len(p))])
					return min(c.written, len(p)), syscall.EPIPE
				}}, err
			})
			defer tr.CloseIdleConnections()
			if _, _, err := h1Call(t, tr, "POST", addr, "warm up"); err != nil || tr.idleCount() != 1 {
				t.Fatalf("warming up: %v, %d idle", err, tr.idleCount())
			}
			broken = true
			ctx, cancel := context.WithTimeout(t.Context(), h1Enough)
			defer cancel()
			r := h1Request(ctx, "POST", addr, c.body)
			if !c.getBody {
				r.GetBody = nil
			}
			resp, err := tr.RoundTrip(r)
			if err == nil {
				resp.Body.Close()
			}
			if (err == nil) != c.ok || errors.Is(err, h1Unsent) != c.unsent {
				t.Errorf("got %v; want ok %t, unsent %t", err, c.ok, c.unsent)
			}
			if want := map[bool]int{true: 2, false: 1}[c.ok]; dials != want || int(delivered.Load()) != want {
				t.Errorf("%d dials, %d deliveries, want %d of each", dials, delivered.Load(), want)
			}
		})
	}
}

func TestH1DeadConnectionsAreReplacedUnseen(t *testing.T) {
	for name, end := range map[string]func(*net.TCPConn){
		"closed":      func(c *net.TCPConn) { c.Close() },
		"half closed": func(c *net.TCPConn) { c.CloseWrite() },
		"reset":       func(c *net.TCPConn) { c.SetLinger(0); c.Close() },
		"408":         func(c *net.TCPConn) { io.WriteString(c, "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n") },
	} {
		t.Run(name, func(t *testing.T) {
			ended := make(chan bool, 1)
			addr := h1Serve(t, func(n int, c net.Conn, in *bufio.Reader) {
				h1Take(in)
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n"+fmt.Sprint(n))
				if n == 1 {
					end(c.(*net.TCPConn))
					ended <- true
				}
				io.Copy(io.Discard, in)
			})
			tr := h1Plain()
			defer tr.CloseIdleConnections()
			for want := 1; want <= 2; want++ {
				if _, got, err := h1Call(t, tr, "POST", addr, "{}"); err != nil || got != fmt.Sprint(want) {
					t.Fatalf("call %d: answered by connection %s, %v", want, got, err)
				}
				if want == 1 {
					<-ended
					time.Sleep(20 * time.Millisecond) // its end arrives
				}
			}
		})
	}
}

func TestH1AnswerBeforeTheRequestIsRead(t *testing.T) {
	for name, answer := range map[string]string{
		"with a body": "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig",
		"without":     "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			addr := h1Serve(t, func(_ int, c net.Conn, in *bufio.Reader) {
				in.ReadString('\n')
				io.WriteString(c, answer)
				time.Sleep(50 * time.Millisecond) // the answer arrives before the reset
			})
			tr := h1Plain()
			status, _, err := h1Call(t, tr, "POST", addr, strings.Repeat("x", 64<<20))
			if err != nil || status != 413 {
				t.Errorf("got %d, %v", status, err)
			}
			if n := tr.idleCount(); n != 0 {
				t.Errorf("a connection with half a request on it was kept")
			}
		})
	}
}

func TestH1CloseBeforeTheEnd(t *testing.T) {
	h1Leaks(t)
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, c := range []struct {
		name, now, later string
		pause            time.Duration
		kept             bool
	}{
		{"all is here", chunked + "1\r\na\r\n0\r\n\r\n", "", 0, true},
		{"the end follows", chunked + "1\r\na\r\n", "0\r\n\r\n", 5 * time.Millisecond, true},
		{"half the end is here", chunked + "1\r\na\r\n0\r", "\n\r\n", 5 * time.Millisecond, true},
		{"more follows after the end", chunked + "1\r\na\r\n", "0\r\n\r\nHTTP/1.1", 5 * time.Millisecond, false},
		{"the rest is short", "HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\na", strings.Repeat("b", 8999), 5 * time.Millisecond, true},
		{"the rest is long", "HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\na", strings.Repeat("b", 89999), 0, false},
		{"the rest is long and chunked", chunked + "1\r\na\r\nffff\r\n", strings.Repeat("b", 65535) + "\r\n0\r\n\r\n", 0, false},
		{"the end never comes", chunked + "1\r\na\r\n", "", 0, false},
		{"the end is malformed", chunked + "1\r\na\r\n", "zzz\r\n", 0, false},
		{"until close", "HTTP/1.1 200 OK\r\n\r\na", "b", 0, false},
		{"close was announced", "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 2\r\n\r\na", "b", 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			gone := make(chan bool)
			done := make(chan bool)
			addr := h1Serve(t, func(_ int, nc net.Conn, in *bufio.Reader) {
				h1Take(in)
				io.WriteString(nc, c.now)
				time.Sleep(c.pause)
				io.WriteString(nc, c.later)
				go func() { in.ReadByte(); close(gone) }()
				<-done
			})
			tr := h1Plain()
			tr.drainTime = 2 * time.Second // the machine may be busy with other things for that of calls
			defer tr.CloseIdleConnections()
			defer close(done)
			ctx, cancel := context.WithTimeout(t.Context(), h1Enough)
			defer cancel()
			resp, err := tr.RoundTrip(h1Request(ctx, "POST", addr, "{}"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(resp.Body, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			resp.Body.Close()
			if took := time.Since(start); took > tr.drainTime*4/5 {
				t.Errorf("Close took %v", took)
			}
			if n, err := resp.Body.Read(make([]byte, 1)); n != 0 || err != http.ErrBodyReadAfterClose {
				t.Errorf("reading after Close: %d, %v", n, err)
			}
			if c.kept {
				h1Eventually(t, "the connection is in the pool", func() bool { return tr.idleCount() == 1 })
				return
			}
			<-gone
			if n := tr.idleCount(); n != 0 {
				t.Error("the connection was kept")
			}
		})
	}
}

func TestH1CloseEndsARunningRead(t *testing.T) {
	h1Leaks(t)
	addr := h1Serve(t, func(_ int, c net.Conn, in *bufio.Reader) {
		h1Take(in)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
		io.Copy(io.Discard, in)
	})
	tr := h1Plain()
	for range 50 {
		resp, err := tr.RoundTrip(h1Request(t.Context(), "POST", addr, "{}"))
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error)
		go func() {
			_, err := io.ReadAll(resp.Body)
			ended <- err
		}()
		time.Sleep(time.Duration(rand.IntN(500)) * time.Microsecond)
		resp.Body.Close()
		if err := <-ended; err != http.ErrBodyReadAfterClose {
			t.Fatalf("the read ended with %v", err)
		}
	}
	h1Eventually(t, "none is kept", func() bool { return tr.idleCount() == 0 })
}

func TestH1PoolIsBounded(t *testing.T) {
	h1Leaks(t)
	serve := func(header string) string {
		return h1Serve(t, func(n int, c net.Conn, in *bufio.Reader) {
			for {
				if _, _, err := h1Take(in); err != nil {
					return
				}
				id := fmt.Sprint(n)
				fmt.Fprintf(c, "HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s", header, len(id), id)
			}
		})
	}
	// hold makes n exchanges that are open at the same time.
	hold := func(tr *h1Transport, addr string, n int) {
		var open []*http.Response
		for range n {
			resp, err := tr.RoundTrip(h1Request(t.Context(), "POST", addr, "{}"))
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, resp)
		}
		for _, resp := range open {
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	}
	a, b := serve(""), serve("")

	tr := h1Plain()
	tr.perHost, tr.total = 3, 5
	hold(tr, a, 6)
	if n := tr.idleCount(); n != 3 {
		t.Errorf("%d idle connections of one host, want 3", n)
	}
	hold(tr, b, 6)
	if n := tr.idleCount(); n != 5 {
		t.Errorf("%d idle connections, want 5", n)
	}
	tr.CloseIdleConnections()
	if n := tr.idleCount(); n != 0 || len(tr.idle) != 0 {
		t.Errorf("%d idle connections of %d hosts after all were closed", n, len(tr.idle))
	}

	resp, err := tr.RoundTrip(h1Request(t.Context(), "POST", a, "{}"))
	if err != nil {
		t.Fatal(err)
	}
	tr.CloseIdleConnections() // while one is in use
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if n := tr.idleCount(); n != 0 {
		t.Errorf("a connection from before all were closed is kept")
	}

	c := serve("")
	tr = h1Plain()
	hold(tr, c, 4)
	for range 3 { // the last used is used first
		if _, got, err := h1Call(t, tr, "POST", c, "{}"); err != nil || got != "4" {
			t.Errorf("answered by connection %s, %v; want 4", got, err)
		}
	}
	tr.CloseIdleConnections()

	tr = h1Plain()
	tr.idleTime = 40 * time.Millisecond
	hold(tr, a, 3)
	h1Eventually(t, "the idle are reaped", func() bool {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		return tr.count == 0 && len(tr.idle) == 0 && !tr.reaping
	})
	hold(tr, a, 1) // and the timer is set again
	h1Eventually(t, "the idle are reaped again", func() bool { return tr.idleCount() == 0 })

	for header, kept := range map[string]int{
		"Keep-Alive: timeout=5\r\n": 1, "Keep-Alive: max=2, Timeout=1\r\n": 0, "Keep-Alive: timeout=0\r\n": 0, "Keep-Alive: x\r\n": 1, "Connection: close\r\n": 0,
	} {
		tr = h1Plain()
		addr := serve(header)
		hold(tr, addr, 1)
		if n := tr.idleCount(); n != kept {
			t.Errorf("%q: %d kept, want %d", header, n, kept)
		} else if kept == 1 && strings.Contains(header, "=5") {
			if left := time.Until(tr.idle[addr][0].until); left > 4*time.Second {
				t.Errorf("%q: used for another %v", header, left)
			}
		}
		tr.CloseIdleConnections()
	}
}

func TestH1TakesNoExpiredConnection(t *testing.T) {
	addr := h1Serve(t, func(n int, c net.Conn, in *bufio.Reader) {
		for {
			if _, _, err := h1Take(in); err != nil {
				return
			}
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d", n)
		}
	})
	tr := h1Plain()
	defer tr.CloseIdleConnections()
	for want := 1; want <= 2; want++ {
		if _, got, err := h1Call(t, tr, "GET", addr, ""); err != nil || got != fmt.Sprint(want) {
			t.Fatalf("answered by connection %s, %v; want %d", got, err, want)
		}
		tr.mu.Lock()
		tr.idle[addr][0].until = time.Now()
		tr.mu.Unlock()
	}
}

func TestH1HandsHTTPSToTheFallback(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) }))
	defer srv.Close()
	tr := newH1Transport(srv.Client().Transport.(*http.Transport), func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("not this one")
	})
	defer tr.CloseIdleConnections()
	r := h1Request(t.Context(), "POST", srv.Listener.Addr().String(), "{}")
	r.URL.Scheme = "https"
	resp, err := tr.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.TLS == nil {
		t.Error("the answer did not come over TLS")
	}
}

func TestH1DialErrorIsUnsentAndItself(t *testing.T) {
	_, _, err := h1Call(t, h1Plain(), "POST", "127.0.0.1:1", "{}") // nothing listens there
	var op *net.OpError
	if !errors.Is(err, h1Unsent) || !errors.As(err, &op) || op.Op != "dial" {
		t.Errorf("got %v", err)
	}
}

// h1Corpus is answers both transports must understand alike.
func h1Corpus() map[string]string {
	return map[string]string{
		"length":             "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
		"empty":              "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n",
		"no reason":          "HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nab",
		"no space":           "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nab",
		"odd reason":         "HTTP/1.1 299 So \xe9 be it\r\nContent-Length: 0\r\n\r\n",
		"chunked":            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=\"y\"\r\n0123456789\r\n0\r\n\r\n",
		"chunked, spaces":    "HTTP/1.1 200 OK\r\nTransfer-Encoding:  Chunked \r\n\r\n0003; x\r\nabc\r\n000\r\n\r\n",
		"chunked, trailers":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: A, B\r\n\r\n1\r\na\r\n0\r\nA: b\r\nB: c\r\n\r\n",
		"until close":        "HTTP/1.1 200 OK\r\nX: y\r\n\r\nabc",
		"HTTP/1.0":           "HTTP/1.0 200 OK\r\n\r\nabc",
		"HTTP/1.0, length":   "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc",
		"interim":            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
		"204":                "HTTP/1.1 204 No Content\r\nX: y\r\n\r\n",
		"304":                "HTTP/1.1 304 Not Modified\r\nEtag: \"a\"\r\nContent-Length: 9\r\n\r\n",
		"404":                "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone",
		"redirect":           "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://other/\r\nContent-Length: 0\r\n\r\n",
		"repeated headers":   "HTTP/1.1 200 OK\r\nA: 1\r\nb: 2\r\na: 3\r\nA:\r\nSet-Cookie: x\r\nset-cookie: y\r\nContent-Length: 0\r\n\r\n",
		"odd values":         "HTTP/1.1 200 OK\r\nA:\t a b\t c \t\r\nB: \xe9:;\r\nC:\r\n!#$%&'*+-.^_`|~: t\r\nContent-Length: 0\r\n\r\n",
		"large head":         "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", 60<<10) + "\r\nContent-Length: 3\r\n\r\nabc",
		"200 headers":        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + strings.Repeat("A: b\r\n", 199) + "\r\n",
		"large body":         "HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + strings.Repeat("abc", 100_000),
		"large chunks":       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("7530\r\n"+strings.Repeat("abc", 10_000)+"\r\n", 10) + "0\r\n\r\n",
		"many chunks":        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("3\r\nabc\r\n", 10_000) + "0\r\n\r\n",
		"not decompressed":   "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
		"connection options": "HTTP/1.1 200 OK\r\nConnection: keep-alive, X\r\nKeep-Alive: timeout=5, max=7\r\nX: y\r\nContent-Length: 1\r\n\r\na",
	}
}

func TestH1AgreesWithNetHTTP(t *testing.T) {
	type answer struct {
		Status, Proto, Body string
		Code                int
		Length              int64
		Header              http.Header
		Coding              []string
		Err                 bool
	}
	for name, raw := range h1Corpus() {
		for _, method := range []string{"GET", "POST", "HEAD"} {
			t.Run(name+"/"+method, func(t *testing.T) {
				sent := raw
				if method == "HEAD" {
					head, _, _ := strings.Cut(raw[strings.LastIndex(raw, "HTTP/1."):], "\r\n\r\n")
					sent = head + "\r\n\r\n"
				}
				addr := h1Serve(t, func(_ int, c net.Conn, in *bufio.Reader) {
					if _, _, err := h1Take(in); err == nil {
						io.WriteString(c, sent)
					}
				})
				read := func(rt http.RoundTripper) (a answer) {
					body := ""
					if method == "POST" {
						body = "{}"
					}
					resp, err := rt.RoundTrip(h1Request(t.Context(), method, addr, body))
					if err != nil {
						t.Fatal(err)
					}
					defer resp.Body.Close()
					got, err := io.ReadAll(resp.Body)
					return answer{resp.Status, resp.Proto, string(got), resp.StatusCode, resp.ContentLength, resp.Header, resp.TransferEncoding, err != nil}
				}
				std := &http.Transport{DisableCompression: true}
				defer std.CloseIdleConnections()
				if diff := cmp.Diff(read(std), read(h1Plain())); diff != "" {
					t.Errorf("(-net/http +h1):\n%.2000s", diff)
				}
			})
		}
	}
}

// h1Tape is a connection that plays bytes in pieces and then ends.
type h1Tape struct {
	net.Conn
	left  []byte
	piece int
}

func (c *h1Tape) Read(p []byte) (int, error) {
	if len(c.left) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.piece)], c.left)
	c.left = c.left[n:]
	return n, nil
}

func (c *h1Tape) Write(p []byte) (int, error)      { return len(p), nil }
func (c *h1Tape) Close() error                     { return nil }
func (c *h1Tape) SetReadDeadline(time.Time) error  { return nil }
func (c *h1Tape) SetWriteDeadline(time.Time) error { return nil }

func FuzzH1Response(f *testing.F) {
	for _, name := range slices.Sorted(maps.Keys(h1Corpus())) {
		if raw := h1Corpus()[name]; len(raw) < 4<<10 {
			f.Add([]byte(raw), uint16(len(raw)), false)
			f.Add([]byte(raw), uint16(1), true)
		}
	}
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na"), uint16(7), false)
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n"), uint16(7), false)
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a\r\nabc\r\n0\r\nA: b\r\n\r\nHTTP/1.1 200"), uint16(9), false)
	f.Fuzz(func(t *testing.T, raw []byte, piece uint16, head bool) {
		method := "GET"
		if head {
			method = "HEAD"
		}
		tape := &h1Tape{left: raw, piece: max(1, int(piece))}
		tr := newH1Transport(&http.Transport{}, func(context.Context, string, string) (net.Conn, error) { return tape, nil })
		r := h1Request(context.Background(), method, "upstream", "")
		got, err := tr.RoundTrip(r)
		if err != nil {
			if errors.Is(err, h1Unsent) {
				t.Fatalf("the answer decided whether the request was sent: %v", err)
			}
			return
		}
		defer got.Body.Close()
		gotBody, gotErr := io.ReadAll(got.Body)
		if len(gotBody) > len(raw) || len(got.Header) > h1MaxHeaders {
			t.Fatalf("%d bytes of body and %d headers from %d bytes", len(gotBody), len(got.Header), len(raw))
		}
		if surplus := len(tape.left) > 0 && gotErr == nil; surplus && tr.idleCount() > 0 {
			// They stay on the connection: the next exchange must notice.
			if c := tr.take("upstream"); c != nil {
				t.Fatal("a connection with bytes on it is used again")
			}
		}
		in := bufio.NewReaderSize(bytes.NewReader(raw), 128<<10)
		want, err := http.ReadResponse(in, r)
		for i := 0; err == nil && want.StatusCode < 200 && i < h1MaxInterim; i++ {
			want, err = http.ReadResponse(in, r)
		}
		if err != nil {
			if strings.Contains(err.Error(), "bad trailer key") {
				return // it judges the names of trailers, which we drop
			}
			t.Fatalf("net/http refuses what was accepted: %v", err)
		}
		defer want.Body.Close()
		wantBody, wantErr := io.ReadAll(want.Body)
		if got.Header["Pragma"] != nil {
			delete(got.Header, "Cache-Control") // net/http invents one
			delete(want.Header, "Cache-Control")
		}
		delete(got.Header, "Trailer") // announced without chunks or not, it means nothing
		delete(want.Header, "Trailer")
		if got.Status != want.Status || got.StatusCode != want.StatusCode || got.ContentLength != want.ContentLength {
			t.Fatalf("got %q %d, net/http %q %d", got.Status, got.ContentLength, want.Status, want.ContentLength)
		}
		if diff := cmp.Diff(want.Header, got.Header); diff != "" {
			t.Fatalf("headers (-net/http +h1):\n%s", diff)
		}
		if gotErr == nil && (wantErr != nil || !bytes.Equal(gotBody, wantBody)) {
			t.Fatalf("body %q, net/http %q, %v", gotBody, wantBody, wantErr)
		}
	})
}
