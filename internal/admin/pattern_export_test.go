package admin

// Common is what a pattern is made by.
var Common = common
