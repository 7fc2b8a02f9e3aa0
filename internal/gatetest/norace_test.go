//go:build !race

package gatetest_test

const instrumented = 1
