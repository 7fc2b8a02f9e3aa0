package console

// HTTPStatus, Block and Line are the tables and texts every page is made with.
var (
	HTTPStatus = httpStatus
	Block      = block
	Line       = line
)
