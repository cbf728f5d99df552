//! What a request allocates.

use allocation_counter::measure;
use rollcall_routing::{Caller, Moment, Policy, Query, Random, Scratch, ServiceIndex, Strategy, Tally, resolve};

use crate::fixture::{NOW, label, many};

#[test]
fn a_request_allocates_the_list_of_its_answer_and_nothing_else() {
    let index = ServiceIndex::build(many(1_000), Policy::default());
    let tally = Tally::new(&index, NOW);
    let (zone, context) = (label("a"), label("checkout"));
    let caller = Caller { id: Some("web-1"), zone: Some(&zone), context: Some(&context), ..Caller::default() };
    let (mut rng, mut scratch) = (Random::new(1), Scratch::default());
    for strategy in Strategy::ALL {
        let query = Query { caller, n: 3, strategy: Some(strategy), ..Query::default() };
        let moment = Moment { tally: Some(&tally), ..Moment::at(NOW) };
        let mut ask = || {
            tally.add(&resolve(&index, &query, moment, &mut rng, &mut scratch).unwrap());
        };
        ask();
        let used = measure(ask);
        assert_eq!(used.count_total, 1, "{strategy}");
    }
}
