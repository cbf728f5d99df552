//! Many runs, one a line: the arguments of `run`, as one would type them.
//!
//! ```text
//! # Kills and pauses, the same each time.
//! --workload registers --nemesis kill,pause --time-limit 20s --seed 1
//! # Nodes of a special build show a bug, and one of three runs must find it.
//! find lost-write,lost --workload set --nemesis partition --time-limit 20s --plant ack-before-quorum
//! ```
//!
//! After `find` stand the kinds of findings that count, one of which must come up: another one would say nothing about the bug.
//!
//! A line without a seed takes another one each time. The first failure of the harness ends the suite: what follows would
//! likely fail too. The summary is a table that a document can take in.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::Parser;

use crate::check::Verdict;
use crate::cli::{Cli, Command};
use crate::session::{self, Judged};

/// Runs in which a planted bug must be found.
const FIND_RUNS: usize = 3;
/// The word before the arguments of a run that must find something.
const FIND: &str = "find";

/// Makes all runs of the file, each with `extra` arguments, prints a summary, and writes it to `table`. The worst verdict is
/// the suite's.
///
/// # Errors
/// When a file cannot be read or written, a line cannot be understood, or the harness fails.
pub(crate) fn run(file: &Path, table: Option<&Path>, extra: &[String]) -> Result<Verdict> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let lines: Vec<Line> = read(&text).with_context(|| format!("in {}", file.display()))?;
    let mut rows: Vec<Row> = Vec::new();
    let mut worst = Verdict::Valid;
    let mut failure = None;
    for line in &lines {
        match line.carry_out(extra).with_context(|| format!("line {}", line.number)) {
            Ok((verdict, judged)) => {
                worst = worst.max(verdict);
                rows.push(Row::of(line, verdict, &judged));
                // What was done so far outlasts whatever ends the rest.
                write_table(table, &summarize(&rows, worst, true))?;
            }
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    let summary = summarize(&rows, worst, failure.is_some());
    write!(std::io::stdout(), "\n{summary}").context("cannot write to standard output")?;
    write_table(table, &summary)?;
    failure.map_or(Ok(worst), Err)
}

fn write_table(table: Option<&Path>, summary: &str) -> Result<()> {
    let Some(table) = table else { return Ok(()) };
    std::fs::write(table, summary).with_context(|| format!("cannot write {}", table.display()))
}

/// A line of a suite.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    number: usize,
    /// Kinds of findings, one of which must come up; empty: the run must be valid.
    must_find: Vec<String>,
    arguments: Vec<String>,
}

fn read(text: &str) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for (index, text) in text.lines().enumerate() {
        let mut words: Vec<String> =
            text.split('#').next().unwrap_or_default().split_whitespace().map(str::to_owned).collect();
        let mut must_find = Vec::new();
        if words.first().is_some_and(|word| word == FIND) {
            let kinds = words.get(1).filter(|kinds| !kinds.starts_with('-'));
            let kinds = kinds.with_context(|| format!("line {}: what must be found?", index + 1))?;
            must_find = kinds.split(',').map(|kind| kind.replace('-', " ")).collect();
            words.drain(..2);
        }
        if !words.is_empty() {
            let line = Line { number: index + 1, must_find, arguments: words };
            // Mistakes of all lines show before an hour of runs, not after.
            line.check().with_context(|| format!("line {}", line.number))?;
            lines.push(line);
        }
    }
    if lines.is_empty() {
        bail!("there is no run in it");
    }
    Ok(lines)
}

impl Line {
    fn check(&self) -> Result<()> {
        let Command::Run(args) = self.parse(&[])? else { bail!("no run") };
        session::check(&args)
    }

    fn parse(&self, extra: &[String]) -> Result<Command> {
        let arguments = ["jepsen-lite", "run"].map(str::to_owned);
        let all = arguments.iter().chain(&self.arguments).chain(extra);
        Ok(Cli::try_parse_from(all)?.command)
    }

    /// Makes the run, or up to [`FIND_RUNS`] until one finds something.
    fn carry_out(&self, extra: &[String]) -> Result<(Verdict, Vec<Judged>)> {
        let Command::Run(args) = self.parse(extra)? else { bail!("no run") };
        let mut judged = Vec::new();
        if self.must_find.is_empty() {
            let one = session::run(&args)?;
            return Ok((one.verdict, vec![one]));
        }
        for _ in 0..FIND_RUNS {
            let one = session::run(&args)?;
            let is_found = one.broken.iter().any(|kind| self.must_find.iter().any(|wanted| wanted == kind));
            judged.push(one);
            if is_found {
                return Ok((Verdict::Valid, judged));
            }
        }
        Ok((Verdict::Invalid, judged))
    }
}

/// What the runs of a line came to.
struct Row {
    text: String,
    succeeded: usize,
    faults: usize,
    seconds: u64,
}

impl Row {
    fn of(line: &Line, verdict: Verdict, judged: &[Judged]) -> Self {
        let what = match (!line.must_find.is_empty(), verdict) {
            (true, Verdict::Valid) => format!("found in run {}", judged.len()),
            (true, _) => "NOT FOUND".to_owned(),
            (false, verdict) => verdict.to_string(),
        };
        let seeds: Vec<String> = judged.iter().map(|one| one.seed.to_string()).collect();
        let (succeeded, faults) =
            (judged.iter().map(|one| one.succeeded).sum(), judged.iter().map(|one| one.faults).sum());
        let seconds = judged.iter().map(|one| one.seconds).sum();
        let (arguments, seeds) = (line.arguments.join(" "), seeds.join(", "));
        let text = format!("| `{arguments}` | {seeds} | {succeeded} | {faults} | {seconds} | {what} |\n");
        Self { text, succeeded, faults, seconds }
    }
}

/// A table of all runs, and their totals.
fn summarize(rows: &[Row], worst: Verdict, is_broken_off: bool) -> String {
    let head = "| run | seed | operations ok | faults | seconds | verdict |\n|---|---|---|---|---|---|\n";
    let texts: String = rows.iter().map(|row| row.text.as_str()).collect();
    let (succeeded, faults): (usize, usize) =
        (rows.iter().map(|row| row.succeeded).sum(), rows.iter().map(|row| row.faults).sum());
    let seconds: u64 = rows.iter().map(|row| row.seconds).sum();
    let end = if is_broken_off { "broken off, more were to come" } else { "all of them made" };
    format!(
        "{head}{texts}\n{} runs, {succeeded} operations that succeeded, {faults} faults, {seconds} s: {worst}; {end}\n",
        rows.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_is_read_line_by_line_without_comments() {
        let lines =
            read("# first\n\n--workload set # why\nfind lost,stale-read --workload registers --plant x\n").unwrap();
        assert_eq!(lines.len(), 2);
        assert_eq!((lines[0].number, lines[0].must_find.len()), (3, 0));
        assert_eq!(lines[1].must_find, ["lost", "stale read"]);
        assert_eq!((lines[1].number, lines[1].arguments.len()), (4, 4));
    }

    #[test]
    fn mistakes_show_before_any_run() {
        for text in [
            "",
            "# nothing",
            "--workload",
            "--workload set --nonsense",
            "--workload sets",
            "--workload set --nemesis kil",
            "find",
            "find --workload set",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_suites_that_come_with_it_can_be_read() {
        for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/suites")).unwrap() {
            let path = entry.unwrap().path();
            let lines = read(&std::fs::read_to_string(&path).unwrap())
                .unwrap_or_else(|error| panic!("{}: {error:#}", path.display()));
            assert!(!lines.is_empty());
        }
    }
}
