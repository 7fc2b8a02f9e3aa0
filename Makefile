# The targets are described in README.md and docs/architecture.md. What a target
# needs and how it does it is in scripts/, one file per target.

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

.PHONY: run test test-long build lint fuzz bench conformance prepare clean

run: build
	bin/rutile up --demo

# Always through the go tool: it knows better than make what has changed.
build:
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)' -o bin/rutile ./cmd/rutile

# The short form of every test, with the race detector.
test:
	@scripts/test -short

# The long form: more kills, more crash points, every conformance cell.
test-long:
	@scripts/test -timeout 6h

prepare:
	@scripts/prepare

lint:
	@scripts/lint

# FUZZTIME=10s make fuzz
fuzz:
	@scripts/fuzz

# BENCH='-rounds 9 -c 1,16,64' make bench
bench: build
	go build -trimpath -buildvcs=false -o bin/bench ./bench
	@scripts/bench $(BENCH)

conformance: prepare
	@scripts/conformance

clean:
	rm -rf bin .cache
