//! Weather: what packets between nodes go through while all links stay up.

use crate::cluster::{Counts, Link, Links};
use crate::dice::Dice;

/// Shortest and longest time that a packet takes on a slow link, milliseconds. The longest is a bad line around half the earth,
/// and with the jitter on top of it still a third of the time after which followers seek election.
const DELAY_MS: (u64, u64) = (5, 80);
/// Shares of packets, of a hundred, that weather hits. Where it hits all, nothing is out of order any more.
const SHARE: (u64, u64) = (10, 50);
/// The same for what does not arrive in the end. TCP gets little through above that.
const LOST_SHARE: (u64, u64) = (1, 15);

/// What packets go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    /// All links are slow, each by its own time, with jitter; packets overtake each other.
    Latency,
    /// The links of the leader are slow, to it and from it.
    LatencyLeader,
    /// What the leader sends is slow, and what it hears is not.
    LatencyOneWay,
    /// Packets arrive twice.
    Duplication,
    /// Packets are held back until others have overtaken them.
    Reorder,
    /// Packets arrive with one bit flipped, which the receiving kernel sees by their checksum.
    Damage,
    /// Every link has a little of everything, its own mix in each direction.
    Mixed,
}

impl Weather {
    pub(crate) const fn describe(self) -> &'static str {
        match self {
            Self::Latency => "latency everywhere",
            Self::LatencyLeader => "latency leader",
            Self::LatencyOneWay => "latency from leader",
            Self::Duplication => "duplication",
            Self::Reorder => "reorder",
            Self::Damage => "damaged packets",
            Self::Mixed => "bad links",
        }
    }

    /// Whether packets do not arrive in it.
    pub(crate) const fn loses_packets(self) -> bool {
        matches!(self, Self::Damage | Self::Mixed)
    }

    /// Whether it did to any packet what it is there for.
    pub(crate) const fn has_struck(self, counts: &Counts) -> bool {
        match self {
            Self::Latency | Self::LatencyLeader | Self::LatencyOneWay => counts.longest_us > 0,
            Self::Duplication => counts.doubled > 0,
            Self::Reorder => counts.overtaken > 0,
            Self::Damage => counts.damaged > 0,
            Self::Mixed => counts.longest_us > 0 || counts.lost > 0 || counts.doubled > 0 || counts.damaged > 0,
        }
    }

    /// The links of a cluster of `nodes` that is led by `leader`.
    pub(crate) fn links(self, nodes: usize, leader: usize, dice: &mut Dice) -> Links {
        let share = dice.between(SHARE.0, SHARE.1);
        let lost = dice.between(LOST_SHARE.0, LOST_SHARE.1);
        let mut links = vec![vec![Link::default(); nodes]; nodes];
        for (from, row) in links.iter_mut().enumerate() {
            for (to, link) in row.iter_mut().enumerate().filter(|(to, _)| *to != from) {
                *link = match self {
                    Self::Latency => slow(dice),
                    Self::LatencyLeader if from == leader || to == leader => slow(dice),
                    Self::LatencyOneWay if from == leader => slow(dice),
                    Self::LatencyLeader | Self::LatencyOneWay => Link::default(),
                    Self::Duplication => Link { doubled: share, ..Link::default() },
                    Self::Reorder => Link { held_back: share, ..Link::default() },
                    Self::Damage => Link { damaged: lost, ..Link::default() },
                    Self::Mixed => Link {
                        lost: dice.between(0, LOST_SHARE.1),
                        doubled: dice.between(0, SHARE.1),
                        held_back: dice.between(0, SHARE.1),
                        damaged: dice.between(0, LOST_SHARE.0),
                        ..slow(dice)
                    },
                };
            }
        }
        links
    }
}

/// A slow link: the jitter is as much again as the delay.
fn slow(dice: &mut Dice) -> Link {
    let delay_us = dice.between(DELAY_MS.0, DELAY_MS.1) * 1_000;
    Link { delay_us, jitter_us: delay_us, ..Link::default() }
}

/// The links in few words: what the mildest and the worst of those do that do anything.
pub(crate) fn describe(links: &Links) -> String {
    let touched = || links.iter().flatten().filter(|link| **link != Link::default());
    let range = |what: &str, of: fn(&Link) -> u64, unit: &str| {
        let (least, most) = (touched().map(of).min().unwrap_or(0), touched().map(of).max().unwrap_or(0));
        (most > 0).then(|| format!("{what} {least}–{most} {unit}"))
    };
    let parts = [
        range("delay", |link| link.delay_us / 1_000, "ms"),
        range("jitter", |link| link.jitter_us / 1_000, "ms"),
        range("lost", |link| link.lost, "%"),
        range("doubled", |link| link.doubled, "%"),
        range("held back", |link| link.held_back, "%"),
        range("damaged", |link| link.damaged, "%"),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    format!("{} links: {}", touched().count(), parts.join(", "))
}

/// What became of packets in it.
pub(crate) fn describe_counts(counts: &Counts) -> String {
    let Counts { packets, overtaken, lost, doubled, damaged, longest_us, unheard_us } = counts;
    format!(
        "of {packets} packets {overtaken} overtaken, {lost} lost, {doubled} doubled, {damaged} damaged; kept at most {} ms; \
         no node unheard for more than {} ms",
        longest_us / 1_000,
        unheard_us / 1_000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touched(weather: Weather) -> Vec<(usize, usize, Link)> {
        let links = weather.links(5, 2, &mut Dice::new(7));
        let all = links.into_iter().enumerate();
        let all = all.flat_map(|(from, row)| row.into_iter().enumerate().map(move |(to, link)| (from, to, link)));
        all.filter(|(.., link)| *link != Link::default()).collect()
    }

    #[test]
    fn latency_is_on_all_links_or_on_those_of_the_leader() {
        assert_eq!(touched(Weather::Latency).len(), 20);
        assert_eq!(touched(Weather::LatencyLeader).len(), 8);
        let one_way = touched(Weather::LatencyOneWay);
        assert_eq!(one_way.len(), 4);
        assert!(one_way.iter().all(|(from, ..)| *from == 2));
    }

    #[test]
    fn no_weather_is_worse_than_its_bounds() {
        for weather in [Weather::Latency, Weather::Duplication, Weather::Reorder, Weather::Damage, Weather::Mixed] {
            let links = touched(weather);
            assert_eq!(links.len(), 20, "{weather:?}");
            for (from, to, link) in links {
                assert_ne!(from, to);
                assert!(link.delay_us + link.jitter_us <= 2_000 * DELAY_MS.1 && link.lost + link.damaged <= 16);
                assert!(link.doubled <= SHARE.1 && link.held_back <= SHARE.1, "{link:?}");
                assert!(weather.loses_packets() || link.lost + link.damaged == 0, "{weather:?}");
            }
        }
    }

    #[test]
    fn weather_strikes_when_it_does_to_a_packet_what_it_is_there_for() {
        let untouched = Counts { packets: 100, ..Counts::default() };
        let late = Counts { longest_us: 1, ..untouched };
        let doubled = Counts { doubled: 1, ..late };
        let overtaken = Counts { overtaken: 1, ..late };
        let damaged = Counts { damaged: 1, ..untouched };
        for (weather, struck) in [
            (Weather::Latency, late),
            (Weather::LatencyLeader, late),
            (Weather::LatencyOneWay, late),
            (Weather::Duplication, doubled),
            (Weather::Reorder, overtaken),
            (Weather::Damage, damaged),
            (Weather::Mixed, late),
            (Weather::Mixed, damaged),
        ] {
            assert!(weather.has_struck(&struck) && !weather.has_struck(&untouched), "{weather:?}");
        }
        assert!(!Weather::Reorder.has_struck(&late) && !Weather::Duplication.has_struck(&late));
    }

    #[test]
    fn links_are_described_by_what_they_do() {
        let links = vec![vec![Link::default(), Link { delay_us: 5_000, ..Link::default() }]];
        assert_eq!(describe(&links), "1 links: delay 5–5 ms");
    }
}
