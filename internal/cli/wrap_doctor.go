package cli

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"rutile/internal/api"
	"rutile/internal/discovery/clientconfig"
	"rutile/internal/discovery/wrap"
)

// next says what a person does first with a gateway nothing goes through yet.
func (a *app) next(data string) {
	book := wrap.Book{Dir: filepath.Join(data, "wrap"), Disk: wrap.System{}, Now: a.now}
	records, err := book.Records()
	if err != nil || slices.ContainsFunc(records, func(r wrap.Record) bool { return len(r.Pieces()) > 0 }) {
		return
	}
	usual := ""
	if a.data != "" {
		usual = " --data " + shellWord(data)
	}
	a.say("next: rutile wrap%s   shows the edits that route the clients of this machine through the gateway", usual)
}

// examineClients looks at what wrap wrote: whether it is still there, and whether
// the shim starts as a client starts it.
func (a *app) examineClients(ctx context.Context) []api.Check {
	const name = "clients"
	d, err := a.desk()
	if err != nil {
		return nil
	}
	records, bad := d.book.Records()
	if bad != nil {
		return []api.Check{{Name: name, Level: api.LevelBroken, Reason: bad.Error(), Mend: "put the folder wrap of the data directory back from a backup; the backups in it are whole files, named by their digest"}}
	}
	if !slices.ContainsFunc(records, func(r wrap.Record) bool { return len(r.Pieces()) > 0 }) {
		return nil
	}
	files, err := a.files(ctx, d, scope{})
	if err != nil {
		return nil
	}
	var out []api.Check
	good := 0
	for _, s := range wrap.Compare(files, records, d.describe, func(string) bool { return true }, d.paths.Show) {
		switch s.Status {
		case wrap.StatusWrapped:
			good++
		case wrap.StatusNew:
		default:
			out = append(out, api.Check{Name: name, Level: api.LevelWarning, Reason: fmt.Sprintf("%s in %s is %s: %s", s.Entry, s.File, s.Status, s.Why), Mend: "rutile wrap, or rutile unwrap --client " + s.Client})
		}
	}
	out = append(out, api.Check{Name: name, Level: api.LevelOK, Reason: fmt.Sprintf("%d entries go through the gateway", good)})
	return append(out, a.examineShim(ctx, files)...)
}

// shimTime bounds how long the shim may take to end when its client is gone.
const shimTime = 10 * time.Second

// examineShim starts the shim of every client as that does: with no environment, in
// another folder, and closes its end. Only this very binary is started.
func (a *app) examineShim(ctx context.Context, files []clientconfig.File) []api.Check {
	const name = "shim"
	self, err := program()
	if err != nil {
		return nil
	}
	var out []api.Check
	tried := map[string]bool{}
	for _, f := range files {
		for _, e := range f.Entries {
			line := strings.Join(append([]string{e.Spec.Command}, e.Spec.Args...), "\x00")
			if !e.Wrapped || e.Spec.Command == "" || tried[line] {
				continue
			}
			tried[line] = true
			if info, err := os.Stat(e.Spec.Command); err != nil || info.IsDir() {
				out = append(out, api.Check{Name: name, Level: api.LevelBroken, Reason: fmt.Sprintf("%s starts %s, which is not there", f.Show, e.Spec.Command), Mend: "rutile unwrap --all, then rutile wrap with the binary where it stays"})
				continue
			}
			if e.Spec.Command != self {
				continue // an older or another build: not ours to start
			}
			if why := startShim(ctx, self, e.Spec.Args); why != "" {
				out = append(out, api.Check{Name: name, Level: api.LevelBroken, Reason: fmt.Sprintf("as %s starts it, it does not: %s", e.Row.Client, why), Mend: "rutile unwrap --client " + e.Row.Client + ", then rutile wrap"})
			}
		}
	}
	if len(out) == 0 && len(tried) > 0 {
		out = append(out, api.Check{Name: name, Level: api.LevelOK, Reason: fmt.Sprintf("%d of its starts were looked at, without an environment", len(tried))})
	}
	return out
}

// startShim is why the shim does not start, "" if it does.
func startShim(ctx context.Context, self string, args []string) string {
	ctx, cancel := context.WithTimeout(ctx, shimTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env, cmd.Dir = []string{}, string(filepath.Separator)
	said, err := cmd.CombinedOutput()
	if err == nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(said)), "\n")
	if last := lines[len(lines)-1]; last != "" {
		return last
	}
	return err.Error()
}
