use super::*;
use crate::twilio::voices::language;
use proptest::collection::vec;
use proptest::prelude::*;

fn of(tag: &str) -> Sentences {
    Sentences::new(language(tag).unwrap())
}

fn whole(tag: &str, answer: &str) -> Vec<String> {
    let mut sentences = of(tag);
    let mut all = sentences.push(answer);
    all.extend(sentences.finish());
    all
}

fn char_by_char(tag: &str, answer: &str) -> Vec<String> {
    let mut sentences = of(tag);
    let mut all: Vec<String> = answer.chars().flat_map(|c| sentences.push(c.encode_utf8(&mut [0; 4]))).collect();
    all.extend(sentences.finish());
    all
}

#[test]
fn a_sentence_ends_where_a_reader_of_its_language_would_end_it() {
    for (tag, parted) in [
        ("en", "Dr. Smith of St. Paul met Mr. J. R. Tolkien, e.g. at 9 a.m. on the U.S. coast.|He left."),
        ("en", "No.|That is no. 5, not No. 6.|It opens at 9 a.m. on Mondays, etc.|Closed at 5 p.m.|We know."),
        ("en", "Version 3.5 costs $1,000.50 at shop.example.com, ask a.b@c.co.uk.|Well... maybe.|Wait...|What?!|Yes!"),
        ("en", "\"Really?\" she asked.|\"Yes.\"|He nodded (twice.) and left.|\"Done.\"|It rained."),
        ("de", "Das gilt z. B. am 3. Mai, d. h. um 10.30 Uhr, bzw. bei Nr. 5 für ca. 1.000 Euro.|Gut."),
        ("de", "Hr. Dr. Maier und Fr. Kunz kommen usw. und bleiben.|Äpfel, Birnen usw.|Das ist Max.|Er ist da."),
        ("de", "König Ludwig XIV. von Frankreich sagte: „Nein.“|Danach ging er z.B. heim."),
        ("fr", "M. Dupont et Mme. Durand arrivent.|Bonjour !|Ça va ?|Du pain, du lait, etc. pour 3.50 euros."),
        ("fr", "C'est p.ex. à 10 h.|Le Dr. Martin, av. Foch, répond.|Oui... peut-être."),
        ("es", "El Sr. García y la Sra. López viven en EE. UU. desde 1990.|¿Cómo está Ud. hoy?|¡Bien!"),
        ("es", "Son 1.000 pesos aprox. al mes.|Abre a las 9 a.m. y cierra a las 5 p.m.|Llame al núm. 5."),
        ("it", "Il Sig. Rossi e il Dott. Bianchi arrivano.|Costa 3.50 euro, ecc. per tutti.|Va bene?|Sì!"),
        ("it", "Pane, latte ecc.|La Sig.ra Verdi, p.es. alle 10.30, c'è.|Certo... forse."),
        ("pt", "O Sr. Silva e a Dra. Costa chegaram.|Custa R$ 1.000 aprox. por mês.|Certo?|Sim!"),
        ("pt", "A Av. Paulista fica perto, p.ex. às 10 h.|Pão, leite etc.|Acabou."),
        ("nl", "Dhr. Jansen en mevr. Bakker komen bijv. om 10.30 uur, d.w.z. straks.|Goed?|Ja!"),
        ("nl", "Het kost ca. 5 euro enz. per dag.|Brood, melk enz.|Dr. De Vries belt."),
        ("pl", "Mieszka np. przy ul. Długiej, tzn. blisko.|To 3. piętro.|Dobrze?"),
        ("pl", "Przyjdź 3. maja o godz. 10.|Chleb, mleko itd.|Dr. Nowak czeka."),
        ("sv", "Vi ses t.ex. kl. 10.30, bl.a. den 3. maj.|Bra?|Ja!"),
        ("sv", "Bröd, mjölk osv.|Dr. Berg, dvs. läkaren, är här.|Det kostar ca. 5 kronor m.m. per dag."),
        ("tr", "Sn. Yılmaz ve Dr. Kaya 3. kata çıktı.|Ekmek, süt vb. aldım.|Tamam mı?"),
        ("tr", "Fiyatı 1.000 lira.|Ekmek, süt vb.|Prof. Demir geldi."),
        ("ru", "Он живёт на ул. Ленина с 1990 г. и платит 5 тыс. руб. в месяц.|Хорошо?|Да!"),
        ("ru", "Хлеб, молоко и т. д.|Это т. е. А. С. Пушкин.|Ну... ладно."),
        ("hi", "डॉ. शर्मा आए।|क्या आप ठीक हैं?|हाँ।|कीमत 3.5 रुपये है।"),
        ("ar", "كيف حالك؟|أنا بخير.|السعر 3.5 ريال!|شكرا"),
        ("ar", "د. أحمد هنا.|نعم.|موقعنا example.com مفتوح."),
        ("zh", "你好！|今天3.5度。|你去吗？|好。|“你好。|再见。”|他走了"),
        ("ja", "はい。|「はい。」と言いました。|3.5キロです！|本当？|「いいえ。」|そうです"),
        ("ko", "네.|알겠습니다.|3.5킬로입니다.|정말요?|좋아요!|가요...|지금."),
    ] {
        let joint = if matches!(tag, "zh" | "ja") { "" } else { " " };
        let answer = parted.replace('|', joint);
        assert_eq!(whole(tag, &answer).join("|"), parted, "{tag}");
        assert_eq!(char_by_char(tag, &answer).join("|"), parted, "{tag}, character by character");
    }
}

#[test]
fn a_sentence_comes_out_with_what_shows_that_it_is_over() {
    let mut sentences = of("en");
    assert!(sentences.push("Hello **there").is_empty());
    assert!(sentences.push(".").is_empty());
    assert!(sentences.push("**").is_empty());
    assert_eq!(sentences.push(" How"), ["Hello there."]);
    assert_eq!(sentences.push(" are you? "), ["How are you?"]);
    assert_eq!(sentences.push("Here it is:\n\n- milk\n"), ["Here it is:"]);
    assert_eq!(sentences.push("- eggs\n- I"), ["milk.", "eggs."]);
    assert_eq!(sentences.finish(), ["I"]);
    assert!(sentences.finish().is_empty());
    assert_eq!(of("zh").push("你好。"), ["你好。"]);
}

#[test]
fn what_is_too_short_stays_with_what_follows() {
    assert_eq!(whole("en", "1. Eat. 2. Sleep\n3. **A.** Rest"), ["1: Eat.", "2. Sleep.", "3: A. Rest"]);
    assert_eq!(whole("en", "... \"!\" - Yes. ) ? !"), ["... \"!\" - Yes."]);
    assert_eq!(whole("zh", "好。？！」”再见。"), ["好。", "再见。"]);
    assert!(whole("en", " ... 🎉 !\n\n---\n").is_empty());
    assert_eq!(whole("en", "42."), ["42."]);
}

#[test]
fn what_is_too_long_is_cut_while_it_streams() {
    let mut sentences = of("en");
    assert!(sentences.push(&"word, word ".repeat(27)).is_empty());
    assert_eq!(sentences.push("or more"), [format!("{}word,", "word, word ".repeat(26))]);
    for (answer, joint) in [("word ".repeat(2_000), " "), ("a".repeat(10_000), ""), ("你好吗".repeat(3_000), "")] {
        let all = whole("zh", &answer);
        assert_eq!(all.join(joint), answer.trim());
        assert!(all.len() < 50 && all.iter().all(|sentence| sentence.chars().count() <= LONGEST));
    }
    let longest = "a".repeat(LONGEST);
    assert_eq!(whole("zh", &format!("{longest}。」好。")), [longest.as_str(), "好。"]);
    let all = whole("hi", &"क्षे\u{301}".repeat(200));
    assert!(all.len() > 1 && all.iter().all(|sentence| sentence.starts_with('क')), "{all:?}");
}

fn answer() -> impl Strategy<Value = String> {
    let marks = prop::sample::select(vec![
        ". ", ".", "! ", "?", "...", "…", "。", "！", "」", "「", "”", "\" ", ") ", " (", ", ", " ", "\n", "\n- ",
        "\n1. ", "*", "Dr. ", "etc. ", "3. ", "a.m. ", "؟ ", "।", "🎉", "\u{301}", " - ",
    ]);
    vec(prop_oneof![marks.prop_map(str::to_owned), "[a-zA-Z]{1,9}", "[你好ا-ي가-힣]{1,9}", "[a-z]{200}"], 0..40)
        .prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn sentences_are_the_same_however_the_answer_is_cut_and_lose_no_word(answer in answer(), tag in 0..26_usize) {
        let tag = crate::twilio::voices::languages()[tag].tag;
        let all = whole(tag, &answer);
        prop_assert_eq!(&all, &char_by_char(tag, &answer));
        let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
        prop_assert_eq!(letters(&all.concat()), letters(&answer));
        for sentence in &all {
            prop_assert!(sentence.contains(char::is_alphanumeric) && sentence.trim() == sentence);
            prop_assert!(sentence.chars().count() <= LONGEST);
        }
    }
}
