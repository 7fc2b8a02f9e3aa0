package audit

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"rutile/internal/access"
)

// signingKey is the log's note key.
type signingKey struct {
	signer   note.Signer
	verifier note.Verifier
	vkey     string
}

// loadKey opens the sealed signing key, which is kept beside the evidence
// directory and never in it, and makes it if the log is new.
func loadKey(ctx context.Context, fsys FS, cfg *Config, sealer access.Sealer, isNew bool) (*signingKey, error) {
	purpose := "evidence signing key " + cfg.Origin
	sealed, err := readFile(fsys, cfg.KeyFile)
	if errors.Is(err, fs.ErrNotExist) {
		if !isNew {
			return nil, access.Errorf(access.CodeEvidence, "the log's signing key %s is missing: restore it, or "+startAnew, cfg.KeyFile)
		}
		return makeKey(ctx, fsys, cfg, sealer, purpose)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the log's signing key: %w", err)
	}
	skey, err := sealer.Open(ctx, purpose, sealed)
	if err != nil {
		return nil, &access.Error{Code: access.CodeEvidence, Msg: fmt.Sprintf("the log's signing key %s does not open for the log %q: was the origin or the sealing key changed?", cfg.KeyFile, cfg.Origin), Err: err}
	}
	return parseKey(cfg.Origin, string(skey))
}

func makeKey(ctx context.Context, fsys FS, cfg *Config, sealer access.Sealer, purpose string) (*signingKey, error) {
	skey, _, err := note.GenerateKey(cfg.Rand, cfg.Origin)
	if err != nil {
		return nil, fmt.Errorf("making the log's signing key: %w", err)
	}
	sealed, err := sealer.Seal(ctx, purpose, []byte(skey))
	if err != nil {
		return nil, fmt.Errorf("sealing the log's signing key: %w", err)
	}
	if err := writeAtomic(fsys, cfg.KeyFile+".new", cfg.KeyFile, sealed); err != nil {
		return nil, fmt.Errorf("keeping the log's signing key: %w", err)
	}
	if err := fsys.SyncDir(filepath.Dir(cfg.KeyFile)); err != nil {
		return nil, fmt.Errorf("keeping the log's signing key: %w", err)
	}
	return parseKey(cfg.Origin, skey)
}

func parseKey(origin, skey string) (*signingKey, error) {
	signer, err := note.NewSigner(skey)
	if err != nil || signer.Name() != origin {
		return nil, access.Errorf(access.CodeEvidence, "the log's signing key is not one for %q", origin)
	}
	parts := strings.SplitN(skey, "+", 5) // PRIVATE+KEY+name+hash+key
	raw, err := base64.StdEncoding.DecodeString(parts[4])
	if err != nil || len(raw) != 1+ed25519.SeedSize {
		return nil, errors.New("the log's signing key is malformed")
	}
	pub, _ := ed25519.NewKeyFromSeed(raw[1:]).Public().(ed25519.PublicKey)
	vkey, err := note.NewEd25519VerifierKey(origin, pub)
	if err != nil {
		return nil, fmt.Errorf("making the log's public key: %w", err)
	}
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return nil, fmt.Errorf("reading the log's public key: %w", err)
	}
	return &signingKey{signer, verifier, vkey}, nil
}
