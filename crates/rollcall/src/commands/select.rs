//! `rollcall select`.

use std::collections::BTreeMap;

use clap::Args;
use rollcall_api::words::authority;
use rollcall_api::{CallerDescription, Number, SelectRequest, Selection, SelectionPick, WeightsGiven, Wish};

use crate::commands::explain::explanation;
use crate::failure::Failure;
use crate::server::ServerArgs;
use crate::states::tone;
use crate::table::{Cell, Table};

/// Who asks, and what kind of request it is about to send.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "The caller")]
pub(crate) struct CallerArgs {
    /// Name of the client
    #[arg(long, value_name = "NAME")]
    pub(crate) client: Option<String>,
    /// Host of the client
    #[arg(long, value_name = "HOST")]
    pub(crate) client_host: Option<String>,
    /// Zone of the client
    #[arg(long, value_name = "ZONE")]
    pub(crate) client_zone: Option<String>,
    /// Region of the client
    #[arg(long, value_name = "REGION")]
    pub(crate) client_region: Option<String>,
    /// What kind of request it sends; performance is kept by it
    #[arg(long, value_name = "KEY")]
    pub(crate) context: Option<String>,
}

/// Which instances may be picked, and how.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "The choice")]
pub(crate) struct ChoiceArgs {
    /// How to choose: scored, round_robin, weighted_round_robin, least_connections, p2c_ewma, random, consistent_hash,
    /// locality or health_based
    #[arg(long)]
    pub(crate) strategy: Option<String>,
    /// Only instances whose version satisfies this: ^1.4, ">=1.2, <2"
    #[arg(long, value_name = "CONSTRAINT")]
    pub(crate) software_version: Option<String>,
    /// Only instances with this tag; may be repeated
    #[arg(long)]
    pub(crate) tag: Vec<String>,
    /// Only instances in this zone
    #[arg(long)]
    pub(crate) zone: Option<String>,
    /// Not this instance; may be repeated
    #[arg(long, value_name = "ID")]
    pub(crate) exclude: Vec<String>,
    /// Only instances that pass, without a reserve
    #[arg(long)]
    pub(crate) only_passing: bool,
    /// Do not ask health when nobody is healthy
    #[arg(long)]
    pub(crate) fail_open: bool,
    /// What consistent_hash hashes
    #[arg(long, value_name = "KEY")]
    pub(crate) hash_key: Option<String>,
}

/// Arguments of `rollcall select`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rollcall select web
  rollcall select web --count 3 --client-zone a --exclude web-2
  rollcall select web --strategy consistent_hash --hash-key user-42
  rollcall select --capability web_scraping --explain
  rollcall select web --output json | jq -r '.picks[0].endpoints[0].host'")]
pub(crate) struct SelectArgs {
    /// The service
    #[arg(required_unless_present = "capability", conflicts_with = "capability")]
    service: Option<String>,
    /// Among the instances of every service that offers this capability
    #[arg(long)]
    capability: Option<String>,
    /// How many instances
    #[arg(long, short = 'n', value_name = "N", default_value_t = 1)]
    count: u64,
    /// Rather instances with this tag; may be repeated
    #[arg(long, value_name = "TAG")]
    prefer_tag: Vec<String>,
    /// What the factors of the score count for: load=3,cost=1
    #[arg(long, value_name = "FACTOR=N,…", value_delimiter = ',', value_parser = weight)]
    weights: Vec<(String, f64)>,
    /// Tell of every instance why it is in or out
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    choice: ChoiceArgs,
    #[command(flatten)]
    caller: CallerArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// Asks who should serve a request.
///
/// # Errors
/// What the cluster refuses, and when nobody should.
pub(crate) async fn run(args: SelectArgs) -> Result<(), Failure> {
    let session = args.server.connect()?;
    let request = request(&args)?;
    let answer = match &args.service {
        Some(service) => session.client.select(service, &request).await,
        None => session.client.select_any(&request).await,
    };
    let selection = answer.map_err(|error| crate::server::explain(&error))?.value;
    session.say(&selection, |selection| {
        let mut text = table(selection).render(session.paint);
        if selection.fail_open {
            text.push_str(&session.paint.warn("too few are healthy, so health was not asked\n"));
        }
        if let Some(told) = &selection.explanation {
            text.push('\n');
            text.push_str(&explanation(told, true, session.paint));
        }
        text
    })
}

fn request(args: &SelectArgs) -> Result<SelectRequest, Failure> {
    let CallerArgs { client, client_host, client_zone, client_region, context } = args.caller.clone();
    let ChoiceArgs { strategy, software_version, tag, zone, exclude, only_passing, fail_open, hash_key } =
        args.choice.clone();
    let client = CallerDescription { id: client, host: client_host, zone: client_zone, region: client_region, context };
    let prefer = (!args.prefer_tag.is_empty()).then(|| Wish { tags: args.prefer_tag.clone(), ..Wish::default() });
    Ok(SelectRequest {
        capability: args.capability.clone(),
        client: (client != CallerDescription::default()).then_some(client),
        strategy,
        n: Number::from(args.count),
        exclude,
        tags: tag,
        version: software_version,
        zone,
        prefer,
        only_passing,
        hash_key,
        weights: weights(&args.weights)?,
        fail_open: if fail_open { Number::from(0) } else { Number::default() },
        explain: args.explain,
        ..SelectRequest::default()
    })
}

fn weight(text: &str) -> Result<(String, f64), String> {
    let (factor, number) = text.split_once('=').ok_or("must be a factor and a number, as in load=3")?;
    // JSON has no NaN and no infinity: they would be left out on the way.
    let read = number.parse().ok().filter(|read: &f64| read.is_finite());
    let read = read.ok_or_else(|| format!("must have a number after `=`; got {number}"))?;
    Ok((factor.to_owned(), read))
}

fn weights(given: &[(String, f64)]) -> Result<Option<WeightsGiven>, Failure> {
    if given.is_empty() {
        return Ok(None);
    }
    let given: BTreeMap<&str, f64> = given.iter().map(|(factor, number)| (factor.as_str(), *number)).collect();
    let read = serde_json::to_value(given).and_then(serde_json::from_value);
    read.map(Some).map_err(|_| {
        Failure::usage("--weights names load, performance, proximity, specialization and cost")
            .hint("--weights load=3,cost=1")
    })
}

fn table(selection: &Selection) -> Table {
    let mut table =
        Table::new(["SERVICE", "ID", "ADDRESS", "ZONE", "VERSION", "STATE", "SCORE", "WHY"]).numeric(&["SCORE"]);
    for pick in &selection.picks {
        table.row([
            pick.service.as_str().into(),
            pick.id.as_str().into(),
            address(pick).into(),
            pick.zone.as_deref().into(),
            pick.version.as_deref().into(),
            Cell::toned(tone(pick.state), pick.state.as_str()),
            format!("{:.3}", pick.score).into(),
            pick.reasons.join(",").into(),
        ]);
    }
    table
}

fn address(pick: &SelectionPick) -> Option<String> {
    pick.endpoints.first().map(|endpoint| authority(&endpoint.host, endpoint.port))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::terminal::Paint;

    #[test]
    fn picks_are_a_table_best_first() {
        let endpoint = json!({"name": "http", "protocol": "http", "host": "10.0.0.7", "port": 8080});
        let pick = json!({
            "service": "web", "id": "web-1", "endpoints": [endpoint], "zone": "a", "region": null, "version": null,
            "tags": [], "metadata": {}, "weight": 1, "state": "passing", "score": 0.9, "reasons": ["best", "warming"]
        });
        let selection = json!({
            "picks": [pick], "strategy": "scored", "eligible": 3, "fail_open": false, "revision": 7
        });
        assert_eq!(
            table(&serde_json::from_value(selection).unwrap()).render(Paint::plain()),
            "SERVICE  ID     ADDRESS        ZONE  VERSION  STATE    SCORE  WHY\n\
             web      web-1  10.0.0.7:8080  a     -        passing  0.900  best,warming\n"
        );
    }

    #[test]
    fn weights_are_factors_with_numbers() {
        let given = |list: &[&str]| weights(&list.iter().map(|text| weight(text).unwrap()).collect::<Vec<_>>());
        assert_eq!(given(&[]).unwrap(), None);
        assert!(given(&["load=3", "cost=0.5"]).unwrap().is_some_and(|weights| weights.performance.is_absent()));
        assert!(given(&["speed=3"]).is_err());
        assert!(["load", "load=much", "load=NaN", "load=inf"].into_iter().all(|text| weight(text).is_err()));
    }
}
