package gate

import (
	"context"

	"rutile/internal/access"
	"rutile/internal/pdp"
)

// Touch finds what the session of r has touched and where its values come from.
func (g *Gate) Touch(ctx context.Context, state *pdp.State, r *access.Request) {
	g.touch(ctx, state, r)
}
