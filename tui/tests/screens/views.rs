//! Every view in every story, on a wide and on a narrow terminal; and what the overview says of each kind of trouble.

use rollcall_tui::{Answer, Look, Message, Tone, View, verdict};
use serde_json::{Value, json};

use crate::story::{STORIES, Story, at, calm, detail, failing, make_calm, partitioned, predicted, views};
use crate::told::{explain, graph, history};

const WIDE: (u16, u16) = (100, 30);
const NARROW: (u16, u16) = (80, 24);

fn open(story: &mut Story, view: &View) {
    story.state.open(view.clone());
    match view {
        View::Instance(..) => detail(story),
        View::Service(_) | View::Explain(_) => explain(story),
        View::Graph => graph(story),
        _ => {}
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
    let mut story = calm(NARROW);
    story.state.open(View::Service("web".to_owned()));
    story.type_in("?");
    insta::assert_snapshot!("help_80x24", story.screen(NARROW));
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

#[test]
fn events_begin_with_what_happened_before_and_nothing_is_told_twice() {
    let mut story = calm(WIDE);
    let change = json!({"service": "web", "id": "web-1", "from": "passing", "state": "critical",
        "cause": "confirmed", "since": "2026-11-21T00:00:00Z"});
    let event = |revision: u64| json!({"event": "state", "revision": revision, "at": "2026-11-21T00:00:00Z", "items": [change]});
    story.watch(event(42));
    history(&mut story);
    story.state.open(View::Events);
    insta::assert_snapshot!("events_with_past_100x30", story.screen(WIDE));

    let mut early = calm(WIDE);
    history(&mut early);
    early.watch(event(42));
    early.state.open(View::Events);
    assert_eq!(early.screen(WIDE).matches("web/web-1 was passing").count(), 1);
    early.watch(event(43));
    assert_eq!(early.screen(WIDE).matches("web/web-1 was passing").count(), 2);
}

#[test]
fn a_prediction_is_shown_and_noted_when_it_is_told_and_gone_when_it_is_over() {
    let mut story = calm(WIDE);
    let forecast = json!({"outlook": "predicted_failure", "signal": "latency", "likely_ms": 80_000, "now": 700.0,
        "threshold": 2_000.0, "confidence": 0.8});
    let disk = json!({"outlook": "predicted_failure", "signal": "disk_free", "likely_ms": 600_000, "now": 2e9,
        "threshold": 1e9});
    let told = |instance: Value, node: Value| {
        json!({"event": "forecast", "at": at(0), "items": [
            {"service": "web", "id": "web-2", "signal": "latency", "from": null, "outlook": instance["outlook"], "forecast": instance},
            {"member": "node-c", "signal": "disk_free", "from": null, "outlook": node["outlook"], "forecast": node},
            {"service": "gone", "id": "gone-1", "outlook": "degrading"}, {}]})
    };
    for _ in 0..2 {
        story.cluster(told(forecast.clone(), disk.clone()));
    }
    says(&story, Tone::Warn, &["web/web-2 is predicted to fail in about 1m20s", "node-c: disk full in about 10m"]);
    insta::assert_snapshot!("overview_told_100x30", story.screen(WIDE));
    story.state.open(View::Cluster);
    assert!(story.screen(WIDE).contains("disk full in about"));
    story.cluster(told(Value::Null, Value::Null));
    story.state.open(View::Events);
    let screen = story.screen(WIDE);
    assert_eq!(verdict(&story.state).tone, Tone::Good, "{screen}");
    assert_eq!(screen.matches("web/web-2: predicted to fail").count(), 1, "what stands is no news: {screen}");
    assert_eq!(screen.matches("web/web-2: not expected to fail any more").count(), 1, "{screen}");
    assert_eq!(screen.matches("node-c: fine again: disk free").count(), 1, "{screen}");
}

#[test]
fn what_cannot_be_explained_says_why() {
    for view in [View::Explain("web".to_owned()), View::Graph] {
        let mut story = calm(NARROW);
        story.state.open(view.clone());
        assert!(story.screen(NARROW).contains("asking"), "{view:?}");
        let why = "not found".to_owned();
        story.hear(Message::Answer(Answer::Explanation("web".to_owned(), Err(why.clone()))));
        story.hear(Message::Answer(Answer::Graph(Err(why))));
        assert!(story.screen(NARROW).contains("not found"), "{view:?}");
    }
}
