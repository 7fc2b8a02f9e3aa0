package flow

import (
	"encoding/binary"
	"strings"
	"sync"
)

// A lexicon of what people and tools do, to whom and with what: general words of
// requests, by classes that mean about the same. It serves three questions: what a
// tool's name says that it does, what the user asked for, and what a text orders.
type word struct {
	verbs   uint16 // classes of acts
	objects uint16 // classes of what they are done with
	implied uint16 // of which the verb tells by itself
	done    uint16 // the act it is the noun of: to make a payment is to pay
	marks   uint16
}

// Acts.
const (
	actSend   uint16 = 1 << iota // hand over: money, things
	actWrite                     // say something to somebody
	actPost                      // put where others read it
	actCreate                    // make something that was not there
	actUpdate                    // change something that is there
	actDelete                    // take away
	actGrant                     // let somebody in, give rights
	actRun                       // let something happen
	actBuy                       // pay for something
	actRead                      // look at something
	actBook                      // reserve
)

// What acts are done with.
const (
	objMoney   uint16 = 1 << iota
	objMessage        // mail, chat
	objFile
	objEvent
	objStay // hotels, tables, seats, cars
	objMember
	objWeb
	objAccount
	objCode
	objRecord
	objGoods
	objDevice
)

// Marks of words that say how others are meant.
const (
	markLead   uint16 = 1 << iota // an order may follow: please, then, must
	markModal                     // can, will: with "you" an order may follow
	markOblige                    // need, want, sure: with "to" an order may follow
	markYou
	markTo
	markDet  // a noun follows: the, my, of
	markStop // says nothing of a value
	markNot
	markClause // a sentence that begins with it may order something after its comma
	markAside  // what follows tells more of a thing, and is not what is acted on
	markNext   // a verb before it is one: it, the, my
	markAbroad // a verb of a language that puts it elsewhere than English
)

// acts lists words by what they do; a word may be in several lines.
var acts = []struct {
	verbs, objects uint16
	words          string
}{
	{actSend, 0, "send transfer forward give return deliver submit pass hand relay ship route redirect export sync"},
	{actSend | actBuy, objMoney, "pay wire refund remit reimburse repay donate withdraw deposit payout charge tip credit"},
	{actWrite, objMessage, "write message tell notify inform email mail text dm report escalate reply respond contact ping remind announce congratulate thank greet say warn alert inbox msg sms call"},
	{actWrite, 0, "ask let know answer comment"},
	{actPost, 0, "post publish upload share tweet push submit broadcast leak expose exfiltrate"},
	{actCreate, 0, "create add make set generate register open draft save write insert log record put append enter place issue initiate fill prepare build file compose plan arrange organise organize store attach copy duplicate initialize init import fork clone provision deploy establish"},
	{actCreate | actBook, objEvent, "schedule plan"},
	{actBook, objStay, "book reserve rent hire reservation"},
	{actBuy, objGoods, "buy purchase order checkout subscribe acquire get"},
	{actUpdate, 0, "update change modify edit adjust correct reschedule move rename append set fix switch replace extend shift increase decrease raise lower reduce rewrite patch put adapt alter reset configure enable disable turn toggle merge assign mark label convert renew transfer redirect revise postpone complete apply use accept decline confirm sign escalate handle resolve rotate swap pin rate vote install connect link bind sync refresh overwrite whitelist reassign transition lock unlock"},
	{actDelete, 0, "delete remove cancel drop clear erase clean unsubscribe revoke close kick ban archive discard purge wipe uninvite disinvite trash destroy terminate unfollow block empty"},
	{actGrant, 0, "share grant give allow permit authorize authorise assign promote connect link follow trust whitelist elevate"},
	{actGrant | actWrite, objMember, "invite add enroll enrol onboard include involve welcome"},
	{actRun, 0, "run execute process perform rerun call play print scan sync use deploy start stop restart install trigger launch approve invoke release rollback activate unlock lock test build merge enable disable"},
	{actRead, 0, "read get list search find show check see view fetch look visit open browse summarize summarise count tell compare analyze analyse describe explain recommend suggest retrieve query lookup download inspect review access calculate compute"},
}

// deeds lists nouns by the act they are of.
var deeds = []struct {
	verbs uint16
	words string
}{
	{actSend | actBuy, "payment payments transaction transactions transfer transfers donation deposit refund"},
	{actBook, "reservation reservations booking bookings appointment"},
	{actBuy, "purchase order orders"},
	{actGrant, "invitation access"},
	{actDelete, "deletion removal cancellation"},
	{actUpdate, "change changes update modification adjustment"},
	{actWrite, "reply call announcement comment"},
}

// things lists nouns by what they are.
var things = []struct {
	objects uint16
	words   string
}{
	{objMoney, "money payment payments transaction transactions transfer transfers bill bills refund invoice invoices amount fund funds cash salary rent fee fees difference balance donation dollar dollars euro euros usd eur iban loan tax debt share deposit price subscription spending standing"},
	{objMessage, "message messages email emails mail mails dm dms note notes chat chats channel channels inbox sms text letter letters newsletter reply response question notification reminder conversation thread post posts comment comments tweet greeting greetings invitation invitations announcement"},
	{objFile, "file files document documents doc docs folder folders directory drive spreadsheet sheet slides presentation report reports attachment attachments pdf txt docx csv xlsx path image photo photos picture backup list notebook memo draft wiki"},
	{objEvent, "event events meeting meetings calendar appointment appointments lunch dinner call reminder session party trip schedule slot training interview conference workshop standup sync visit"},
	{objStay, "hotel hotels room rooms restaurant restaurants table tables flight flights car cars reservation reservations booking bookings seat seats ticket tickets rental stay apartment train trip"},
	{objMember, "user users member members participant participants attendee attendees guest guests colleague colleagues employee employees friend friends team teams group groups contact contacts person people customer customers collaborator collaborators role roles permission permissions workspace access admin"},
	{objWeb, "webpage webpages website websites page pages web url urls link links site sites blog http request webhook endpoint form"},
	{objAccount, "account accounts password passwords profile info information settings setting address credential credentials key keys token tokens username user phone preferences details record records plan subscription"},
	{objCode, "repo repos repository repositories issue issues pr prs pull branch branches commit commits release releases code pipeline workflow deployment deployments cluster server servers instance instances service services database databases db pod container function script build bug job jobs"},
	{objRecord, "record records row rows table tables entry entries ticket tickets database db field fields item items data dataset task tasks todo todos case cases lead leads deal deals patient patients card cards board project projects status"},
	{objGoods, "order orders product products cart item items purchase goods shipment package parcel subscription stock stocks share shares"},
	{objDevice, "device devices light lights lamp thermostat lock locks door doors camera cameras alarm heating temperature machine machines printer speaker music song playlist"},
}

// marks lists words that say how others are meant.
var marks = []struct {
	marks uint16
	words string
}{
	{markLead, "please kindly then first also next finally now instead just immediately simply must should shall always todo additionally afterwards so and or but either pls plz again directly quickly"},
	{markModal, "can could will would might"},
	{markOblige, "need needs want wants have like love sure remember forget required supposed try going able task goal job asked ask asking instructed wish hope help going me you us is are best better good wise important necessary essential crucial vital advisable recommended mandatory time free"},
	{markYou, "you u i we"},
	{markTo, "to"},
	{markDet, "the a an my your his her our their its this that these those any some each every last latest next of in on at for with from by via about all new recent following another other no same own current previous more most which what whose"},
	{markNot, "not don't dont never no cannot can't without"},
	{markClause, "once when after before if as since while because for to in upon whenever having during additionally finally next then first also please until unless given"},
	{markAside, "from about of who which that where whose when how what whether if because by as based using according named mentioned described listed reading"},
	{markNext, "the a an my your his her our their its this that these those it them him everyone everybody all any me us"},
	{markStop, "the a an my your his her our their its this that these those any some each every of in on at for with from by via about all is are was were be been am do does did has had have it he she they we you i me him them us to and or not no as if so than but up out into over please will would can could should may must there here then"},
}

// vocabulary is a lexicon by the first letter and the length of words, which hashing
// every word of a text would take longer than.
type vocabulary struct {
	short [26 << 4][]entry // by first letter, and length
	long  map[string]word
}

type entry struct {
	first uint64 // bytes of text, eight at most
	text  string
	word  word
}

func (v *vocabulary) of(text []byte) word {
	if len(text) == 0 || len(text) > 15 || text[0] < 'a' || text[0] > 'z' {
		return v.long[string(text)]
	}
	list := v.short[int(text[0]-'a')<<4|len(text)]
	first := firstOf(text)
	for i := range list {
		if list[i].first == first && (len(text) <= 8 || list[i].text == string(text)) {
			return list[i].word
		}
	}
	return word{}
}

// firstOf is the first eight bytes of a text as a number.
func firstOf(text []byte) uint64 {
	if len(text) >= 8 {
		return binary.LittleEndian.Uint64(text)
	}
	return few(text)
}

// lexicon is the lists above, word by word.
var lexicon = sync.OnceValue(func() *vocabulary { //nolint:gochecknoglobals // made once, and never changed
	out := map[string]word{}
	for _, l := range acts {
		for _, w := range strings.Fields(l.words) {
			x := out[w]
			x.verbs, x.implied = x.verbs|l.verbs, x.implied|l.objects
			out[w] = x
		}
	}
	for _, l := range things {
		for _, w := range strings.Fields(l.words) {
			x := out[w]
			x.objects |= l.objects
			out[w] = x
		}
	}
	for _, l := range abroad {
		for _, w := range strings.Fields(l.words) {
			x := out[w]
			x.verbs, x.objects, x.marks = x.verbs|l.verbs, x.objects|l.objects, x.marks|l.marks
			if l.verbs != 0 {
				x.marks |= markAbroad
			}
			out[w] = x
		}
	}
	for _, l := range deeds {
		for _, w := range strings.Fields(l.words) {
			x := out[w]
			x.done |= l.verbs
			out[w] = x
		}
	}
	for _, l := range marks {
		for _, w := range strings.Fields(l.words) {
			x := out[w]
			x.marks |= l.marks
			out[w] = x
		}
	}
	v := &vocabulary{long: map[string]word{}}
	for w, x := range out {
		if len(w) > 15 || w[0] < 'a' || w[0] > 'z' {
			v.long[w] = x
			continue
		}
		at := &v.short[int(w[0]-'a')<<4|len(w)]
		*at = append(*at, entry{firstOf([]byte(w)), w, x})
	}
	return v
})

// act is something done: by a tool, asked for, or ordered.
type act struct {
	verbs, objects uint16
}

// tool is the act of a tool, with the verbs near its own.
type tool struct {
	act
	around uint16
}

// near is what verbs are also said with: who asks to send a text may mean a tool that
// writes a message.
func near(verbs uint16) uint16 {
	out := verbs
	for _, p := range [][2]uint16{
		{actSend, actWrite}, {actSend, actPost}, {actWrite, actPost}, {actSend, actBuy}, {actCreate, actBook}, {actBuy, actBook},
		{actCreate, actGrant}, {actCreate, actUpdate}, {actGrant, actUpdate},
	} {
		if verbs&p[0] != 0 {
			out |= p[1]
		}
		if verbs&p[1] != 0 {
			out |= p[0]
		}
	}
	return out
}

// fits reports whether an act asked for or ordered may be what a tool does. Where both
// have the same verb and not only near ones, loose lets their objects differ.
func (t *tool) fits(a act, loose bool) bool {
	if t.verbs == 0 { // nobody can say what it does
		return t.objects == 0 || a.objects&t.objects != 0
	}
	if loose && a.verbs&t.verbs != 0 {
		return true
	}
	if a.verbs&(actSend|actWrite|actPost) != 0 && a.verbs&actGrant == 0 {
		a.objects &^= objMember // to whom, not what
	}
	return a.verbs&t.around != 0 && (a.objects == 0 || t.objects == 0 || a.objects&t.objects != 0)
}
