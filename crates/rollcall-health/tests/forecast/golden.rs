//! The stories `tests/scripts/forecast-*.txt`.

use crate::stories::check_all;
use crate::story::Story;

#[test]
fn every_story_ends_as_it_is_written() {
    check_all("forecast-", Story::tell);
}
