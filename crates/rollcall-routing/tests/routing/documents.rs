//! docs/selection.md against the code. `UPDATE_GOLDEN=1` writes what the code says now; read the diff before keeping it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use rollcall_routing::factor::{COST_NEUTRAL, LOAD_NEUTRAL, PERFORMANCE_NEUTRAL, PROXIMITY_NEUTRAL, specialization};
use rollcall_routing::{Factor, Reason, Side, Weights};

use crate::select_story;

fn document() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/selection.md")
}

/// Compares what stands between `<!-- name -->` and `<!-- /name -->` with what `make` makes of it.
#[track_caller]
fn check(name: &str, make: impl FnOnce(&str) -> String) {
    let text = std::fs::read_to_string(document()).unwrap();
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let from = text.find(&begin).expect("the document has the part") + begin.len();
    let to = from + text[from..].find(&end).expect("the part ends");
    let made = make(&text[from..to]);
    if text[from..to] != made && std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(document(), [&text[..from], &made, &text[to..]].concat()).unwrap();
        return;
    }
    assert_eq!(&text[from..to], made, "docs/selection.md, {name}; UPDATE_GOLDEN=1 writes it anew");
}

// One test, since all parts are written to one file.
#[test]
fn the_document_says_what_the_code_does() {
    check("example", |part| {
        let script = part.trim_start_matches("```text\n").split("---\n").next().unwrap();
        format!("```text\n{}---\n{}```\n", script, select_story::tell(script))
    });
    check("weights", |_| {
        let mut table = String::from("| factor | weight | neutral |\n|---|---|---|\n");
        let neutral = |factor| match factor {
            Factor::Load => LOAD_NEUTRAL,
            Factor::Performance => PERFORMANCE_NEUTRAL,
            Factor::Proximity => PROXIMITY_NEUTRAL,
            Factor::Specialization => specialization(0, 0),
            Factor::Cost => COST_NEUTRAL,
        };
        for factor in Factor::ALL {
            writeln!(table, "| `{factor}` | {:.2} | {} |", Weights::default().of(factor), neutral(factor)).unwrap();
        }
        table
    });
    check("reasons", |_| {
        let mut table = String::from("| code | | why | what would change it |\n|---|---|---|---|\n");
        for reason in Reason::ALL {
            let side = match reason.side() {
                Side::In => "in",
                Side::Out => "out",
                Side::Note => "note",
            };
            writeln!(table, "| `{reason}` | {side} | {} | {} |", reason.phrase(), reason.remedy()).unwrap();
        }
        table
    });
}
