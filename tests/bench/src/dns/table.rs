//! The figures as Markdown: ours beside each other system, with the goals.

use super::Round;
use super::servers::System;
use crate::report::{Origin, line, number, write_origin};
use crate::results::median;

/// How many times the rate of each system ours shall be at least.
const GOALS: [(System, f64); 3] = [(System::Dnsmasq, 1.0), (System::Nsd, 1.0), (System::Trivial, 0.85)];

/// Renders everything.
pub(crate) fn render(rounds: &[Round], remarks: &[String], origin: &Origin) -> String {
    let mut text = String::new();
    write_origin(&mut text, origin);
    line(&mut text, "| system | queries/s | CPU µs/query | lost | ours is | goal | met? |");
    line(&mut text, "|---|---|---|---|---|---|---|");
    let ours = rates(rounds, System::Rollcall);
    for system in System::ALL {
        let rates = rates(rounds, system);
        let Some(middle) = median(&rates) else { continue };
        let of = |value: fn(&Round) -> f64| sorted(rounds.iter().filter(|round| round.system == system).map(value));
        let goal = GOALS.iter().find(|(peer, _)| *peer == system).map(|(_, goal)| *goal);
        let ratio = median(&ours).map(|ours| ours / middle).filter(|_| goal.is_some());
        let dash = || "–".to_owned();
        line(
            &mut text,
            &format!(
                "| {system} | {} [{}–{}] | {} | {} | {} | {} | {} |",
                number(middle),
                number(rates.first().copied().unwrap_or(0.0)),
                number(rates.last().copied().unwrap_or(0.0)),
                median(&of(|round| round.cpu_us)).map_or_else(dash, |us| format!("{us:.1}")),
                of(|round| round.lost).iter().sum::<f64>(),
                ratio.map_or_else(dash, |ratio| format!("{ratio:.2}×")),
                goal.map_or_else(dash, |goal| format!("≥ {goal}×")),
                ratio.zip(goal).map_or("–", |(ratio, goal)| if ratio >= goal { "yes" } else { "**no**" }),
            ),
        );
    }
    let noisy = rounds.iter().filter(|round| round.noisy).count();
    if noisy > 0 {
        line(&mut text, &format!("\n{noisy} of {} rounds were noisy.", rounds.len()));
    }
    if !remarks.is_empty() {
        line(&mut text, "\nRemarks of the run:\n");
        remarks.iter().for_each(|remark| line(&mut text, &format!("- {remark}")));
    }
    text
}

fn rates(rounds: &[Round], system: System) -> Vec<f64> {
    sorted(rounds.iter().filter(|round| round.system == system).map(|round| round.per_second))
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_goal_is_shown_as_missed() {
        let round = |system, per_second| Round { system, per_second, lost: 0.0, cpu_us: 6.0, noisy: false };
        let rounds = [
            round(System::Rollcall, 90_000.0),
            round(System::Dnsmasq, 100_000.0),
            round(System::Nsd, 80_000.0),
            round(System::Trivial, 100_000.0),
        ];
        let text = || "x".to_owned();
        let origin = Origin { machine: text(), versions: vec![text()], command: text(), date: text(), shape: text() };
        let report = render(&rounds, &[], &origin);
        let row =
            |system: &str| report.lines().find(|line| line.starts_with(&format!("| {system}"))).unwrap().to_owned();
        assert!(row("dnsmasq").ends_with("| 0.90× | ≥ 1× | **no** |"), "{report}");
        assert!(row("NSD").ends_with("| 1.12× | ≥ 1× | yes |"), "{report}");
        assert!(row("trivial").ends_with("| 0.90× | ≥ 0.85× | yes |"), "{report}");
    }
}
