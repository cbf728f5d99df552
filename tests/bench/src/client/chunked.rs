//! The chunked transfer coding (RFC 9112 §7.1), decoded piece by piece as the bytes arrive.

use anyhow::{Result, bail, ensure};

/// Most bytes of a chunk's size line or of a trailer line.
const LINE_MAX: usize = 4096;

/// Where in the coding the next byte lies.
#[derive(Default)]
pub(crate) struct ChunkDecoder {
    state: State,
    line: Vec<u8>,
}

#[derive(Default, Clone, Copy)]
enum State {
    #[default]
    Size,
    Body(usize),
    /// The line end behind a chunk.
    Gap,
    Trailer,
    Done,
}

impl ChunkDecoder {
    /// Decodes `coded`, appends the plain bytes, and returns whether the body has ended.
    ///
    /// # Errors
    /// When the bytes are not the chunked coding.
    pub(crate) fn decode(&mut self, mut coded: &[u8], plain: &mut Vec<u8>) -> Result<bool> {
        loop {
            match self.state {
                State::Done => return Ok(true),
                _ if coded.is_empty() => return Ok(false),
                State::Body(left) => {
                    let taken = left.min(coded.len());
                    plain.extend_from_slice(&coded[..taken]);
                    coded = &coded[taken..];
                    self.state = if taken == left { State::Gap } else { State::Body(left - taken) };
                }
                State::Size | State::Gap | State::Trailer => {
                    if !self.take_line(&mut coded)? {
                        return Ok(false);
                    }
                    self.state = self.after_line()?;
                    self.line.clear();
                }
            }
        }
    }

    /// Moves bytes up to a line end into `line`; false when the end has not arrived.
    fn take_line(&mut self, coded: &mut &[u8]) -> Result<bool> {
        let end = memchr::memchr(b'\n', coded);
        let taken = end.unwrap_or(coded.len());
        self.line.extend_from_slice(&coded[..taken]);
        ensure!(self.line.len() <= LINE_MAX, "a chunk line above {LINE_MAX} bytes");
        *coded = &coded[end.map_or(taken, |end| end + 1)..];
        Ok(end.is_some())
    }

    fn after_line(&self) -> Result<State> {
        let line = self.line.trim_ascii();
        match self.state {
            State::Gap if line.is_empty() => Ok(State::Size),
            State::Trailer => Ok(if line.is_empty() { State::Done } else { State::Trailer }),
            State::Size => {
                let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
                let size = usize::from_str_radix(std::str::from_utf8(digits)?, 16)?;
                Ok(if size == 0 { State::Trailer } else { State::Body(size) })
            }
            State::Gap | State::Body(_) | State::Done => bail!("bytes behind a chunk that are no line end"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_split_of_the_bytes_gives_the_same_body() {
        let coded = b"5;name=value\r\nhello\r\n1\r\n,\r\n6\r\n world\r\n0\r\nx: y\r\n\r\n";
        for step in 1..coded.len() {
            let (mut decoder, mut plain, mut done) = (ChunkDecoder::default(), Vec::new(), false);
            for piece in coded.chunks(step) {
                done = decoder.decode(piece, &mut plain).unwrap();
            }
            assert!(done);
            assert_eq!(plain, b"hello, world");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(ChunkDecoder::default().decode(b"zz\r\n", &mut Vec::new()).is_err());
        assert!(ChunkDecoder::default().decode(b"1\r\nab\r\n", &mut Vec::new()).is_err());
    }
}
