package identify_test

import (
	"archive/zip"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rutile/internal/discovery"
)

func TestHostileListingIsRefusedByName(t *testing.T) {
	const entry = `{"server":{"name":"a.example/x","version":"1"},"_meta":{"io.modelcontextprotocol.registry/official":{"status":"active"}}}`
	for name, c := range map[string]struct{ text, why string }{
		"no JSON":         {`{"servers":[`, "page.json"},
		"a key twice":     {`{"servers":[],"servers":[` + entry + `]}`, "twice"},
		"a key in 2 case": {`{"Servers":[],"servers":[` + entry + `]}`, "two cases"},
		"deep":            {strings.Repeat(`{"servers":`, 100) + "1" + strings.Repeat("}", 100), "deep"},
		"a wrong type":    {`{"servers":{"a":1}}`, "servers is not of the type"},
		"a list":          {`[` + entry + `]`, "not of the type"},
		"no servers":      {`{"metadata":{}}`, "servers is missing"},
		"nothing in it":   {`{"servers":[]}`, "no record"},
		"another status":  {`{"servers":[` + strings.Replace(entry, "active", "Active", 1) + `]}`, "no record"},
	} {
		t.Run(name, func(t *testing.T) {
			r := run([]string{"uvx anything"}, listing(write(t, "page.json", c.text)))
			failed := r.Failed()
			if len(failed) != 1 || !strings.Contains(failed[0].Why, c.why) || !strings.Contains(failed[0].Why, "is not used") {
				t.Errorf("failed %+v, want one that says %q", failed, c.why)
			}
			if len(r.Servers) != 1 || len(r.Copies) != 0 {
				t.Errorf("servers %d, copies %v: what was seen stays, and the copy is not used", len(r.Servers), r.Copies)
			}
		})
	}
}

func TestUnreadableRecordIsNeverClean(t *testing.T) {
	const good = `{"id":"X-1","modified":"2026-11-20T12:00:00Z","affected":[{"package":{"ecosystem":"npm","name":"lib"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1.0.0"}]}]}]}`
	for name, bad := range map[string]string{
		"no JSON":            `{"id":`,
		"a key twice":        `{"id":"X-2","id":"X-3","modified":"2026-11-20T12:00:00Z"}`,
		"a wrong type":       `{"id":"X-2","modified":"2026-11-20T12:00:00Z","affected":"all"}`,
		"no id":              `{"modified":"2026-11-20T12:00:00Z"}`,
		"no time":            `{"id":"X-2"}`,
		"no time at all":     `{"id":"X-2","modified":"yesterday"}`,
		"two in one event":   strings.NewReplacer("X-1", "X-2", `{"introduced":"0"},`, `{"introduced":"0","fixed":"2.0.0"},`).Replace(good),
		"a range of a kind":  strings.NewReplacer("X-1", "X-2", "SEMVER", "MAGIC").Replace(good),
		"an id with escapes": `{"id":"\u001b[31m","modified":"2026-11-20T12:00:00Z"}`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range map[string]string{"a.json": good, "b.json": bad} {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			r := run([]string{"npx -y lib@1.0.0"}, osv(dir))
			if len(r.Copies) != 1 || r.Copies[0].Unread != 1 || r.Copies[0].Records != 1 {
				t.Errorf("copies %+v, want one record and one unread", r.Copies)
			}
			if len(r.Identified) != 1 || r.Identified[0].Verdict != discovery.NoData {
				t.Errorf("identified %+v: what could not be read may speak of it", r.Identified)
			}
			if r.Counts[discovery.Unreadable] != 1 {
				t.Errorf("counts %v, want one that could not be read", r.Counts)
			}
		})
	}
}

func TestBoundOfARangeThatHasNoOrderIsNotClean(t *testing.T) {
	file := write(t, "x.json", `{"id":"X-1","modified":"2026-11-20T12:00:00Z","affected":[{"package":{"ecosystem":"npm","name":"lib"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"soon"}]}]}]}`)
	if r := run([]string{"npx -y lib@9.0.0"}, osv(file)); r.Identified[0].Verdict != discovery.UnknownVersion {
		t.Errorf("identified %+v", r.Identified)
	}
	commits := write(t, "x.json", `{"id":"X-1","modified":"2026-11-20T12:00:00Z","affected":[{"package":{"ecosystem":"npm","name":"lib"},"ranges":[{"type":"GIT","events":[{"introduced":"0"}]}]}]}`)
	if r := run([]string{"npx -y lib@9.0.0"}, osv(commits)); r.Identified[0].Verdict != discovery.UnknownVersion {
		t.Errorf("identified %+v", r.Identified)
	}
}

func TestLinksInACopyAreNotFollowed(t *testing.T) {
	dir := t.TempDir()
	secret := write(t, "elsewhere.json", `{"id":"X-9","modified":"2026-11-20T12:00:00Z"}`)
	if err := os.WriteFile(filepath.Join(dir, "a.json"), []byte(`{"id":"X-1","modified":"2026-11-20T12:00:00Z"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(dir, "b.json")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("..", filepath.Join(dir, "c")); err != nil {
		t.Fatal(err)
	}
	r := run(nil, osv(dir))
	if len(r.Copies) != 1 || r.Copies[0].Records != 1 || r.Copies[0].Unread != 1 {
		t.Errorf("copies %+v, want one record and the link unread", r.Copies)
	}
}

func TestHugeRecordEndsTheReadingWhereverItIs(t *testing.T) {
	dir := t.TempDir()
	big := filepath.Join(dir, "big.json")
	if err := os.WriteFile(big, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(big, 64<<20); err != nil { // sparse
		t.Fatal(err)
	}
	if failed := run(nil, osv(dir)).Failed(); len(failed) != 1 || !strings.Contains(failed[0].Why, `"big.json" has more than`) {
		t.Errorf("failed %+v", failed)
	}
	file := filepath.Join(t.TempDir(), "bomb.zip")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	w, err := z.Create("bomb.json")
	for range 9 << 4 {
		if err == nil {
			_, err = w.Write(make([]byte, 1<<16))
		}
	}
	if err != nil || z.Close() != nil || f.Close() != nil {
		t.Fatal(err)
	}
	if failed := run(nil, osv(file)).Failed(); len(failed) != 1 || !strings.Contains(failed[0].Why, `bomb.json" has more than`) {
		t.Errorf("failed %+v", failed)
	}
}

func TestInterruptEndsTheReading(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s := discovery.Run(ctx, []discovery.Source{osv("testdata/osv")}, now, nil)
	if !s.Interrupted || len(s.Copies) != 0 {
		t.Errorf("interrupted %v, copies %v", s.Interrupted, s.Copies)
	}
}
