use crate::support::signing::{encode_form, sign};

#[test]
fn signs_the_example_of_twilios_documentation() {
    let fields = [
        ("CallSid", "CA1234567890ABCDE"),
        ("Caller", "+14158675310"),
        ("Digits", "1234"),
        ("From", "+14158675310"),
        ("To", "+18005551212"),
    ];
    let url = "https://example.com/myapp.php?foo=1&bar=2";
    assert_eq!(sign("12345", url, &fields), "L/OH5YylLD5NRKLltdqwSvS0BnU=");
    let mut shuffled = fields;
    shuffled.reverse();
    assert_eq!(sign("12345", url, &shuffled), sign("12345", url, &fields));
}

#[test]
fn repeated_names_are_signed_once_for_each_distinct_value() {
    let signature = |fields: &[(&str, &str)]| sign("token", "https://example.com/", fields);
    assert_eq!(signature(&[("a", "2"), ("a", "1"), ("a", "2")]), signature(&[("a", "1"), ("a", "2")]));
    assert_ne!(signature(&[("a", "1"), ("a", "2")]), signature(&[("a", "12")]));
    assert_ne!(signature(&[("a", "")]), signature(&[]));
}

#[test]
fn a_form_survives_encoding() {
    let fields = [("Body", "1 + 1 = 2 & höher? ~*'\n"), ("Empty", ""), ("a b", "é"), ("Body", "again")];
    let encoded = encode_form(&fields);
    assert!(encoded.starts_with("Body=1+%2B+1+%3D+2+%26+h%C3%B6her%3F"), "{encoded}");
    let decoded: Vec<_> = form_urlencoded::parse(encoded.as_bytes()).into_owned().collect();
    let expected: Vec<_> = fields.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    assert_eq!(decoded, expected);
}
