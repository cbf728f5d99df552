//! What a run came to, for people.

mod html;

use std::fmt::Write;

use crate::check::{Judgement, Verdict, verdict};
use crate::history::{History, OpId};

pub(crate) use html::html;

/// Operations that the report shows of a finding.
const OPS_SHOWN: usize = 12;

/// The report as text.
pub(crate) fn text(history: &History, judgements: &[Judgement]) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write_text(&mut out, history, judgements);
    out
}

fn write_text(out: &mut String, history: &History, judgements: &[Judgement]) -> std::fmt::Result {
    let run = &history.run;
    let nemeses = if run.nemeses.is_empty() { "none".to_owned() } else { run.nemeses.join(",") };
    writeln!(
        out,
        "{} under {nemeses}, {} nodes, seed {}: {}",
        run.workload,
        run.nodes.len(),
        run.seed,
        verdict(judgements)
    )?;
    for judgement in judgements {
        let figures: Vec<String> = judgement.figures.iter().map(|(name, value)| format!("{name} {value}")).collect();
        writeln!(out, "  {:<10} {:<8} {}", judgement.checker, judgement.verdict().to_string(), figures.join(", "))?;
    }
    for judgement in judgements {
        for finding in &judgement.findings {
            writeln!(out, "\n{} [{}] {}: {}", finding.verdict, judgement.checker, finding.kind, finding.what)?;
            for op in finding.ops.iter().take(OPS_SHOWN) {
                writeln!(out, "    {}", operation(history, *op))?;
            }
        }
    }
    if verdict(judgements) != Verdict::Valid {
        writeln!(out, "\nthe same run again: {}", run.command)?;
    }
    Ok(())
}

/// An operation in one line.
pub(crate) fn operation(history: &History, id: OpId) -> String {
    let Some(operation) = history.operations.get(&id) else { return format!("{id}: never begun") };
    let millis = |nanos: u64| format!("{}.{:03}", nanos / 1_000_000_000, nanos / 1_000_000 % 1000);
    let returned = if operation.returned == u64::MAX { "?".to_owned() } else { millis(operation.returned) };
    let call = serde_json::to_string(&operation.call).unwrap_or_default();
    let mut outcome = serde_json::to_string(&operation.outcome).unwrap_or_default();
    if outcome.len() > 160 {
        let end = (0..=160).rev().find(|&end| outcome.is_char_boundary(end)).unwrap_or(0);
        outcome.truncate(end);
        outcome.push('…');
    }
    format!(
        "{id:>6} {}–{returned} s client {} at {}: {call} → {outcome}",
        millis(operation.invoked),
        operation.client,
        operation.node
    )
}
