package cli

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"rutile/internal/access"
	"rutile/internal/api"
	"rutile/internal/audit"
)

// maxProofFile bounds a proof file and a policy file.
const maxProofFile = 64 << 20

func (a *app) auditProve() *cobra.Command {
	var out string
	c := a.command("prove ID", "Write a proof that verifies without the gateway", "rutile audit prove dec_01KB… > denial.proof", calling(), func(ctx context.Context, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		if out != "" {
			v := url.Values{}
			if _, err := strconv.ParseUint(args[0], 10, 62); err == nil {
				v.Set("index", args[0])
			} else {
				v.Set("decision", args[0])
			}
			return a.bundle(ctx, client, v, out)
		}
		p, err := client.Prove(ctx, args[0])
		if err != nil {
			return err
		}
		b, err := api.Marshal(p)
		if err != nil {
			return err
		}
		if a.format == "yaml" {
			return access.Errorf(access.CodeUsage, "a proof is JSON: leave out -o yaml")
		}
		_, err = a.out.Write(b)
		return err
	})
	c.Long = `Write a proof of everything recorded of a decision (dec_…), a change (chg_…) or a
leaf (its index). The file holds the exact leaves, their inclusion proofs (C2SP
tlog-proof) and the signed checkpoint; rutile audit verify needs nothing else.
With --out a bundle directory is written instead, for other verifiers.`
	c.Flags().StringVar(&out, "out", "", "write a bundle into this new `directory`")
	return c
}

func (a *app) auditExport() *cobra.Command {
	var out string
	var disclose, payloads bool
	var f *filter
	c := a.command("export", "Hand over evidence with its proofs", "rutile audit export --agent reader --since 24h --out bundle", calling(), func(ctx context.Context, _ []string) error {
		if out == "" {
			return access.Errorf(access.CodeUsage, "say where to write the bundle: --out DIRECTORY")
		}
		client, err := a.client()
		if err != nil {
			return err
		}
		v := f.query()
		if disclose {
			v.Set("disclose", "true")
		}
		if payloads {
			v.Set("payloads", "true")
		}
		return a.bundle(ctx, client, v, out)
	})
	c.Long = `Hand over evidence: what matches, each leaf with its proof, in a directory that
rutile audit verify reads without the gateway. An intent comes with its outcome.`
	f = filterFlags(c)
	c.Flags().StringVar(&out, "out", "", "new `directory` to write to")
	c.Flags().BoolVar(&disclose, "disclose", false, "open what the leaves commit to, for the reader to see in clear")
	c.Flags().BoolVar(&payloads, "payloads", false, "add the encrypted excerpts")
	return c
}

// bundle fetches a bundle into a new directory. It appears whole or not at all.
func (a *app) bundle(ctx context.Context, client *api.Client, v url.Values, out string) (err error) {
	if entries, err := os.ReadDir(out); err == nil && len(entries) > 0 {
		return access.Errorf(access.CodeConflict, "%s is not empty: name a new directory", out)
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return access.Errorf(access.CodeInvalid, "%w", err)
	}
	body, err := client.Bundle(ctx, v)
	if err != nil {
		return err
	}
	defer body.Close()
	tmp, err := os.MkdirTemp(filepath.Dir(filepath.Clean(out)), ".rutile-")
	if err != nil {
		return fmt.Errorf("writing the bundle: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	n, err := untar(body, tmp)
	if err != nil {
		return fmt.Errorf("writing the bundle: %w", err)
	}
	_ = os.Remove(out) // an empty directory, if there is one
	if err := os.Rename(tmp, out); err != nil {
		return fmt.Errorf("writing the bundle: %w", err)
	}
	a.say("%d files; check them anywhere with: rutile audit verify %s", n, shellWord(out))
	return a.print(struct {
		Bundle string `json:"bundle"`
		Files  int    `json:"files"`
	}{out, n}, func(w io.Writer) { fmt.Fprintln(w, out) })
}

// untar writes regular files below dir and refuses everything else.
func untar(r io.Reader, dir string) (files int, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return files, err
		}
		if h.Typeflag != tar.TypeReg || !filepath.IsLocal(h.Name) {
			return files, fmt.Errorf("it holds %q, which is no ordinary file", h.Name)
		}
		name := filepath.FromSlash(h.Name)
		if err := root.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return files, err
		}
		b, err := io.ReadAll(t)
		if err != nil {
			return files, err
		}
		if err := root.WriteFile(name, b, 0o600); err != nil {
			return files, err
		}
		files++
	}
}

func (a *app) auditVerify() *cobra.Command {
	var o audit.VerifyOptions
	var policyFile string
	c := a.command("verify PATH", "Check evidence without a gateway", "rutile audit verify denial.proof", []access.Code{access.CodeFindings, access.CodePartial}, func(_ context.Context, args []string) error {
		if policyFile != "" {
			b, err := readFile(policyFile, maxProofFile)
			if err != nil {
				return err
			}
			o.Policy = b
		}
		report, err := verify(args[0], o)
		if err != nil {
			return err
		}
		if err := a.print(report, func(w io.Writer) { writeVerified(w, report) }); err != nil {
			return err
		}
		switch report.ExitStatus() {
		case audit.ExitProblems:
			return ended(access.CodeFindings)
		case audit.ExitLacking:
			return ended(access.CodePartial)
		default:
			return nil
		}
	})
	c.Long = `Check evidence without a gateway, a network or a store. PATH is an evidence
directory, an exported bundle, a proof file of rutile audit prove, or a
.tlog-proof with its leaf beside it.

Without --key or --policy the key the evidence itself names is used: that shows
that it is whole and consistent, not whose it is. The status is 0 if everything
verifies, 3 if something does not, 5 if it verifies but is less than was demanded.`
	c.Flags().StringArrayVar(&o.Keys, "key", nil, "`vkey` of a log to trust; may be repeated")
	c.Flags().StringVar(&policyFile, "policy", "", "`file` with a C2SP tlog-policy: logs, witnesses and a quorum")
	c.Flags().BoolVar(&o.Complete, "complete", false, "demand that every intent has an outcome")
	return c
}

// verify checks a path, whichever form of evidence it is.
func verify(path string, o audit.VerifyOptions) (audit.Report, error) {
	info, err := os.Stat(path)
	if err != nil {
		return audit.Report{}, access.Errorf(access.CodeInvalid, "%w", err)
	}
	if info.IsDir() {
		// The data directory of a gateway holds its evidence.
		if inner := filepath.Join(path, "evidence"); isDir(inner) && !isDir(filepath.Join(path, "log")) {
			path = inner
		}
		return audit.Verify(path, o)
	}
	b, err := readFile(path, maxProofFile)
	if err != nil {
		return audit.Report{}, err
	}
	if !bytes.HasPrefix(bytes.TrimLeft(b, " \r\n\t"), []byte("{")) {
		return audit.Verify(path, o)
	}
	return verifyProof(path, b, o)
}

func isDir(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.IsDir()
}

// verifyProof checks the file rutile audit prove wrote.
func verifyProof(path string, b []byte, o audit.VerifyOptions) (audit.Report, error) {
	var p api.Proof
	if err := json.Unmarshal(b, &p); err != nil || len(p.Leaves) == 0 {
		return audit.Report{}, access.Errorf(access.CodeInvalid, "%s is not a proof of rutile audit prove", path)
	}
	self := len(o.Keys) == 0 && len(o.Policy) == 0
	if self {
		o.Keys = []string{p.Key}
	}
	proven := make([]audit.Proven, len(p.Leaves))
	for i, l := range p.Leaves {
		proven[i] = audit.Proven{Index: l.Index, Proof: []byte(l.Proof), Leaf: l.Leaf}
	}
	r, err := audit.VerifyProofs(proven, o)
	if err != nil {
		return r, access.Errorf(access.CodeInvalid, "verifying %s: %w", path, err)
	}
	r.Path, r.SelfTrusted = path, self
	return r, nil
}

func writeVerified(w io.Writer, r audit.Report) {
	word := "verified"
	switch {
	case len(r.Problems) > 0:
		word = "NOT verified"
	case len(r.Lacking) > 0:
		word = "verified, but less than was demanded"
	}
	fmt.Fprintf(w, "%s: %s %s\n", word, r.Kind, cell(r.Path))
	whose := r.Key
	if r.SelfTrusted && whose != "" {
		whose += " (its own word: compare it with what you know, or give --key)"
	}
	count := func(n uint64) string {
		if n == 0 {
			return ""
		}
		return strconv.FormatUint(n, 10)
	}
	fields(w, "log", r.Origin, "key", whose, "leaves checked", count(r.Leaves), "of a log of", count(r.Size), "root", r.Root,
		"payloads", count(r.Payloads), "opened", count(r.Opened), "payloads gone", count(r.Missing), "pruned", count(r.Pruned), "intents without outcome", count(uint64(len(r.Unmatched))))
	for _, p := range r.Problems {
		fmt.Fprintf(w, "problem: %s\n", cell(p))
	}
	for _, p := range r.Lacking {
		fmt.Fprintf(w, "lacking: %s\n", cell(p))
	}
}
