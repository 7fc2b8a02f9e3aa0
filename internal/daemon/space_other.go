//go:build !linux && !darwin && !freebsd

package daemon

import "errors"

func freeSpace(string) (uint64, error) { return 0, errors.New("this system does not say") }
