package registry

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"rutile/internal/rawjson"
)

// Digest returns the digests of a definition: of its canonical form, which is
// what approval is about, and of its bytes. Both cover unknown members, because
// they are computed over the parsed raw value.
func Digest(def rawjson.Value) (canonical, raw string) {
	return hash(rawjson.AppendCanonical(nil, def)), hash(def.Raw())
}

// DigestRaw parses one definition and returns its digests. Duplicate keys and
// everything else that readers disagree about are an error.
func DigestRaw(def []byte) (canonical, raw string, err error) {
	v, err := parse(def)
	if err != nil {
		return "", "", err
	}
	canonical, raw = Digest(v)
	return canonical, raw, nil
}

func parse(def []byte) (rawjson.Value, error) {
	v, err := rawjson.Parse(def, rawjson.Limits{Bytes: MaxDefinition})
	if err != nil {
		return rawjson.Value{}, fmt.Errorf("parsing a definition: %w", err)
	}
	return v, nil
}

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}
