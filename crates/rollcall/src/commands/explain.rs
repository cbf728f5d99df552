//! `rollcall explain`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::Args;
use rollcall_api::query::ExplainQuery;
use rollcall_api::{ExplainedInstance, Explanation};

use crate::commands::select::{CallerArgs, ChoiceArgs};
use crate::failure::Failure;
use crate::server::{Freshness, ServerArgs, explain};
use crate::states::{age, now, tone};
use crate::table::{Cell, Table};
use crate::terminal::{Paint, Tone, printable};

/// Arguments of `rollcall explain`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rollcall explain web
  rollcall explain web --detail --client-zone a
  rollcall explain web --at 4711
  rollcall explain web --output json | jq '.instances[] | {id, is_in, share}'")]
pub(crate) struct ExplainArgs {
    /// The service
    service: String,
    /// Also the factors of every instance, with what was measured
    #[arg(long)]
    detail: bool,
    /// How it would have been at this revision
    #[arg(long, value_name = "REVISION")]
    at: Option<u64>,
    /// How many instances are asked for
    #[arg(long, short = 'n', value_name = "N", default_value_t = 1)]
    count: u64,
    /// How fresh the answer must be
    #[arg(long, value_enum, default_value_t, value_name = "LEVEL")]
    consistency: Freshness,
    #[command(flatten)]
    choice: ChoiceArgs,
    #[command(flatten)]
    caller: CallerArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// Tells of every instance of a service why it would be picked or not.
///
/// # Errors
/// What the cluster refuses.
pub(crate) async fn run(args: ExplainArgs) -> Result<(), Failure> {
    let session = args.server.connect()?;
    let CallerArgs { client, client_host, client_zone, client_region, context } = args.caller;
    let ChoiceArgs { strategy, software_version, tag, zone, exclude, only_passing, fail_open, hash_key } = args.choice;
    let joined = |list: Vec<String>| (!list.is_empty()).then(|| list.join(","));
    let query = ExplainQuery {
        at: args.at,
        strategy,
        n: Some(args.count),
        version: software_version,
        tag: joined(tag),
        zone,
        exclude: joined(exclude),
        only_passing: only_passing.then_some(true),
        fail_open: fail_open.then_some(true),
        hash_key,
        client,
        client_host,
        client_zone,
        client_region,
        context,
        consistency: args.consistency.into(),
        min_revision: None,
    };
    let told = session.client.explain(&args.service, &query).await.map_err(|error| explain(&error))?.value;
    session.say(&told, |told| explanation(told, args.detail, session.paint))
}

/// The explanation as a table, with what its words mean; with `detail` also the factors of every instance.
pub(crate) fn explanation(told: &Explanation, detail: bool, paint: Paint) -> String {
    let mut text = table(told).render(paint);
    if told.omitted > 0 {
        let _ = writeln!(text, "and {} more", told.omitted);
    }
    if detail {
        for instance in &told.instances {
            text.push('\n');
            text.push_str(&factors(instance, paint));
        }
    }
    text.push('\n');
    text.push_str(&legend(told, paint));
    text
}

fn table(told: &Explanation) -> Table {
    let heads = ["ID", "IN", "SHARE", "SCORE", "WEIGHT", "STATE", "FOR", "WEAKEST", "FAILS IN", "WHY"];
    let mut table = Table::new(heads).numeric(&["SHARE", "SCORE", "WEIGHT", "FOR", "FAILS IN"]);
    let now = now();
    for instance in &told.instances {
        let codes: Vec<&str> = instance.reasons.iter().map(|reason| reason.code.as_str()).collect();
        let in_cell = if instance.is_in { Cell::toned(Tone::Good, "in") } else { Cell::toned(Tone::Dim, "out") };
        table.row([
            instance.id.as_str().into(),
            in_cell,
            format!("{:.0} %", instance.share * 100.0).into(),
            format!("{:.3}", instance.score).into(),
            u64::from(instance.weight).into(),
            Cell::toned(tone(instance.state), instance.state.as_str()),
            age(instance.since, now).into(),
            instance.weakest.as_str().into(),
            instance.time_to_failure_ms.map(|millis| format!("{}s", millis / 1_000)).into(),
            codes.join(",").into(),
        ]);
    }
    table
}

/// How the score of one instance comes about, in lines that can be added up.
fn factors(instance: &ExplainedInstance, paint: Paint) -> String {
    let mut text = format!("{}\n", paint.strong(printable(&instance.id)));
    for term in &instance.terms {
        let _ = writeln!(
            text,
            "  {:<14} {:.2} × {:.2} = {:.3}  {}",
            printable(&term.factor),
            term.weight,
            term.value,
            term.product,
            printable(&term.signal)
        );
    }
    let ExplainedInstance { sum, health, rank, forecast, ramp, score, .. } = instance;
    let _ = writeln!(
        text,
        "  sum {sum:.3} × health {health:.2} = rank {rank:.3}; × forecast {forecast:.2} × ramp {ramp:.2} = score {score:.3}"
    );
    if instance.gap > 0.0 {
        let _ =
            writeln!(text, "  {:.3} short of the best; loses most by {}", instance.gap, printable(&instance.weakest));
    }
    if let Some(until) = instance.until {
        let _ = writeln!(text, "  out until {until}");
    }
    text
}

/// Every reason that was given, once, with what would change it.
fn legend(told: &Explanation, paint: Paint) -> String {
    let given = told.instances.iter().flat_map(|instance| &instance.reasons);
    let by_code: BTreeMap<&str, (&str, &str)> =
        given.map(|reason| (reason.code.as_str(), (reason.why.as_str(), reason.change.as_str()))).collect();
    let width = by_code.keys().map(|code| code.len()).max().unwrap_or_default();
    let lines = by_code.iter().map(|(code, (why, change))| {
        let padded = format!("{:<width$}", printable(code));
        format!(
            "{}  {} {}\n",
            paint.strong(padded),
            printable(why),
            paint.dim(format!("· changes with: {}", printable(change)))
        )
    });
    let past = if told.is_past { ", of the past" } else { "" };
    let head = format!("strategy {}{}, revision {}{past}\n", printable(&told.strategy), deciders(told), told.revision);
    std::iter::once(head).chain(lines).collect()
}

/// Who decided what is not as it is by default.
fn deciders(told: &Explanation) -> String {
    let by = &told.decided_by;
    let decided = [("strategy", &by.strategy), ("weights", &by.weights), ("tie band", &by.tie_band)];
    let decided = decided.into_iter().chain([("fail open", &by.fail_open), ("subset", &by.subset)]);
    let decided = decided.filter(|(_, who)| !who.is_empty() && *who != "default");
    let told: Vec<String> = decided.map(|(what, who)| format!("{what} by the {}", printable(who))).collect();
    if told.is_empty() { String::new() } else { format!(" ({})", told.join(", ")) }
}

#[cfg(test)]
mod tests {
    use rollcall_api::DecidedBy;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_explanation_says_who_is_in_and_what_would_change_it() {
        let term =
            json!({"factor": "load", "signal": "20 of 100 in flight", "value": 0.8, "weight": 0.3, "product": 0.24});
        let out = json!({"code": "draining", "side": "out", "why": "an operator drains it", "change": "`undrain`"});
        let best = json!({"code": "best", "side": "in", "why": "its rank is the best", "change": "Another instance"});
        let instance = |id: &str, is_in: bool, reason: &serde_json::Value| {
            json!({
                "service": "web", "id": id, "is_in": is_in, "reasons": [reason], "state": "passing",
                "since": "2999-01-01T00:00:00Z", "weight": 1, "share": if is_in { 1.0 } else { 0.0 }, "score": 0.9, "rank": 0.9,
                "sum": 0.9, "terms": [term], "health": 1.0, "forecast": 1.0, "ramp": 1.0, "gap": 0.0, "weakest": "load"
            })
        };
        let told = json!({
            "strategy": "scored", "fail_open": false, "omitted": 0, "revision": 7,
            "instances": [instance("web-1", true, &best), instance("web-2", false, &out)]
        });
        let told: Explanation = serde_json::from_value(told).unwrap();
        assert_eq!(
            explanation(&told, false, Paint::plain()),
            "ID     IN   SHARE  SCORE  WEIGHT  STATE    FOR  WEAKEST  FAILS IN  WHY\n\
             web-1  in   100 %  0.900       1  passing   0s  load            -  best\n\
             web-2  out    0 %  0.900       1  passing   0s  load            -  draining\n\
             \n\
             strategy scored, revision 7\n\
             best      its rank is the best · changes with: Another instance\n\
             draining  an operator drains it · changes with: `undrain`\n"
        );
        let by = DecidedBy { strategy: "service".into(), weights: "request".into(), ..told.decided_by.clone() };
        let decided = legend(&Explanation { decided_by: by, ..told.clone() }, Paint::plain());
        assert!(
            decided.starts_with("strategy scored (strategy by the service, weights by the request), revision 7\n"),
            "{decided}"
        );
        let detailed = explanation(&told, true, Paint::plain());
        assert!(detailed.contains("  load           0.30 × 0.80 = 0.240  20 of 100 in flight\n"), "{detailed}");
    }
}
