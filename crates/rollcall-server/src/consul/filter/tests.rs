//! What expressions mean, and that no text makes the parser panic.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn item() -> Value {
    json!({
        "Node": {"Node": "n1", "Meta": {"zone": "a"}},
        "Service": {
            "ID": "web-1", "Service": "web", "Tags": ["primary", "v 2"], "Port": 80, "Address": "", "EnableTagOverride": false,
            "Meta": {"version": "2", "k x": "y", "a-b": "c"}, "Weights": {"Passing": 1, "Warning": 1}
        },
        "Checks": []
    })
}

#[track_caller]
fn check(text: &str, expected: bool) {
    let filter = Filter::parse(text).unwrap_or_else(|failure| panic!("{text}: {}", failure.text));
    assert_eq!(filter.keeps(&item()).unwrap_or_else(|failure| panic!("{text}: {}", failure.text)), expected, "{text}");
}

#[test]
fn each_operator_means_what_it_says() {
    for (text, expected) in [
        ("Service.Service == web", true),
        (r#"Service.Service == "web""#, true),
        ("Service.Service==`web`", true),
        ("Service.Service != web", false),
        ("Service.Port == 80", true),
        ("Service.Port == 81", false),
        ("Service.EnableTagOverride == false", true),
        ("primary in Service.Tags", true),
        (r#""v 2" in Service.Tags"#, true),
        ("secondary not in Service.Tags", true),
        ("Service.Tags contains primary", true),
        ("Service.Tags not contains primary", false),
        ("eb in Service.Service", true),
        ("version in Service.Meta", true),
        ("Service.Meta.version == 2", true),
        ("Service.Meta.a-b == c", true),
        (r#"Service.Meta["k x"] == y"#, true),
        (r#"Service.ID matches "^web-[0-9]+$""#, true),
        (r#"Service.ID not matches "^db""#, true),
        ("Service.Address is empty", true),
        ("Service.Tags is not empty", true),
        ("Checks is empty", true),
        ("Node.Meta.zone == a", true),
    ] {
        check(text, expected);
    }
}

#[test]
fn a_free_key_that_is_missing_is_empty_and_equals_nothing() {
    for (text, expected) in [
        ("Service.Meta.none == x", false),
        ("Service.Meta.none != x", true),
        ("Service.Meta.none is empty", true),
        ("Service.Meta.none is not empty", false),
        ("x in Service.Meta.none", false),
        ("x not in Service.Meta.none", true),
    ] {
        check(text, expected);
    }
}

#[test]
fn a_selector_steps_into_lists_and_any_element_is_enough() {
    let check =
        |status: &str, service: &str| json!({"Status": status, "ServiceName": service, "ServiceTags": ["a", service]});
    let item = json!({"Checks": [check("passing", ""), check("critical", "web")]});
    let holds = |text: &str, item: &Value| Filter::parse(text).unwrap().keeps(item).unwrap();
    for (text, expected) in [
        ("Checks.Status == critical", true),
        ("Checks.Status == warning", false),
        ("Checks.Status != passing", true),
        ("not Checks.Status == critical", false),
        ("Checks.ServiceName == web and Checks.Status == passing", true),
        ("web in Checks.ServiceTags", true),
        ("db in Checks.ServiceTags", false),
        ("db not in Checks.ServiceTags", true),
        ("Checks.ServiceName is empty", true),
        (r#"Checks.Status matches "^crit""#, true),
    ] {
        assert_eq!(holds(text, &item), expected, "{text}");
    }
    for text in ["Checks.Status == passing", "Checks.Status != passing", "Checks.Status is empty"] {
        assert!(!holds(text, &json!({"Checks": []})), "{text}: there is none");
    }
    assert!(Filter::parse("Checks.Nope == x").unwrap().keeps(&item).is_err());
}

#[test]
fn a_field_that_consul_leaves_out_is_empty_and_no_mistake() {
    for (text, expected) in [
        ("Service.Kind is empty", true),
        ("Service.Kind == \"connect-proxy\"", false),
        ("Service.Kind != \"connect-proxy\"", true),
        ("Service.Kind == \"\"", true),
        ("Service.SocketPath is empty", true),
        ("Service.Namespace == default", false),
        ("Service.TaggedAddresses.lan.Address == \"10.0.0.1\"", false),
        ("Service.TaggedAddresses is empty", true),
    ] {
        check(text, expected);
    }
}

#[test]
fn and_binds_before_or_and_not_before_both() {
    for (text, expected) in [
        ("Service.Port == 1 and Service.Port == 2 or Service.Port == 80", true),
        ("Service.Port == 1 and (Service.Port == 2 or Service.Port == 80)", false),
        ("not Service.Port == 1 and Service.Port == 80", true),
        ("not (Service.Port == 80 or Service.Port == 1)", false),
        ("not not Service.Port == 80", true),
        (" ( Service.Port == 80 ) ", true),
        ("Service.Port == 80\n and\tnot Service.Service == db", true),
        ("order in Service.Tags or primary in Service.Tags", true),
    ] {
        check(text, expected);
    }
}

#[test]
fn what_is_no_expression_is_refused_with_its_place() {
    for text in [
        "",
        " ",
        "Service",
        "Service ==",
        "== web",
        "Service.Service = web",
        "(Service.Port == 80",
        "Service.Port == 80)",
        "Service.Port == 80 and",
        "or Service.Port == 80",
        "\"x\" == Service",
        "Service.ID matches \"(\"",
        "Service. == 1",
        "Service.Meta[k] == 1",
        "\"unclosed in Service.Tags",
        "Service.Tags is",
        "Service.Tags is not",
        "x in",
        "x not Service",
        "Service.ID == \"\\q\"",
        "Service.ID matches \"(a{1000}){1000}\"",
    ] {
        let failure = Filter::parse(text).expect_err(text);
        assert_eq!(failure.status, 400, "{text}");
        assert!(
            failure.text.starts_with("Failed to create boolean expression evaluator: at byte "),
            "{}",
            failure.text
        );
    }
}

#[test]
fn a_selector_that_leads_nowhere_is_told() {
    for text in ["Nope == 1", "Service.Nope == 1", "Service.Port == 80 or Nope is empty", "Service.Tags.x == 1"] {
        let failure = Filter::parse(text).unwrap().keeps(&item()).expect_err(text);
        assert!(failure.status == 400 && failure.text.contains("is not valid"), "{}", failure.text);
    }
}

#[test]
fn an_expression_is_bounded_in_length_and_depth() {
    let nested = |depth: usize| format!("{}Service.Port == 80{}", "(".repeat(depth), ")".repeat(depth));
    check(&nested(DEPTH_MAX), true);
    assert!(Filter::parse(&nested(DEPTH_MAX + 1)).unwrap_err().text.contains("fewer parentheses"));
    assert!(Filter::parse(&"(".repeat(LENGTH_MAX)).is_err());
    assert!(Filter::parse(&"not ".repeat(LENGTH_MAX / 4)).is_err());
    assert!(Filter::parse(&" ".repeat(LENGTH_MAX + 1)).unwrap_err().text.contains("longer than"));
    let wide = ["Service.Port == 80"; 150].join(" and ");
    check(&wide, true);
    let strings = format!(
        "{}Service.Port == 80{}",
        "(\")\" not in Service.Tags and ".repeat(DEPTH_MAX + 1),
        ")".repeat(DEPTH_MAX + 1)
    );
    assert!(Filter::parse(&strings).is_err(), "parentheses in strings do not hide those around them");
}

#[test]
fn regular_expressions_are_bounded_in_number_and_in_size() {
    let matching = |count: usize| vec!["Service.ID matches \"^web\""; count].join(" and ");
    check(&matching(8), true);
    let failure = Filter::parse(&matching(9)).unwrap_err();
    assert!(failure.status == 400 && failure.text.contains("at most 8"), "{}", failure.text);
    let negated = ["Service.ID not matches \"^db\""; 9].join(" or ");
    assert!(Filter::parse(&negated).is_err(), "whichever way they are written");
    for huge in ["(a{1000}){1000}", "[\\\\w]{100000}", "((((x{100}){100}){100}){100})"] {
        let failure = Filter::parse(&format!("Service.ID matches \"{huge}\"")).expect_err(huge);
        assert!(failure.text.contains("not too large"), "{}", failure.text);
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,200}") {
        if let Ok(filter) = Filter::parse(&text) {
            let _ = filter.keeps(&item());
        }
    }

    #[test]
    fn no_shuffled_words_make_it_panic(words in proptest::collection::vec(prop_oneof![
        Just("Service.Port"), Just("=="), Just("!="), Just("in"), Just("not"), Just("and"), Just("or"), Just("("), Just(")"),
        Just("is"), Just("empty"), Just("contains"), Just("matches"), Just("\"a\""), Just("Service.Meta[\"k\"]"), Just("80"), Just("`"), Just("\""),
    ], 0..40)) {
        let text = words.join(" ");
        if let Ok(filter) = Filter::parse(&text) {
            let _ = filter.keeps(&item());
        }
    }
}
