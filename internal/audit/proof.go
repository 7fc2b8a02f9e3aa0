package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"rutile/internal/access"
)

// Prove returns the proof of one durable leaf against the newest cosigned
// checkpoint or, if none has it soon, the newest, which is brought up to it if need be.
func (l *Log) Prove(ctx context.Context, index uint64) (*Proof, error) {
	if size := l.Size(); index < size {
		if err := l.await(ctx, index); err != nil {
			return nil, err
		}
	}
	return l.prove(ctx, index)
}

// prove proves a leaf that is sealed, without waiting for anybody.
func (l *Log) prove(ctx context.Context, index uint64) (*Proof, error) {
	leaf, err := l.Leaf(ctx, index)
	if err != nil {
		return nil, err
	}
	h, checkpoint := l.attested(index)
	tree, now := tlog.Tree{N: int64(h.size), Hash: h.root}, l.newest()
	hashes, err := tlog.ProveRecord(tree.N, int64(index), tlog.TileHashReader(tlog.Tree{N: int64(now.size), Hash: now.root}, tileReader{l.readLog}))
	if err != nil {
		return nil, fmt.Errorf("proving leaf %d: %w", index, err)
	}
	if err := tlog.CheckRecord(hashes, tree.N, tree.Hash, int64(index), leafHash(leaf)); err != nil {
		return nil, access.Errorf(access.CodeEvidence, "leaf %d as stored is not the one in the tree; run `rutile audit verify` on the evidence directory", index)
	}
	return &Proof{Index: index, Leaf: leaf, Hashes: hashes, Checkpoint: checkpoint}, nil
}

// ProveCall returns the proofs of everything recorded under a decision or
// change id: intent and outcome, or the verdict, or the change.
func (l *Log) ProveCall(ctx context.Context, id string) ([]*Proof, error) {
	rows, err := l.ByDecision(ctx, id)
	if err != nil {
		return nil, err
	}
	indexes := LeavesOf(rows)
	if len(indexes) == 0 {
		return nil, nil
	}
	if err := l.await(ctx, slices.Max(indexes)); err != nil {
		return nil, err
	}
	var proofs []*Proof
	for _, index := range indexes {
		p, err := l.prove(ctx, index)
		if err != nil {
			return nil, err
		}
		proofs = append(proofs, p)
	}
	return proofs, nil
}

var errNoPayload = errors.New("the leaf has no payload")
