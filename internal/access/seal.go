package access

import "context"

// Sealer encrypts small secrets at rest. Package credential implements it; the
// other nouns take it, so that no noun keeps key material in clear.
//
// purpose is bound as associated data: what was sealed for one purpose does not
// open for another. Implementations MUST be safe for concurrent use.
type Sealer interface {
	Seal(ctx context.Context, purpose string, plaintext []byte) ([]byte, error)
	Open(ctx context.Context, purpose string, sealed []byte) ([]byte, error)
}
