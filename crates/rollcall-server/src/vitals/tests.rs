use rollcall_health::detector::{Cause, Member, State};
use rollcall_health::forecast::Quantity;
use rollcall_types::UnixMillis;

use super::board::News;
use super::*;

const LOOK: Duration = Duration::from_millis(20);

fn at(millis: u64) -> MonoTime {
    MonoTime::new(Duration::from_millis(millis))
}

/// With buckets of 100 ms, of disks and memory 600 ms, and windows of 20 buckets.
fn own() -> Own {
    Own::new(Options::new(Duration::from_millis(100), 20).unwrap(), LOOK, Duration::from_millis(250))
}

fn reading(disk_free: u64) -> Readings {
    Readings { disk_free: Some(disk_free), held: 0, memory_used: Some(0.5) }
}

/// A disk that loses 4 MB each 100 ms, looked at until its node predicts to fail. Returns when that is.
fn fill(own: &mut Own) -> u64 {
    for look in 0..400 {
        let now = at(100 * look);
        own.read(reading(1_600_000_000 - 4_000_000 * look), REAL, now);
        own.evaluate(now);
        if own.expected.get(Quantity::DiskFree).is_some_and(|it| it.outlook() == Outlook::FailurePredicted) {
            return 100 * look;
        }
    }
    panic!("nothing is expected of a disk that fills: {:?}", own.trends.forecasts().collect::<Vec<_>>());
}

fn update(generation: u64, version: u64, forecasts: Option<&NodeForecasts>) -> Update {
    let value = forecasts.map(|forecasts| forecasts.encode().into());
    Update { member: "n1".parse().unwrap(), generation, key: NODE_KEY.into(), version, value }
}

#[test]
fn a_disk_that_fills_is_told_before_it_is_full_and_a_steady_memory_is_not() {
    let mut own = own();
    let now = at(fill(&mut own));
    let told = own.take_news(now).unwrap();
    let disk = told.get(Quantity::DiskFree).unwrap();
    assert_eq!(told.iter().count(), 1, "{told:?}");
    assert!(disk.level() > disk.threshold() && disk.due().is_some(), "{disk}");
    assert_eq!(own.take_news(now), None, "told already");
}

#[test]
fn what_stands_is_told_again_after_a_while_and_what_is_over_is_taken_back() {
    let mut own = own();
    let now = at(fill(&mut own));
    assert!(own.take_news(now).is_some());
    assert!(own.take_news(now.plus(TELL_AGAIN)).is_some_and(|told| !told.is_empty()));
    own.expected = NodeForecasts::default();
    assert_eq!(own.take_news(now.plus(TELL_AGAIN)), None, "too soon");
    assert_eq!(own.take_news(now.plus(TELL_AGAIN + TELL_INTERVAL)), Some(NodeForecasts::default()));
    assert_eq!(own.take_news(now.plus(2 * TELL_AGAIN + TELL_INTERVAL)), None);
}

#[test]
fn nothing_is_expected_of_a_node_that_is_well() {
    let mut own = own();
    for look in 0..2_000 {
        let now = at(20 * look);
        own.late(Duration::from_micros(900 + 37 * (look % 7)), now);
        own.lag(look, look, now);
        own.synced(Duration::from_micros(500 + 90 * (look % 5)), now);
        own.evaluate(now);
        assert_eq!(own.take_news(now), None);
    }
}

#[test]
fn a_pretended_disk_stands_for_the_real_one() {
    let mut own = own();
    for look in 0..300 {
        let now = at(100 * look);
        own.read(reading(u64::MAX - 1), 1_600_000_000 - 4_000_000 * look, now);
        own.evaluate(now);
    }
    assert!(own.expected.get(Quantity::DiskFree).is_some());
}

#[test]
fn others_show_what_a_node_says_while_it_may_live_with_less_time_the_later_they_are_asked() {
    let mut own = own();
    let now = at(fill(&mut own));
    let told = own.take_news(now).unwrap();
    let mut board = Board::default();
    let heard = UnixMillis::new(1_000);
    let before = board.clone();
    board.receive(&update(7, 2, Some(&told)), heard);
    let turns = |news: Vec<(_, News)>| news.into_iter().map(|(_, it)| (it.from, it.to)).collect::<Vec<_>>();
    assert_eq!(turns(board.news_since(&before, heard)), [(Outlook::Calm, Outlook::FailurePredicted)]);
    assert_eq!(turns(board.news_since(&board, heard)), []);
    let left =
        |now: u64| board.news_since(&before, UnixMillis::new(now))[0].1.forecast.unwrap().due().unwrap().likely();
    assert_eq!(left(1_000) - left(1_500), Duration::from_millis(500), "times count from when it was heard");
    let known = board.clone();
    board.receive(&update(7, 1, None), heard);
    assert_eq!(board, known, "older");

    let member = |generation, state| Member {
        name: "n1".parse().unwrap(),
        generation,
        state,
        cause: Cause::Silent,
        witnesses: Vec::new(),
        since: at(0),
        heartbeat: 1,
        was_heard: true,
        silence: Duration::ZERO,
        patience: Duration::ZERO,
        rtt: None,
        lateness: Lateness::OnTime,
        flaps: 0,
        is_unheard: false,
        rival: None,
    };
    let likely = |now: u64| board.of(&member(7, State::Alive), UnixMillis::new(now))[0].likely_ms.unwrap();
    assert_eq!(likely(1_000) - likely(1_500), 500);
    assert_eq!(board.of(&member(7, State::Dead), heard), []);
    assert_eq!(board.of(&member(8, State::Alive), heard), [], "another process");

    board.receive(&update(7, 3, None), heard);
    assert_eq!(turns(board.news_since(&known, heard)), [(Outlook::FailurePredicted, Outlook::Calm)]);
    assert_eq!(board, Board::default());
}
