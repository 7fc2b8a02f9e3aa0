package inspect_test

import (
	"testing"

	"rutile/internal/inspect"
)

// What ordinary definitions say of files, systems and their own parameters calls
// for nobody.
func TestOrdinaryDefinitionsPass(t *testing.T) {
	for _, text := range []string{
		"Reads a whole file from the file system as text. Use the 'head' parameter to read only its first lines, or 'tail' for the last.",
		"Asks for a value from the user and returns what was entered. Set the 'title' field to a short question.",
		"Gets metrics from the system. Change the format with the 'unit' option.",
	} {
		if r := engine(t).Text(inspect.Definition, []byte(text)); r.Tier != inspect.Clean {
			t.Errorf("%q calls for %s: %+v", text, r.Tier, r.Findings)
		}
	}
}
