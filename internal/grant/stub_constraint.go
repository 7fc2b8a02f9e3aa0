package grant

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"

	"rutile/internal/rawjson"
)

type Constraint struct {
	At         string `json:"at,omitempty"`
	ArgsDigest string `json:"argsDigest,omitempty"`
}
type Constraints []Constraint

func ArgsDigest(v rawjson.Value) string {
	sum := sha256.Sum256(v.Raw())
	return "sha256:" + hex.EncodeToString(sum[:])
}

func (c Constraints) Match(v rawjson.Value) error {
	for _, x := range c {
		if x.ArgsDigest != ArgsDigest(v) {
			return errors.New("argsDigest")
		}
	}
	return nil
}

func Implies(parent, child Constraints) error {
	for _, p := range parent {
		ok := false
		for _, c := range child {
			ok = ok || p == c
		}
		if !ok {
			return errors.New("not implied")
		}
	}
	return nil
}

func ParseConstraints(b []byte) (Constraints, error) {
	var c Constraints
	err := json.Unmarshal(b, &c)
	return c, err
}
