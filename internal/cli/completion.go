package cli

import (
	"io"
	"strings"

	"github.com/spf13/cobra"

	"rutile/internal/access"
)

// completion writes what a shell needs to complete commands, flags and the
// names of agents and servers.
func (a *app) completion() *cobra.Command {
	shell := func(name, example string, write func(root *cobra.Command, w io.Writer) error) *cobra.Command {
		c := a.command(name, "Completion for "+name, example, nil, nil)
		c.RunE = func(c *cobra.Command, _ []string) error { return write(c.Root(), a.out) }
		return c
	}
	return a.group("completion", "Complete commands and names in a shell", "rutile completion bash > /etc/bash_completion.d/rutile",
		shell("bash", "rutile completion bash > /etc/bash_completion.d/rutile", func(root *cobra.Command, w io.Writer) error { return root.GenBashCompletionV2(w, true) }),
		shell("zsh", "rutile completion zsh > ~/.zfunc/_rutile", (*cobra.Command).GenZshCompletion),
		shell("fish", "rutile completion fish > ~/.config/fish/completions/rutile.fish", func(root *cobra.Command, w io.Writer) error { return root.GenFishCompletion(w, true) }),
		shell("powershell", "rutile completion powershell > rutile.ps1", (*cobra.Command).GenPowerShellCompletionWithDesc),
	)
}

// help is help as a command; a word that names no command is an error.
func (a *app) help() *cobra.Command {
	c := a.command("help [COMMAND…]", "Help about any command", "rutile help agent token", nil, nil)
	c.ValidArgsFunction = nil
	c.RunE = func(c *cobra.Command, args []string) error {
		about, rest, err := c.Root().Find(args)
		if err != nil || len(rest) > 0 {
			return access.Errorf(access.CodeUsage, "there is no command %q; see rutile --help", "rutile "+strings.Join(args, " "))
		}
		about.InitDefaultHelpFlag()
		return about.Help()
	}
	return c
}
