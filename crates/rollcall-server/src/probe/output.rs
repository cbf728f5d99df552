//! What a probe says to people: one line in our words, and the beginning of what the target said.

/// Longest output, bytes.
pub(crate) const OUTPUT_MAX: usize = 4_096;

/// `line`, and the beginning of `body` below it, printable, at most [`OUTPUT_MAX`] bytes.
pub(super) fn compose(line: &str, body: &[u8]) -> Box<str> {
    let mut text = String::with_capacity((line.len() + 1 + body.len()).min(OUTPUT_MAX));
    push_printable(&mut text, line);
    if !body.is_empty() {
        push_printable(&mut text, "\n");
        for chunk in body.utf8_chunks() {
            push_printable(&mut text, chunk.valid());
            if !chunk.invalid().is_empty() {
                push_printable(&mut text, "\u{fffd}");
            }
        }
    }
    text.truncate(text.trim_end().len());
    text.into_boxed_str()
}

/// Adds `part` as far as there is room, without what would move a terminal's cursor or change its colours.
fn push_printable(text: &mut String, part: &str) {
    for c in part.chars() {
        let shown = match c {
            '\r' => continue,
            '\n' | '\t' => c,
            c if c.is_control() => '\u{fffd}',
            c => c,
        };
        if text.len() + shown.len_utf8() > OUTPUT_MAX {
            return;
        }
        text.push(shown);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_printable_and_ends_within_a_character() {
        assert_eq!(&*compose("200 OK", b"all\r\n\x1b[31mwell\xff\n\n"), "200 OK\nall\n\u{fffd}[31mwell\u{fffd}");
        assert_eq!(&*compose("200 OK", b""), "200 OK");
        let long = compose("x", "\u{fffd}".repeat(9_999).as_bytes());
        assert!(long.len() <= OUTPUT_MAX && long.len() > OUTPUT_MAX - 3);
    }
}
