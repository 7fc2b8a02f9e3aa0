package access

import "strconv"

// Count is so many of a noun in words for people: "1 use", "2 uses", "2 people".
func Count[N int | int64](n N, noun string) string {
	switch {
	case n == 1:
	case noun == "person":
		noun = "people"
	default:
		noun += "s"
	}
	return strconv.FormatInt(int64(n), 10) + " " + noun
}
