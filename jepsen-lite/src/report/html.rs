//! The report as one page of HTML: figures, findings with their operations, and three pictures over time.
//!
//! The page stands alone: no script, no font, no picture from elsewhere. Colour never says anything that words do not.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use crate::check::{Judgement, Verdict, verdict};
use crate::history::{History, Operation, Outcome};

/// Size of a picture, in its own units.
const WIDTH: f64 = 1000.0;
const LANE: f64 = 16.0;
const PLOT: f64 = 140.0;
/// Most marks in one picture; beyond it every so many-th operation is drawn, so that the page stays small.
const MARKS_MAX: usize = 6_000;
/// Operations shown of a finding.
const OPS_SHOWN: usize = 40;

const STYLE: &str = "body{font:14px/1.5 system-ui,sans-serif;max-width:1040px;margin:2em auto;padding:0 1em;color:#1c1e21;background:#fff}\
table{border-collapse:collapse}td,th{padding:.2em .8em .2em 0;text-align:left;vertical-align:top}\
pre{background:#f4f5f7;padding:.8em;overflow-x:auto;font-size:12px}.valid{color:#176b3a}.INVALID{color:#b3261e}.UNKNOWN{color:#8a5a00}\
svg{width:100%;height:auto;background:#fafbfc;border:1px solid #dde1e6}svg text{font:10px system-ui,sans-serif;fill:#444}\
.fault{fill:#b3261e;opacity:.13}.ok{fill:#2e7d4f}.fail{fill:#c77700}.info{fill:#b3261e}.figures{color:#555}";

/// The page.
pub(crate) fn html(history: &History, judgements: &[Judgement]) -> String {
    let mut page = String::new();
    // Writing to a string does not fail.
    let _ = write_page(&mut page, history, judgements);
    page
}

fn write_page(out: &mut String, history: &History, judgements: &[Judgement]) -> fmt::Result {
    let run = &history.run;
    let title = format!("{} under {}, seed {}", run.workload, or_none(&run.nemeses.join(", ")), run.seed);
    let overall = verdict(judgements);
    write!(
        out,
        "<!doctype html><html lang=en><meta charset=utf-8><title>{}</title><style>{STYLE}</style>",
        escape(&title)
    )?;
    write!(out, "<h1>{} <span class={overall}>{overall}</span></h1>", escape(&title))?;
    write!(
        out,
        "<p>{} nodes, {} clients, {} s of load, links cut by {}.</p><table>",
        run.nodes.len(),
        run.clients,
        run.time_limit_ms / 1000,
        escape(&run.network)
    )?;
    for judgement in judgements {
        let figures: Vec<String> = judgement.figures.iter().map(|(name, value)| format!("{name} {value}")).collect();
        let verdict = judgement.verdict();
        write!(
            out,
            "<tr><th>{}<td class={verdict}>{verdict}<td class=figures>{}",
            judgement.checker,
            escape(&figures.join(", "))
        )?;
    }
    write!(out, "</table>")?;
    write_findings(out, history, judgements)?;
    write!(
        out,
        "<h2>Operations</h2><p>A lane for each client's operations: green ok, orange refused, red unknown. Bands: faults.</p>"
    )?;
    timeline(out, history)?;
    write!(out, "<h2>Latency</h2><p>Each answered operation, on a logarithmic scale.</p>")?;
    latency(out, history)?;
    write!(
        out,
        "<h2>Availability</h2><p>Share of operations in each half second that succeeded or were refused by a condition, by kind.</p>"
    )?;
    availability(out, history)?;
    write_faults(out, history)?;
    write!(out, "<h2>The same run again</h2><pre>{}</pre></html>", escape(&run.command))
}

fn write_findings(out: &mut String, history: &History, judgements: &[Judgement]) -> fmt::Result {
    if verdict(judgements) == Verdict::Valid {
        return Ok(());
    }
    write!(out, "<h2>Findings</h2>")?;
    for judgement in judgements {
        for finding in &judgement.findings {
            let verdict = finding.verdict;
            write!(
                out,
                "<h3><span class={verdict}>{verdict}</span> {}: {}</h3><p>{}</p>",
                judgement.checker,
                finding.kind,
                escape(&finding.what)
            )?;
            if !finding.ops.is_empty() {
                let lines: Vec<String> =
                    finding.ops.iter().take(OPS_SHOWN).map(|op| super::operation(history, *op)).collect();
                write!(out, "<pre>{}</pre>", escape(&lines.join("\n")))?;
            }
        }
    }
    Ok(())
}

fn write_faults(out: &mut String, history: &History) -> fmt::Result {
    write!(out, "<h2>Faults</h2><table><tr><th>from<th>to<th>fault<th>")?;
    for fault in &history.faults {
        let end = if fault.skipped { "skipped".to_owned() } else { fault.ended.map_or("the heal".to_owned(), seconds) };
        write!(out, "<tr><td>{}<td>{end}<td>{}<td>{}", seconds(fault.begun), escape(&fault.name), escape(&fault.note))?;
    }
    write!(out, "</table>")
}

/// From time to the horizontal place.
struct Scale {
    until: f64,
}

impl Scale {
    fn of(history: &History) -> Self {
        Self { until: history.until.max(1) as f64 }
    }

    fn x(&self, at: u64) -> f64 {
        at as f64 / self.until * WIDTH
    }
}

fn begin(out: &mut String, history: &History, scale: &Scale, height: f64) -> fmt::Result {
    write!(out, "<svg viewBox='0 0 {WIDTH} {}' role=img>", height + 14.0)?;
    for fault in history.faults.iter().filter(|fault| !fault.skipped) {
        let end = fault.ended.or(history.healed).unwrap_or(history.until);
        let (from, width) = (scale.x(fault.begun), (scale.x(end) - scale.x(fault.begun)).max(1.0));
        write!(
            out,
            "<rect class=fault x={from:.1} y=0 width={width:.1} height={height:.0}><title>{} {}</title></rect>",
            escape(&fault.name),
            escape(&fault.note)
        )?;
    }
    let step = (history.until / 10_000_000_000).max(1) * 1_000_000_000;
    for at in (0..=history.until).step_by(usize::try_from(step).unwrap_or(usize::MAX)) {
        write!(out, "<text x={:.1} y={:.0}>{} s</text>", scale.x(at), height + 11.0, at / 1_000_000_000)?;
    }
    Ok(())
}

fn class(operation: &Operation) -> &'static str {
    match operation.outcome {
        Outcome::Ok(_) => "ok",
        Outcome::Fail { .. } => "fail",
        Outcome::Info { .. } => "info",
    }
}

fn drawn(history: &History) -> impl Iterator<Item = &Operation> {
    let every = history.operations.len() / MARKS_MAX + 1;
    history.operations.values().step_by(every)
}

fn timeline(out: &mut String, history: &History) -> fmt::Result {
    let scale = Scale::of(history);
    let clients = history.run.clients.max(1) as u64;
    begin(out, history, &scale, LANE * clients as f64)?;
    for operation in drawn(history) {
        let lane = (operation.client % clients) as f64 * LANE;
        let end = if operation.returned == u64::MAX { operation.invoked } else { operation.returned };
        let width = (scale.x(end) - scale.x(operation.invoked)).max(1.2);
        let (x, class) = (scale.x(operation.invoked), class(operation));
        write!(
            out,
            "<rect class={class} x={x:.1} y={:.0} width={width:.1} height={:.0}><title>{}</title></rect>",
            lane + 2.0,
            LANE - 4.0,
            operation.id
        )?;
    }
    write!(out, "</svg>")
}

fn latency(out: &mut String, history: &History) -> fmt::Result {
    let scale = Scale::of(history);
    begin(out, history, &scale, PLOT)?;
    // From 100 µs at the bottom to 10 s at the top.
    let y = |micros: f64| PLOT - ((micros.max(100.0).log10() - 2.0) / 5.0 * PLOT).clamp(0.0, PLOT);
    for (label, micros) in [("1 ms", 1e3), ("10 ms", 1e4), ("100 ms", 1e5), ("1 s", 1e6)] {
        write!(
            out,
            "<text x=2 y={:.0}>{label}</text><line x1=0 x2={WIDTH} y1={:.0} y2={:.0} stroke='#dde1e6'/>",
            y(micros) - 2.0,
            y(micros),
            y(micros)
        )?;
    }
    for operation in drawn(history).filter(|operation| operation.returned != u64::MAX) {
        let micros = (operation.returned - operation.invoked) as f64 / 1e3;
        write!(
            out,
            "<circle class={} cx={:.1} cy={:.1} r=1.2 />",
            class(operation),
            scale.x(operation.invoked),
            y(micros)
        )?;
    }
    write!(out, "</svg>")
}

fn availability(out: &mut String, history: &History) -> fmt::Result {
    const BUCKET: u64 = 500_000_000;
    let scale = Scale::of(history);
    begin(out, history, &scale, PLOT)?;
    for (kind, colour, is_write) in [("writes", "#1f4e9c", true), ("reads", "#2e7d4f", false)] {
        let mut buckets: BTreeMap<u64, (u32, u32)> = BTreeMap::new();
        for operation in history.operations.values().filter(|operation| operation.call.write().is_some() == is_write) {
            let (served, all) = buckets.entry(operation.invoked / BUCKET).or_default();
            *all += 1;
            *served += u32::from(operation.revision().is_some());
        }
        let point = |(bucket, (served, all)): (&u64, &(u32, u32))| {
            let share = f64::from(*served) / f64::from(*all);
            format!("{:.1},{:.1}", scale.x(bucket * BUCKET), PLOT - share * (PLOT - 4.0))
        };
        let points: Vec<String> = buckets.iter().map(point).collect();
        write!(
            out,
            "<polyline fill=none stroke='{colour}' stroke-width=1.5 points='{}'><title>{kind}</title></polyline>",
            points.join(" ")
        )?;
        write!(out, "<text x=4 y={} style='fill:{colour}'>{kind}</text>", if is_write { 14 } else { 26 })?;
    }
    write!(out, "</svg>")
}

fn seconds(nanos: u64) -> String {
    format!("{:.2} s", nanos as f64 / 1e9)
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "no faults" } else { text }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&#39;").replace('"', "&quot;")
}
