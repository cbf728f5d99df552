//! `?pretty`: the same JSON, indented by four spaces as Consul does.

/// Indents JSON that is written without spaces.
pub(super) fn indented(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len() * 2);
    let (mut depth, mut in_string, mut at) = (0_usize, false, 0);
    while let Some(byte) = json.get(at) {
        let next = json.get(at + 1);
        at += 1;
        if in_string {
            out.push(*byte);
            match byte {
                b'\\' => {
                    out.extend(next);
                    at += 1;
                }
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'{' | b'[' if next.is_some_and(|next| matches!(next, b'}' | b']')) => {
                out.push(*byte);
                out.extend(next);
                at += 1;
            }
            b'{' | b'[' => {
                out.push(*byte);
                depth += 1;
                new_line(&mut out, depth);
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(*byte);
            }
            b',' => {
                out.push(b',');
                new_line(&mut out, depth);
            }
            b':' => out.extend_from_slice(b": "),
            _ => {
                in_string = *byte == b'"';
                out.push(*byte);
            }
        }
    }
    out.push(b'\n');
    out
}

fn new_line(out: &mut Vec<u8>, depth: usize) {
    out.push(b'\n');
    out.resize(out.len() + 4 * depth, b' ');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_indented_is_the_same_json() {
        let json = br#"{"a":[1,{"b":"x,\"{:}\\"}],"c":{},"d":[],"e":"[","f":null}"#;
        let text = String::from_utf8(indented(json)).unwrap();
        let [one, other]: [serde_json::Value; 2] =
            [serde_json::from_slice(json).unwrap(), serde_json::from_str(&text).unwrap()];
        assert_eq!(one, other);
        assert!(text.starts_with("{\n    \"a\": [\n        1,\n        {\n            \"b\""), "{text}");
        assert!(text.contains("\"c\": {},") && text.ends_with("}\n"), "{text}");
        assert_eq!(indented(b"true"), b"true\n");
    }
}
