//! The worked example of `docs/health.md`.

use crate::story::Story;

const DOCUMENT: &str = include_str!("../../../../docs/health.md");

#[test]
fn the_worked_example_of_the_document_is_what_is_computed() {
    let (_, example) = DOCUMENT.split_once("<!-- story: a test recomputes what follows -->").unwrap();
    let story = example.split("```").nth(1).unwrap().strip_prefix("text\n").unwrap();
    let (script, answer) = story.split_once("---\n").unwrap();
    assert_eq!(Story::tell(script), answer);
}

#[test]
fn the_arithmetic_by_hand_adds_up() {
    let per_bucket = (400.0_f64 / 20.0).ln() / 60.0;
    let way = (1000.0_f64 / 400.0).ln();
    for number in [format!("= {per_bucket:.4}"), format!("+{:.1} % a minute", 600.0 * per_bucket)] {
        assert!(DOCUMENT.contains(&number), "{number}");
    }
    for number in
        [format!("= {way:.3}"), format!("= {:.1} buckets, {:.0} s", way / per_bucket, 10.0 * way / per_bucket)]
    {
        assert!(DOCUMENT.contains(&number), "{number}");
    }
}
