//! What happened, as a hash that two runs of one seed share, and in words for who wants to read it.

/// What happened.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    lines: Option<Vec<String>>,
}

impl Trace {
    pub(crate) fn new(keeps_lines: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, lines: keeps_lines.then(Vec::new) }
    }

    /// Something happened: numbers that tell it from everything else, and the same in words.
    pub(crate) fn add(&mut self, at: u64, numbers: &[u64], words: impl FnOnce() -> String) {
        for number in [at].iter().chain(numbers) {
            self.hash = (self.hash ^ number).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
        }
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:10.4} s  {}", at as f64 / 1e6, words()));
        }
    }

    /// The hash, and the lines if they were kept.
    pub(crate) fn finish(self) -> (u64, Vec<String>) {
        (self.hash, self.lines.unwrap_or_default())
    }
}
