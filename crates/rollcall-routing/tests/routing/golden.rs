//! The stories in `tests/scripts/`.

use crate::stories::check_all;
use crate::{feedback_story, graph_story, select_story};

#[test]
fn every_story_of_a_selection_ends_as_it_is_written() {
    check_all("select-", select_story::tell);
}

#[test]
fn every_story_of_feedback_ends_as_it_is_written() {
    check_all("feedback-", feedback_story::tell);
}

#[test]
fn every_story_of_a_graph_ends_as_it_is_written() {
    check_all("graph-", graph_story::tell);
}
