package demo

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"rutile/internal/credential"
)

func secretOf(id string) credential.Secret { return credential.Secret{ID: id, MaxTier: 3} }

// prove writes the proof of a decision to a file, as `rutile audit prove` does.
func (s *stage) prove(ctx context.Context, decision string) (file string, size uint64, err error) {
	p, err := s.d.Evidence.ProveDecision(ctx, decision)
	if err != nil {
		return "", 0, fmt.Errorf("proving the decision: %w", err)
	}
	file = filepath.Join(s.dir, "denial.proof")
	if err := os.WriteFile(file, p, 0o600); err != nil {
		return "", 0, err
	}
	size, _ = s.d.Evidence.Head()
	return file, size, nil
}
