//! `rollcall import consul`: read through Consul's API there, written through it here, so that nothing is lost between two
//! shapes. It can be run again at any time: what is equal changes nothing.
//!
//! Limits: checks are not copied, since Consul does not tell how they are made. A copied instance belongs to its node and is passing
//! until it is deregistered, so copy the services that do not register themselves, and let the others register here.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use clap::{Args, ValueEnum};
use reqwest::{Client, Method, StatusCode, Url};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::terminal::{print, printable, remark};

/// Longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The service that every Consul has, and that is none.
const OWN_SERVICE: &str = "consul";
/// Keys between two words about how far it is.
const KEYS_BETWEEN_REMARKS: usize = 500;

/// What to copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Services with their instances
    Services,
    /// Keys with their values and flags
    Kv,
}

/// Arguments of `rollcall import consul`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rollcall import consul http://10.0.0.5:8500 --dry-run
  rollcall import consul http://10.0.0.5:8500
  rollcall import consul http://10.0.0.5:8500 --only kv --prefix app/
  rollcall import consul http://10.0.0.5:8500 --only services --service mysql
  CONSUL_HTTP_TOKEN=… rollcall import consul https://consul.example.org")]
pub(crate) struct ConsulArgs {
    /// Where the other registry answers
    source: Url,
    /// Where a node of this cluster answers Consul's clients
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8500")]
    to: Url,
    /// Copy this part and not the other
    #[arg(long, value_enum, value_name = "PART")]
    only: Option<Part>,
    /// Copy only this service; may be repeated
    #[arg(long = "service", value_name = "NAME")]
    services: Vec<String>,
    /// Copy only keys that begin so
    #[arg(long, default_value = "", value_name = "PREFIX")]
    prefix: String,
    /// Token for the source; it is not printed
    #[arg(long, env = "CONSUL_HTTP_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<String>,
    /// Say what would be copied, and copy nothing
    #[arg(long)]
    dry_run: bool,
}

/// An instance as `catalog/service/:name` shows it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    node: String,
    #[serde(default)]
    address: String,
    #[serde(rename = "ServiceID")]
    service_id: String,
    service_name: String,
    #[serde(default)]
    service_address: String,
    #[serde(default)]
    service_port: u16,
    #[serde(default)]
    service_tags: Option<Vec<String>>,
    #[serde(default)]
    service_meta: Option<BTreeMap<String, String>>,
    #[serde(default)]
    service_weights: Option<Value>,
}

/// A key as `kv?recurse` shows it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Key {
    key: String,
    flags: u64,
    value: Option<String>,
}

/// Copies.
///
/// # Errors
/// See [`super::run`].
pub(crate) async fn run(args: ConsulArgs) -> Result<(), Failure> {
    let http = Client::builder().timeout(TIMEOUT).no_proxy().build();
    let http = http.map_err(|error| Failure::failed("cannot make an HTTP client").because(&error))?;
    let source = End { http: http.clone(), base: args.source, token: args.token };
    let target = End { http, base: args.to, token: None };
    let verb = if args.dry_run { "would copy" } else { "copied" };
    if args.only != Some(Part::Kv) {
        let (instances, services) = copy_services(&source, (!args.dry_run).then_some(&target), &args.services).await?;
        print(&format!("{verb} {instances} instances of {services} services\n"))?;
    }
    if args.only != Some(Part::Services) {
        let keys = copy_keys(&source, (!args.dry_run).then_some(&target), &args.prefix).await?;
        print(&format!("{verb} {keys} keys\n"))?;
    }
    Ok(())
}

/// Copies every instance; how many, and of how many services. Without a target it only counts.
async fn copy_services(source: &End, target: Option<&End>, wanted: &[String]) -> Result<(usize, usize), Failure> {
    let names: BTreeMap<String, Value> = source.get("catalog/services", &[]).await?.unwrap_or_default();
    let names: Vec<String> = names.into_keys().filter(|name| name != OWN_SERVICE).collect();
    if let Some(unknown) = wanted.iter().find(|wanted| !names.contains(wanted)) {
        return Err(Failure::failed(format!("{} has no service {}", source.base, printable(unknown))));
    }
    let names: Vec<String> = names.into_iter().filter(|name| wanted.is_empty() || wanted.contains(name)).collect();
    let mut instances = 0;
    // On a node an ID is that of one service: of two the second would replace the first.
    let mut owners: HashMap<(String, String), &str> = HashMap::new();
    for name in &names {
        let entries: Vec<Entry> = source.get("catalog/service", &[name]).await?.unwrap_or_default();
        for entry in entries {
            let owner = *owners.entry((entry.node.to_lowercase(), entry.service_id.clone())).or_insert(name);
            if owner != name {
                let (node, id) = (printable(&entry.node), printable(&entry.service_id));
                return Err(Failure::failed(format!(
                    "node {node} of {} has the ID {id} under two services, {owner} and {name}; here it would be one instance. Give one \
                     of them another ID and run this again, or copy other services with --service; what was copied until \
                     now stays",
                    source.base
                )));
            }
            instances += 1;
            let Some(target) = target else { continue };
            target.put("catalog/register", &[], registration(&entry).to_string()).await?;
        }
    }
    Ok((instances, names.len()))
}

fn registration(entry: &Entry) -> Value {
    let mut service = json!({
        "ID": entry.service_id,
        "Service": entry.service_name,
        "Address": entry.service_address,
        "Port": entry.service_port,
        "Tags": entry.service_tags.clone().unwrap_or_default(),
        "Meta": entry.service_meta.clone().unwrap_or_default(),
    });
    if let Some(weights) = &entry.service_weights {
        service["Weights"] = weights.clone();
    }
    json!({ "Node": entry.node, "Address": entry.address, "Service": service })
}

/// Copies every key under a prefix; how many. Names come first and values in parts, so that a large store is never held whole.
async fn copy_keys(source: &End, target: Option<&End>, prefix: &str) -> Result<usize, Failure> {
    let names: Vec<String> = source.get("kv", &[prefix, "?keys"]).await?.unwrap_or_default();
    let Some(target) = target else { return Ok(names.len()) };
    let mut copied = 0;
    for name in &names {
        let found: Option<Vec<Key>> = source.get("kv", &[name]).await?;
        // It may be gone by now.
        let Some(Key { key, flags, value }) = found.and_then(|mut found| found.pop()) else { continue };
        let write =
            json!([{ "KV": { "Verb": "set", "Key": key, "Flags": flags, "Value": value.unwrap_or_default() } }]);
        target.put("txn", &[], write.to_string()).await?;
        copied += 1;
        if copied % KEYS_BETWEEN_REMARKS == 0 {
            remark(&format!("{copied} of {} keys\n", names.len()));
        }
    }
    Ok(copied)
}

/// One side of the copy.
struct End {
    http: Client,
    base: Url,
    token: Option<String>,
}

impl End {
    /// Reads; `None` when it is not there. A part that begins with `?` is the query.
    async fn get<T: serde::de::DeserializeOwned>(&self, path: &str, parts: &[&str]) -> Result<Option<T>, Failure> {
        let (status, body) = self.call(Method::GET, path, parts, String::new()).await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let strange =
            |error| Failure::failed(format!("{} answers {path} with something else", self.base)).because(&error);
        serde_json::from_str(&body).map(Some).map_err(strange)
    }

    async fn put(&self, path: &str, parts: &[&str], body: String) -> Result<(), Failure> {
        self.call(Method::PUT, path, parts, body).await.map(drop)
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        parts: &[&str],
        body: String,
    ) -> Result<(StatusCode, String), Failure> {
        let url = self.url(path, parts)?;
        let mut call = self.http.request(method, url).body(body);
        if let Some(token) = &self.token {
            call = call.header("X-Consul-Token", token);
        }
        let unreachable = |error: reqwest::Error| {
            Failure::unavailable(format!("{} does not answer", self.base)).because(&error.without_url())
        };
        let answer = call.send().await.map_err(unreachable)?;
        let status = answer.status();
        let text = answer.text().await.map_err(unreachable)?;
        // A key may be gone, or no key begin so; whatever speaks Consul's API has the rest.
        if status.is_success() || status == StatusCode::NOT_FOUND && path == "kv" && text.is_empty() {
            return Ok((status, text));
        }
        let said = printable(text.lines().next().unwrap_or_default()).to_string();
        let failure = Failure::failed(format!("{} answers {path} with {status}", self.base)).cause(said);
        let hint = "is that where Consul's API is? A node of Rollcall has it at `--consul`, 8500 in `rollcall dev`";
        Err(if status == StatusCode::NOT_FOUND { failure.hint(hint) } else { failure })
    }

    fn url(&self, path: &str, parts: &[&str]) -> Result<Url, Failure> {
        let mut url = self.base.clone();
        let cannot = || Failure::usage(format!("{} is no http address", self.base));
        {
            let mut segments = url.path_segments_mut().map_err(|()| cannot())?;
            segments.pop_if_empty().push("v1").extend(path.split('/'));
            for part in parts.iter().filter(|part| !part.starts_with('?')) {
                // A slash within a key is part of it.
                segments.push(part);
            }
        }
        url.set_query(parts.iter().find_map(|part| part.strip_prefix('?')));
        Ok(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_slashes_are_one_part_of_the_address() {
        let end = End { http: Client::new(), base: "http://h:8500/".parse().unwrap(), token: None };
        let url = |path, parts: &[&str]| end.url(path, parts).unwrap().to_string();
        assert_eq!(url("kv", &["a/b ç", "?keys"]), "http://h:8500/v1/kv/a%2Fb%20%C3%A7?keys");
        assert_eq!(url("catalog/services", &[]), "http://h:8500/v1/catalog/services");
    }

    #[test]
    fn an_instance_is_copied_with_its_node() {
        let entry: Entry = serde_json::from_value(json!({
            "Node": "db-host", "Address": "10.0.0.9", "ServiceID": "pg-1", "ServiceName": "pg", "ServiceAddress": "",
            "ServicePort": 5432, "ServiceTags": null, "ServiceMeta": null, "ServiceWeights": {"Passing": 3, "Warning": 1}
        }))
        .unwrap();
        let copied = registration(&entry);
        assert_eq!((&copied["Node"], &copied["Address"]), (&json!("db-host"), &json!("10.0.0.9")));
        assert_eq!((&copied["Service"]["Tags"], &copied["Service"]["Weights"]["Passing"]), (&json!([]), &json!(3)));
    }
}
