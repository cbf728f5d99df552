//! Each counter once: the window that tells a replayed message from a delayed one (RFC 6479, without shifting bits).

/// Counters behind the highest one that may still come; a message older than that is refused for its age alone. One counter
/// serves a member's messages to all others: at 100 nodes its pings may reach 80 a second and its answers as many, with
/// gossip about 200, so this is 20 s of delay. A frame waits longest: it is sealed when it is queued, and then there are up
/// to 2 s to connect, and 5 s to write a frame that is ahead of it.
const WINDOW: u64 = 4_096;
const WORD_BITS: u64 = 64;
/// One word more than the window needs, since the newest word fills while the oldest is still in use.
const WORDS: usize = (WINDOW / WORD_BITS) as usize + 1;

/// Invariant: bit `c` of the ring is set when counter `c` came, for every `c` in `highest - WINDOW + 1 ..= highest`.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    highest: u64,
    seen: [u64; WORDS],
}

impl Window {
    /// A window in which `counter` and all before it count as seen.
    pub(crate) fn after(counter: u64) -> Self {
        let mut seen = [u64::MAX; WORDS];
        let bit = counter % WORD_BITS;
        seen[slot(counter)] = u64::MAX >> (WORD_BITS - 1 - bit);
        Self { highest: counter, seen }
    }

    /// Whether `counter` comes for the first time; from then on it came.
    pub(crate) fn accept(&mut self, counter: u64) -> bool {
        if counter.saturating_add(WINDOW) <= self.highest {
            return false;
        }
        if counter > self.highest {
            let (newest, word) = (self.highest / WORD_BITS, counter / WORD_BITS);
            for fresh in (newest + 1..=word).take(WORDS) {
                self.seen[(fresh % WORDS as u64) as usize] = 0;
            }
            self.highest = counter;
        }
        let (word, bit) = (&mut self.seen[slot(counter)], 1 << (counter % WORD_BITS));
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }
}

fn slot(counter: u64) -> usize {
    (counter / WORD_BITS % WORDS as u64) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_came_before_the_start_is_not_let_in() {
        for start in [1, 63, 64, 1_000, 100_000] {
            let mut window = Window::after(start);
            assert!((1..=start).all(|counter| !window.accept(counter)), "{start}");
            assert!(window.accept(start + 1), "{start}");
        }
    }

    #[test]
    fn a_delayed_message_is_let_in_once_and_a_very_late_one_never() {
        let mut window = Window::after(1);
        assert!(window.accept(5_000));
        assert!(window.accept(5_000 - WINDOW + 1));
        assert!(!window.accept(5_000 - WINDOW + 1));
        assert!(!window.accept(5_000 - WINDOW));
    }

    #[test]
    fn a_frame_that_waited_while_a_busy_member_sent_for_ten_seconds_is_let_in() {
        let mut window = Window::after(1);
        assert!((3..10 * 200).all(|counter| window.accept(counter)));
        assert!(window.accept(2));
    }

    #[test]
    fn a_leap_forgets_nothing_that_matters() {
        let mut window = Window::after(1);
        assert!(window.accept(10));
        assert!(window.accept(u64::MAX));
        assert!(!window.accept(u64::MAX) && !window.accept(10) && !window.accept(0));
    }

    /// The window against a set that remembers everything, over an order that is shuffled by a fixed rule.
    #[test]
    fn the_window_agrees_with_a_set() {
        let mut window = Window::after(0);
        let (mut model, mut highest, mut random) = (BTreeSet::from([0]), 0_u64, 1_u64);
        for _ in 0..50_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let counter = (highest + 40).saturating_sub(random >> 33 & 0x1FFF);
            let expected = counter + WINDOW > highest.max(counter) && model.insert(counter);
            highest = highest.max(counter);
            assert_eq!(window.accept(counter), expected, "counter {counter}, highest {highest}");
        }
    }
}
