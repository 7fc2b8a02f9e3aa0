package conduct

import (
	"strings"
	"unicode"

	"rutile/internal/rawjson"
)

// maxClaim bounds the text of an answer that says what was done: longer ones are what
// was asked for, and may say anything.
const maxClaim = 400

// changeWords say that something was changed, removeWords that something is no more.
const (
	changeWords = " created wrote written updated saved sent moved renamed inserted uploaded published overwritten overwrote appended modified committed installed posted merged transferred added replaced deployed scheduled "
	removeWords = " deleted removed dropped erased purged truncated destroyed cancelled canceled uninstalled "
	noWords     = " no not nothing none never cannot couldn't wasn't weren't isn't if when would will 0 "
	beWords     = " was were been is are "
)

// claims reports whether a short answer says that the call changed or removed
// something.
func claims(result rawjson.Value) (changes, removes bool) {
	if result.Kind() != rawjson.Object {
		return false, false
	}
	left := maxClaim
	for item := range result.Get("content").Items() {
		raw := len(item.Get("text").Raw())
		if left -= raw; left < 0 {
			return counted(result.Get("structuredContent"))
		}
		text, _ := item.Get("text").Str()
		c, r := said(text)
		changes, removes = changes || c, removes || r
	}
	c, r := counted(result.Get("structuredContent"))
	return changes || c, removes || r
}

// said reads one short text.
func said(text string) (changes, removes bool) {
	words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(",.!;()[]{}\"`", r) })
	for i, w := range words {
		c, r := strings.Contains(changeWords, " "+w+" "), strings.Contains(removeWords, " "+w+" ")
		if !c && !r || near(words, i, 3, noWords) {
			continue
		}
		// "Deleted 3 rows", "wrote it successfully", "the file was created".
		if i == 0 || near(words, i, 2, " successfully ") || i+1 < len(words) && words[i+1] == "successfully" || len(text) <= 120 && near(words, i, 2, beWords) {
			changes, removes = changes || c || r, removes || r
		}
	}
	return changes, removes
}

// near reports whether one of the n words before the i-th is of a list.
func near(words []string, i, n int, list string) bool {
	for _, w := range words[max(0, i-n):i] {
		if strings.Contains(list, " "+w+" ") {
			return true
		}
	}
	return false
}

// counted reads members that say how much was changed.
func counted(v rawjson.Value) (changes, removes bool) {
	if v.Kind() != rawjson.Object {
		return false, false
	}
	for key, member := range v.Members() {
		name, _ := key.Str()
		name = " " + strings.ToLower(strings.ReplaceAll(name, "_", "")) + " "
		n, isNumber := member.Int64()
		yes, isBool := member.Bool()
		if !isNumber && !isBool || isNumber && n <= 0 || isBool && !yes {
			continue
		}
		r := strings.Contains(" deleted removed deletedcount removedcount dropped ", name)
		c := strings.Contains(" rowsaffected affectedrows modifiedcount insertedcount upsertedcount inserted written updated sent ", name) ||
			isBool && strings.Contains(" created saved published overwritten ", name)
		changes, removes = changes || c || r, removes || r
	}
	return changes, removes
}
