//! `rollcall node` and `rollcall join`: one node, from its command line to a clean stop.

use std::env;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use rollcall_server::{Error, NodeConfig, Traces};
use tracing::{error, info};

use crate::failure::Failure;
use crate::logging;
use crate::stop::stop_requested;

/// Variables that the command line itself reads: they are no keys of a node's configuration.
const NOT_CONFIGURATION: [&str; 6] =
    ["ROLLCALL_SERVER", "ROLLCALL_OUTPUT", "ROLLCALL_ACTOR", "ROLLCALL_CONFIG", "ROLLCALL_LOG", "ROLLCALL_LOG_FORMAT"];
/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Pretty,
    /// One JSON object per line.
    Json,
}

/// Arguments of `rollcall node`.
#[derive(Debug, Args)]
#[command(after_help = "\
Every setting can also stand in the file (`data-dir = \"/var/lib/rollcall\"`) or
in a variable (ROLLCALL_DATA_DIR). A flag beats the variable, which beats the
file, which beats the default. Logs go to standard error.

Examples:
  rollcall node --bootstrap-expect 1 --data-dir /tmp/one
  rollcall node --config /etc/rollcall/rollcall.toml
  rollcall node --name node-1 --zone a --data-dir /var/lib/rollcall \\
      --http 10.0.0.1:7400 --peer 10.0.0.1:7401 --gossip 10.0.0.1:7402 \\
      --bootstrap-expect 3 --join 10.0.0.2:7401,10.0.0.3:7401 \\
      --secret-file /etc/rollcall/secret --gossip-key-file /etc/rollcall/gossip
  rollcall node --restore backup.snap --bootstrap-expect 1 --data-dir /new

Exit codes: 0 after a graceful stop (SIGTERM, SIGINT); 2 when starting it again
does not help: a wrong configuration, or a node that the cluster has removed;
1 for any other failure.")]
pub(crate) struct NodeArgs {
    #[command(flatten)]
    settings: Settings,
    /// Peer addresses of nodes to find the cluster by
    #[arg(long, value_name = "HOST:PORT,…", value_delimiter = ',')]
    join: Vec<String>,
    /// Number of new nodes that make a new cluster together; without it the node only ever joins one
    #[arg(long, value_name = "N")]
    bootstrap_expect: Option<u32>,
    /// Snapshot file that a new cluster starts from
    #[arg(long, value_name = "FILE")]
    restore: Option<PathBuf>,
}

/// Arguments of `rollcall join`.
#[derive(Debug, Args)]
#[command(after_help = "\
The same as `rollcall node --join`, and never bootstraps: the node is taken in
as a learner, catches up, and becomes a voter. With --observer it stays a
learner: a full replica that answers reads and forwards writes.

Examples:
  rollcall join 10.0.0.1:7401,10.0.0.2:7401 --name node-4 \\
      --http 10.0.0.4:7400 --peer 10.0.0.4:7401 --gossip 10.0.0.4:7402 \\
      --data-dir /var/lib/rollcall --secret-file /etc/rollcall/secret \\
      --gossip-key-file /etc/rollcall/gossip

  A fourth node beside `rollcall dev`:
  rollcall join 127.0.0.1:7401 --name node-4 --data-dir rollcall-dev/node-4 \\
      --http 127.0.0.1:7430 --peer 127.0.0.1:7431 --gossip 127.0.0.1:7432 \\
      --secret-file rollcall-dev/secret \\
      --gossip-key-file rollcall-dev/gossip-key")]
pub(crate) struct JoinArgs {
    /// Peer addresses of members of the cluster
    #[arg(required = true, value_name = "HOST:PORT,…", value_delimiter = ',')]
    members: Vec<String>,
    #[command(flatten)]
    settings: Settings,
}

/// What both take.
#[derive(Debug, Default, Args)]
struct Settings {
    /// Configuration file
    #[arg(long, value_name = "FILE", env = "ROLLCALL_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Name of the node, unique in its cluster; default: the host's name
    #[arg(long)]
    name: Option<String>,
    /// Folder for the log, the snapshots and the identity; default: rollcall-data
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// Where the HTTP API listens; default: 127.0.0.1:7400
    #[arg(long, value_name = "IP:PORT")]
    http: Option<String>,
    /// Where other nodes connect; default: 127.0.0.1:7401
    #[arg(long, value_name = "IP:PORT")]
    peer: Option<String>,
    /// Where gossip listens, UDP and TCP; default: 127.0.0.1:7402
    #[arg(long, value_name = "IP:PORT")]
    gossip: Option<String>,
    /// Where DNS listens, UDP and TCP; default: nowhere
    #[arg(long, value_name = "IP:PORT")]
    dns: Option<String>,
    /// Where Consul's HTTP API is spoken, such as 127.0.0.1:8500; default: nowhere
    #[arg(long, value_name = "IP:PORT")]
    consul: Option<String>,
    /// Where clients reach the HTTP API, when that differs
    #[arg(long, value_name = "HOST:PORT")]
    advertise_http: Option<String>,
    /// Where other nodes reach this one, when that differs
    #[arg(long, value_name = "HOST:PORT")]
    advertise_peer: Option<String>,
    /// Where other nodes reach gossip of this one, when that differs
    #[arg(long, value_name = "HOST:PORT")]
    advertise_gossip: Option<String>,
    /// Failure domain of the node
    #[arg(long)]
    zone: Option<String>,
    /// Failure domain of failure domains
    #[arg(long)]
    region: Option<String>,
    /// Keep a full replica without a vote
    #[arg(long)]
    observer: bool,
    /// File with the secret that the nodes of the cluster share; or the variable ROLLCALL_SECRET
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// File with the keys of gossip, one a line, the first seals; read again at SIGHUP; or the variable ROLLCALL_GOSSIP_KEY
    #[arg(long, value_name = "FILE")]
    gossip_key_file: Option<PathBuf>,
    /// Time that one point of a trend covers, such as 500ms; default: 10s
    #[arg(long, value_name = "DURATION")]
    forecast_bucket: Option<String>,
    /// Points of a trend, looked back and ahead, 20 to 240; default: 60
    #[arg(long, value_name = "N")]
    forecast_window: Option<u8>,
    /// Collector that traces are exported to by OTLP over HTTP, such as http://127.0.0.1:4318; default: none
    #[arg(long, value_name = "URL")]
    traces_otlp_endpoint: Option<String>,
    /// Share of requests that are traced when their caller does not decide, 0 to 1; default: 0.01
    #[arg(long, value_name = "SHARE")]
    traces_ratio: Option<f64>,
    /// How log lines look
    #[arg(
        long,
        value_enum,
        env = "ROLLCALL_LOG_FORMAT",
        hide_env_values = true,
        default_value_t,
        value_name = "FORMAT"
    )]
    log_format: LogFormat,
    /// What to log: error, warn, info, debug, trace, or filters such as info,rollcall_raft=debug; RUST_LOG works too
    #[arg(long, env = "ROLLCALL_LOG", hide_env_values = true, value_name = "FILTER")]
    log_level: Option<String>,
    /// Test only: offer POST /v1/debug/block-peers
    #[arg(long, hide = true)]
    fault_injection: bool,
    /// Stop when standard input closes, as `rollcall dev` starts its nodes
    #[arg(long, hide = true)]
    stop_with_stdin: bool,
}

/// Runs a node until it is told to stop.
///
/// # Errors
/// [`Failure::usage`] for a wrong configuration, [`Failure::failed`] for what goes wrong later.
pub(crate) async fn run(args: NodeArgs) -> Result<(), Failure> {
    let NodeArgs { settings, join, bootstrap_expect, restore } = args;
    let mut flags = settings.flags();
    if !join.is_empty() {
        flags.insert("join".to_owned(), join.into());
    }
    if let Some(expect) = bootstrap_expect {
        flags.insert("bootstrap-expect".to_owned(), i64::from(expect).into());
    }
    put(&mut flags, "restore", restore.map(path_text));
    let config = load(&settings, flags)?;
    live(&settings, config).await
}

/// Runs a node that joins a cluster, until it is told to stop.
///
/// # Errors
/// As [`run`].
pub(crate) async fn join(args: JoinArgs) -> Result<(), Failure> {
    let mut flags = args.settings.flags();
    flags.insert("join".to_owned(), args.members.into());
    let mut config = load(&args.settings, flags)?;
    // A file that is shared with the founders of the cluster may say otherwise.
    config.bootstrap_expect = None;
    config.restore = None;
    live(&args.settings, config).await
}

/// The configuration from flags, environment and file.
fn load(settings: &Settings, flags: toml::Table) -> Result<NodeConfig, Failure> {
    let environment = env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| !NOT_CONFIGURATION.contains(&name.as_str()));
    NodeConfig::load(settings.config.as_deref(), environment, flags).map_err(|error| wrong(&error))
}

fn wrong(error: &dyn std::error::Error) -> Failure {
    let failure = Failure::usage("the configuration cannot be used").because(error);
    failure.hint("`rollcall node --help` says what there is")
}

async fn live(settings: &Settings, config: NodeConfig) -> Result<(), Failure> {
    config.validate().map_err(|error| wrong(&error))?;
    let traces = Traces::start(&config);
    logging::init(settings.log_level.as_deref(), settings.log_format, traces.as_ref())?;
    if let Ok(effective) = toml::to_string(&config) {
        info!("configuration: {}", effective.trim_end().replace('\n', "; "));
    }
    let stop = stop_requested(settings.stop_with_stdin)?;
    let shutdown = async {
        let why = stop.await;
        info!("stopping because of {}", why.as_str());
    };
    let ended = rollcall_server::run(config, shutdown).await;
    if let Some(traces) = traces {
        traces.finish().await;
    }
    ended.map_err(|error| match &error {
        Error::Config(_) | Error::GossipKey(_) | Error::Advertise { .. } => wrong(&error),
        // Nothing gets better by starting it again, which whoever supervises it should know.
        error if error.is_removal() => Failure::usage("this node is no member any more").because(error),
        _ => {
            // Also in the log, which may go elsewhere than what `main` prints.
            error!(%error, "the node ended: {error}");
            Failure::failed("the node cannot go on").because(&error)
        }
    })
}

impl Settings {
    /// The flags that were given, under their keys in the file.
    fn flags(&self) -> toml::Table {
        let mut flags = toml::Table::new();
        put(&mut flags, "name", self.name.clone());
        put(&mut flags, "data-dir", self.data_dir.clone().map(path_text));
        put(&mut flags, "http", self.http.clone());
        put(&mut flags, "peer", self.peer.clone());
        put(&mut flags, "gossip", self.gossip.clone());
        put(&mut flags, "dns.listen", self.dns.clone());
        put(&mut flags, "consul.listen", self.consul.clone());
        put(&mut flags, "advertise-gossip", self.advertise_gossip.clone());
        put(&mut flags, "region", self.region.clone());
        put(&mut flags, "gossip-key-file", self.gossip_key_file.clone().map(path_text));
        put(&mut flags, "advertise-http", self.advertise_http.clone());
        put(&mut flags, "advertise-peer", self.advertise_peer.clone());
        put(&mut flags, "zone", self.zone.clone());
        put(&mut flags, "secret-file", self.secret_file.clone().map(path_text));
        put(&mut flags, "forecast.bucket", self.forecast_bucket.clone());
        put(&mut flags, "forecast.window", self.forecast_window.map(i64::from));
        put(&mut flags, "traces.otlp-endpoint", self.traces_otlp_endpoint.clone());
        put(&mut flags, "traces.ratio", self.traces_ratio);
        put(&mut flags, "observer", self.observer.then_some(true));
        put(&mut flags, "fault-injection", self.fault_injection.then_some(true));
        flags
    }
}

fn put(flags: &mut toml::Table, key: &str, value: Option<impl Into<toml::Value>>) {
    if let Some(value) = value {
        flags.insert(key.to_owned(), value.into());
    }
}

fn path_text(path: PathBuf) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use rollcall_server::Ratio;

    use super::*;

    #[test]
    fn only_flags_that_were_given_are_settings() {
        let settings = Settings { name: Some("node-1".to_owned()), ..Settings::default() };
        assert_eq!(settings.flags(), toml::Table::from_iter([("name".to_owned(), "node-1".into())]));
    }

    #[test]
    fn every_flag_is_a_key_of_the_configuration() {
        let text = || Some("127.0.0.1:9000".to_owned());
        let settings = Settings {
            name: Some("node-1".to_owned()),
            data_dir: Some("/tmp/x".into()),
            http: text(),
            peer: Some("127.0.0.1:9001".to_owned()),
            gossip: Some("127.0.0.1:9002".to_owned()),
            dns: Some("127.0.0.1:9003".to_owned()),
            consul: Some("127.0.0.1:9004".to_owned()),
            advertise_gossip: text(),
            region: Some("eu".to_owned()),
            advertise_http: text(),
            advertise_peer: text(),
            zone: Some("a".to_owned()),
            forecast_bucket: Some("500ms".to_owned()),
            forecast_window: Some(20),
            traces_otlp_endpoint: Some("http://127.0.0.1:4318".to_owned()),
            traces_ratio: Some(0.5),
            observer: true,
            fault_injection: true,
            ..Settings::default()
        };
        let config = NodeConfig::load(None, std::iter::empty(), settings.flags()).unwrap();
        assert_eq!(config.http.port(), 9000);
        assert_eq!(config.dns.listen.unwrap().port(), 9003);
        assert_eq!(config.consul.listen.unwrap().port(), 9004);
        assert_eq!((config.forecast.bucket.as_millis(), config.forecast.window), (500, 20));
        assert_eq!(config.traces.otlp_endpoint.unwrap().to_string(), "http://127.0.0.1:4318/v1/traces");
        assert_eq!(config.traces.ratio, Ratio::try_from(0.5).unwrap());
        assert!(config.observer && config.fault_injection);
    }

    #[test]
    fn the_sample_configuration_of_the_systemd_unit_is_one() {
        let sample = include_str!("../../../deploy/systemd/rollcall.toml");
        let config: NodeConfig = toml::from_str(sample).unwrap();
        assert_eq!((config.bootstrap_expect, config.join.len()), (Some(3), 2));
    }
}
