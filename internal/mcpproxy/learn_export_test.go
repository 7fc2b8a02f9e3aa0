package mcpproxy

// RetryAfter is how long after so many failed looks the next one begins.
var RetryAfter = retryAfter
