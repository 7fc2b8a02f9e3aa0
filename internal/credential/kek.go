package credential

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tink-crypto/tink-go/v2/tink"
	"golang.org/x/crypto/scrypt"

	"rutile/internal/access"
)

// Names in the data directory.
const (
	keyFile  = "vault.key"  // the key encryption key, hexadecimal
	saltFile = "vault.salt" // of the passphrase, hexadecimal
)

// scrypt parameters: 128 MiB and about half a second (RFC 7914).
const (
	scryptN = 1 << 17
	scryptR = 8
	scryptP = 1
)

// kek is a key encryption key: one of this process, or of a service.
type kek = tink.AEADWithContext

// localKEK is a key encryption key held by this process.
type localKEK struct {
	aead cipher.AEAD
	raw  []byte
}

var _ kek = (*localKEK)(nil)

func newKEK(key []byte) (*localKEK, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("making the key encryption key: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("making the key encryption key: %w", err)
	}
	return &localKEK{aead, bytes.Clone(key)}, nil
}

// EncryptWithContext seals a data key: nonce, then ciphertext.
func (k *localKEK) EncryptWithContext(_ context.Context, plaintext, associated []byte) ([]byte, error) {
	nonce := make([]byte, k.aead.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, fmt.Errorf("making a nonce: %w", err)
	}
	return k.aead.Seal(nonce, nonce, plaintext, associated), nil
}

// DecryptWithContext opens what EncryptWithContext sealed.
func (k *localKEK) DecryptWithContext(_ context.Context, sealed, associated []byte) ([]byte, error) {
	n := k.aead.NonceSize()
	if len(sealed) < n {
		return nil, errors.New("the sealed key is too short")
	}
	return k.aead.Open(nil, sealed[:n], sealed[n:], associated)
}

// loadKEK takes the passphrase where one is configured, else the key file,
// which is made at the first start, or if may says so.
func loadKEK(cfg Config, k KeySource, may bool) (kek, error) {
	switch {
	case k.Transit != nil:
		return newTransit(*k.Transit, cfg.Way)
	case k.PassphraseFile != "":
		return passphraseKEK(cfg, k.PassphraseFile, may)
	}
	path := k.KeyFile
	if path == "" {
		path = filepath.Join(cfg.Dir, keyFile)
	}
	key, err := readOrMake(path, 32, may)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	return newKEK(key)
}

func passphraseKEK(cfg Config, file string, may bool) (kek, error) {
	if err := private(file); err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, access.Errorf(access.CodeInvalid, "the passphrase file %s cannot be read: %v", file, reason(err))
	}
	defer clear(raw)
	phrase := []byte(strings.TrimRight(string(raw), "\r\n"))
	defer clear(phrase)
	if len(phrase) < 12 {
		return nil, access.Errorf(access.CodeInvalid, "the passphrase in %s is shorter than 12 bytes; use a longer one", file)
	}
	salt, err := readOrMake(filepath.Join(cfg.Dir, saltFile), 32, may)
	if err != nil {
		return nil, err
	}
	key, err := scrypt.Key(phrase, salt, scryptN, scryptR, scryptP, 32)
	if err != nil {
		return nil, fmt.Errorf("deriving the key encryption key: %w", err)
	}
	defer clear(key)
	return newKEK(key)
}

// readOrMake reads n random bytes from a file, making it if it is not there and
// may be: owner only, on disk before it is used, never replaced.
func readOrMake(path string, n int, may bool) ([]byte, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if !may {
			return nil, access.Errorf(access.CodeConflict, "the key file %s is missing, and what is sealed cannot be opened without it; restore it from a backup", path)
		}
		return makeKey(path, n)
	}
	if err != nil {
		return nil, access.Errorf(access.CodeUnavailable, "the key file %s cannot be read: %v", path, reason(err))
	}
	defer clear(text)
	if err := private(path); err != nil {
		return nil, err
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != n {
		return nil, access.Errorf(access.CodeInvalid, "the key file %s does not hold %d bytes in hexadecimal; restore it from a backup, sealed secrets cannot be opened without it", path, n)
	}
	return key, nil
}

func makeKey(path string, n int) ([]byte, error) {
	key := make([]byte, n)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, access.Errorf(access.CodeUnavailable, "the key file %s cannot be made: %v", path, reason(err))
	}
	_, err = f.WriteString(hex.EncodeToString(key) + "\n")
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, errors.Join(access.Errorf(access.CodeUnavailable, "the key file %s cannot be written: %v", path, reason(err)), os.Remove(path))
	}
	return key, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// private refuses a file that others may read.
func private(path string) error {
	fi, err := os.Stat(path)
	if err != nil {
		return access.Errorf(access.CodeInvalid, "%s cannot be read: %v", path, reason(err))
	}
	if fi.Mode().Perm()&0o077 != 0 {
		return access.Errorf(access.CodeInvalid, "%s can be read by others (mode %v); protect it with: chmod 600 %s", path, fi.Mode().Perm(), path)
	}
	return nil
}

func reason(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
