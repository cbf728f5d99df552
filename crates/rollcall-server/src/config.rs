//! What a node is told: one struct, four sources (flag > environment > file > default), all problems reported at once.
//!
//! Times that must fit together (election timers and the like) live in `rollcall-raft`, which knows why; here is what an
//! operator decides about one node.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rollcall_types::{Label, NodeName};
use serde::{Deserialize, Deserializer, Serialize, de};

pub use self::consul::ConsulConfig;
pub use self::dns::DnsConfig;
pub use self::duration::parse_duration;
pub use self::forecast::ForecastConfig;
pub use self::probe::ProbeConfig;
pub use self::traces::{Endpoint, Ratio, TracesConfig};

mod consul;
mod dns;
mod duration;
mod forecast;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod probe;
mod traces;

/// Prefix of environment variables: `ROLLCALL_DATA_DIR` sets `data-dir`.
pub const ENV_PREFIX: &str = "ROLLCALL_";
/// Most nodes that may bootstrap a cluster together.
const BOOTSTRAP_EXPECT_MAX: u32 = 100;
/// Shortest cluster secret, in bytes.
const SECRET_MIN_BYTES: usize = 16;

/// A cluster secret, or keys. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The bytes that nodes prove to each other.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The same as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text.trim().to_owned())
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// Takes a string; of anything else it names the type and not the value, as serde's own message would.
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string in quotes")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Secret, E> {
                Ok(Secret::from(text.to_owned()))
            }

            fn visit_i64<E: de::Error>(self, _: i64) -> Result<Secret, E> {
                Err(E::custom("a secret must be a string in quotes; got a number"))
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Secret, E> {
                Err(E::custom("a secret must be a string in quotes; got a number"))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"(hidden)\"")
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("(hidden)")
    }
}

/// The configuration of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct NodeConfig {
    /// Name of the node, unique in its cluster. Default: the host's name.
    pub name: Option<NodeName>,
    /// Where the node keeps its log, its snapshots and its identity. One process at a time.
    pub data_dir: PathBuf,
    /// Where the HTTP API listens. Default 127.0.0.1:7400.
    pub http: SocketAddr,
    /// Where other nodes connect. Default 127.0.0.1:7401.
    pub peer: SocketAddr,
    /// Where gossip listens, UDP and TCP. Default 127.0.0.1:7402.
    pub gossip: SocketAddr,
    /// `host:port` under which clients reach `http`, when it differs from the address it listens on.
    pub advertise_http: Option<String>,
    /// `host:port` under which other nodes reach `peer`, when it differs from the address it listens on.
    pub advertise_peer: Option<String>,
    /// `host:port` under which other nodes reach `gossip`, when it differs from the address it listens on. A name is
    /// resolved once, when the node starts.
    pub advertise_gossip: Option<String>,
    /// Peer addresses (`host:port`) of nodes to find the cluster by.
    pub join: Vec<String>,
    /// How many new nodes make a new cluster together. 1 makes a cluster of one at once. Unset: only ever join one.
    pub bootstrap_expect: Option<u32>,
    /// Failure domain of the node.
    pub zone: Option<Label>,
    /// Failure domain of failure domains.
    pub region: Option<Label>,
    /// Keep a full replica that answers reads and forwards writes, without a vote.
    pub observer: bool,
    /// What the nodes of a cluster prove to each other to know. At least 16 bytes.
    pub secret: Option<Secret>,
    /// File that holds `secret`.
    pub secret_file: Option<PathBuf>,
    /// Keys of gossip, one a line; the first seals, all open.
    pub gossip_key: Option<Secret>,
    /// File that holds them. It is read again at SIGHUP.
    pub gossip_key_file: Option<PathBuf>,
    /// Snapshot file that a new cluster starts from.
    pub restore: Option<PathBuf>,
    /// Most HTTP connections at once; beyond it new ones are closed at once. Default 20000.
    pub http_connections_max: usize,
    /// Most HTTP connections at once from one address. Default 12000.
    pub http_connections_per_address_max: usize,
    /// Most watch streams at once. Default 12000.
    pub watches_max: usize,
    /// Names that programs resolve.
    pub dns: DnsConfig,
    /// Consul's HTTP API.
    pub consul: ConsulConfig,
    /// How this node probes instances.
    pub probe: ProbeConfig,
    /// How this node predicts failures.
    pub forecast: ForecastConfig,
    /// Whether and how spans are exported.
    pub traces: TracesConfig,
    /// Offer `POST /v1/debug/block-peers` so that tests can cut links. Never in production.
    pub fault_injection: bool,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            name: None,
            data_dir: PathBuf::from("rollcall-data"),
            http: SocketAddr::from(([127, 0, 0, 1], 7400)),
            peer: SocketAddr::from(([127, 0, 0, 1], 7401)),
            gossip: SocketAddr::from(([127, 0, 0, 1], 7402)),
            advertise_http: None,
            advertise_peer: None,
            advertise_gossip: None,
            join: Vec::new(),
            bootstrap_expect: None,
            zone: None,
            region: None,
            observer: false,
            secret: None,
            secret_file: None,
            gossip_key: None,
            gossip_key_file: None,
            restore: None,
            http_connections_max: 20_000,
            http_connections_per_address_max: 12_000,
            watches_max: 12_000,
            dns: DnsConfig::default(),
            consul: ConsulConfig::default(),
            probe: ProbeConfig::default(),
            forecast: ForecastConfig::default(),
            traces: TracesConfig::default(),
            fault_injection: false,
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A source is not valid: unknown key, wrong type, broken rule.
    #[error("{origin}: {problem}")]
    Invalid {
        /// The file, variable or flag.
        origin: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The values do not fit together; all problems, a line each.
    #[error("the configuration has {} problem(s):\n  {}", .0.len(), .0.join("\n  "))]
    Unfit(Vec<String>),
}

impl NodeConfig {
    /// Reads `file` (when given), then the environment on top of it, then `flags` on top of that.
    ///
    /// `flags` maps keys as in the file to TOML values. Environment values are taken as TOML where they are, else as text;
    /// `join` splits at commas.
    ///
    /// # Errors
    /// [`ConfigError`] when a source cannot be read or holds an unknown key or a value that breaks a rule. Call
    /// [`Self::validate`] on the result for rules between values.
    pub fn load(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
        flags: toml::Table,
    ) -> Result<Self, ConfigError> {
        let mut merged = toml::Table::new();
        let mut origins = BTreeMap::new();
        if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
            merged = Self::read_file(&text, &path.display().to_string())?;
        }
        for (name, text) in environment {
            take_variable(&mut merged, &mut origins, name, &text);
        }
        for (key, value) in flags {
            origins.insert(key.clone(), format!("--{}", key.replace('.', "-")));
            set(&mut merged, key, value);
        }
        Self::from_table(merged, &origins)
    }

    fn read_file(text: &str, origin: &str) -> Result<toml::Table, ConfigError> {
        let invalid = |error: toml::de::Error| ConfigError::Invalid {
            origin: origin.to_owned(),
            // Not the whole error, which shows the line: it may be the one with the secret.
            problem: format!("{}{}", line_of(text, &error), error.message()),
        };
        // Decoded once for its own sake: an error then points at the line in the file.
        toml::from_str::<Self>(text).map_err(invalid)?;
        toml::from_str(text).map_err(invalid)
    }

    fn from_table(table: toml::Table, origins: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        // Keys are decoded one by one first, so that an error names the variable or flag it came from.
        for (key, single) in leaves(&table) {
            if let Err(error) = single.try_into::<Self>() {
                let origin = origins.get(&key).cloned().unwrap_or(key);
                return Err(ConfigError::Invalid { origin, problem: error.message().to_owned() });
            }
        }
        let mut config: Self = table.try_into().map_err(|error: toml::de::Error| ConfigError::Invalid {
            origin: "configuration".to_owned(),
            problem: error.message().to_owned(),
        })?;
        if let (None, Some(path)) = (&config.secret, &config.secret_file) {
            let text = std::fs::read_to_string(path)
                .map_err(|source| ConfigError::Unreadable { path: path.clone(), source })?;
            config.secret = Some(Secret::from(text));
        }
        Ok(config)
    }

    /// Checks the rules between values.
    ///
    /// # Errors
    /// [`ConfigError::Unfit`] with every problem, each naming its keys.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut problems = Vec::new();
        if let Some(expect) = self.bootstrap_expect
            && !(1..=BOOTSTRAP_EXPECT_MAX).contains(&expect)
        {
            problems.push(format!("bootstrap-expect must be 1 to {BOOTSTRAP_EXPECT_MAX}; got {expect}"));
        }
        if self.bootstrap_expect.is_some_and(|expect| expect > 1) && self.join.is_empty() {
            problems.push("bootstrap-expect above 1 needs join: the peer addresses of the other nodes".to_owned());
        }
        for address in &self.join {
            check_address("join", address, &mut problems);
        }
        let advertised = [
            ("http", &self.advertise_http, self.http),
            ("peer", &self.advertise_peer, self.peer),
            ("gossip", &self.advertise_gossip, self.gossip),
        ];
        for (key, address, _) in advertised {
            if let Some(address) = address {
                check_address(&format!("advertise-{key}"), address, &mut problems);
            }
        }
        for (key, advertise, listen) in advertised {
            if listen.ip().is_unspecified() && advertise.is_none() {
                problems.push(format!(
                    "{key} listens on every address ({listen}), so advertise-{key} must say which one others use"
                ));
            }
        }
        self.check_secret(&mut problems);
        self.dns.check(&mut problems);
        self.consul.check(&mut problems);
        self.probe.check(&mut problems);
        self.forecast.check(&mut problems);
        let dns = self.dns.listen.unwrap_or(self.http);
        // Unset, it differs from everything.
        let consul = self.consul.listen.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
        for (one, first, other, second) in [
            ("consul.listen", consul, "http", self.http),
            ("consul.listen", consul, "dns.listen", dns),
            ("consul.listen", consul, "peer", self.peer),
            ("consul.listen", consul, "gossip", self.gossip),
            ("dns.listen", dns, "peer", self.peer),
            ("dns.listen", dns, "gossip", self.gossip),
            ("http", self.http, "peer", self.peer),
            ("http", self.http, "gossip", self.gossip),
            ("peer", self.peer, "gossip", self.gossip),
        ] {
            if first.port() != 0 && first == second {
                problems.push(format!("{one} and {other} must differ; both are {first}"));
            }
        }
        if self.observer && self.bootstrap_expect.is_some() {
            problems.push("an observer cannot bootstrap a cluster: drop observer or bootstrap-expect".to_owned());
        }
        if problems.is_empty() { Ok(()) } else { Err(ConfigError::Unfit(problems)) }
    }

    fn check_secret(&self, problems: &mut Vec<String>) {
        match &self.secret {
            Some(secret) if secret.as_bytes().len() < SECRET_MIN_BYTES => problems.push(format!(
                "secret must be at least {SECRET_MIN_BYTES} bytes; make one with `rollcall keygen`"
            )),
            None if !self.peer.ip().is_loopback() => problems.push(format!(
                "peer listens beyond loopback ({}), which needs a secret: make one with `rollcall keygen` and give it by \
                 secret-file or ROLLCALL_SECRET",
                self.peer
            )),
            _ => {}
        }
        if self.gossip_key.is_none() && self.gossip_key_file.is_none() && !self.gossip.ip().is_loopback() {
            problems.push(format!(
                "gossip listens beyond loopback ({}), which needs a key: make one with `rollcall keygen` and give it by \
                 gossip-key-file or ROLLCALL_GOSSIP_KEY",
                self.gossip
            ));
        }
    }

    /// Whether nobody beyond this machine can reach the node.
    pub(crate) fn is_on_loopback(&self) -> bool {
        let all = [self.http, self.peer, self.gossip].into_iter().chain(self.consul.listen);
        all.into_iter().all(|address| address.ip().is_loopback())
    }

    /// `host:port` under which clients reach the HTTP API.
    pub fn public_http(&self) -> String {
        self.advertise_http.clone().unwrap_or_else(|| self.http.to_string())
    }

    /// `host:port` under which other nodes reach this one.
    pub fn public_peer(&self) -> String {
        self.advertise_peer.clone().unwrap_or_else(|| self.peer.to_string())
    }

    /// `host:port` under which other nodes reach gossip of this one.
    pub fn public_gossip(&self) -> String {
        self.advertise_gossip.clone().unwrap_or_else(|| self.gossip.to_string())
    }
}

/// Puts a variable of the environment over what a weaker source said; one that is not ours is passed over.
fn take_variable(merged: &mut toml::Table, origins: &mut BTreeMap<String, String>, name: String, text: &str) {
    if let Some(key) = key_of_variable(&name) {
        origins.insert(key.clone(), name);
        set(merged, key.clone(), value_of_variable(&key, text));
    }
}

/// The key that a variable sets: `ROLLCALL_DATA_DIR` → `data-dir`, `ROLLCALL_PROBE__PER_SECOND` → `probe.per-second`. `None` for variables of the client commands, and for
/// those that Kubernetes sets in every container when a Service is called `rollcall` (`ROLLCALL_PORT_7400_TCP`).
fn key_of_variable(name: &str) -> Option<String> {
    const FOR_CLIENTS: [&str; 6] = ["SERVER", "OUTPUT", "LOG", "LOG_FORMAT", "ACTOR", "CONFIG"];
    let rest = name.strip_prefix(ENV_PREFIX)?;
    let from_kubernetes = rest == "PORT" || rest.starts_with("PORT_") || rest.starts_with("SERVICE_");
    (!FOR_CLIENTS.contains(&rest) && !from_kubernetes)
        .then(|| rest.to_ascii_lowercase().replace("__", ".").replace('_', "-"))
}

/// Sets `key` over what a weaker source said; the two ways to give a secret replace each other.
fn set(merged: &mut toml::Table, key: String, value: toml::Value) {
    match key.as_str() {
        "secret" => merged.remove("secret-file"),
        "secret-file" => merged.remove("secret"),
        "gossip-key" => merged.remove("gossip-key-file"),
        "gossip-key-file" => merged.remove("gossip-key"),
        _ => None,
    };
    match key.split_once('.') {
        None => _ = merged.insert(key, value),
        Some((section, rest)) => {
            let section = merged.entry(section).or_insert_with(|| toml::Table::new().into());
            // What is no table is refused when it is decoded.
            if let Some(table) = section.as_table_mut() {
                table.insert(rest.to_owned(), value);
            }
        }
    }
}

/// Every key of `table`, those of its sections as `section.key`, with a table that holds nothing else.
fn leaves(table: &toml::Table) -> Vec<(String, toml::Table)> {
    let mut leaves = Vec::new();
    for (key, value) in table {
        let alone = |value: toml::Value| toml::Table::from_iter([(key.clone(), value)]);
        match value {
            toml::Value::Table(section) => leaves.extend(section.iter().map(|(inner, value)| {
                (format!("{key}.{inner}"), alone(toml::Table::from_iter([(inner.clone(), value.clone())]).into()))
            })),
            value => leaves.push((key.clone(), alone(value.clone()))),
        }
    }
    leaves
}

/// "line 3: ", where the error is.
fn line_of(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    before.map_or_else(String::new, |before| format!("line {}: ", before.matches('\n').count() + 1))
}

fn value_of_variable(key: &str, text: &str) -> toml::Value {
    if matches!(key, "join" | "dns.domains" | "probe.allowed-networks" | "probe.denied-networks") {
        let addresses = text.split(',').map(str::trim).filter(|address| !address.is_empty());
        return addresses.map(|address| toml::Value::from(address.to_owned())).collect::<Vec<_>>().into();
    }
    match key {
        "dns.service-ttl" => {
            let pairs = text.split(',').map(|pair| pair.trim().split_once('=').unwrap_or((pair.trim(), "")));
            pairs.map(|(service, ttl)| (service.to_owned(), ttl.into())).collect::<toml::Table>().into()
        }
        "bootstrap-expect"
        | "http-connections-max"
        | "http-connections-per-address-max"
        | "watches-max"
        | "dns.answers-per-network"
        | "probe.per-second"
        | "probe.in-flight-max"
        | "probe.in-flight-per-host-max"
        | "probe.idle-connections-max"
        | "forecast.window" => text.parse::<i64>().map_or_else(|_| text.into(), toml::Value::from),
        "traces.ratio" => text.parse::<f64>().map_or_else(|_| text.into(), toml::Value::from),
        "observer" | "fault-injection" | "probe.tls-verify" | "consul.legacy-get" => {
            text.parse::<bool>().map_or_else(|_| text.into(), toml::Value::from)
        }
        _ => text.into(),
    }
}

fn check_address(key: &str, address: &str, problems: &mut Vec<String>) {
    let valid = address
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0));
    if !valid {
        problems.push(format!("{key}: \"{address}\" must be host:port"));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn load(file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<NodeConfig, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rollcall.toml");
        std::fs::write(&path, file).unwrap();
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let flags = flags.iter().map(|(key, value)| ((*key).to_owned(), toml::Value::from(*value))).collect();
        NodeConfig::load(Some(&path), environment, flags)
    }

    #[test]
    fn a_flag_beats_the_environment_which_beats_the_file() {
        let file = "name = 'file'\ndata-dir = '/file'\nzone = 'file'";
        let config = load(file, &[("ROLLCALL_NAME", "env"), ("ROLLCALL_ZONE", "env")], &[("name", "flag")]).unwrap();
        assert_eq!(config.name.unwrap().as_str(), "flag");
        assert_eq!(config.zone.unwrap().as_str(), "env");
        assert_eq!(config.data_dir, PathBuf::from("/file"));
    }

    #[test]
    fn an_unknown_key_or_a_broken_rule_names_its_origin() {
        let unknown = load("nmae = 'x'", &[], &[]).unwrap_err().to_string();
        assert!(unknown.contains("rollcall.toml") && unknown.contains("nmae"), "{unknown}");
        let broken = load("", &[("ROLLCALL_NAME", "a b")], &[]).unwrap_err().to_string();
        assert!(broken.starts_with("ROLLCALL_NAME: ") && broken.contains("1 to 63"), "{broken}");
        let typed = load("", &[("ROLLCALL_BOOTSTRAP_EXPECT", "many")], &[]).unwrap_err().to_string();
        assert!(typed.starts_with("ROLLCALL_BOOTSTRAP_EXPECT: "), "{typed}");
    }

    #[test]
    fn a_variable_sets_one_key_of_a_section_and_leaves_the_others() {
        let file = "[probe]\nper-second = 7\ndenied-networks = ['10.9.0.0/16']";
        let config = load(file, &[("ROLLCALL_PROBE__ALLOWED_NETWORKS", "10.0.0.0/8, fd00::/8")], &[]).unwrap();
        assert_eq!((config.probe.per_second, config.probe.allowed_networks.len()), (7, 2));
        assert_eq!(config.probe.denied_networks[0].to_string(), "10.9.0.0/16");
        let broken = load(file, &[("ROLLCALL_PROBE__DENIED_NETWORKS", "10.0.0")], &[]).unwrap_err().to_string();
        assert!(broken.starts_with("ROLLCALL_PROBE__DENIED_NETWORKS: ") && broken.contains("10.0.0.0/8"), "{broken}");
        let unknown = load("", &[("ROLLCALL_PROBE__SPEED", "1")], &[]).unwrap_err().to_string();
        assert!(unknown.starts_with("ROLLCALL_PROBE__SPEED: "), "{unknown}");
    }

    #[test]
    fn traces_go_to_an_address_by_file_variable_and_flag_and_a_bad_one_names_its_origin() {
        let file = "[traces]\notlp-endpoint = 'http://file:4318'\nratio = 1";
        let config = load(file, &[("ROLLCALL_TRACES__RATIO", "0.25")], &[]).unwrap();
        assert_eq!(config.traces.otlp_endpoint.as_ref().unwrap().to_string(), "http://file:4318/v1/traces");
        assert_eq!(config.traces.ratio, Ratio::try_from(0.25).unwrap());
        let variable = [("ROLLCALL_TRACES__OTLP_ENDPOINT", "collector:4317")];
        let broken = load(file, &variable, &[]).unwrap_err().to_string();
        assert!(broken.starts_with("ROLLCALL_TRACES__OTLP_ENDPOINT: must be a URL such as "), "{broken}");
        let broken = load(file, &[("ROLLCALL_TRACES__RATIO", "much")], &[]).unwrap_err().to_string();
        assert!(broken.starts_with("ROLLCALL_TRACES__RATIO: "), "{broken}");
        let broken = load("[traces]\nratio = 2.0", &[], &[]).unwrap_err().to_string();
        assert!(broken.contains("line 2: must be 0 to 1; got 2"), "{broken}");
        let flag = load(file, &variable, &[("traces.otlp-endpoint", "https://flag")]).unwrap();
        assert!(toml::to_string(&flag).unwrap().contains("otlp-endpoint = \"https://flag/v1/traces\""));
    }

    #[test]
    fn forecasts_are_scaled_by_file_variable_and_flag() {
        let variables = [("ROLLCALL_FORECAST__BUCKET", "500ms"), ("ROLLCALL_FORECAST__WINDOW", "40")];
        let config =
            load("[forecast]\nbucket = '1m'\nwindow = 30", &variables, &[("forecast.bucket", "250ms")]).unwrap();
        assert_eq!(config.forecast, ForecastConfig { bucket: Duration::from_millis(250), window: 40 });
        let shown = toml::to_string(&config).unwrap();
        assert!(shown.contains("bucket = \"250ms\""), "{shown}");
        let unitless = load("", &[("ROLLCALL_FORECAST__BUCKET", "10")], &[]).unwrap_err().to_string();
        assert!(unitless.starts_with("ROLLCALL_FORECAST__BUCKET: ") && unitless.contains("250ms"), "{unitless}");
        let narrow = load("[forecast]\nbucket = '1ms'", &[], &[]).unwrap().validate().unwrap_err().to_string();
        assert!(narrow.contains("forecast.bucket: a bucket lasts from 10 ms to an hour; got 1ms"), "{narrow}");
        let short = load("[forecast]\nwindow = 5", &[], &[]).unwrap().validate().unwrap_err().to_string();
        assert!(short.contains("forecast.window: a window has 20 to 240 buckets; got 5"), "{short}");
    }

    #[test]
    fn a_secret_file_given_by_flag_beats_a_secret_in_the_environment() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "from-the-file-of-the-flag\n").unwrap();
        let path = file.path().to_str().unwrap();
        let config = load("", &[("ROLLCALL_SECRET", "from-the-environment")], &[("secret-file", path)]).unwrap();
        assert_eq!(config.secret, Some(Secret::from("from-the-file-of-the-flag".to_owned())));
    }

    #[test]
    fn an_error_in_a_file_names_the_line_and_does_not_show_it() {
        let report = load("name = 'x'\nsecret = 1234567890", &[], &[]).unwrap_err().to_string();
        assert!(report.contains("line 2") && !report.contains("1234567890"), "{report}");
    }

    #[test]
    fn variables_that_kubernetes_sets_are_not_ours() {
        assert!(
            load("", &[("ROLLCALL_PORT", "tcp://10.0.0.1:7400"), ("ROLLCALL_SERVICE_HOST", "10.0.0.1")], &[]).is_ok()
        );
    }

    #[test]
    fn validation_reports_every_problem_at_once() {
        let config = NodeConfig {
            bootstrap_expect: Some(3),
            advertise_http: Some("nowhere".to_owned()),
            peer: "0.0.0.0:7401".parse().unwrap(),
            probe: ProbeConfig {
                per_second: 0,
                allowed_networks: vec!["169.254.169.254".parse().unwrap()],
                ..ProbeConfig::default()
            },
            ..NodeConfig::default()
        };
        let report = config.validate().unwrap_err().to_string();
        for part in [
            "6 problem(s)",
            "probe.per-second",
            "169.254.169.254/32",
            "needs join",
            "advertise-http",
            "advertise-peer",
            "needs a secret",
        ] {
            assert!(report.contains(part), "{part} in {report}");
        }
    }

    #[test]
    fn the_secret_is_never_printed() {
        let config = NodeConfig { secret: Some(Secret::from("0123456789abcdef".to_owned())), ..NodeConfig::default() };
        let shown = format!("{config:?} {}", toml::to_string(&config).unwrap());
        assert!(!shown.contains("0123456789abcdef"), "{shown}");
    }
}
