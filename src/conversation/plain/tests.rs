use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

fn plain(markdown: &str) -> String {
    let mut plain = Plain::default();
    (plain.push(markdown) + &plain.finish()).trim().to_owned()
}

#[test]
fn markup_is_not_read_aloud() {
    for (markdown, words) in [
        ("**Yes!** It is _the_ `capital` 🎉 of [France](https://example.com).", "Yes! It is the capital of France."),
        ("***Both*** and **_both_** and __*both*__ ~~gone~~.", "Both and both and both gone."),
        ("## Opening hours\nWe open at 9.\n", "Opening hours. We open at 9."),
        ("1. Eat\n2. Sleep\n   - deep\n   - long\n", "1: Eat. 2: Sleep. deep. long"),
        ("* **Milk**: fresh\n* Eggs\n\nThat is all", "Milk: fresh. Eggs. That is all"),
        ("> She said:\n> go\n\nI went", "She said: go. I went"),
        ("| Day | Hours |\n|:---|---:|\n| Mon | 9-5 |\n|Tue||\n", "Day, Hours. Mon, 9-5. Tue"),
        ("Above\n\n---\n\n***\nBelow", "Above. Below"),
        ("Run:\n```python\nx = a * b_c\n```\nDone", "Run: x = a * b_c. Done"),
        ("~~~\nA\n~~~", "A"),
        ("![A cat](cat.png \"Cat\") sits", "A cat sits"),
        ("**[Paris](https://x.org/a_(b))** [_Rome_](r) and [`a*b`](u)", "Paris Rome and a*b"),
        ("这是**重要**的\n第二行", "这是重要的。 第二行"),
        ("Step 1️⃣ is\u{200b} done ✅\n\n🎉\n\nNext", "Step 1 is\u{200b} done. Next"),
        ("\\*no emphasis\\* \\# here", "*no emphasis* # here"),
    ] {
        assert_eq!(plain(markdown), words, "{markdown}");
    }
}

#[test]
fn what_looks_like_markup_but_is_none_is_read() {
    for text in [
        "2 * 3 and 2*3*4 and 2**3",
        "a_b@c.de and john_@x.org and snake_case_name",
        "C# is #1, it's 5 < 6 and <b>bold</b>",
        "See [1] and [note] (here).",
        "[x](he said so) and [y] and a[0]",
        "Hi! Look!",
        "-5 degrees, 3.5 and +49 30 1234",
        "~5 km, a || b, a|b",
        "C:\\temp",
        "[an unfinished link](https://example.com/a",
        "[an unfinished text",
    ] {
        assert_eq!(plain(text), text);
    }
    assert_eq!(plain("42."), "42.");
    assert_eq!(plain("#1 in town\n>5 stars"), "#1 in town. >5 stars");
}

#[test]
fn markup_without_its_counterpart_costs_no_word() {
    assert_eq!(plain("**bold and *more"), "bold and more");
    assert_eq!(plain("a `code span\nand **text"), "a code span and text");
    assert_eq!(plain("```rust\nlet a = 1;\n\nIt stays open"), "let a = 1; It stays open");
    let target = "x".repeat(3_000);
    assert_eq!(plain(&format!("[a](http://{target}) b")), format!("[a](http://{target}) b"));
}

#[test]
fn a_line_that_goes_on_in_lower_case_is_not_stopped() {
    assert_eq!(
        plain("We went\nto town.\nThen\nHome \"there\"\r\n(soon)"),
        "We went to town. Then. Home \"there\". (soon)"
    );
}

#[test]
fn words_are_passed_on_with_the_piece_that_holds_them() {
    let mut plain = Plain::default();
    let given: Vec<String> = ["Hel", "lo", " there. ", "**Now", "**", " then", "\n- a", " [li", "nk](u", "rl)!"]
        .map(|piece| plain.push(piece))
        .into();
    assert_eq!(given, ["Hel", "lo", " there. ", "Now", "", " then", ". a", "", "", " link!"]);
    assert_eq!(plain.finish(), "");
}

#[test]
fn a_hundred_kilobytes_of_any_mark_take_no_time() {
    let started = std::time::Instant::now();
    for mark in
        ["*", "_", "`", "[", "![", "[a](", "|", "- ", "> ", "\\", "~", "#", "1. ", "\n", "[a](b c", "**a", "-\n"]
    {
        plain(&mark.repeat(100_000 / mark.len()));
    }
    assert!(started.elapsed().as_secs() < 20, "a second when each character is looked at a few times, else minutes");
}

/// Words and marks, in an order that makes no complete link and no fence with a language.
fn markdown() -> impl Strategy<Value = String> {
    let marks = prop::sample::select(vec![
        "*", "**", "_", "__", " ~~", "`x1`", "\n", "\n\n", "\n- ", "\n* ", "\n1. ", "\n# ", "\n> ", "\n| ", " | ", "|",
        "\n---\n", "[", "]", "!", "(", ")", " ", " ", ". ", ", ", "\\", "\"", "🎉", "\u{1}", "\r\n", "\n```\n", "<b>",
        "&", ":", "。", "é", "你",
    ]);
    vec(prop_oneof![marks.prop_map(str::to_owned), "[a-zA-Z0-9]{1,6}"], 0..60)
        .prop_map(|pieces| pieces.concat())
        .prop_filter("a link", |text| !text.contains("]("))
}

fn letters(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).collect()
}

proptest! {
    #[test]
    fn no_word_is_lost_or_invented(text in markdown()) {
        prop_assert_eq!(letters(&plain(&text)), letters(&text));
    }

    #[test]
    fn how_a_text_is_cut_makes_no_difference(text in prop_oneof![markdown(), "[*_`~#>|\\[\\]()!a1. \n-]{0,60}"], sizes in vec(1..7_usize, 1..20)) {
        let (mut in_pieces, mut by_piece) = (Plain::default(), String::new());
        let mut chars = text.chars().peekable();
        for size in sizes.iter().cycle() {
            if chars.peek().is_none() { break }
            by_piece += &in_pieces.push(&chars.by_ref().take(*size).collect::<String>());
        }
        by_piece += &in_pieces.finish();
        let mut at_once = Plain::default();
        prop_assert_eq!(&by_piece, &(at_once.push(&text) + &at_once.finish()));
        prop_assert!(!by_piece.starts_with(' ') && !by_piece.contains("  ") && !by_piece.contains(['\n', BLOCK_END]), "{by_piece:?}");
    }
}
