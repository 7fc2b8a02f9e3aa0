package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"rutile/internal/access"
	"rutile/internal/audit/witness"
)

func (a *app) auditWitness() *cobra.Command {
	var cfg witness.Config
	var listen, cert, key string
	c := a.command("witness", "Cosign the checkpoints of other machines' logs", "rutile audit witness --name witness.example.com/w1 --state /var/lib/rutile-witness --log \"$VKEY\"", []access.Code{access.CodeConflict, access.CodeEvidence}, func(ctx context.Context, _ []string) error {
		if cfg.Name == "" || cfg.Dir == "" || len(cfg.Logs) == 0 {
			return access.Errorf(access.CodeUsage, "say who cosigns what: --name, --state and --log are needed")
		}
		if (cert == "") != (key == "") {
			return access.Errorf(access.CodeUsage, "--tls-cert and --tls-key belong together")
		}
		return a.serveWitness(ctx, cfg, listen, cert, key)
	})
	c.Long = `Cosign the checkpoints of other machines' logs, as C2SP tlog-witness says. Run it where
whoever runs the gateway cannot reach: a second machine, another team, a customer.

It keeps the largest checkpoint of each log and cosigns another one only if it continues
that one, so that no history can be put in another's place unseen. It learns nothing of
what a log holds. The key that it prints goes into evidence.witnesses of the gateway's
configuration, and into the policy files of whoever verifies.

Keep its directory: put back to an older state, a witness could cosign two histories.
The key of a log is what rutile audit prove prints as key.`
	f := c.Flags()
	f.StringVar(&cfg.Name, "name", "", "`name` of its key: a URL without scheme that says whose it is")
	f.StringVar(&cfg.Dir, "state", "", "`directory` of its key and of what it cosigned")
	f.StringArrayVar(&cfg.Logs, "log", nil, "`vkey` of a log to witness; may be repeated")
	f.StringVar(&listen, "listen", "127.0.0.1:7440", "`address` it serves on")
	f.StringVar(&cert, "tls-cert", "", "certificate `file`, PEM")
	f.StringVar(&key, "tls-key", "", "its key `file`, PEM")
	return c
}

// serveWitness serves until ctx ends.
func (a *app) serveWitness(ctx context.Context, cfg witness.Config, listen, cert, key string) (err error) {
	w, err := witness.Open(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	lis, err := net.Listen("tcp", listen)
	if err != nil {
		return access.Errorf(access.CodeInvalid, "--listen %s: %v", listen, err)
	}
	scheme := "http"
	if cert != "" {
		scheme = "https"
	}
	log := slog.New(slog.NewTextHandler(a.err, nil))
	srv := &http.Server{Handler: w.Handler(log), ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	fmt.Fprintf(a.out, "ready witness=%s://%s key=%s\n", scheme, lis.Addr(), w.Key())
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		stopped <- srv.Shutdown(end)
	}()
	if cert != "" {
		err = srv.ServeTLS(lis, cert, key)
	} else {
		err = srv.Serve(lis)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return <-stopped
	}
	return access.Errorf(access.CodeInvalid, "serving: %w", err)
}
