//! The query of a request. Clients write flags bare or with a value, repeat some parameters, and add others that nobody asked
//! for, so it is read as it comes.

/// The parameters of a query, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads a query; whatever it holds, there is a reading.
    pub(crate) fn parse(query: &str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// Whether a flag is set: `?stale`, `?stale=` and `?stale=1` set it, `?stale=false` and `?stale=0` do not. (Consul looks at
    /// its presence alone, and so a client that says `recurse=false` deletes a subtree there.)
    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value != "0" && !value.eq_ignore_ascii_case("false"))
    }

    /// The first value of a parameter; empty for a bare flag.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The first value of a parameter that has one.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// Whether there is no parameter but these.
    pub(crate) fn are_among(&self, names: &[&str]) -> bool {
        self.0.iter().all(|(key, _)| names.contains(&key.as_str()))
    }

    /// All values of a parameter that may be repeated.
    pub(crate) fn all<'p>(&'p self, name: &'p str) -> impl Iterator<Item = &'p str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_bare_or_valued_and_false_is_absent() {
        let params = Params::parse("stale&recurse=false&keys=True&consistent=&raw=1&x=0");
        for flag in ["stale", "keys", "consistent", "raw"] {
            assert!(params.has(flag), "{flag}");
        }
        for flag in ["recurse", "x", "absent"] {
            assert!(!params.has(flag), "{flag}");
        }
    }

    #[test]
    fn values_are_decoded_once_and_may_be_repeated() {
        let params = Params::parse("tag=a%2Fb&tag=c+d&node-meta=k%3Av&tag=%2541");
        assert_eq!(params.all("tag").collect::<Vec<_>>(), ["a/b", "c d", "%41"]);
        assert_eq!(params.get("node-meta"), Some("k:v"));
        assert_eq!(params.text("stale"), None);
        assert!(
            params.are_among(&["tag", "node-meta"]) && !params.are_among(&["tag"]) && Params::default().are_among(&[])
        );
    }
}
