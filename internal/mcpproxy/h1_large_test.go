package mcpproxy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
)

// A body that comes in faster than it is read is read into a larger buffer, in
// the middle of a chunk as between two: nothing of it may be lost or doubled,
// whether there are pauses or none, and the connection stays of use.
func TestH1LargeBodiesComeWhole(t *testing.T) {
	var want bytes.Buffer
	for i := range 60_000 {
		fmt.Fprintf(&want, "%d,", i)
	}
	for _, piece := range []int{1, 700, 2048, h1BufferSize, h1BufferSize + 1, 100_000} {
		t.Run(fmt.Sprint(piece), func(t *testing.T) {
			body := want.Bytes()
			if piece == 1 {
				body = body[:40_000]
			}
			resume := make(chan struct{})
			addr := h1Serve(t, func(_ int, c net.Conn, in *bufio.Reader) {
				for {
					if _, _, err := h1Take(in); err != nil {
						return
					}
					var out bytes.Buffer
					out.WriteString("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
					half := 0
					for rest := body; len(rest) > 0; {
						n := min(piece, len(rest))
						fmt.Fprintf(&out, "%x\r\n%s\r\n", n, rest[:n])
						rest = rest[n:]
						if half == 0 && len(rest) < len(body)/2 {
							half = out.Len()
						}
					}
					out.WriteString("0\r\n\r\n")
					c.Write(out.Bytes()[:half])
					<-resume // by now all of it has been read
					c.Write(out.Bytes()[half:])
				}
			})
			tr := h1Plain()
			t.Cleanup(tr.CloseIdleConnections)
			for range 2 {
				resp, err := tr.RoundTrip(h1Request(context.Background(), "POST", addr, "{}"))
				if err != nil {
					t.Fatal(err)
				}
				got := make([]byte, len(body)/2-piece-1)
				if piece < len(body)/2 {
					if _, err := io.ReadFull(resp.Body, got); err != nil {
						t.Fatal(err)
					}
				} else {
					got = nil
				}
				resume <- struct{}{}
				rest, err := io.ReadAll(resp.Body)
				if got := slices.Concat(got, rest); err != nil || !bytes.Equal(got, body) {
					t.Fatalf("%d bytes, want %d, or others: %v", len(got), len(body), err)
				}
				resp.Body.Close()
			}
			tr.mu.Lock()
			defer tr.mu.Unlock()
			if tr.count != 1 {
				t.Errorf("%d idle connections, want the one", tr.count)
			}
		})
	}
}
