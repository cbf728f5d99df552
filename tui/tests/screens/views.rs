//! Every view in every story, on a wide and on a narrow terminal; and what the overview says of each kind of trouble.

use rollcall_tui::{Look, Tone, View, verdict};

use crate::story::{STORIES, Story, calm, detail, failing, make_calm, partitioned, predicted, views};

const WIDE: (u16, u16) = (100, 30);
const NARROW: (u16, u16) = (80, 24);

fn open(story: &mut Story, view: &View) {
    story.state.open(view.clone());
    if matches!(view, View::Instance(..)) {
        detail(story);
    }
}

#[test]
fn every_view_in_every_story_is_the_one_that_was_reviewed() {
    for (size, width) in [(WIDE, "100x30"), (NARROW, "80x24")] {
        for (name, tell) in STORIES {
            for (view_name, view) in views() {
                let mut story = tell(size);
                open(&mut story, &view);
                insta::assert_snapshot!(format!("{view_name}_{name}_{width}"), story.screen(size));
            }
        }
    }
}

#[test]
fn help_and_ascii_are_those_that_were_reviewed() {
    let mut story = calm(WIDE);
    story.type_in("?");
    insta::assert_snapshot!("help_100x30", story.screen(WIDE));
    let mut story = Story::with_look(NARROW, Look { is_ascii: true, has_color: false });
    make_calm(&mut story);
    let screen = story.screen(NARROW);
    assert!(screen.is_ascii(), "{screen}");
    insta::assert_snapshot!("overview_calm_ascii", screen);
}

#[track_caller]
fn says(story: &Story, tone: Tone, parts: &[&str]) {
    let verdict = verdict(&story.state);
    assert_eq!(verdict.tone, tone, "{verdict:?}");
    let told = verdict.problems.iter().map(|(_, text)| text.as_str()).chain([verdict.headline.as_str()]);
    let told = told.collect::<Vec<_>>().join("\n");
    // On the screen, not only in the verdict.
    let screen = story.screen(NARROW);
    for part in parts {
        assert!(told.contains(part), "{part:?} in {told}");
        assert!(screen.contains(part), "{part:?} in\n{screen}");
    }
}

#[test]
fn the_overview_answers_whether_all_is_well() {
    says(&calm(NARROW), Tone::Good, &["all is well: 3 nodes, 3 services, 6 of 6 instances"]);
    let down = [
        "1 node dead: node-c for 12s",
        "search has no instance that can take traffic",
        "one more loss stops all writes",
    ];
    says(&failing(NARROW), Tone::Bad, &down);
    says(&predicted(NARROW), Tone::Warn, &["web/web-2 is predicted to fail in 1m to 2m5s"]);
    let cut = [
        "no quorum (1 of 3 voters are alive): writes are refused",
        "partition: node-a is cut off for 20s",
        "node-b→node-a",
    ];
    says(&partitioned(NARROW), Tone::Bad, &cut);
}

#[test]
fn what_is_old_is_drawn_as_old_with_its_age() {
    let mut story = calm(NARROW);
    story.tick(10);
    assert!(story.screen(NARROW).contains("live"));
    story.tick(16);
    let silent = story.screen(NARROW);
    assert!(silent.contains("STALE 16s") && !silent.contains("all is well"), "{silent}");
}

#[test]
fn without_colour_the_words_and_symbols_are_the_same() {
    let mut colored = Story::with_look(WIDE, Look { is_ascii: false, has_color: true });
    make_calm(&mut colored);
    assert_eq!(colored.screen(WIDE), calm(WIDE).screen(WIDE));
}
