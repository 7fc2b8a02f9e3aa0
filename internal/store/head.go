package store

import (
	"context"
	"math"

	"rutile/internal/access"
	"rutile/internal/audit"
)

// PutHead remembers a signed head of the log of origin. The largest stays, and
// of two of one size the first.
func (s *Store) PutHead(ctx context.Context, origin string, h audit.Head) error {
	if err := checkKey("the origin of evidence", origin); err != nil {
		return err
	}
	if h.Size > math.MaxInt64 {
		return access.Errorf(access.CodeInvalid, "the size %d is larger than a log can be", h.Size)
	}
	_, err := s.exec(ctx, "remembering a signed head", `INSERT INTO evidence_heads (origin, size, root) VALUES ($1, $2, $3)
		ON CONFLICT (origin) DO UPDATE SET size = excluded.size, root = excluded.root WHERE excluded.size > evidence_heads.size`,
		origin, int64(h.Size), h.Root[:])
	return err
}

// LatestHead returns the largest head remembered of the log of origin, the zero
// Head if there is none.
func (s *Store) LatestHead(ctx context.Context, origin string) (audit.Head, error) {
	if err := checkKey("the origin of evidence", origin); err != nil {
		return audit.Head{}, err
	}
	var size int64
	var root []byte
	ok, err := s.one(ctx, "reading the newest signed head", `SELECT size, root FROM evidence_heads WHERE origin = $1`, []any{origin}, []any{&size, &root})
	if err != nil || !ok {
		return audit.Head{}, err
	}
	h := audit.Head{Size: uint64(size)}
	if size < 0 || len(root) != len(h.Root) {
		return audit.Head{}, rowError{"the signed heads", origin}
	}
	copy(h.Root[:], root)
	return h, nil
}
