// Package glyph says which characters look alike to a reader, and which are not seen at
// all. Texts are compared in the form it gives; nobody is ever sent a text in that form.
package glyph

import "unicode"

// Lookalikes returns which runes look like an ASCII letter, digit or sign to a reader.
// It is our own compact table of the scripts that homoglyph attacks use (Cyrillic,
// Greek, Armenian, Cherokee, Coptic, Lisu, phonetic and small capital Latin), in
// the sense of UTS #39 section 4; compatibility forms (full width, mathematical,
// circled) need none, since NFKD takes them apart.
func Lookalikes() map[rune]rune {
	out := map[rune]rune{}
	for to, from := range lookalikes {
		for _, r := range from {
			out[r] = to
		}
	}
	return out
}

// Unseen reports whether a reader sees nothing of r.
func Unseen(r rune) bool {
	return r == unicode.ReplacementChar || unicode.In(r, unicode.Cf, unicode.Mn, unicode.Me, unicode.Co, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point)
}

var lookalikes = map[rune]string{
	'a': "аɑαΑАᴀᎪꓮ⍺Ꭺ", 'b': "ЬᏏᖯΒВвʙᏴꓐƄ", 'c': "сϲⅽᴄСᏟꓚϹⲥↄᲃ", 'd': "ԁⅾᏧᎠꓓɗᴅ", 'e': "еєҽεЕΕᎬꓰⲉҿɛᴇ℮", 'f': "ƒꞙϝғꓝϜꜰք",
	'g': "ɡցᶃԍᏀꓖԌɢǥ", 'h': "һհᏂΗНᎻꓧʜнԧ", 'i': "іıɩιІΙⅰᎥӀꙇɪ¡ǀ∣ⲓ", 'j': "јϳЈᎫꓙʝᴊյ", 'k': "кκКΚᏦꓗᴋқҟⲕ", 'l': "ⅼӏʟᏞꓡլו",
	'm': "ⅿмМΜᎷꓟᴍⲙ", 'n': "ոռпηΝꓠɴƞᴨ", 'o': "оοօσОΟꓳᴏОоஂഠⲟөοᲿΘθ", 'p': "рρϱРΡᏢꓑᴘⲣ", 'q': "ԛգզԚɋ", 'r': "гᴦɾꭇᎡꓣʀⲅяᏒ",
	's': "ѕꜱЅᏚꓢƽʂտ", 't': "тτТΤᎢꓔᴛţ", 'u': "υսᴜꓴʋцԱմ", 'v': "νѵⅴᴠѴᏙꓦνⱱ", 'w': "ԝѡԜᏔꓪᴡшωɯա", 'x': "хχⅹХΧꓫⲭ×ҳ", 'y': "уүγУΥҮꓬʏÿყ",
	'z': "ᴢΖᏃꓜʐƶ", '0': "߀०০੦൦", '1': "１", '-': "‐‑‒–—―−﹘", '\'': "’‘ʼʹ′＇`´", '"': "“”„‟″", '/': "⁄∕／", '.': "․．", ':': "：︰∶ː", ' ': "\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000\u2028\u2029",
}
