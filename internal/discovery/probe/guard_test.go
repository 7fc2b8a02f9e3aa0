package probe_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rutile/internal/discovery/probe"
)

func TestForbiddenTargetsAreRefusedByTheirWords(t *testing.T) {
	t.Parallel()
	own := []netip.AddrPort{netip.MustParseAddrPort("127.0.5.1:7433"), netip.MustParseAddrPort("0.0.0.0:7434")}
	for word, why := range map[string]string{
		"169.254.169.254":                  "metadata",
		"http://169.254.169.254/mcp":       "metadata",
		"http://[fd00:ec2::254]/":          "metadata",
		"100.100.100.200":                  "metadata",
		"http://[::ffff:169.254.169.254]/": "metadata",
		"169.254.0.0/24":                   "link-local",
		"fe80::1":                          "link-local",
		"224.0.0.1":                        "multicast",
		"239.0.0.0/24":                     "multicast",
		"ff02::1":                          "multicast",
		"255.255.255.255":                  "broadcast",
		"0.0.0.0":                          "no machine",
		"8.8.8.8":                          "public",
		"8.8.8.0/24":                       "private",
		"http://[64:ff9b::a9fe:a9fe]/":     "carries",
		"0.0.0.0/0":                        "private",
		"10.0.0.0/8":                       "authorized",
		"10.0.0.0/19":                      "authorized",
		"127.0.5.1:7433":                   "own gateway",
		"http://127.0.5.9:7434/mcp":        "own gateway",
		"https://MCP.ours.example./mcp":    "own gateway",
		"mcp.ours.example":                 "own gateway",
		"http://127.1/":                    "CIDR",
		"http://0x7f000001/":               "CIDR",
		"http://2130706433/":               "CIDR",
		"http://u:p@127.0.5.1/":            "credential",
		"http://127.0.5.1/?token=x":        "credential",
		"ftp://127.0.5.1/":                 "neither",
		"127.0.5.1:0":                      "port",
		"a b":                              "CIDR",
		"":                                 "CIDR",
	} {
		report, err := probe.Run(t.Context(), probe.Config{Own: own, OwnHosts: []string{"mcp.ours.example"}}, []string{word})
		if err == nil || !strings.Contains(err.Error(), why) || report.Connections != 0 {
			t.Errorf("%q: %v, want a refusal with %q", word, err, why)
		}
		if err != nil && strings.Contains(err.Error(), "token") {
			t.Errorf("%q: the refusal repeats a secret: %v", word, err)
		}
	}
}

func TestNamesAreJudgedByWhatTheyResolveTo(t *testing.T) {
	t.Parallel()
	server := serve(t, "127.0.5.100", false, rpc("/mcp", map[string]string{"server/discover": discovered}))
	port := server.URL[strings.LastIndexByte(server.URL, ':'):]
	names := map[string][]netip.Addr{
		"metadata.example": {netip.MustParseAddr("169.254.169.254")},
		"public.example":   {netip.MustParseAddr("8.8.8.8")},
		"both.example":     {netip.MustParseAddr("::ffff:169.254.169.254"), netip.MustParseAddr("127.0.5.100")},
	}
	asked := 0
	report, err := probe.Run(t.Context(), probe.Config{Resolve: func(_ context.Context, host string) ([]netip.Addr, error) {
		asked++
		if a, ok := names[host]; ok {
			return a, nil
		}
		return nil, errors.New("no such name")
	}}, []string{"http://metadata.example" + port + "/mcp", "http://public.example" + port + "/mcp", "http://both.example" + port + "/mcp", "http://unknown.example" + port + "/mcp"})
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Found) != 1 || report.Found[0].URL != "http://both.example"+port+"/mcp" || report.Refused != 3 || len(report.Refusals) != 3 || len(report.Unresolved) != 1 {
		t.Errorf("%+v", report)
	}
	for _, r := range report.Refusals {
		if strings.Contains(r.What, port) {
			t.Errorf("%s: the port has nothing to do with it", r.What)
		}
	}
	if report.Connections != 1 || asked != 4 {
		t.Errorf("%d connections and %d look-ups, want 1 and 4: a name is looked up once and its address is pinned", report.Connections, asked)
	}
}

func TestAddressIsJudgedAgainOnConnect(t *testing.T) {
	t.Parallel()
	for addr, cfg := range map[string]probe.Config{
		"169.254.169.254:80": {},
		"8.8.8.8:80":         {},
		"127.0.5.1:7433":     {Own: []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:7433")}},
		"224.0.0.1:80":       {Allow: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}},
	} {
		if err := probe.Dial(t.Context(), cfg, netip.MustParseAddrPort(addr)); !errors.Is(err, probe.ErrRefused) {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

func TestEdgesOfANetworkAreNotProbed(t *testing.T) {
	t.Parallel()
	s := listenAt(t, "127.0.5.104")
	_ = s.Close()
	_, port, _ := strings.Cut(s.Addr().String(), ":")
	report, err := probe.Run(t.Context(), probe.Config{}, []string{"127.0.5.104/30:" + port, "127.0.5.104:" + port, "127.0.5.105/32:" + port})
	if err != nil || report.Refused != 2 || report.Places != 6 || report.Closed != 3 || report.Done != 6 || report.Connections != 3 {
		t.Errorf("%+v, %v: the edges are refused, and what two targets name is asked once", report, err)
	}
}

func TestAllowFileIsReadByLine(t *testing.T) {
	t.Parallel()
	got, err := probe.ReadAllow(strings.NewReader("# ours\n203.0.113.0/24\n\n198.51.100.7 # one machine\n2001:db8::/32\n"))
	if err != nil || len(got) != 3 || got[1].String() != "198.51.100.7/32" {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"all\n", "1.2.3.4/33\n", "example.com\n", "fe80::1%eth0\n"} {
		if _, err := probe.ReadAllow(strings.NewReader("10.0.0.0/8\n" + bad)); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestOrderIsAPermutationOfItsSeed(t *testing.T) {
	t.Parallel()
	for _, n := range []uint64{1, 2, 3, 18, 255, 4608} {
		a := probe.Permutation(7, n)
		if !slices.Equal(a, probe.Permutation(7, n)) {
			t.Errorf("%d: the same seed gives two orders", n)
		}
		if n > 100 && (slices.IsSorted(a) || slices.Equal(a, probe.Permutation(8, n))) {
			t.Errorf("%d: the order is no order by chance", n)
		}
		slices.Sort(a)
		for i, v := range a {
			if v != uint64(i) {
				t.Fatalf("%d: %d is missing or twice", n, i)
			}
		}
	}
}

func TestPaceBoundsTheWholeAndEachAddress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := probe.NewPace(1000, 1000) // more than the limits is not to be had
		began := time.Now()
		done := make(chan netip.Addr)
		for i := range 60 {
			a := netip.AddrFrom4([4]byte{127, 0, 5, byte(i % 30)})
			go func() {
				release, err := p.Take(t.Context(), a)
				if err == nil {
					release()
				}
				done <- a
			}()
		}
		for range 60 {
			<-done
		}
		if got := time.Since(began); got < 59*50*time.Millisecond || got > 10*time.Second {
			t.Errorf("60 connections began in %v, at most 20 a second are allowed", got)
		}
		a := netip.MustParseAddr("127.0.5.200")
		began = time.Now()
		var held []func()
		for range 2 {
			release, err := p.Take(t.Context(), a)
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, release)
		}
		if got := time.Since(began); got < 500*time.Millisecond {
			t.Errorf("two connections to one address began within %v", got)
		}
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		if _, err := p.Take(ctx, a); err == nil {
			t.Error("a third connection to one address was open beside two")
		}
		held[0]()
		if _, err := p.Take(t.Context(), a); err != nil {
			t.Errorf("after one ended there was no turn: %v", err)
		}
	})
}
