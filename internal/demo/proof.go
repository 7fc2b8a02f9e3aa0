package demo

import (
	"context"
	"fmt"
	"path/filepath"

	"rutile/internal/credential"
)

func secretOf(id string) credential.Secret { return credential.Secret{ID: id, MaxTier: 3} }

// prove writes the proof of a decision as a bundle, as `rutile audit prove` does.
func (s *stage) prove(ctx context.Context, decision string) (dir string, size uint64, err error) {
	proofs, err := s.d.Evidence.ProveCall(ctx, decision)
	if err != nil {
		return "", 0, fmt.Errorf("proving the decision: %w", err)
	}
	dir = filepath.Join(s.dir, "denial")
	if err := s.d.Evidence.ExportProofs(proofs, dir); err != nil {
		return "", 0, fmt.Errorf("writing the proof: %w", err)
	}
	size, _ = s.d.Evidence.Head()
	return dir, size, nil
}
