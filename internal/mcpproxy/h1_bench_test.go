//go:build unix

package mcpproxy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The upstream is in the same process and does as little as it can.
func BenchmarkH1(b *testing.B) { h1Bench(b, h1Plain()) }

func BenchmarkNetHTTP(b *testing.B) {
	// What newTransport builds, without the check of addresses.
	tr := &http.Transport{
		DialContext: (&net.Dialer{}).DialContext, DisableCompression: true, ForceAttemptHTTP2: true,
		MaxIdleConns: 4096, MaxIdleConnsPerHost: 512, IdleConnTimeout: 90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10, WriteBufferSize: 16 << 10, ReadBufferSize: 16 << 10,
	}
	h1Bench(b, tr)
}

func h1Bench(b *testing.B, rt http.RoundTripper) {
	defer rt.(interface{ CloseIdleConnections() }).CloseIdleConnections()
	small := []byte(`{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"` + strings.Repeat("r", 180) + `"}]}}`)
	large := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
	for _, bench := range []struct {
		name     string
		reply    []byte
		chunked  bool
		parallel int
	}{
		{"json/c=1", small, false, 1},
		{"json/c=16", small, false, 16},
		{"sse/c=1", []byte("event: message\ndata: " + string(small) + "\n\n"), true, 1},
		{"1MiB-length/c=1", large, false, 1},
		{"1MiB-chunked/c=1", large, true, 1},
	} {
		b.Run(bench.name, func(b *testing.B) {
			call := []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"` + strings.Repeat("a", 900) + `"}}}`)
			u := &url.URL{Scheme: "http", Host: h1Upstream(b, len(call), bench.reply, bench.chunked), Path: "/mcp"}
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			one := func(into []byte) error {
				ctx, cancel := context.WithCancel(ctx)
				defer cancel()
				resp, err := rt.RoundTrip(h1BenchRequest(ctx, u, call))
				if err != nil {
					return err
				}
				n, err := io.ReadFull(resp.Body, into)
				resp.Body.Close()
				if n != len(bench.reply) || err != nil && err != io.EOF {
					return fmt.Errorf("%d bytes: %w", n, err)
				}
				return nil
			}
			b.ReportAllocs()
			before := h1CPU(b)
			b.SetParallelism((bench.parallel + 1) / 2)
			if bench.parallel == 1 {
				into := make([]byte, len(bench.reply))
				for b.Loop() {
					if err := one(into); err != nil {
						b.Fatal(err)
					}
				}
			} else {
				b.RunParallel(func(pb *testing.PB) {
					into := make([]byte, len(bench.reply))
					for pb.Next() {
						if err := one(into); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			b.ReportMetric(float64(h1CPU(b)-before)/float64(b.N)/1e3, "cpu-µs/op")
		})
	}
}

// h1Upstream answers every request of a known length with the same bytes.
func h1Upstream(b *testing.B, length int, reply []byte, chunked bool) string {
	kind, body := "application/json\r\nContent-Length: "+strconv.Itoa(len(reply)), bytes.Clone(reply)
	if chunked {
		kind, body = "text/event-stream\r\nTransfer-Encoding: chunked", nil
		for rest := reply; len(rest) > 0; rest = rest[min(len(rest), 4<<10):] {
			piece := rest[:min(len(rest), 4<<10)]
			body = fmt.Appendf(body, "%x\r\n%s\r\n", len(piece), piece)
		}
		body = append(body, "0\r\n\r\n"...)
	}
	answer := append([]byte("HTTP/1.1 200 OK\r\nDate: Tue, 24 Nov 2026 04:00:00 GMT\r\nContent-Type: "+kind+"\r\n\r\n"), body...)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf, n := make([]byte, 64<<10), 0
				for {
					m, err := c.Read(buf[n:])
					if err != nil {
						return
					}
					n += m
					if i := bytes.Index(buf[:n], []byte("\r\n\r\n")); i < 0 || n < i+4+length {
						continue
					}
					n = 0
					if _, err := c.Write(answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

func h1BenchRequest(ctx context.Context, u *url.URL, body []byte) *http.Request {
	r := &http.Request{
		Method: "POST", URL: u, Host: u.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{
			"Accept": {"application/json, text/event-stream"}, "User-Agent": {"rutile"}, "Content-Type": {"application/json"},
			"Mcp-Protocol-Version": {"2026-07-28"}, "Mcp-Method": {"tools/call"}, "Mcp-Name": {"echo"},
			"Authorization": {"Bearer " + strings.Repeat("t", 40)},
		},
		ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewReader(body)),
	}
	return r.WithContext(ctx)
}

// h1CPU is the processor time of this process, client and upstream together.
func h1CPU(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
