package inspect

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// class is a kind of word rules are written over, an index into lexicon order.
type class uint8

// The classes the code itself looks for; all others only appear in rules.
const (
	stop     = "stop"     // ends a sentence
	quoter   = "quoter"   // what follows are words of somebody else
	describe = "describe" // a verb of a third person: what follows describes
	unbound  = "unbound"  // makes what follows no order: "to", "may"
	rot13ed  = "rot13"    // plain words, rotated
	reversed = "reversed" // plain words, backwards
)

// lexicon is all classes and their words, between commas. A star takes whatever
// letters follow; a blank stands for any white space. A word may be in several.
var lexicon = map[string]string{
	stop: ". ,.\n,.\",.),! ,!\n,!!,? ,?\n,\n\n,\n-,\n*,\n#,\n•,。,\n1.,\n2.,\n3.",
	quoter: "example,for example,e.g.,such as,attackers,attacker may,phrases,phrase,strings like,patterns,pattern,detect," +
		"injection attempt*,prompt injection*,injection*,payloads,malicious,suspicious,jailbreak*,red team*,sample," +
		"training,test case*,fixture,owasp,mitre,cwe,cve*,advisory,blog,article,paper,research,the following string," +
		"like the following,quoted,quote,quotes,expected output*,expected response*,mock,mocks,mocked,mock response*,fixtures,canned,stub,stubs,dummy,placeholder*,illustrative,demonstration,literal,flag*,warning signs,social engineering,treat,never obey,should not,must not follow,do not obey,phishing,security,changelog,release notes,rule matches,matches,test vector*,corpus,comment,adversarial,unsafe,known attack*,heuristic*,simulated,red-team*,literally,documentation,policy says,guidance,do not follow,never follow," +
		"untrusted,scanner,detector,classifier,filter,sanitiz*,regex,예를 들어,예시",
	describe: "detects,returns,checks,scans,flags,finds,identifies,prevents,blocks,lists,explains,describes,analyzes,analyses," +
		"evaluates,validates,classifies,reports,computes,gets,shows,matches,filters,rejects,removes,sanitizes,contains," +
		"discusses,documents,covers,warns,refuses,discussed,discussing,removed,blocked,rejected,flagged,detected",
	unbound:  "to,may,might,could,would,can,which,who,whether,if,attempts to,tries to,used to,asks,asking,says,said,saying,told,tells,that says,try to,tried to",
	rot13ed:  "vtaber,cerivbhf,vafgehpgvba*,gur,naq,lbh,zhfg,frperg,cnffjbeq,flfgrz,cebzcg,hfre,sbetrg,qvfertneq,erirny,bireevqr",
	reversed: "erongi,suoiverp,noitcurtsni,snoitcurtsni,eht,dna,uoy,tsum,terces,drowssap,metsys,tpmorp,resu,tegrof,drager sid,laever,edirrevo,lla",

	"override": "ignore,ignoring,disregard*,forget,override,overriding,overrule,bypass,bypassing,discard,set aside,put aside,pay no attention to," +
		"do not follow,don't follow,stop following,no longer follow,do not obey,supersede,supersedes,overrides,cancel,void,neglect,abandon," +
		"throw away,throw out,drop,erase,dismiss,wipe,suspend,circumvent,do not adhere to,stop obeying,not bound by,replaces,takes precedence over,take precedence over," +
		"무시*",
	"prior": "previous,previously,prior,earlier,above,preceding,existing,original,initial,all,any,every,other,current,your,system,safety,security,foregoing,up to now," +
		"so far,former,past,given,these,those,whatever,everything,user's,developer,default,content,ethical,prev," +
		"이전*",
	"instr": "what i asked,what i said,what you were told,what you know,instruction,instructions,prompt,prompts,rule,rules,guideline,guidelines,direction,directions,directive,directives,commands,orders," +
		"policies,policy,constraints,restrictions,safeguards,guardrail,guardrails,protocols,programming,training,instrs,instruct,guidance,limits,limitations," +
		"conversation,messages,context,told,said,task,tasks,request,requests," +
		"지시*,instructions",

	"neg": "do not,don't,dont,never,must not,should not,shouldn't,without,avoid,not to,refrain from,no need to,mustn't,cannot,can't,do n't,not,no,nor,stop,rather than",
	"tell": "tell,telling,mention,mentioning,inform,informing,notify,notifying,reveal,revealing,disclose,disclosing,alert,alerting,explain,explaining,acknowledge," +
		"warn,warning,admit,talk about,announce,indicate,let on,divulge,say,hint",
	"show": "show,showing,report,reporting,display,displaying,ask,asking,discuss,confirm,confirming,describe,let,prompt,expose,reference,output,log,include,print,summarize",
	"person": "user,users,the user,human,humans,person,people,anyone,anybody,operator,customer,them,him,her,end user,owner,developer,administrator,nobody,others," +
		"사용자*",
	"this": "this,that,these,it,any of this,anything,the following,you're,you are,there is,why,how,having,the real,its,about",
	"secretly": "silently,secretly,covertly,quietly,discreetly,behind the scenes,in the background,unnoticed,stealthily,surreptitiously,invisibly," +
		"keep this secret,keep it secret,keep this hidden,keep this confidential,between us,under the hood,without informing,without notifying,without telling," +
		"without alerting,without mentioning,without disclosing,without the user,without user,without their knowledge,without being noticed," +
		"without asking,without confirmation,without consent,without permission,without approval," +
		"no le digas",
	"knowing": "knowledge,knowing,noticing,awareness,consent,permission,confirmation,approval,being aware,realizing,seeing,asking,aware,notice,know,find out,learn,realize,suspect,see it,see this,hear",

	"must": "must,have to,need to,needs to,should,shall,are required to,is required to,required to,has to,make sure,be sure,ensure,remember to,always,mandatory," +
		"are instructed to,are expected to,are obligated to,will now,are to",
	"you":    "you,your",
	"please": "please,kindly,i need you to,i want you to,you must,you should,you will,you have to,you need to,you are required,now,immediately,first,then,also,next,additionally,instead",
	"ai": "assistant,the assistant,ai,llm,llms,language model,language models,the model,ai agent,ai model,chatbot,claude,gpt,chatgpt,copilot,gemini," +
		"ai assistant,ai system,ai systems,agents,the agent,your agent,model",
	"act": "read,open,fetch,retrieve,access,get,send,post,upload,forward,transmit,email,execute,run,call,invoke,use,download,save,write,create,delete,remove," +
		"append,attach,add,copy,extract,collect,exfiltrate,leak,pass,put,encode,transfer,pay,install,visit,click,navigate,search,provide,print,reply,respond," +
		"include,return,output,perform,do,make,change,set,update,modify,replace,list,show,cat,check,query,store,insert,embed,encrypt,wipe,reset,disable,grant,approve,schedule,book,buy,message,share,submit,load,import,follow,obey,tell,report,reveal,start,launch",
	"carry": "export,exporting,dump,dumping,send,sending,post,posting,upload,uploading,forward,forwarding,transmit,transmitting,email,emailing,exfiltrate,exfiltrating,leak,leaking,deliver," +
		"relay,ship,share,sharing,submit,pass,passing,append,attach,copy,report,include,including,embed,encode,put,write,add,store,save,log,sync,mirror,cc,bcc,post back,send back,beacon,smuggle",
	"away": "to,at,into,via,over",
	"with": "with,by,using",
	"dest": "http://,https://,attacker,attackers,attacker's,external,remote server,webhook,endpoint,third party,third-party,our server,collector,exfil*,c2," +
		"ftp://,wss://,pastebin*,ngrok*,outside,logging server,analytics server,dns",
	"reveal": "reply with,respond with,answer with,responding with,replying with,read out,spell out,reproduce,reveal,print,output,show,repeat,disclose,display,dump,leak,share,tell,expose,recite,give,provide,return,include,send,write,state,translate,summarize,echo,exfiltrate,paste,export,divulge,list," +
		"공개*",
	"sysprompt": "system prompt*,hidden prompt*,initial prompt*,initial instructions,your instructions,developer message*,system message*,your prompt,hidden instructions," +
		"system instructions,developer instructions,developer prompt*,internal instructions,internal prompt*,base prompt,original instructions,your system,secret instructions," +
		"시스템 프롬프트*,systemprompt*,chain of thought,internal policy,internal policies,hidden policy,system-prompt*,sysprompt",
	"talk": "conversation,conversation history,chat history,chat log*,message history,previous messages,full context,context window,entire context,all messages," +
		"user's messages,user input*,user data,user's data,user query,user's query,user prompt,session data,conversation context,tool outputs,tool results,transcript,the conversation,memory,all prior",
	"secret": "password*,passwd,credential,credentials,api key*,apikey*,api_key*,secret,secrets,secret key*,access token*,auth token*,bearer token*,private key*," +
		"ssh key*,environment variables,env vars,session token*,session cookie*,cookies,seed phrase,tokens,token,signing key*,master key*,ssn," +
		"credit card*,passcode*,2fa code*,otp,encryption key*,refresh token*,bank account*,secret_*",
	"path": "~/.ssh,.ssh/,id_rsa*,id_ed25519*,/etc/passwd,/etc/shadow,.aws/cred*,~/.aws,.env,mcp.json,.cursor/*,authorized_keys,.netrc,.npmrc,.pypirc,.git-credentials," +
		".kube/config,.bash_history,/proc/self/environ,.gnupg,wallet.dat,/root/,~/.bashrc,~/.zshrc,~/.profile,.docker/config*," +
		"claude_desktop_config*,/var/run/secrets,169.254.169.254,/etc/sudoers,/etc/hosts,crontab,login data,keychain,.vscode/*,credentials.json,secrets.yaml,shadow file,%userprofile%*,%appdata%*",
	"shell": "curl ,wget ,rm -rf,rm -r,bash -c,sh -c,bash -i,| sh,| bash,|sh,|bash,chmod ,sudo ,powershell*,base64 -d,python -c,python3 -c,os.system,subprocess*,nc -e,nc -l," +
		"eval(,exec(,netcat,/dev/tcp,echo ',>> ~/,iptables,systemctl,kill -9,pkill,mkfifo,certutil,invoke-webrequest,iex(,cmd.exe,cmd /c,shutdown,dd if=,mkfs*,cat /,cat ~/,scp ,ssh ,npm install,pip install,git push,drop table,delete from",
	"before": "before,prior to,until,ahead of,in order to,whenever,every time,each time,at the start of,at the beginning of,upon,when,after,on every,with every,during",
	"doing": "using,calling,invoking,running,executing,doing,answering,responding,proceeding,providing,you can,you use,you call,you answer,you respond,any other," +
		"any tool,any task,this tool,replying,continuing,you continue,you proceed,anything else,using this,you do,performing,returning,completing,each call,each request,finishing,i can,the user's request,every response,every call,every request",
	"toolword": "tool,tools,function,functions,mcp server,plugin,connector,the tool,server,servers,api,service",
	"anytool":  "other tool,other tools,any tool,any tools,all tools,every tool,all other tools,any other tool,another tool,different tool,other servers,other server,alternative tools,competing tools,built-in tool*,other mcp*,other functions,similar tools",
	"selftool": "this tool,this function,this server,this one,our tool,this service,this api,this mcp*,this plugin,me",
	"using":    "use,using,call,calling,invoke,invoking,run,select,choose,pick,prefer,rely on,trust,execute,route,routing,go through,redirect",
	"avoid":    "do not use,don't use,never use,avoid using,do not call,don't call,never call,stop using,do not invoke,avoid,refrain from using,instead of,rather than,in place of,over,deprecated,unavailable,disabled,insecure,broken,replaces,supersedes,overrides,not use",
	"praise": "best,the best,greatest,superior,most reliable,most powerful,most accurate,most trusted,most secure,most advanced,most efficient,most comprehensive,only,ultimate,unmatched,number one,#1,perfect,top-rated," +
		"highest quality,better than,more reliable,more accurate,more secure,fastest,finest,premier,unbeatable,leading,official,recommended,the only,most popular,ideal,world-class,first choice,gold standard",
	"rank":     "in the world,ever,always,available,on the market,of all,in existence,anywhere,world's,worldwide,by far,without doubt,than any,than all,of its kind,in the universe,for any task,for all tasks,for everything",
	"priority": "highest priority,top priority,first priority,takes priority,take priority,takes precedence,prioritize,prioritise,prioritized,preferred,prefer,preferably,favor,favour,give priority,priority over,must be chosen,must be used,should be used first,must be called first,must always be,should always be,always choose,always use,always select,always pick,always prefer,always call,default choice,first choice",

	"newrole": "you are now,act as,pretend to be,pretend you,pretend that,from now on,henceforth,going forward,developer mode,jailbreak,unrestricted,no restrictions,without restrictions," +
		"new role,roleplay as,role-play as,you will act,you will now,switch to,enter maintenance,debug mode,god mode,admin mode,maintenance mode,dan mode,your new,ahora eres,du bist jetzt,tu es maintenant,no longer bound,unfiltered,enable developer,simulate being,root mode,sudo mode",
	"newtask": "new instruction,new instructions,new directive,new directives,urgent task,real task,actual task,your task is,your new task,your real,your goal is,primary objective,true objective,updated instructions,new system prompt,new user query,revised instructions,your next task,your only task,hidden task,your new goal,new orders,your new objective,your new role,your new mission,your mission is,urgent new task",
	"done":    "task complete*,task is complete,task completed,task has been completed,has been completed,task done,task finished,answer: ,request completed,previous task,job done,is finished,completed successfully,end of,end of document,end of data,end of content,end of tool*,end of file,end of context,end of email,end of message,end of results,already completed,query resolved,has ended,conversation ended,done.,finished.,finished",
	"comply": "adhere to,comply with,follow,obey,execute,carry out,perform,complete,do,implement,process,act on,fulfil,fulfill,finish,complete the,abide by,run," +
		"heed,observe",
	"following":    "the following,these,below,following,this instruction,this command,this request,this task,as follows,the next,the new task,the new,this message,the steps below,the instructions,the below,the embedded,the attached,the hidden,my instructions,my orders,instructions in,directions in,what i say,embedded,following first",
	"orders":       "instruction,instructions,task,tasks,steps,command,commands,actions,directive,directives,request,first,order,orders,step,procedure,:",
	"mytask":       "the task that,the task,your task,the original task,original task,my request,the user's request,the user's task,current task,the user's question,solve,user's request,the main task,this task,user task,the user task,assigned task,what i asked,my task,my question",
	"author":       "message from,notice from,instruction from,instructions from,note from,order from,orders from,request from,update from,directive from,signed,authorized by,authorised by,on behalf of,approved by,this is the,i am the,i am your,i'm your,this is your,directive by,as the",
	"boss":         "user,admin,administrator,system,developer,developers,anthropic,openai,google,microsoft,security team,it department,ceo,owner,root,system administrator,the user,management,support team,engineering,compliance,compliance team,operator,manager,your creator*,maintainer,moderator,security,legal",
	"notice":       "important message,important notice,system message,system notice,system override,system alert,system update,system note,admin notice,admin override,security notice,security override,urgent message,urgent notice,attention,note to,notice to,message to,hey,dear,for the attention of,critical instruction,system instruction,mandatory instruction,important instruction*,system directive,priority instruction*,override code,hidden instruction*,special instruction*,secret instruction*,developer note,system command,urgent instruction*,emergency override,important note to,important:,critical:,urgent:,mandatory:,important!,attention:,system:,instruction:,instructions:,admin:,developer:,중요:,重要：,重要:",
	"urgent":       "important,critical,crucial,urgent,mandatory,essential,imperative,immediately,required,vital,very important,extremely important,at all costs,otherwise,fail to,failure to,will fail,will crash,will not work,won't work,will be terminated,will be lost,will be deleted,asap,strictly,without exception,no exceptions,must be obeyed,under no circumstances,non-negotiable,right now,without delay,before anything else,ahead of everything",
	"alter":        "change,replace,modify,set,rewrite,alter,substitute,redirect,swap,use,overwrite,add,append,include,bcc,cc,prepend,insert,inject,tamper,update,switch,reroute,route,convert",
	"field":        "recipient,recipients,address,addresses,amount,destination,account,parameter,parameters,argument,arguments,url,urls,to field,beneficiary,iban,payload,the email,all emails,emails,message body,body,phone number,price,branch,path,filename,header,wallet,payee,order,value,request,query,input,password",
	"irrespective": "regardless of,no matter what,no matter which,irrespective of,whatever,whether or not,independent of",
	"mail":         "@",
	"haul":         "send,forward,upload,transmit,exfiltrate,leak,relay,email,e-mail,deliver,post back,send back,beacon,smuggle,transfer,submit",
	"handed":       "it,them,these,this,that,those,everything,all of it,all of them,the result,the results,the value,the values,the output,the contents,its contents,a copy",
	"records":      "customer emails,customer email addresses,customer data,customer records,customer list,client data,client list,client records,user records,user emails,users' data,personal data,personal information,private data,private messages,private files,contact list,contacts,address book,inbox,inbox contents,mailbox,medical records,health records,patient records,payroll,financial records,bank details,payment details,database dump,the database,source code,confidential data,confidential information,confidential files,internal documents,sensitive data,sensitive information,private keys,all files,all emails",
	"guard":        "approval,approvals,confirmation,human review,human approval,user confirmation,authorization,authorisation,authentication,verification,access control,access controls,permission checks,permission check,security checks,security check,safety checks,safety check,audit log,audit logging,guardrails,safeguards,sandbox,content filter,content filters,rate limits",
	"turn":         "system:,[system],system message:,admin:,administrator:,developer:,assistant:,root:,systeme:,sistema:,시스템:,系统:,系统：,システム:,система:",
	"hitch":        "error:,error,failed,failure,denied,forbidden,unauthorized,unavailable,exception,timed out,timeout,rejected,could not,unable to",
	"mend":         "retry with,try again with,retry by,rerun with,call again with,to proceed,to continue,to fix this,to resolve this,to succeed,to recover,to complete,to get the result,to unlock,to authorize,to verify",
	"xai":          "l'assistant,l'ia,el asistente,la ia,der assistent,die ki,o assistente,l'assistente,ассистент*,助手,人工智能,アシスタント,어시스턴트*,인공지능*,asystent,assistent",
	"firstperson":  "i am,i'm,i have,i need,i want,i will,i gave,my,me,i would,i asked,i order,i command",
	"beginning":    "in the beginning,at the beginning,gave you,asked you,assigned to you,you were given,given to you,you were asked,you can solve,you can complete,you can finish,you can continue,you can proceed,you can answer,you may continue,you may proceed,then continue,then proceed,resume,go back to,return to your,return to the,continue with,proceed with,after that,once done,when done,after you do,after doing",
	"role": "<important>,</important>,<system>,</system>,[system],[/system],<hidden>,</hidden>,<secret>,</secret>,<instructions>,</instructions>,<instruction>,<|im_start,<|im_end,<|system,<|user,<|assistant,[inst],[/inst],<<sys>>," +
		"### system,### instruction,<admin>,</admin>,<information>,</information>,<assistant>,</assistant>,<user>,</user>,<human>,<system_*,<system-*,<critical>,</critical>,<override>,</override>,<priority>,<injected*,<instruction_*,<attention>," +
		"</tool_*,<tool_response>,<function_*,</function_*,<tool_call*,<|endoftext,<|start_header,<|eot_id,<start_of_turn>,<end_of_turn>,[system*,<system:,<developer>,<!-- system,<!--system,<secret_*,<mandatory>,<directive>,<|begin_of*,<policy>,<important_*,[important],[hidden,[[system,[admin,{{system,{system,begin system,begin instruction*,end of system,<agent*,<llm*,<ai>,<ai_*,assistant to=,to=functions",
	"against":  "even if the user,even when the user,whatever the user,despite what the user,despite the user,even though the user,against the user,instead of the user,instead of the one the user,not what the user,not the one the user,rather than the one,in place of the user's,override the user*,ignore the user*,other than the user,even if asked,even if they ask,even if instructed,even if told",
	"sometask": "new task,new query,additional task,follow-up task,important task,main task,new command,new goal,new objective,new rules,new prompt,additional instructions,next instruction,new mission",
	"taskdone": "task complete,task is complete,task completed,task has been completed,task done,task finished,answer:,previous task,task is done,request completed,task accomplished,request has been completed,query resolved,first task is,work is done",
	"img":      "![,<img,<iframe,<image",
	"linked":   "](http*,src=",
	"query":    "?data=,?d=,?q=,?c=,?s=,?key=,?secret=,?p=,?msg=,?m=,?x=,?info=,?content=,?payload=,={,=<,=$,={{,=[,?leak=,?exfil=,?text=,?log=,?query=",
	"render":   "render,display,show,output,include,embed,print,click,open,visit,follow,load,fetch,append,insert,draw,return,send,navigate,redirect,go to",
	"weblink":  "http://,https://,](http*,hxxp*,ftp://",
	"linkword": "markdown,image,link,links,img,iframe,url,pixel,page,website,site",
	// The same families in other languages; the order of words differs.
	"xoverride":  "무시*,잊어*,잊고*,잊으*,作废,作廢,废除,抛开,不再遵守,取り消し,無効に,descarta,descarte,verwirf,ne tiens pas compte,ne tenez pas compte,따르지 마*,무효*,ignora,ignore,ignorez,ignorer,ignorar,ignorier*,ignorare,omite,olvida,olvide,oublie,oubliez,oublier,vergiss,vergessen sie,vergessen,missachte*,esqueca,esqueça,desconsidere,dimentica,忽略,无视,忽視,無視,忘记,忘掉,不要遵守,忘れ,従わない,игнорир*,забудь*,отмени*,negeer,zignoruj,yoksay",
	"xprior":     "이전*,위,앞서*,앞에서*,위에서*,종전*,원래*,本来,原来,元の,最初の,originales,ursprunglichen,initiales,앞의*,앞선,위의*,모든,기존*,지금까지*,anteriores,anterior,previas,previos,todas,todos,precedentes,précédentes,précédents,toutes,tous,ci-dessus,vorherigen,vorherige,alle,bisherigen,obigen,precedenti,tutte,之前,以上,所有,先前,前面,以前,これまで,前の,上記,すべて,全ての,предыдущ*,все,прежн*,vorige,poprzednie,onceki",
	"xinstr":     "지시*,normas,vorschriften,방침*,要求,要件,명령*,규칙*,지침*,프롬프트*,설정*,instrucciones,instruccion,reglas,ordenes,instructions,consignes,regles,anweisung*,regeln,vorgaben,befehle,instrucoes,regras,istruzioni,regole,指令,指示,规则,規則,提示,命令,ルール,инструкц*,правил*,указани*,команд*,instructies,instrukcje,talimat*",
	"xreveal":    "공개*,출력*,알려*,보여*,노출*,말해*,muestra,muestre,revela,revele,imprime,affiche*,montre*,revele*,zeige*,gib,verrate*,offenbare*,mostra,mostre,rivela,显示,输出,泄露,告诉,打印,表示し*,出力し*,教えて*,明かし*,покажи*,раскрой*,выведи*,toon,pokaz,goster",
	"xprompt":    "invite systeme,invite du systeme,instructions cachees,regles privees,instrucoes ocultas,istruzioni nascoste,시스템 프롬프트*,시스템 메시지*,내부 지시*,내부 지침*,숨겨진 지시*,系统提示*,系統提示*,系统指令,内部指令,システムプロンプト*,システム指示*,prompt del sistema,prompt de sistema,mensaje del sistema,prompt systeme,message systeme,instructions internes,systemprompt*,system-prompt*,systemanweisung*,prompt do sistema,prompt di sistema,instrucciones internas,instrucciones ocultas,системн*,systeemprompt*",
	"xsend":      "보내*,전송*,전달*,업로드*,유출*,메일*,envia,enviar,enviando,envialo*,enviala*,enviale*,envie,envien,mandar,mandalo*,manda,mande,transmite*,sube,envoie*,envoyez,transmets,transmettez,televers*,chargez,charger,sende,senden,schick*,ubermittle*,lade,leite,weiterleiten,invia*,inoltra*,发送,发给,上传,转发,傳送,送信*,送って*,転送*,アップロード*,отправ*,перешли*,загрузи*,stuur,wyslij,gonder",
	"xsecret":    "비밀번호*,암호*,비밀*,자격 증명*,토큰*,api 키*,개인 키*,대화 내용*,密码,密碼,密钥,凭证,令牌,パスワード*,秘密*,認証情報*,トークン*,contrasena*,secretos,claves,clave api,credenciales,mot de passe,mots de passe,secrets,identifiants,cles api,passwort*,passworter,geheimniss*,zugangsdaten,schlussel,senhas,segredos,credenciais,segreti,парол*,секрет*,токен*,ключ*",
	"xhide":      "伝えず,知らせず,言わず,報告せず,ohne den nutzer,말하지 말*,알리지 말*,언급하지 말*,말하지 않*,언급하지 않*,모르게*,들키지*,sin que el usuario*,sin que lo sepa,no se lo digas,a escondidas,a l'insu,sans que l'utilisateur*,n'en parle*,ohne wissen,ohne dass der benutzer,ohne dass der nutzer,sag dem nutzer nicht*,heimlich,senza che l'utente,all'insaputa,sem o conhecimento,sem que o usuario,瞒着,不让用户,别让用户,気づかれない*,知られない*,без ведома,тайно,말하지 마*,알리지 마*,알리지 않*,언급하지 마*,몰래*,비밀로*,숨기*,no le digas,no menciones,no informes,no lo menciones,sin decir*,sin informar,ne dis pas,ne dites pas,ne mentionne*,n'informe*,sans informer,sans le dire,sag dem benutzer nicht*,erwahne nicht,nicht erwahnen,informiere nicht,ohne den benutzer,nao diga,nao mencione,sem informar,non dire,non menzionare,不要告诉,不要提及,别告诉,不要透露,不要通知,秘密地,伝えない*,言わない*,知らせない*,内緒*,не говори*,не сообщай*,не упоминай*",
	"xuser":      "사용자*,유저*,고객*,이용자*,客户,客戶,顾客,利用者,お客様,顧客,cliente,clientes,kunde,kunden,usuario*,utilisateur*,benutzer*,nutzer*,utente,utenti,usuário*,用户,使用者,ユーザー*,пользовател*,gebruiker*",
	"xtool":      "도구*,herramienta*,outil*,werkzeug*,ferramenta*,strumento*,工具,ツール*,инструмент*",
	"xmust":      "doit,doivent,vous devez,soll,sollte,muss,deben,devono,반드시*,먼저*,해야*,꼭*,debes,debe,primero,antes de,siempre,devez,dois,d'abord,avant de,toujours,müssen,musst,zuerst,immer,bevor,deve,sempre,antes,devi,prima di,必须,必須,首先,先,务必,必ず,まず,しなければ,долж*,сначала,обязательно,всегда",
	"xread":      "읽*,열어*,조회*,가져와*,lee,leer,lea,abre,abrir,lies,lesen,lese,offne,offnen,lis,lire,lisez,ouvre,ouvrez,leia,leggi,读取,读出,打开,查看,讀取,読み,読んで,開い,прочита*,прочти*,открой*",
	"xput":       "넣*,포함*,추가*,붙여*,채워*,기록*,incluye*,incluir,pon,ponga,pega,anade,agrega,fuge,fugen,einfugen,setze,setzen,trage,kopiere,schreibe,ajoute*,inclu*,mets,mettez,place*,copie*,inclua,coloque,inserisci,aggiungi,放入,放进,填入,写入,加入,附上,複製,入れ,含め,書き込,追加し,貼り付け,встав*,добав*,включи*",
	"xanytool":   "다른 도구*,모든 도구*,어떤 도구*,다른 툴*,其他工具,其它工具,所有工具,任何工具,别的工具,他のツール,別のツール,すべてのツール,どのツール,otra herramienta,otras herramientas,cualquier herramienta,las demas herramientas,anderes werkzeug,andere werkzeuge,anderen werkzeuge*,anderen werkzeug,jedes werkzeug,jedem werkzeug,anderes tool,andere tools,autre outil,autres outils,tout outil,chaque outil,outra ferramenta,outras ferramentas,qualquer ferramenta,altro strumento,altri strumenti,другой инструмент*,другие инструмент*,других инструмент*,любой инструмент*,любого инструмент*",
	"xbefore":    "전에,앞서,之前,以前,前,前に,antes de,antes,bevor,vor,avant,prima di,prima,перед,прежде чем",
	"xnewrole":   "이제부터*,지금부터*,너는 이제*,당신은 이제*,从现在开始,从现在起,你现在是,今から,これから,今後は,あなたは今,a partir de ahora,desde ahora,ahora eres,ab jetzt,ab sofort,von nun an,du bist jetzt,a partir de maintenant,desormais,dorenavant,tu es maintenant,a partir de agora,agora voce e,d'ora in poi,da ora in poi,отныне,теперь ты,с этого момента",
	"xlimitless": "제한이 없*,제한 없*,무제한*,제약 없*,没有限制,無限制,无限制,不受限制,不受任何限制,制限のない,制限なし,制約のない,無制限,sin restricciones,sin limites,sin limitaciones,ohne einschrankungen,ohne beschrankungen,ohne grenzen,uneingeschrankt*,sans restrictions,sans restriction,sans limites,sans limite,sem restricoes,sem limites,senza restrizioni,senza limiti,без ограничений",
	// Files people are told to open and fill in.
	"settings": ".env,mcp.json,.npmrc,.pypirc,~/.bashrc,~/.zshrc,~/.profile,.docker/config*,/etc/hosts,crontab,.vscode/*,claude_desktop_config*",
	// What a service says that it sends itself.
	"xwe":       "vergessen haben,vergessen hat,vergessen wurde,olvida su,olvido su,olvidado su,oublie votre,oubliez votre,esqueceu sua,を忘れた,忘记密码,忘记了密码,비밀번호를 잊*,보내 드리*,보내드리*,전송됩니다,전송된*,발송*,发送给您,发送到您,お送りし,送信され,enviaremos,le enviamos,te enviamos,se enviara*,senden wir,schicken wir,wir senden,wir schicken,wird gesendet,gesendet,vous enverrons,vous envoyons,vous sera,sera envoye*,invieremo,enviaremos,отправим,вам отправ*",
	"comment":   "<!--,<!---,[//]: #,[comment]:,<!",
	"invent":    "fill them in,without asking,guess,make up,assume defaults,are underspecified,choose yourself,do not ask,don't ask",
	"runs":      "decode,decrypt,unscramble,deobfuscate,base64,rot13,hex-decode,decoded,decoding",
	"then":      "and follow,and execute,and run,and obey,and do,then follow,then execute,then run,then obey,then do,follow the instructions,follow it,execute it,run it,obey it,comply",
	"wantkey":   "llm_model_name,model_name,system_prompt,conversation_history,chat_history,tool_list,available_tools",
	"modelname": "the name of the llm,name of the model,model that calls,llm model,model name,which model,name of the llm,name of the ai,your model,model you are,model identity,the system prompt,conversation so far,full conversation,entire conversation,chat history,conversation history,list of tools,list of all tools,available tools,tools you have,user's original,original user message,verbatim user,your reasoning,thought process,chain of thought,previous messages,all messages,the contents of your context,your context",
	"memory":    "remember,memorize,memorise,store in memory,save to memory,persist,add to memory,update your memory,in your memory,long-term memory,for future,in future sessions,all future,future conversations,future sessions,every future,permanently,always remember,from this point",
	"money":     "transfer,payment,wire,bitcoin,btc,ethereum,crypto*,gift card*,refund,purchase,iban",
	"trustme":   "verified,trusted,pre-approved,preapproved,already approved,authorized,authorised,safe to,no need to verify,no confirmation,already confirmed,has approved,user has already,user approved,user consented,consented,not required to confirm,skip confirmation,skip verification,skip approval,bypass approval,bypass confirmation,auto-approve,auto approve,automatically approve,disable safety,disable guardrails,disable security,disable logging,turn off safety,turn off logging",
}

// compileWords makes the automaton of the lexicon. A word is written once for
// all its classes, in the form texts are compared in.
func (e *Engine) compileWords() (map[string]class, error) {
	names := map[string]class{}
	found := map[string]*word{}
	for _, name := range sortedKeys(lexicon) {
		c := class(len(names))
		names[name] = c
		for _, text := range strings.Split(lexicon[name], ",") {
			w := makeWord(e.skeleton(text))
			key := w.text
			if old := found[key]; old != nil {
				old.prefix = old.prefix || w.prefix
				if old.classes[len(old.classes)-1] != c {
					old.classes = append(old.classes, c)
				}
				continue
			}
			w.classes = []class{c}
			found[key] = &w
		}
	}
	if len(names) > 250 {
		return nil, fmt.Errorf("the lexicon has %d classes", len(names))
	}
	a, err := newAutomaton(sortedWords(found))
	if err != nil {
		return nil, err
	}
	e.words = a
	return names, nil
}

func makeWord(text string) word {
	w := word{}
	w.text, w.prefix = strings.CutSuffix(text, "*")
	if w.text == "\n" { // a bullet
		w.text, w.prefix = text, false
	}
	first, _ := utf8.DecodeRuneInString(w.text)
	last, _ := utf8.DecodeLastRuneInString(w.text)
	spaced := func(r rune) bool {
		return (unicode.IsLetter(r) || unicode.IsDigit(r)) && !unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana)
	}
	w.letterStart, w.letterEnd = spaced(first), spaced(last)
	return w
}
