package cli

import (
	"context"
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"

	"rutile/internal/api"
)

// versionInfo is what rutile version says.
type versionInfo struct {
	Version string `json:"version"`
	Schema  int    `json:"schema"` // of machine-readable output
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

func (a *app) versionCommand() *cobra.Command {
	return a.command("version", "Print the version", "rutile version", nil, func(context.Context, []string) error {
		v := versionInfo{a.version, api.SchemaVersion, runtime.Version(), runtime.GOOS, runtime.GOARCH}
		return a.print(v, func(w io.Writer) {
			fmt.Fprintf(w, "rutile %s (%s, %s/%s)\n", v.Version, v.Go, v.OS, v.Arch)
		})
	})
}
