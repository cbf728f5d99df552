//! The figures as Markdown: every method beside ours, every kind on its own.

use super::method::Method;
use super::score::Figures;
use super::trace::Kind;
use crate::report::line;
use crate::results::median;

/// All figures of one set of kinds and seeds: for each method those of each kind, in the same order.
pub(crate) struct Findings {
    pub(crate) kinds: Vec<Kind>,
    pub(crate) figures: Vec<(Method, Vec<Figures>)>,
}

impl Findings {
    /// The table of kinds that fail, then that of kinds that do not.
    pub(crate) fn write(&self, text: &mut String) {
        line(
            text,
            "| method | kind | failures | recall | median lead min | too early | time to failure, error | in interval |",
        );
        line(text, "|---|---|---|---|---|---|---|---|");
        self.each(|method, kind, figures| {
            if figures.failures > 0 {
                line(text, &failing_row(method, kind, figures));
            }
        });
        line(text, "\n| method | kind | instance-days | alarms a day |");
        line(text, "|---|---|---|---|");
        for (method, figures) in &self.figures {
            for (kind, figures) in self.kinds.iter().zip(figures).filter(|(_, figures)| figures.failures == 0) {
                line(text, &calm_row(*method, &format!("{kind:?}"), figures.false_alarms, figures.days));
            }
            let (alarms, days) = totals(figures);
            line(text, &calm_row(*method, "**all**, and before the ramps", alarms, days));
        }
        line(text, "");
    }

    fn each(&self, mut f: impl FnMut(Method, Kind, &Figures)) {
        for (method, figures) in &self.figures {
            self.kinds.iter().zip(figures).for_each(|(kind, figures)| f(*method, *kind, figures));
        }
    }
}

fn totals(figures: &[Figures]) -> (usize, f64) {
    figures.iter().fold((0, 0.0), |(alarms, days), it| (alarms + it.false_alarms, days + it.days))
}

fn failing_row(method: Method, kind: Kind, figures: &Figures) -> String {
    let share =
        |count: usize, of: usize| if of == 0 { "–".to_owned() } else { format!("{:.2}", count as f64 / of as f64) };
    let middle = |values: &[f64]| {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        median(&sorted)
    };
    let off: Vec<f64> = figures.errors.iter().map(|error| error.abs()).collect();
    let error = middle(&off).zip(middle(&figures.errors));
    format!(
        "| {method} | {kind:?} | {} | {} | {} | {} | {} | {} |",
        figures.failures,
        share(figures.predicted, figures.failures),
        middle(&figures.leads).map_or("–".to_owned(), |lead| format!("{lead:.1}")),
        share(figures.early, figures.failures),
        error.map_or("–".to_owned(), |(off, bias)| format!("{:.0} % (bias {:+.0} %)", 100.0 * off, 100.0 * bias)),
        share(figures.covered, figures.errors.len()),
    )
}

fn calm_row(method: Method, kind: &str, alarms: usize, days: f64) -> String {
    format!("| {method} | {kind} | {days:.0} | {:.2} ({alarms}) |", alarms as f64 / days)
}
