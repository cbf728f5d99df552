//! Server-sent events from bytes (WHATWG HTML §9.2.6), as far as this API uses them: lines end with `\n` or `\r\n`.

use bytes::{Buf, BytesMut};

/// Largest event: a snapshot part of 500 instances, each up to some tens of KiB, fits.
pub(super) const EVENT_MAX_BYTES: usize = 64 * 1024 * 1024;

/// An event, as the stream has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct SseEvent {
    pub(super) id: Option<String>,
    pub(super) data: String,
}

/// Collects bytes and gives events.
///
/// Invariants:
/// - `unread` holds no complete line that was looked at.
/// - `unread` and `pending` together stay below [`EVENT_MAX_BYTES`] and one chunk.
#[derive(Debug, Default)]
pub(super) struct SseDecoder {
    unread: BytesMut,
    /// Bytes of `unread` that are known to hold no line end.
    searched: usize,
    pending: SseEvent,
}

/// An event is larger than [`EVENT_MAX_BYTES`], or not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadStream;

impl SseDecoder {
    pub(super) fn push(&mut self, chunk: &[u8]) {
        self.unread.extend_from_slice(chunk);
    }

    /// The next complete event that has data. Comments and other fields are skipped.
    pub(super) fn next_event(&mut self) -> Result<Option<SseEvent>, BadStream> {
        while let Some(line) = self.next_line()? {
            if line.is_empty() {
                let event = std::mem::take(&mut self.pending);
                if !event.data.is_empty() {
                    return Ok(Some(event));
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => self.pending.id = Some(value.to_owned()),
                "data" => {
                    if !self.pending.data.is_empty() {
                        self.pending.data.push('\n');
                    }
                    self.pending.data.push_str(value);
                }
                _ => {}
            }
        }
        Ok(None)
    }

    fn next_line(&mut self) -> Result<Option<String>, BadStream> {
        let Some(found) = self.unread[self.searched..].iter().position(|byte| *byte == b'\n') else {
            self.searched = self.unread.len();
            let held = self.unread.len() + self.pending.data.len();
            return if held > EVENT_MAX_BYTES { Err(BadStream) } else { Ok(None) };
        };
        let line = self.unread.split_to(self.searched + found);
        self.unread.advance(1);
        self.searched = 0;
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        if line.len() + self.pending.data.len() > EVENT_MAX_BYTES {
            return Err(BadStream);
        }
        std::str::from_utf8(line).map(|line| Some(line.to_owned())).map_err(|_| BadStream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str =
        ": keep-alive\n\nevent: put\r\nid: 7\r\ndata: {\"a\":1}\r\n\r\nretry: 5\ndata: x\ndata:y\n\nid: 9\n\ndata: z";

    fn expected() -> Vec<SseEvent> {
        vec![SseEvent { id: Some("7".into()), data: "{\"a\":1}".into() }, SseEvent { id: None, data: "x\ny".into() }]
    }

    #[test]
    fn events_come_out_whole_however_the_bytes_are_cut() {
        for size in [1, 2, 3, 7, STREAM.len()] {
            let (mut decoder, mut events) = (SseDecoder::default(), Vec::new());
            for chunk in STREAM.as_bytes().chunks(size) {
                decoder.push(chunk);
                while let Some(event) = decoder.next_event().unwrap() {
                    events.push(event);
                }
            }
            assert_eq!(events, expected(), "in chunks of {size}");
        }
    }

    #[test]
    fn a_stream_that_is_not_utf8_is_refused() {
        let mut decoder = SseDecoder::default();
        decoder.push(b"data: \xff\n\n");
        assert_eq!(decoder.next_event(), Err(BadStream));
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut decoder = SseDecoder::default();
        decoder.push(&vec![b'x'; EVENT_MAX_BYTES + 1]);
        assert_eq!(decoder.next_event(), Err(BadStream));
    }
}
