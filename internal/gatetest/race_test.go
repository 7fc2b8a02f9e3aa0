//go:build race

package gatetest_test

// instrumented is what the race detector makes of frames and of the heap.
const instrumented = 2
