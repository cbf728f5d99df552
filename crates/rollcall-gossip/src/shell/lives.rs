//! One life of chitchat after the other, and a newer generation when the others remember a newer process than this one.

use tokio::time::Instant;
use tracing::{error, info, warn};

use super::{OUTBID_INTERVAL, OUTRANKED_SHOWN, REVIVE_WAIT_MAX, REVIVE_WAIT_MIN, ROUNDS_AT_ONCE, Shell};
use crate::metrics;
use crate::wire::Notice;

impl Shell {
    pub(super) async fn heed(&mut self, notice: Notice) {
        match notice {
            Notice::Proven(address) => {
                if let Some(life) = &self.life {
                    life.gossip(address);
                }
            }
            Notice::Outranked { newest, is_gone } if newest > self.generation => {
                let is_news = self
                    .outranked
                    .is_none_or(|(generation, told)| generation != newest || told.elapsed() >= OUTRANKED_SHOWN);
                self.outranked = Some((newest, Instant::now()));
                let may_outbid = self.outbid.is_none_or(|at| at.elapsed() >= OUTBID_INTERVAL);
                if is_gone && may_outbid {
                    warn!(
                        "the others remember a newer life of this node that is gone (generation {newest}, this one is {}); \
                         taking a newer generation",
                        self.generation
                    );
                    self.outbid = Some(Instant::now());
                    if let Some(life) = self.life.take() {
                        life.end().await;
                    }
                    self.revive(newest).await;
                } else if is_news {
                    error!(
                        "another process has this node's name '{}' and is newer (generation {newest}, this one is {}): the \
                         others refuse this one; stop one of them, or give it a name of its own",
                        self.me, self.generation
                    );
                }
            }
            Notice::Outranked { .. } => {}
        }
    }

    pub(super) async fn begin_life(&mut self) -> anyhow::Result<()> {
        let life = self.lives.begin(self.shared.published.take_all()).await?;
        self.ended = Box::pin(life.ended());
        self.life = Some(life);
        self.life_began = Instant::now();
        self.revive_at = None;
        self.gossip_with_some(ROUNDS_AT_ONCE);
        Ok(())
    }

    /// The present life ended by itself.
    pub(super) fn mourn(&mut self, reason: &str) {
        self.life = None;
        self.ended = Box::pin(std::future::pending());
        metrics::restarted();
        let was_short = self.life_began.elapsed() < REVIVE_WAIT_MAX;
        self.revive_wait = if was_short { (self.revive_wait * 2).min(REVIVE_WAIT_MAX) } else { REVIVE_WAIT_MIN };
        self.revive_at = Some(Instant::now() + self.revive_wait);
        error!(error = reason, "gossip ended, which is a defect: {reason}; it begins again in {:?}", self.revive_wait);
    }

    /// Begins the next life, under a generation above `floor`.
    pub(super) async fn revive(&mut self, floor: u64) {
        let generations = self.generations.clone();
        let floor = floor.max(self.generation);
        let taken = rollcall_io::spawn_blocking(move || generations.take(floor)).await;
        let begun = match taken {
            Ok(Ok(generation)) => {
                self.generation = generation;
                self.wire.seal.set_generation(generation);
                self.detector.renew(generation);
                self.rival = None;
                self.begin_life().await
            }
            Ok(Err(error)) => Err(error.into()),
            Err(panic) => Err(panic.into()),
        };
        match begun {
            Ok(()) => info!("gossip goes on with generation {}", self.generation),
            Err(error) => {
                self.revive_wait = (self.revive_wait * 2).min(REVIVE_WAIT_MAX);
                self.revive_at = Some(Instant::now() + self.revive_wait);
                error!(error = %error, "gossip cannot begin again: {error:#}; next attempt in {:?}", self.revive_wait);
            }
        }
    }
}
