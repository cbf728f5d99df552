//! Documents from files and standard input.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use rollcall_api::decode::{self, DecodeError};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::failure::Failure;

/// The bytes of the file, or of standard input for `-`.
///
/// # Errors
/// Names the file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let read = if path == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(path)
    };
    read.map_err(|error| Failure::usage(format!("cannot read {}", path.display())).because(&error))
}

/// A request body from a JSON or TOML file (by its extension; everything else is JSON).
///
/// # Errors
/// Names the file and every field that has the wrong type.
pub(crate) fn read_body<T: DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    let bytes = read(path)?;
    let unreadable = || Failure::usage(format!("{} cannot be used", path.display()));
    let is_toml = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
    let body = if is_toml {
        let text = String::from_utf8(bytes).map_err(|error| unreadable().because(&error))?;
        let value: Value =
            toml::from_str(&text).map_err(|error| unreadable().cause(error.to_string().trim_end().to_owned()))?;
        decode::from_value(value)
    } else {
        decode::from_json(&bytes)
    };
    body.map_err(|error| match error {
        DecodeError::Fields(fields) => fields.iter().map(ToString::to_string).fold(unreadable(), Failure::cause),
        other => unreadable().cause(other.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use rollcall_api::Registration;

    use super::*;
    use crate::terminal::Paint;

    fn write(name: &str, text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn json_and_toml_say_the_same() {
        let (_json_folder, json) = write("r.json", r#"{"endpoints":[{"protocol":"http","host":"h","port":80}]}"#);
        let (_toml_folder, toml) = write("r.toml", "endpoints = [{ protocol = 'http', host = 'h', port = 80 }]");
        let from_json: Registration = read_body(&json).unwrap();
        assert_eq!(from_json, read_body::<Registration>(&toml).unwrap());
    }

    #[test]
    fn a_wrong_field_is_named_with_its_file() {
        for (name, text) in [("r.json", r#"{"endpoint":[]}"#), ("r.toml", "endpoint = []")] {
            let (_folder, path) = write(name, text);
            let failure = read_body::<Registration>(&path).unwrap_err().render(Paint::plain());
            assert!(failure.contains(name) && failure.contains("endpoint"), "{failure}");
        }
    }
}
