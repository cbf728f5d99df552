//! What keys and the mouse do.

use crossterm::event::{KeyCode, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use rollcall_tui::{Action, Answer, LinkEvent, Message, Request, Subject, View};
use serde_json::json;

use crate::story::{NODE, Story, calm, failing, instance, make_answers};
use crate::told::{explain, graph};

const SIZE: (u16, u16) = (100, 30);

fn web(id: &str) -> (String, String) {
    ("web".to_owned(), id.to_owned())
}

fn at_service(service: &str) -> Story {
    let mut story = calm(SIZE);
    story.type_in("2/");
    story.type_in(service);
    story.press(KeyCode::Enter);
    story.press(KeyCode::Enter);
    assert_eq!(story.state.view(), &View::Service(service.to_owned()));
    story
}

#[test]
fn a_filter_and_two_keys_lead_to_an_instance_and_back() {
    let mut story = at_service("web");
    story.press(KeyCode::Down);
    story.press(KeyCode::Enter);
    assert_eq!(story.state.view(), &View::Instance("web".to_owned(), "web-2".to_owned()));
    story.press(KeyCode::Esc);
    story.press(KeyCode::Esc);
    assert_eq!(story.state.view(), &View::Services);
    assert!(story.screen(SIZE).contains("SERVICE /web 1 of 3"), "the filter is as it was");
    story.press(KeyCode::Esc);
    assert!(story.screen(SIZE).contains("billing"));
}

#[test]
fn a_key_explains_the_instance_under_the_cursor_and_another_shows_the_graph() {
    let mut story = at_service("web");
    story.press(KeyCode::Down);
    story.type_in("e");
    explain(&mut story);
    assert_eq!(story.state.view(), &View::Explain("web".to_owned()));
    let screen = story.screen(SIZE);
    assert!(screen.contains("web-2: in, first pick of 9% of the requests"), "the cursor stays with it: {screen}");
    story.press(KeyCode::Enter);
    assert_eq!(story.state.view(), &View::Instance("web".to_owned(), "web-2".to_owned()));
    story.type_in("g");
    graph(&mut story);
    assert!(story.screen(SIZE).contains("search: who needs it, and what it needs"), "the worst is first");
    story.type_in("/web");
    story.press(KeyCode::Enter);
    story.press(KeyCode::Enter);
    assert_eq!(story.state.view(), &View::Service("web".to_owned()));
    story.type_in("3e");
    assert_eq!(story.state.view(), &View::Cluster, "nothing is to be explained there");
}

#[test]
fn what_is_open_is_asked_for_again_when_something_happens() {
    for (key, subject) in [('e', Subject::Explanation("web".to_owned())), ('g', Subject::Graph)] {
        let mut story = at_service("web");
        let answer = |story: &mut Story| {
            explain(story);
            graph(story);
        };
        answer(&mut story);
        story.tick(20);
        let asked = story.press(KeyCode::Char(key));
        assert!(asked.contains(&Request::Read(subject.clone())), "{subject:?} in {asked:?}");
        answer(&mut story);
        assert!(!story.tick(40).contains(&Request::Read(subject.clone())));
        let change = json!({"service": "web", "id": "web-3", "from": "passing", "state": "critical", "cause": "confirmed",
            "since": "2026-11-21T00:00:00Z"});
        story.watch(json!({"event": "state", "revision": 41, "at": "2026-11-21T00:00:00Z", "items": [change]}));
        answer(&mut story);
        let asked = story.tick(60);
        assert!(asked.contains(&Request::Read(subject.clone())), "when all has settled: {subject:?} in {asked:?}");
    }
}

#[test]
fn an_action_needs_a_yes() {
    let (service, id) = web("web-1");
    let mut story = at_service("web");
    story.type_in("d");
    assert!(story.screen(SIZE).contains("drain web/web-1?"));
    assert_eq!(story.press(KeyCode::Char('n')), []);
    story.type_in("d");
    let asked = story.press(KeyCode::Char('y'));
    assert_eq!(asked, [Request::Act(Action::Drain(service.clone(), id.clone()))]);
    story.hear(Message::Answer(Answer::Done(Action::Drain(service, id), Ok(()))));
    assert!(story.screen(SIZE).contains("done: drain web/web-1"));
}

#[test]
fn an_action_is_about_the_instance_that_was_chosen_however_the_rows_move() {
    let mut story = at_service("web");
    story.press(KeyCode::Down);
    let change = json!({"service": "web", "id": "web-3", "from": "passing", "state": "critical", "cause": "confirmed",
        "since": "2026-11-21T00:00:00Z"});
    story.watch(json!({"event": "state", "revision": 41, "at": "2026-11-21T00:00:00Z", "items": [change]}));
    story.type_in("D");
    let (service, id) = web("web-2");
    assert!(story.press(KeyCode::Char('y')).contains(&Request::Act(Action::Deregister(service, id))));
}

#[test]
fn undo_ends_whatever_was_decided() {
    let mut story = at_service("web");
    let mut held = instance("web", "web-1", "passing");
    held["lifecycle"] = json!({"state": "quarantined", "until": "2026-11-22T00:00:00Z", "reason": ""});
    story.watch(json!({"event": "put", "revision": 41, "at": "2026-11-21T00:00:00Z", "service": "web",
        "instance": held, "cause": "", "actor": "ann"}));
    story.type_in("u");
    let (service, id) = web("web-1");
    assert!(story.press(KeyCode::Char('y')).contains(&Request::Act(Action::Release(service, id))));
}

#[test]
fn only_a_voter_that_does_not_lead_can_be_made_the_leader() {
    let mut story = calm(SIZE);
    story.type_in("3t");
    assert!(story.screen(SIZE).contains("it leads already"));
    story.press(KeyCode::Down);
    story.type_in("t");
    assert_eq!(story.press(KeyCode::Char('y')), [Request::Act(Action::TransferLeader("node-b".to_owned()))]);
}

#[test]
fn nothing_is_asked_for_without_a_connection() {
    let mut story = at_service("web");
    story.hear(Message::Link(LinkEvent::Lost { node: NODE.to_owned(), reason: "gone".to_owned() }));
    story.type_in("d");
    assert_eq!(story.press(KeyCode::Char('y')), []);
    assert!(story.screen(SIZE).contains("was not asked for"));
}

#[test]
fn events_are_held_still_while_they_are_read() {
    let mut story = failing(SIZE);
    story.type_in("4p");
    let change = json!({"service": "web", "id": "web-1", "from": "passing", "state": "critical", "cause": "confirmed",
        "since": "2026-11-21T00:00:00Z"});
    story.watch(json!({"event": "state", "revision": 50, "at": "2026-11-21T00:00:00Z", "items": [change]}));
    let held = story.screen(SIZE);
    assert!(held.contains("held still, 1 more came") && !held.contains("web/web-1 was passing"), "{held}");
    story.type_in("p");
    assert!(story.screen(SIZE).contains("web/web-1 was passing"));
}

#[test]
fn a_click_chooses_and_another_opens() {
    let mut story = calm(SIZE);
    let mut click = |column, row| {
        let kind = MouseEventKind::Down(MouseButton::Left);
        story.hear(Message::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }));
        story.state.view().clone()
    };
    assert_eq!(click(16, 0), View::Services, "the second tab");
    assert_eq!(click(5, 5), View::Services, "the third service, web");
    assert_eq!(click(5, 5), View::Service("web".to_owned()));
    assert_eq!(click(99, 29), View::Service("web".to_owned()), "nothing is there");
}

#[test]
fn without_events_nothing_is_asked_and_an_event_asks_once() {
    let mut story = calm(SIZE);
    let mut asked = Vec::new();
    for second in 1..600 {
        asked.extend(story.tick(second));
        // Whatever is asked for is answered at once.
        make_answers(&mut story);
    }
    assert!(asked.len() < 10, "second looks after the start, and no more: {asked:?}");
}
