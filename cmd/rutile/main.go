// Command rutile is a security control plane for AI agents.
package main

import (
	"context"
	"os"

	"rutile/internal/cli"
)

// version is set when the binary is linked.
var version = "dev"

func main() {
	os.Exit(cli.Main(context.Background(), version, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
