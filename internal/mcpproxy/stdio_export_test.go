package mcpproxy

// The tests of processes reach them directly: everything above hides them.
type (
	StdioConfig  = stdioConfig
	StdioProcess = stdioProcess
)

var (
	StartStdio     = startStdio
	ErrStdioUnsent = errStdioUnsent
	ErrStdioEnded  = errStdioEnded
)
