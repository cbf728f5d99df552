//! What becomes of packets on their way between nodes, and when they arrive: the fabric without its devices.
//!
//! Time is a number that the caller gives, and chance a stream of its own for each directed link, of which every packet draws
//! the same amount: so the fate of the n-th packet of a link follows from the seed, whatever other links carry. Packets that
//! wait do so in the order in which they are due, not in which they came: one that takes longer is overtaken.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::dice::Dice;

/// Packets that wait at most, of all links together; beyond that they are lost. At 1500 bytes each that is 30 MB.
const WAITING_MAX: usize = 20_000;
/// Longest time by which a packet is held back, and by which the second of two comes later, microseconds. Many packets long.
const HELD_BACK_MAX_US: u64 = 20_000;
/// Streams of links are numbered from here; the other parts of a run have lower numbers.
const FIRST_PART: u64 = 10_000;
/// More than any cluster has nodes.
const NODES_MAX: u64 = 100;

/// How a directed link treats packets. Shares are of a hundred packets; all zero: it passes every packet on at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Link {
    /// Every packet takes so long.
    pub(crate) delay_us: u64,
    /// And up to so much longer, drawn for each.
    pub(crate) jitter_us: u64,
    /// Do not arrive.
    pub(crate) lost: u64,
    /// Arrive twice.
    pub(crate) doubled: u64,
    /// Are held back until others have overtaken them.
    pub(crate) held_back: u64,
    /// Arrive with one bit flipped, behind the addresses.
    pub(crate) damaged: u64,
}

/// All of them: `links[from][to]`.
pub(crate) type Links = Vec<Vec<Link>>;

/// What became of packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// All that came to the fabric.
    pub(crate) packets: u64,
    /// Arrived after one that was sent later.
    pub(crate) overtaken: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) damaged: u64,
    /// Longest time that one was kept, microseconds.
    pub(crate) longest_us: u64,
    /// Longest time in which no datagram from a node to any other arrived, or none to it from any other, though some were sent,
    /// microseconds. Datagrams (UDP) are gossip; what else nodes say to each other is sent again until it arrives.
    pub(crate) unheard_us: u64,
}

/// Protocol number of UDP, and its place in an IPv4 header.
const UDP: (usize, u8) = (9, 17);

/// Whether anything of a kind arrives.
#[derive(Debug, Clone, Copy, Default)]
struct Hearing {
    /// Since when all was lost.
    lost_since: Option<Duration>,
    longest: Duration,
}

impl Hearing {
    /// A datagram was sent, and arrives then; or never.
    fn sent(&mut self, now: Duration, arrival: Option<Duration>) {
        match arrival {
            None => self.lost_since = self.lost_since.or(Some(now)),
            Some(arrival) => self.end(arrival),
        }
    }

    fn end(&mut self, at: Duration) {
        if let Some(since) = self.lost_since.take() {
            self.longest = self.longest.max(at.saturating_sub(since));
        }
    }
}

/// A packet under way.
#[derive(Debug)]
struct Waiting {
    from: usize,
    to: usize,
    /// Its place among the packets of its link.
    number: u64,
    bytes: Vec<u8>,
}

/// What a link does to one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fate {
    is_lost: bool,
    delay: Duration,
    /// The delay of the second one, when it arrives twice.
    again: Option<Duration>,
    /// A number that says which bit is flipped.
    damage: Option<u64>,
}

impl Fate {
    fn draw(link: &Link, dice: &mut Dice) -> Self {
        // Drawn whether or not they are needed: the next packet then finds the stream where it always is.
        let [is_lost, is_doubled, is_held, is_damaged] =
            [link.lost, link.doubled, link.held_back, link.damaged].map(|share| dice.chance(share));
        let [jitter, held, later] =
            [link.jitter_us, HELD_BACK_MAX_US, HELD_BACK_MAX_US].map(|most| dice.between(0, most));
        let bit = dice.roll();
        let delay = link.delay_us + jitter + if is_held { held } else { 0 };
        Self {
            is_lost,
            delay: Duration::from_micros(delay),
            again: is_doubled.then(|| Duration::from_micros(delay + later)),
            damage: is_damaged.then_some(bit),
        }
    }
}

/// The state of one directed link.
#[derive(Debug)]
struct State {
    link: Link,
    dice: Dice,
    sent: u64,
    /// The number of the youngest packet that arrived.
    youngest: u64,
}

/// The packets under way between the nodes of a run.
#[derive(Debug)]
pub(super) struct Schedule {
    states: Vec<Vec<State>>,
    /// By when they are due; the second number keeps the order of those that are due at the same time.
    waiting: BTreeMap<(Duration, u64), Waiting>,
    next: u64,
    counts: Counts,
    /// Of the datagrams of each node, and of those to it.
    hearing: Vec<[Hearing; 2]>,
}

impl Schedule {
    /// Links that pass everything on.
    pub(super) fn new(nodes: usize, seed: u64) -> Self {
        let state = |from: usize, to: usize| State {
            link: Link::default(),
            dice: Dice::of_part(seed, FIRST_PART + from as u64 * NODES_MAX + to as u64),
            sent: 0,
            youngest: 0,
        };
        let row = |from| (0..nodes).map(|to| state(from, to)).collect();
        let states = (0..nodes).map(row).collect();
        let hearing = vec![[Hearing::default(); 2]; nodes];
        Self { states, waiting: BTreeMap::new(), next: 0, counts: Counts::default(), hearing }
    }

    /// Treats packets like this from now on; those under way arrive as they would have.
    pub(super) fn set(&mut self, links: &Links) {
        for (states, links) in self.states.iter_mut().zip(links) {
            for (state, link) in states.iter_mut().zip(links) {
                state.link = *link;
            }
        }
    }

    /// What became of packets since the last time.
    pub(super) fn take_counts(&mut self, now: Duration) -> Counts {
        let mut counts = std::mem::take(&mut self.counts);
        for hearing in self.hearing.iter_mut().flatten() {
            hearing.end(now);
            counts.unheard_us = counts.unheard_us.max(micros(std::mem::take(hearing).longest));
        }
        counts
    }

    /// Takes a packet that a node sent; one to nobody is ignored.
    pub(super) fn send(&mut self, from: usize, to: usize, mut bytes: Vec<u8>, now: Duration) {
        let Some(state) = self.states.get_mut(from).and_then(|row| row.get_mut(to)) else { return };
        state.sent += 1;
        let number = state.sent;
        let fate = Fate::draw(&state.link, &mut state.dice);
        self.counts.packets += 1;
        let is_lost = fate.is_lost || self.waiting.len() >= WAITING_MAX;
        let is_damaged = !is_lost && fate.damage.is_some_and(|bit| flip(&mut bytes, bit));
        if bytes.get(UDP.0) == Some(&UDP.1) {
            // The kernel that gets a damaged one sees that by its checksum.
            let arrival = (!is_lost && !is_damaged).then_some(now + fate.delay);
            self.hearing[from][0].sent(now, arrival);
            self.hearing[to][1].sent(now, arrival);
        }
        if is_lost {
            self.counts.lost += 1;
            return;
        }
        self.counts.damaged += u64::from(is_damaged);
        if let Some(delay) = fate.again {
            self.counts.doubled += 1;
            self.keep(Waiting { from, to, number, bytes: bytes.clone() }, now, delay);
        }
        self.keep(Waiting { from, to, number, bytes }, now, fate.delay);
    }

    fn keep(&mut self, packet: Waiting, now: Duration, delay: Duration) {
        self.counts.longest_us = self.counts.longest_us.max(micros(delay));
        self.next += 1;
        self.waiting.insert((now + delay, self.next), packet);
    }

    /// When the next packet arrives.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.waiting.first_key_value().map(|((due, _), _)| *due)
    }

    /// The next packet that has arrived by `now`, and at which node.
    pub(super) fn arrived(&mut self, now: Duration) -> Option<(usize, Vec<u8>)> {
        let first = self.waiting.first_entry().filter(|entry| entry.key().0 <= now)?;
        let Waiting { from, to, number, bytes } = first.remove();
        let state = &mut self.states[from][to];
        if number < state.youngest {
            self.counts.overtaken += 1;
        }
        state.youngest = state.youngest.max(number);
        Some((to, bytes))
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Flips a bit behind the IP header, so that the packet still finds its way; `false` when there is nothing.
fn flip(packet: &mut [u8], bit: u64) -> bool {
    let header = packet.first().map_or(0, |first| usize::from(first & 0x0F) * 4);
    let Some(rest) = packet.get_mut(header..).filter(|rest| !rest.is_empty()) else { return false };
    let place = usize::try_from(bit / 8 % rest.len() as u64).unwrap_or(0);
    rest[place] ^= 1 << (bit % 8);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKETS: u8 = 200;

    /// A packet that says its number behind its header.
    fn packet(number: u8) -> Vec<u8> {
        let mut bytes = vec![0; 21];
        bytes[0] = 0x45;
        bytes[20] = number;
        bytes
    }

    fn all(nodes: usize, link: Link) -> Links {
        vec![vec![link; nodes]; nodes]
    }

    /// Sends numbered packets from node 0 to node 1, a millisecond apart, and returns what arrives when, and the counts.
    fn carry(seed: u64, link: Link) -> (Vec<(Duration, u8)>, Counts) {
        let mut schedule = Schedule::new(2, seed);
        schedule.set(&all(2, link));
        for number in 0..PACKETS {
            schedule.send(0, 1, packet(number), Duration::from_millis(number.into()));
        }
        let mut arrivals = Vec::new();
        while let Some(due) = schedule.next_due() {
            if let Some(before) = due.checked_sub(Duration::from_nanos(1)) {
                assert!(schedule.arrived(before).is_none(), "early");
            }
            let (to, bytes) = schedule.arrived(due).expect("it is due");
            assert_eq!(to, 1);
            arrivals.push((due, bytes[20]));
        }
        (arrivals, schedule.take_counts(Duration::ZERO))
    }

    #[test]
    fn a_plain_link_passes_everything_on_at_once_and_in_order() {
        let (arrivals, counts) = carry(1, Link::default());
        let expected: Vec<_> = (0..PACKETS).map(|number| (Duration::from_millis(number.into()), number)).collect();
        assert_eq!(arrivals, expected);
        assert_eq!(counts, Counts { packets: PACKETS.into(), ..Counts::default() });
    }

    #[test]
    fn the_fate_of_packets_follows_from_the_seed() {
        let link = Link { delay_us: 900, jitter_us: 5_000, lost: 10, doubled: 10, held_back: 10, damaged: 10 };
        assert_eq!(carry(7, link), carry(7, link));
        assert_ne!(carry(7, link), carry(8, link));
    }

    #[test]
    fn what_one_link_carries_changes_nothing_on_another() {
        let link = Link { lost: 50, ..Link::default() };
        let arrives = |with_other: bool| {
            let mut schedule = Schedule::new(3, 7);
            schedule.set(&all(3, link));
            for number in 0..PACKETS {
                if with_other {
                    schedule.send(1, 0, packet(0), Duration::ZERO);
                    schedule.send(0, 2, packet(0), Duration::ZERO);
                }
                schedule.send(0, 1, packet(number), Duration::ZERO);
            }
            let mut numbers = Vec::new();
            while let Some((to, bytes)) = schedule.arrived(Duration::ZERO) {
                numbers.extend((to == 1).then_some(bytes[20]));
            }
            numbers
        };
        assert_eq!(arrives(false), arrives(true));
    }

    #[test]
    fn a_delay_keeps_the_order_and_jitter_does_not() {
        let (arrivals, counts) = carry(3, Link { delay_us: 50_000, ..Link::default() });
        assert!(arrivals.iter().all(|(at, number)| *at == Duration::from_millis(50 + u64::from(*number))));
        assert_eq!((counts.overtaken, counts.longest_us), (0, 50_000));
        let (arrivals, counts) = carry(3, Link { delay_us: 50_000, jitter_us: 20_000, ..Link::default() });
        let took = |(at, number): &(Duration, u8)| *at - Duration::from_millis((*number).into());
        let bounds = Duration::from_millis(50)..=Duration::from_millis(70);
        assert!(arrivals.iter().all(|arrival| bounds.contains(&took(arrival))));
        assert!(counts.overtaken > 50, "{counts:?}");
    }

    #[test]
    fn what_is_held_back_is_overtaken_and_arrives() {
        let (mut arrivals, counts) = carry(5, Link { held_back: 25, ..Link::default() });
        assert!(counts.overtaken > 20, "{counts:?}");
        arrivals.sort_by_key(|(_, number)| *number);
        assert!(arrivals.iter().map(|(_, number)| *number).eq(0..PACKETS), "one is missing, or there twice");
    }

    #[test]
    fn a_doubled_packet_arrives_twice_and_a_lost_one_never() {
        let (arrivals, counts) = carry(5, Link { doubled: 100, ..Link::default() });
        assert_eq!((arrivals.len(), counts.doubled), (2 * usize::from(PACKETS), PACKETS.into()));
        let (arrivals, counts) = carry(5, Link { lost: 100, ..Link::default() });
        assert_eq!((arrivals.len(), counts.lost), (0, PACKETS.into()));
    }

    #[test]
    fn damage_is_one_bit_behind_the_addresses() {
        let mut schedule = Schedule::new(2, 5);
        schedule.set(&all(2, Link { damaged: 100, ..Link::default() }));
        schedule.send(0, 1, packet(0), Duration::ZERO);
        let (_, bytes) = schedule.arrived(Duration::ZERO).expect("it arrives");
        assert_eq!((&bytes[..20], bytes[20].count_ones()), (&packet(0)[..20], 1));
        // Nothing to damage, nothing damaged.
        schedule.send(0, 1, packet(0)[..20].to_vec(), Duration::ZERO);
        schedule.send(0, 1, Vec::new(), Duration::ZERO);
        assert_eq!(schedule.take_counts(Duration::ZERO).damaged, 1);
    }

    /// How long a node goes unheard when it sends a packet each 100 ms to the two others in turn, of which these are lost.
    fn unheard(is_udp: bool, lost: std::ops::Range<u64>) -> u64 {
        let mut schedule = Schedule::new(3, 5);
        let mut bytes = packet(0);
        bytes[UDP.0] = if is_udp { UDP.1 } else { 6 };
        for number in 0..20_u64 {
            let now = Duration::from_millis(number * 100);
            schedule.set(&all(3, Link { lost: if lost.contains(&number) { 100 } else { 0 }, ..Link::default() }));
            schedule.send(0, 1 + number as usize % 2, bytes.clone(), now);
            // What the others say is heard, also by each other.
            schedule.set(&all(3, Link::default()));
            for (from, to) in [(1, 2), (2, 1), (1, 0)] {
                schedule.send(from, to, bytes.clone(), now);
            }
        }
        schedule.take_counts(Duration::from_secs(2)).unheard_us / 1_000
    }

    #[test]
    fn a_node_is_unheard_while_all_of_its_datagrams_are_lost() {
        assert_eq!(unheard(true, 0..0), 0);
        assert_eq!(unheard(true, 4..5), 100);
        assert_eq!(unheard(true, 4..9), 500, "from the first that is lost to the next that is not");
        assert_eq!(unheard(true, 15..20), 500, "also at the end");
        assert_eq!(unheard(false, 0..20), 0, "what is sent again is not lost");
    }

    #[test]
    fn damaged_datagrams_are_not_heard() {
        let mut schedule = Schedule::new(2, 5);
        let mut bytes = packet(0);
        bytes[UDP.0] = UDP.1;
        schedule.set(&all(2, Link { damaged: 100, ..Link::default() }));
        schedule.send(0, 1, bytes, Duration::ZERO);
        assert_eq!(schedule.take_counts(Duration::from_millis(7)).unheard_us, 7_000);
        assert_eq!(schedule.take_counts(Duration::from_millis(9)).unheard_us, 0, "counted anew");
    }

    #[test]
    fn packets_beyond_the_bound_are_lost() {
        let mut schedule = Schedule::new(2, 5);
        schedule.set(&all(2, Link { delay_us: 1, ..Link::default() }));
        (0..=WAITING_MAX).for_each(|_| schedule.send(0, 1, packet(0), Duration::ZERO));
        assert_eq!((schedule.take_counts(Duration::ZERO).lost, schedule.waiting.len()), (1, WAITING_MAX));
    }

    #[test]
    fn packets_under_way_keep_their_time_when_the_weather_changes() {
        let mut schedule = Schedule::new(2, 5);
        schedule.set(&all(2, Link { delay_us: 5_000, ..Link::default() }));
        schedule.send(0, 1, packet(1), Duration::ZERO);
        schedule.set(&all(2, Link::default()));
        schedule.send(0, 1, packet(2), Duration::ZERO);
        assert_eq!(schedule.arrived(Duration::ZERO), Some((1, packet(2))));
        assert_eq!(schedule.next_due(), Some(Duration::from_millis(5)));
        assert_eq!(schedule.arrived(Duration::from_millis(5)), Some((1, packet(1))));
        assert_eq!(schedule.take_counts(Duration::ZERO).overtaken, 1);
    }

    #[test]
    fn a_packet_from_or_to_nobody_is_ignored() {
        let mut schedule = Schedule::new(2, 5);
        schedule.send(0, 2, packet(1), Duration::ZERO);
        schedule.send(2, 0, packet(1), Duration::ZERO);
        assert_eq!((schedule.next_due(), schedule.take_counts(Duration::ZERO).packets), (None, 0));
    }
}
