//! `rollcall register` and `rollcall deregister`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use rollcall_api::client::Precondition;
use rollcall_api::{Registration, RegistrationCheck, RegistrationEndpoint, RegistrationLease};
use serde_json::json;

use crate::commands::input::read_body;
use crate::duration::{millis, parse_duration};
use crate::failure::Failure;
use crate::server::{ServerArgs, explain};
use crate::terminal::printable;

/// Protocols that an endpoint's name says by itself.
const KNOWN_PROTOCOLS: [&str; 8] = ["http", "https", "h2c", "grpc", "ws", "wss", "tcp", "udp"];

/// Arguments of `rollcall register`.
#[derive(Debug, Args)]
#[command(after_help = "\
Registering is idempotent: the same id again replaces what was registered, or
changes nothing.

Examples:
  rollcall register web web-1 --endpoint http=10.0.0.7:8080
  rollcall register web web-1 --endpoint http=10.0.0.7:8080 \\
      --endpoint admin/http=10.0.0.7:9090 --zone a --tag api --ttl 60s \\
      --meta owner=shop --http-check http://10.0.0.7:8080/health
  rollcall register web --file web.toml           the server makes the id")]
pub(crate) struct RegisterArgs {
    /// The service
    service: String,
    /// Id of the instance; left out, the server makes one
    id: Option<String>,
    /// Where it listens: NAME=HOST:PORT or NAME/PROTOCOL=HOST:PORT; the first is the default one
    #[arg(long = "endpoint", value_name = "ENDPOINT", value_parser = parse_endpoint, required_unless_present = "file")]
    endpoints: Vec<RegistrationEndpoint>,
    /// A registration as JSON or TOML (- for JSON on standard input) instead of the flags
    #[arg(long, value_name = "FILE", conflicts_with_all = ["endpoints", "Registration"])]
    file: Option<PathBuf>,
    /// Fail if the instance is registered already
    #[arg(long, requires = "id")]
    create: bool,
    #[command(flatten)]
    details: Details,
    #[command(flatten)]
    server: ServerArgs,
}

/// What a registration may say beyond its endpoints.
#[derive(Debug, Args)]
#[group(id = "Registration", multiple = true)]
#[command(next_help_heading = "Registration")]
struct Details {
    /// Failure domain within a region
    #[arg(long)]
    zone: Option<String>,
    /// Group of zones
    #[arg(long)]
    region: Option<String>,
    /// Version of the software that runs
    #[arg(long = "software-version", value_name = "VERSION")]
    version: Option<String>,
    /// A word to select by; may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Anything else to know; may be repeated
    #[arg(long = "meta", value_name = "KEY=VALUE", value_parser = parse_pair)]
    metadata: Vec<(String, String)>,
    /// Share of traffic, default 1
    #[arg(long, value_name = "N")]
    weight: Option<u64>,
    /// URL that answers 2xx when the instance is well
    #[arg(long, value_name = "URL")]
    http_check: Option<String>,
    /// Address that accepts connections when the instance is well
    #[arg(long, value_name = "HOST:PORT")]
    tcp_check: Option<String>,
    /// Time between two probes of these checks, default 10s
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    check_interval: Option<Duration>,
    /// Longest silence: the instance keeps itself registered by heartbeats
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    ttl: Option<Duration>,
    /// Time in `critical` after which the cluster deregisters it
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    deregister_after: Option<Duration>,
}

/// Arguments of `rollcall deregister`.
#[derive(Debug, Args)]
#[command(after_help = "\
An instance that is not there is no error: afterwards it is not there.

Examples:
  rollcall deregister web web-1 --reason 'the rack is sold'
  rollcall deregister web '10.0.0.7:8080/a#b'      ids are opaque: quote them")]
pub(crate) struct DeregisterArgs {
    /// The service
    service: String,
    /// Id of the instance
    id: String,
    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

/// Registers an instance.
///
/// # Errors
/// When the file cannot be used, or what the cluster refuses.
pub(crate) async fn register(args: RegisterArgs) -> Result<(), Failure> {
    let session = args.server.connect()?;
    let registration = match &args.file {
        Some(path) => read_body(path)?,
        None => args.details.registration(args.endpoints),
    };
    let reply = match &args.id {
        Some(id) => {
            let precondition = if args.create { Precondition::Absent } else { Precondition::None };
            session.client.register(&args.service, id, &registration, precondition).await
        }
        None => session.client.register_anew(&args.service, &registration).await,
    };
    let reply = reply.map_err(|error| explain(&error))?;
    let id = reply.id.as_deref().or(args.id.as_deref()).unwrap_or_default();
    session.say(&reply, |reply| {
        let what = match (reply.created, reply.changed) {
            (Some(true), _) => "registered",
            (_, Some(false)) => "unchanged",
            _ => "updated",
        };
        format!("{what} {}, revision {}\n", printable(&format!("{}/{id}", args.service)), reply.revision)
    })
}

/// Deregisters an instance.
///
/// # Errors
/// What the cluster refuses.
pub(crate) async fn deregister(args: DeregisterArgs) -> Result<(), Failure> {
    let session = args.server.connect()?;
    let gone = match &args.reason {
        Some(reason) => session.client.deregister_because(&args.service, &args.id, reason).await,
        None => session.client.deregister(&args.service, &args.id).await,
    };
    gone.map_err(|error| explain(&error))?;
    let answer = json!({ "service": args.service, "id": args.id, "registered": false });
    session.say(&answer, |_| format!("deregistered {}\n", printable(&format!("{}/{}", args.service, args.id))))
}

impl Details {
    fn registration(self, endpoints: Vec<RegistrationEndpoint>) -> Registration {
        Registration {
            endpoints,
            zone: self.zone,
            region: self.region,
            version: self.version,
            tags: self.tags,
            metadata: BTreeMap::from_iter(self.metadata),
            weight: self.weight.map(Into::into).unwrap_or_default(),
            lease: self.ttl.map(|ttl| RegistrationLease { ttl_ms: millis(ttl).into() }),
            checks: checks(self.http_check, self.tcp_check, self.check_interval),
            deregister_after_ms: self.deregister_after.map(|after| millis(after).into()).unwrap_or_default(),
        }
    }
}

fn checks(http: Option<String>, tcp: Option<String>, interval: Option<Duration>) -> Vec<RegistrationCheck> {
    let check = |kind: &str| RegistrationCheck {
        kind: kind.to_owned(),
        interval_ms: interval.map(|interval| millis(interval).into()).unwrap_or_default(),
        ..RegistrationCheck::default()
    };
    let http = http.map(|url| RegistrationCheck { url: Some(url), ..check("http") });
    let tcp = tcp.map(|address| RegistrationCheck { address: Some(address), ..check("tcp") });
    http.into_iter().chain(tcp).collect()
}

/// Reads `NAME[/PROTOCOL]=HOST:PORT`. A name that is a protocol is its own; for any other it is `tcp`.
fn parse_endpoint(text: &str) -> Result<RegistrationEndpoint, String> {
    let rule =
        || format!("must be NAME=HOST:PORT or NAME/PROTOCOL=HOST:PORT, such as http=10.0.0.7:8080; got {text:?}");
    let (label, authority) = text.split_once('=').ok_or_else(rule)?;
    let (host, port) = authority.rsplit_once(':').ok_or_else(rule)?;
    let port: u64 = port.parse().map_err(|_| rule())?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let (name, protocol) = match label.rsplit_once('/') {
        Some(both) => both,
        None if KNOWN_PROTOCOLS.contains(&label) => (label, label),
        None => (label, "tcp"),
    };
    if [name, protocol, host].contains(&"") {
        return Err(rule());
    }
    Ok(RegistrationEndpoint {
        name: Some(name.to_owned()),
        protocol: protocol.to_owned(),
        host: host.to_owned(),
        port: port.into(),
    })
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("must be KEY=VALUE; got {text:?}"))?;
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: RegisterArgs,
    }

    fn registration(line: &str) -> serde_json::Value {
        let line = Line::try_parse_from(std::iter::once("register").chain(line.split(' '))).unwrap();
        serde_json::to_value(line.args.details.registration(line.args.endpoints)).unwrap()
    }

    #[test]
    fn flags_make_the_registration_of_the_api() {
        let made = registration(
            "web web-1 --endpoint http=10.0.0.7:8080 --endpoint admin/http=[::1]:9090 --tag api --zone a --meta k=v=w \
             --http-check http://10.0.0.7:8080/health --check-interval 5s --ttl 60s --weight 3",
        );
        assert_eq!(
            made,
            json!({
                "endpoints": [
                    { "name": "http", "protocol": "http", "host": "10.0.0.7", "port": 8080 },
                    { "name": "admin", "protocol": "http", "host": "::1", "port": 9090 },
                ],
                "zone": "a", "tags": ["api"], "metadata": { "k": "v=w" }, "weight": 3, "lease": { "ttl_ms": 60_000 },
                "checks": [{ "type": "http", "url": "http://10.0.0.7:8080/health", "interval_ms": 5_000 }],
            })
        );
    }

    #[test]
    fn an_endpoint_without_its_parts_is_refused_with_an_example() {
        for text in ["", "http", "http=", "http=host", "http=:80", "=h:80", "http=h:port", "http=h:-1"] {
            let refusal = parse_endpoint(text).unwrap_err();
            assert!(refusal.contains("http=10.0.0.7:8080"), "{refusal}");
        }
    }

    #[test]
    fn a_file_excludes_the_flags() {
        let parse = |line: &str| Line::try_parse_from(line.split(' '));
        assert!(parse("register web --file r.json").is_ok());
        assert!(parse("register web --file r.json --tag x").is_err());
        assert!(parse("register web").is_err());
    }
}
