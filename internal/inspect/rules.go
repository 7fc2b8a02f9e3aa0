package inspect

// The rules of words. Weights were chosen on the development sets by leaving one
// source out at a time (docs/inspection.md); a weight at or over reviewAt calls
// for a review alone, smaller ones only together with another family.
var definitionRules = []ruleText{
	// Overriding what the model was told.
	{id: "override.prior", family: "override", seq: "override 30 prior 30 instr", def: .95, res: .95, hard: true, why: "orders the model to set aside what it was told"},
	{id: "override.plain", family: "override", seq: "override 12 instr", def: .4, res: .4, why: "speaks of setting instructions aside"},
	{id: "override.said", family: "override", seq: "override 24 prior 6 stop", def: .5, res: .5, why: "orders the model to set aside what came before"},
	{id: "override.role", family: "persona", seq: "newrole", def: .45, res: .35, why: "gives the model another role"},
	{id: "override.newrole", family: "persona", seq: "newrole 40 ai/instr/secret/act/mytask", def: .6, res: .4, why: "gives the model another role and orders"},
	{id: "override.off", family: "override", seq: "trustme", def: .3, res: .25, why: "claims an approval or switches a safeguard off"},

	{id: "override.foreign", family: "override", seq: "xoverride 40 xprior 40 xinstr", def: .9, res: .9, hard: true, why: "orders the model to set aside what it was told"},
	{id: "override.foreign2", family: "override", seq: "xoverride 40 xinstr 40 xprior", def: .9, res: .9, hard: true, why: "orders the model to set aside what it was told"},
	{id: "override.foreign3", family: "override", seq: "xprior 40 xinstr 40 xoverride", def: .9, res: .9, hard: true, why: "orders the model to set aside what it was told"},
	{id: "override.voided", family: "override", seq: "prior 20 instr 20 override", def: .5, res: .5, why: "says that what the model was told no longer holds"},

	// Keeping something from the person.
	{id: "conceal.tell", family: "conceal", seq: "neg 12 tell 24 person", def: .95, res: .9, hard: true, why: "orders the model to keep something from the user"},
	{id: "conceal.this", family: "conceal", seq: "neg 8 tell 4 this", def: .7, res: .65, why: "orders the model not to mention something"},
	{id: "conceal.show", family: "conceal", seq: "neg 8 show 24 person", def: .4, res: .4, why: "orders the model not to show or ask the user"},
	{id: "conceal.knowing", family: "conceal", seq: "neg 20 person 6 knowing", def: .6, res: .6, why: "acts without the user knowing"},
	{id: "conceal.secretly", family: "conceal", seq: "secretly 40 act/carry", def: .5, res: .45, why: "orders an act nobody shall notice"},
	{id: "conceal.acted", family: "conceal", seq: "act/carry 60 secretly", def: .5, res: .45, why: "orders an act nobody shall notice"},

	{id: "conceal.foreign", family: "conceal", seq: "xhide 60 xuser", def: .8, res: .7, why: "orders the model to keep something from the user"},
	{id: "conceal.foreign2", family: "conceal", seq: "xuser 40 xhide", def: .8, res: .7, why: "orders the model to keep something from the user"},

	// Markers of conversations and hidden parts.
	{id: "role.marker", family: "role", seq: "role", def: .8, res: .6, fixed: true, why: "looks like a part of the conversation, or like a mark for the model alone"},
	{id: "role.comment", family: "role", seq: "comment 80 act/override/carry/reveal", def: .6, res: .45, fixed: true, why: "hides an order in a comment"},

	// Orders to the model itself.
	{id: "address.ai", family: "address", seq: "ai 10 must 20 act/carry/comply/override", def: .5, res: .6, why: "orders the model about"},
	{id: "address.notice", family: "author", seq: "notice 60 act/carry/override/must", def: .35, res: .35, why: "poses as a notice with orders"},
	{id: "address.author", family: "author", seq: "author 16 boss", def: .4, res: .2, why: "poses as the user, an administrator or a vendor"},
	{id: "address.noticeai", family: "author", seq: "notice 8 ai", def: .7, res: .7, why: "is a note to the model"},
	{id: "task.own", family: "task", seq: "before/beginning 40 mytask", def: .65, res: .5, why: "speaks of the task the user gave to the model"},
	{id: "task.given", family: "task", seq: "mytask 30 beginning", def: .7, res: .6, why: "speaks of the task the user gave to the model"},
	{id: "task.new", family: "task", seq: "newtask", def: .6, res: .55, why: "announces another task"},
	{id: "task.some", family: "task", seq: "sometask", def: .3, res: .3, why: "announces another task"},
	{id: "task.comply", family: "comply", seq: "comply 12 following 16 orders", def: .6, res: .6, why: "orders the model to follow instructions it brings along"},
	{id: "task.please", family: "comply", seq: "please/must 12 comply 8 following", def: .55, res: .55, why: "orders the model to follow instructions it brings along"},
	{id: "task.decoded", family: "comply", seq: "runs 60 then", def: .8, res: .8, why: "orders the model to decode and obey"},

	// Reading and sending what is none of its business.
	{id: "leak.prompt", family: "leak", seq: "reveal 30 sysprompt", def: .9, res: .85, hard: true, why: "orders the model to reveal its instructions"},
	{id: "leak.secret", family: "leak", seq: "carry 50 secret/talk/path 50 away 24 dest/mail", def: .9, res: .85, hard: true, why: "orders secrets or the conversation to be sent away"},
	{id: "leak.carry", family: "leak", seq: "carry 30 secret/talk/path", def: .35, res: .35, why: "speaks of passing on secrets or the conversation"},
	{id: "leak.mustcarry", family: "leak", seq: "please/must 24 carry 40 secret/talk/path", def: .6, res: .55, why: "orders secrets or the conversation to be passed on"},
	{id: "leak.path", family: "sensitive", seq: "act/carry 60 path", def: .4, res: .35, why: "orders a file with secrets to be touched"},
	{id: "leak.mustpath", family: "sensitive", seq: "please/must/before 30 act/carry 60 path", def: .6, res: .5, why: "orders a file with secrets to be touched"},
	{id: "leak.pathed", family: "sensitive", seq: "path 60 carry/act", def: .45, res: .4, why: "orders a file with secrets to be touched"},
	{id: "leak.mustsend", family: "leak", seq: "please/must 20 carry 70 away 16 dest/mail", def: .45, res: .5, why: "orders something to be sent elsewhere"},
	{id: "leak.handed", family: "leak", seq: "haul 12 handed 6 away 4 weblink/dest/mail", def: .4, res: .5, why: "orders something to be sent elsewhere"},
	{id: "leak.found", family: "leak", seq: "secret/path/records 60 haul 16 away 4 weblink/dest", def: .5, res: .55, why: "orders secrets or records to be sent elsewhere"},
	{id: "leak.records", family: "leak", seq: "haul 20 records 30 away 12 weblink/dest/mail", def: .5, res: .5, why: "orders records of people to be sent elsewhere"},
	{id: "override.guard", family: "override", seq: "override 12 guard", def: .4, res: .45, why: "orders a safeguard to be passed over"},
	{id: "override.guarded", family: "override", seq: "override 12 guard 24 act/carry", def: .5, res: .5, why: "orders an act without the safeguard before it"},
	{id: "address.foreign", family: "address", seq: "xai 12 xmust 24 xoverride/xsend/xreveal", def: .6, res: .6, why: "orders the model about"},
	{id: "leak.foreign", family: "leak", seq: "xreveal 40 xprompt", def: .85, res: .8, hard: true, why: "orders the model to reveal its instructions"},
	{id: "leak.foreign2", family: "leak", seq: "xprompt 40 xreveal", def: .85, res: .8, hard: true, why: "orders the model to reveal its instructions"},
	{id: "leak.foreign3", family: "leak", seq: "xsend 60 xsecret/path/secret", not: "xwe", def: .55, res: .5, why: "orders secrets to be passed on"},
	{id: "leak.foreign4", family: "leak", seq: "xsecret/path/secret 60 xsend", not: "xwe", def: .55, res: .5, why: "orders secrets to be passed on"},
	{id: "leak.foreign5", family: "leak", seq: "xsend 80 weblink 60 query", def: .5, res: .5, why: "orders an address to be loaded that carries data away"},
	{id: "leak.foreign6", family: "leak", seq: "xsend 80 dest/mail", def: .5, res: .5, why: "orders something to be sent elsewhere"},
	{id: "leak.foreign8", family: "leak", seq: "dest/mail 24 xsend", not: "xwe", def: .5, res: .5, why: "orders something to be sent elsewhere"},
	{id: "leak.foreign9", family: "sensitive", seq: "xmust 40 path 60 xread/xput", not: "settings", def: .6, res: .55, why: "orders a file with secrets to be touched"},
	{id: "leak.foreign10", family: "sensitive", seq: "xmust 40 xread/xput 40 path", not: "settings", def: .6, res: .55, why: "orders a file with secrets to be touched"},
	{id: "leak.foreign11", family: "sensitive", seq: "xread 40 path 60 xput/xsend", not: "settings", def: .6, res: .55, why: "orders a file with secrets to be touched"},
	{id: "leak.foreign12", family: "sensitive", seq: "path 24 xread 40 xput/xsend", not: "settings", def: .6, res: .55, why: "orders a file with secrets to be touched"},
	{id: "xtool.foreign2", family: "xtool", seq: "xbefore 24 xanytool", def: .6, res: .45, why: "orders when any other tool may be used"},
	{id: "xtool.foreign3", family: "xtool", seq: "xanytool 24 xbefore", def: .6, res: .45, why: "orders when any other tool may be used"},
	{id: "persona.foreign", family: "persona", seq: "xnewrole 60 xlimitless", def: .6, res: .6, why: "gives the model another role without limits"},
	{id: "leak.foreign7", family: "leak", seq: "xreveal 40 xinstr", def: .5, res: .5, why: "orders the model to reveal its instructions"},
	{id: "override.foreign4", family: "override", seq: "xoverride 60 xinstr", def: .5, res: .5, why: "speaks of setting instructions aside"},
	{id: "xtool.foreign", family: "xtool", seq: "xmust 40 xtool 60 xmust", def: .45, res: .3, why: "ties other calls to an act of its own"},
	{id: "run.shell", family: "shell", seq: "act/please/must/then 60 shell", def: .45, res: .4, why: "orders a command to be run"},
	{id: "run.piped", family: "shell", seq: "shell 80 shell", def: .6, res: .4, why: "has a command that fetches and runs"},
	{id: "run.money", family: "money", seq: "act/please/must 30 money 60 away", def: .2, res: .35, why: "orders money to be moved"},

	// Other tools, arguments, preference.
	{id: "xtool.before", family: "xtool", seq: "before 20 doing 40 must 24 act/carry", def: .45, res: .35, why: "ties other calls or answers to an act of its own"},
	{id: "xtool.must", family: "xtool", seq: "must 30 act/carry 80 before 16 doing", def: .35, res: .3, why: "ties other calls or answers to an act of its own"},
	{id: "xtool.any", family: "xtool", seq: "avoid/before 24 anytool", def: .6, res: .45, why: "orders when any other tool may be used"},
	{id: "xtool.handover", family: "handover", seq: "please/must 40 using 24 toolword 16 away", not: "selftool", def: .35, res: .5, why: "hands over to another tool"},
	{id: "alter.any", family: "alter", seq: "against", def: .65, res: .55, why: "goes against what the user asked for"},
	{id: "alter.whatever", family: "alter", seq: "irrespective 16 person/mytask", def: .6, res: .4, why: "goes against what the user asked for"},
	{id: "alter.field", family: "alter", seq: "please/must 16 alter 24 field 30 away 12 dest/mail", def: .6, res: .55, why: "orders an argument to be changed"},
	{id: "alter.with", family: "alter", seq: "alter 24 field 24 away/with", def: .25, res: .2, why: "orders an argument to be changed"},
	{id: "prefer.praise", family: "prefer", seq: "praise 16 toolword", def: .4, res: 0, why: "praises itself before other tools"},
	{id: "prefer.rank", family: "prefer", seq: "praise 20 toolword 12 rank", def: .6, res: 0, why: "praises itself before other tools"},
	{id: "prefer.priority", family: "prefer", seq: "priority 40 selftool/toolword", def: .42, res: 0, why: "orders itself to be preferred"},
	{id: "prefer.self", family: "prefer", seq: "selftool 30 priority", def: .55, res: 0, why: "orders itself to be preferred"},
	{id: "memory.persist", family: "memory", seq: "memory 60 act/carry/override/secret/must", def: .3, res: .35, why: "plants something for later conversations"},
	{id: "urgent.order", family: "urgent", seq: "urgent 40 must/act", def: .15, res: .15, why: "presses"},
	{id: "voice.first", family: "voice", seq: "firstperson 30 must/act/you", def: .25, res: .1, why: "speaks as a person"},
	{id: "schema.model", family: "wants", seq: "modelname", def: .5, res: 0, fixed: true, why: "asks for the model, its prompt or the conversation"},
}

// resultRules are about what only a result can pretend to be.
var resultRules = []ruleText{
	{id: "result.done", family: "done", seq: "taskdone 4 stop 24 please/override/newtask/sometask/must/act", res: .55, why: "pretends that the task is over and gives another"},
	{id: "result.over", family: "done", seq: "done 40 please/override/newtask/must", res: .3, why: "pretends that the task is over and gives another"},
	{id: "result.turn", family: "turn", seq: "turn 3 you/newrole/override/reveal/haul/ai", res: .5, why: "pretends that the system or an operator speaks"},
	{id: "result.mend", family: "mend", seq: "hitch 60 mend 40 shell/path/secret/reveal/haul/toolword", res: .35, why: "ties the way out of an error to an act"},
	{id: "link.image", family: "link", seq: "img 60 linked 60 query", def: .6, res: .5, fixed: true, why: "has a picture whose address carries data away"},
	{id: "link.order", family: "link", seq: "render 40 linkword/img 40 weblink 60 query", def: .6, res: .5, why: "orders an address to be shown that carries data away"},
	{id: "result.invent", family: "invent", seq: "invent", res: .35, why: "orders gaps to be filled without asking"},
}
