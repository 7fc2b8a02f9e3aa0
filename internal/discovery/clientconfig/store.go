package clientconfig

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"rutile/internal/discovery"
)

func itoa(n int) string { return strconv.Itoa(n) }

// stores looks at where clients keep tokens: whether, since when, and who may
// read it. The files are not opened.
func (x *scan) stores(ctx context.Context) {
	for _, st := range x.cfg.Table.Stores {
		for _, raw := range x.raw(st.OS, st.EnvOverride) {
			for _, p := range x.expand(raw, "") {
				hits, outcome := x.match(ctx, p)
				x.whole.add(p, outcome.Outcome == "")
				for _, file := range hits {
					x.store(st, file)
				}
			}
		}
	}
}

func (x *scan) store(st Store, file string) {
	info, err := os.Stat(filepath.FromSlash(file))
	if err != nil || !info.Mode().IsRegular() {
		return
	}
	at := discovery.Place{Path: x.cfg.Paths.Show(file)}
	mode := info.Mode().Perm()
	c := discovery.Credential{Name: st.Client + " tokens", Kind: discovery.SecretLiteral, Where: "cache", Place: at, Age: days(x.cfg.Now(), info.ModTime())}
	if x.cfg.System != Windows { // mode bits say nothing there
		c.Mode = fmt.Sprintf("%04o", mode)
	}
	x.into.Keeps(c)
	if x.cfg.System != Windows && mode&0o044 != 0 {
		f := discovery.NewFinding(discovery.TokenCacheExposed, discovery.High, "", at,
			"tokens of "+st.Client+" that other people of this machine may read", "chmod 600 the file, and have its tokens issued anew")
		f.Evidence = []string{"mode " + c.Mode}
		x.into.Find(f)
	}
}
