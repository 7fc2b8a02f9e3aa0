package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"rutile/internal/access"
	"rutile/internal/api"
)

func (a *app) doctor() *cobra.Command {
	c := a.command("doctor", "Say what is broken and how to mend it", "rutile doctor", []access.Code{access.CodePartial, access.CodeUnauthenticated, access.CodeDenied}, func(ctx context.Context, _ []string) error {
		checks, err := a.examine(ctx)
		if err != nil {
			return err
		}
		checks.Checks = append(checks.Checks, a.examineClients(ctx)...)
		if err := a.print(checks, func(w io.Writer) {
			for _, x := range checks.Checks {
				t := &table{colour: a.coloured()}
				fmt.Fprintf(w, "%s%*s %s: %s\n", t.paint(string(x.Level), false), 8-len(x.Level), "", cell(x.Name), cell(x.Reason))
				if x.Level != api.LevelOK && x.Mend != "" {
					fmt.Fprintf(w, "         mend: %s\n", cell(x.Mend))
				}
			}
		}); err != nil {
			return err
		}
		worst := api.LevelOK
		for _, x := range checks.Checks {
			if x.Level == api.LevelBroken || worst == api.LevelOK {
				worst = x.Level
			}
		}
		switch worst {
		case api.LevelBroken:
			return ended(access.CodeInternal)
		case api.LevelWarning:
			return ended(access.CodePartial)
		default:
			return nil
		}
	})
	c.Long = "Say what is broken and how to mend it. The status is 0 if all is well, 5 if there are only warnings, 1 if something is broken. There are no secrets in it."
	return c
}

// examine asks the gateway to look at itself, and first whether it runs.
func (a *app) examine(ctx context.Context) (api.Checks, error) {
	client, err := a.client()
	if err != nil {
		return api.Checks{}, err
	}
	s, err := client.Status(ctx)
	switch access.CodeOf(err) {
	case "":
	case access.CodeUnavailable:
		return api.Checks{Checks: []api.Check{{Name: "gateway", Level: api.LevelBroken, Reason: err.Error(), Mend: "start the gateway; the other checks need it"}}}, nil
	default:
		return api.Checks{}, err
	}
	found, err := client.Doctor(ctx)
	if err != nil {
		return api.Checks{}, err
	}
	first := api.Check{Name: "gateway", Level: api.LevelOK, Reason: fmt.Sprintf("version %s runs since %s, agents=%s operators=%s", s.Version, when(s.Started), s.Agents, s.Operators)}
	if s.Version != a.version {
		first.Level, first.Reason, first.Mend = api.LevelWarning, fmt.Sprintf("it runs version %s and this command is version %s", s.Version, a.version), "start the gateway again with this version"
	}
	found.Checks = append([]api.Check{first}, found.Checks...)
	return found, nil
}
