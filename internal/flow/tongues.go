package flow

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// abroad lists words of German, Spanish, French, Portuguese and Italian as they are
// compared (see fold), in the forms of requests.
var abroad = []struct {
	verbs, objects, marks uint16
	words                 string
}{
	{actSend, 0, 0, "sende senden schicke schick schicken uberweise uberweis uberweisen ubertrage ubermittle leite weiterleiten verschicke envia envie enviar enviale enviame manda mande mandar reenvia reenvie reenviar transfiere transfiera transferir envoie envoyez envoyer transfere transferez transferer vire virez virer transmets transmettez transfira invia inviare inoltra"},
	{actSend | actBuy, objMoney, 0, "bezahle bezahlen zahle zahlen erstatte begleiche paga pague pagar abona abone reembolsa paie paye payez payer regle reglez regler rembourse paghi"},
	{actWrite, objMessage, 0, "schreibe schreib schreiben antworte antworten informiere benachrichtige escribe escriba escribir responde responda responder contesta conteste avisa notifica ecris ecrivez reponds repondez repondre previens responda escreva scrivi rispondi"},
	{actPost, 0, 0, "veroffentliche veroffentlichen poste hochladen publica publique publicar comparte comparta compartir publie publiez publier partage partagez partager pubblica condividi"},
	{actCreate, 0, 0, "erstelle erstellen lege trage eintragen fuge hinzufugen speichere registriere crea cree crear anade anada agrega agregue agregar registra creez creer ajoute ajoutez ajouter enregistre crie adicione aggiungi"},
	{actBook, objStay, 0, "buche buchen reserviere reservieren reserva reserve reservar reservez reserver prenota"},
	{actBuy, objGoods, 0, "kaufe kaufen bestelle bestellen compra compre comprar achete achetez acheter commande commandez commander compri"},
	{actUpdate, 0, 0, "andere andern aktualisiere verschiebe setze ersetze korrigiere bearbeite actualiza actualice cambia cambie cambiar modifica modifique corrige mueve modifie modifiez modifier changez changer remplace deplace altere"},
	{actDelete, 0, 0, "losche loschen entferne storniere kundige elimina elimine eliminar borra borre borrar cancela cancele cancelar supprime supprimez supprimer efface annule annulez annuler apague exclua cancella"},
	{actGrant, 0, 0, "erlaube gewahre berechtige ernenne teile weise zuweisen asigna asigne asignar attribue attribuez assigne autoriza otorga concede autorise accorde"},
	{actGrant | actWrite, objMember, 0, "lade einladen invita invite invitar invitez inviter convide"},
	{actRun, 0, 0, "fuhre starte aktiviere deaktiviere ejecuta ejecute inicia activa execute"},
	{actRead, 0, 0, "zeige fasse lies suche prufe finde erklare lee lea busca muestra resume revisa lis cherche montre verifie leggi"},
	{0, objMoney, 0, "rechnung rechnungen betrag uberweisung zahlung gebuhr miete gehalt dauerauftrag geld factura recibo pago cuota dinero transferencia facture virement montant argent fattura"},
	{0, objMessage, 0, "nachricht nachrichten correo correos mensaje mensajes courriel"},
	{0, objFile, 0, "datei dateien dokument ordner anhang archivo archivos documento carpeta historial fichier fichiers dossier"},
	{0, objEvent, 0, "termin termine besprechung kalender cita reunion evento calendario agenda reunions evenement"},
	{0, objStay, 0, "zimmer tisch flug habitacion mesa vuelo chambre vol"},
	{0, objMember, 0, "benutzer nutzer mitglied teilnehmer kunde kunden usuario cliente participante utilisateur client"},
	{0, objAccount, 0, "passwort kennwort adresse konto profil contrasena cuenta direccion compte"},
	{0, objGoods, 0, "bestellung ware paket pedido paquete colis"},
	{0, 0, markLead, "bitte danach dann ausserdem zuerst sofort unbedingt und favor luego despues tambien inmediatamente veuillez merci ensuite puis svp"},
	{0, 0, markNot, "nicht kein keine nie pas nunca jamais"},
}

// unspaced lists the stems of words in writings that put no blanks between words, or
// endings behind them. They are looked for anywhere in a sentence.
var unspacedWords = []struct {
	verbs, objects uint16
	stems          string
}{
	{actSend, 0, "보내 전송 송부 전달 발송 送信 送っ 送って 転送 发送 發送 发给 發給 寄给 转发 轉發"},
	{actSend | actBuy, objMoney, "송금 이체 입금 지불 결제 납부 환불 振り込 支払 送金 払って 转账 轉帳 汇款 匯款 付款 支付 退款"},
	{actWrite, objMessage, "답장 회신 답변 알려 통보 문의 返信 連絡 知らせ 回复 回覆 通知 告诉 告訴 联系"},
	{actPost, 0, "게시 업로드 공개 올려 投稿 公開 アップロード 发布 發布 上传 上傳"},
	{actCreate, 0, "만들 생성 작성 등록 추가 기록 저장 작성 作成 追加 登録 作って 保存 创建 創建 添加 新建 登记 登記"},
	{actBook | actCreate, objStay, "예약 予約 预订 預訂 预约 預約"},
	{actBuy, objGoods, "구매 주문 구입 購入 注文 买 購買 购买 下单 订购"},
	{actUpdate, 0, "변경 수정 바꿔 바꾸 옮겨 갱신 지정 설정 変更 修正 更新 移動 修改 更改 更新 调整 調整 改为 改成"},
	{actDelete, 0, "삭제 취소 지워 제거 해지 닫고 削除 取消 キャンセル 消して 删除 刪除 取消"},
	{actGrant, 0, "공유 허용 부여 승인 권한 共有 許可 分享 共享 授权 授權 允许"},
	{actGrant | actWrite, objMember, "초대 招待 邀请 邀請"},
	{actRun, 0, "실행 시작 설치 実行 起動 执行 執行 运行 安装"},
	{actRead, 0, "요약 읽 보여 찾아 확인 검색 要約 読んで 確認 検索 见せ 总结 總結 查看 查一 搜索 阅读"},
	{0, objMoney, "관리비 고지서 계좌 금액 청구서 請求書 口座 金額 账单 金额 帐户 账户"},
	{0, objMessage, "메일 메시지 문자 댓글 メール メッセージ 邮件 消息 短信"},
	{0, objFile, "파일 문서 첨부 명세서 ファイル 書類 文件 文档"},
	{0, objEvent, "일정 회의 약속 予定 会議 日程 会议 日历"},
	{0, objMember, "참석자 사용자 고객 회원 담당자 参加者 ユーザー 顧客 用户 客户 成员"},
	{0, objAccount, "비밀번호 주소 배송지 パスワード 住所 密码 地址"},
	{0, objGoods, "상품 배송 商品 订单 商品"},
}

// Endings and words of requests in those writings, and of their contrary: behind the verb
// as in Korean and Japanese, or before it in its part of the sentence as in Chinese.
const (
	askingWords  = "세요 십시오 시오 해줘 해라 하라 달라 줘 주라 주십 바랍니다 바람 부탁 요망 要する ください 下さい せよ しろ なさい お願い 请 請 务必 務必 必须 必須 立即 马上"
	negateBehind = "지마|지 마|지 말|말고|금지|ないで"
	negateBefore = "不要|请勿|請勿|请别|請別|不必|切勿"
)

// phrasebook is what unspacedWords and askingWords say as they are compared, by their
// first bytes.
type phrasebook struct {
	long           map[[6]byte][]entry
	short          map[[3]byte][]entry // of what is shorter
	behind, before [][]byte
}

var phrases = sync.OnceValue(func() *phrasebook { //nolint:gochecknoglobals // made once, and never changed
	b := &phrasebook{long: map[[6]byte][]entry{}, short: map[[3]byte][]entry{}}
	folded := func(s string) []byte { return fold(nil, []byte(s), false).text }
	add := func(list string, w word) {
		for _, s := range strings.Fields(list) {
			if f := folded(s); len(f) < 6 {
				k := [3]byte(f)
				b.short[k] = append(b.short[k], entry{firstOf(f), string(f), w})
			} else {
				k := [6]byte(f)
				b.long[k] = append(b.long[k], entry{firstOf(f), string(f), w})
			}
		}
	}
	for _, l := range unspacedWords {
		add(l.stems, word{verbs: l.verbs, objects: l.objects})
	}
	add(askingWords, word{marks: markLead})
	for _, w := range strings.Split(negateBehind, "|") {
		b.behind = append(b.behind, folded(w))
	}
	for _, w := range strings.Split(negateBefore, "|") {
		b.before = append(b.before, folded(w))
	}
	return b
})

// at calls do for every entry that text begins with.
func (b *phrasebook) at(text []byte, do func(e *entry)) {
	try := func(list []entry) {
		for i := range list {
			if e := &list[i]; len(text) >= len(e.text) && string(text[:len(e.text)]) == e.text {
				do(e)
			}
		}
	}
	if len(text) >= 6 {
		try(b.long[[6]byte(text)])
	}
	if len(text) >= 3 {
		try(b.short[[3]byte(text)])
	}
}

// unspaced finds the acts of sentences in writings without blanks between words: of the
// user all that are named, of other texts those of sentences that ask for something.
func (s *speech) unspaced(text []byte) {
	if isASCII(text) || len(s.words) == 0 && !s.lenient {
		return
	}
	had := len(s.clauses)
	for from := 0; from < len(text); {
		end := from + sentenceEnd(text[from:])
		s.request(text, from, end)
		from = end
	}
	if len(s.clauses) > had {
		slices.SortStableFunc(s.clauses, func(a, b clause) int { return a.at - b.at })
	}
}

// request adds the acts of the sentence text[from:end].
func (s *speech) request(text []byte, from, end int) {
	book, line, first := phrases(), text[from:end], len(s.clauses)
	asks, objects := s.lenient, uint16(0)
	for i, b := range line {
		if b < 0xc0 { // no character begins here that is no ASCII
			continue
		}
		book.at(line[i:], func(e *entry) {
			asks = asks || e.word.marks&markLead != 0
			objects |= e.word.objects
			if e.word.verbs == 0 || book.negated(line, i, i+len(e.text)) {
				return
			}
			c := clause{act: act{verbs: e.word.verbs}, stem: []byte(e.text)}
			if len(s.words) > 0 {
				c.at = s.wordAt(from + i)
				c.sentence = s.sentence[c.at]
			}
			s.clauses = append(s.clauses, c)
		})
	}
	if !asks {
		s.clauses = s.clauses[:first]
	}
	for i := first; i < len(s.clauses); i++ {
		s.clauses[i].objects = objects
	}
}

// joint is how far behind a verb its contrary may begin: an ending of three letters.
const joint = 9

// negated reports whether the verb line[start:end] is said not to be done. What else is
// not to be done in the sentence, as telling somebody, does not count.
func (b *phrasebook) negated(line []byte, start, end int) bool {
	part := line[bytes.LastIndexAny(line[:start], ",;:")+1 : start]
	return holdsAny(part, b.before) || slices.ContainsFunc(b.behind, func(w []byte) bool {
		return bytes.Contains(line[end:min(len(line), end+joint+len(w))], w)
	})
}

// wordAt is the word that stands at a byte, or the next, or the last.
func (s *speech) wordAt(at int) int {
	i, _ := slices.BinarySearchFunc(s.words, at, func(w spoken, at int) int {
		if w.end > at {
			return 1
		}
		return -1
	})
	return min(i, len(s.words)-1)
}

// sentenceEnd returns where the first sentence of text ends.
func sentenceEnd(text []byte) int {
	for i := 0; i < len(text); i++ {
		switch b := text[i]; {
		case b == '\n', b == '!', b == '?', b == '.' && (i+1 == len(text) || text[i+1] == ' '):
			return i + 1
		case b == 0xe3 && bytes.HasPrefix(text[i:], []byte("。")):
			return i + len("。")
		}
	}
	return len(text)
}

func holdsAny(text []byte, words [][]byte) bool {
	return slices.ContainsFunc(words, func(w []byte) bool { return bytes.Contains(text, w) })
}

func isASCII(text []byte) bool {
	for _, b := range text {
		if b >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// maxSyllables is the longest part of a run that is kept of what the user said.
const maxSyllables = 8

// syllables calls do for every part of two to maxSyllables syllables or characters of
// the runs that are no ASCII: names and things stand in them without a blank.
func syllables(text []byte, do func(part []byte)) {
	var starts []int
	flush := func(end int) {
		for i := range starts {
			for j := i + 2; j <= len(starts) && j-i <= maxSyllables; j++ {
				stop := end
				if j < len(starts) {
					stop = starts[j]
				}
				do(text[starts[i]:stop])
			}
		}
		starts = starts[:0]
	}
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		if r < utf8.RuneSelf {
			flush(i)
		} else if len(starts) == 0 || r < 0x1160 || r > 0x11ff { // vowels and ends of Korean syllables begin none
			starts = append(starts, i)
		}
		i += n
	}
	flush(len(text))
}

// askedUnspaced reports whether the user said all words of a value that is no ASCII,
// though with endings or without blanks.
func (x *Index) askedUnspaced(prints []tok, text []byte) bool {
	if isASCII(text) || len(prints) == 0 {
		return false
	}
	return !slices.ContainsFunc(prints, func(t tok) bool { return t.kind != kindWord || !x.stems[t.stem] })
}
