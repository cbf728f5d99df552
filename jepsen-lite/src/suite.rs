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

/// Makes all runs of the file, each with `extra` arguments, and prints a summary. The worst verdict is the suite's.
///
/// # Errors
/// When the file cannot be read, a line cannot be understood, or the harness fails.
pub(crate) fn run(file: &Path, extra: &[String]) -> Result<Verdict> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let lines: Vec<Line> = read(&text).with_context(|| format!("in {}", file.display()))?;
    let mut rows = Vec::new();
    let mut worst = Verdict::Valid;
    for line in &lines {
        let (verdict, judged) = line.carry_out(extra).with_context(|| format!("line {}", line.number))?;
        worst = worst.max(verdict);
        rows.push(row(line, verdict, &judged));
    }
    summarize(&rows, worst).context("cannot write to standard output")?;
    Ok(worst)
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
            line.parse(&[]).with_context(|| format!("line {}", line.number))?;
            lines.push(line);
        }
    }
    if lines.is_empty() {
        bail!("there is no run in it");
    }
    Ok(lines)
}

impl Line {
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

fn row(line: &Line, verdict: Verdict, judged: &[Judged]) -> String {
    let what = match (!line.must_find.is_empty(), verdict) {
        (true, Verdict::Valid) => format!("found in run {}", judged.len()),
        (true, _) => "NOT FOUND".to_owned(),
        (false, verdict) => verdict.to_string(),
    };
    let seeds: Vec<String> = judged.iter().map(|one| one.seed.to_string()).collect();
    let (mut succeeded, mut faults, mut seconds) = (0, 0, 0);
    for one in judged {
        (succeeded, faults, seconds) = (succeeded + one.succeeded, faults + one.faults, seconds + one.seconds);
    }
    format!("| `{}` | {} | {succeeded} | {faults} | {seconds} | {what} |", line.arguments.join(" "), seeds.join(", "))
}

fn summarize(rows: &[String], worst: Verdict) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n| run | seed | operations ok | faults | seconds | verdict |\n|---|---|---|---|---|---|")?;
    rows.iter().try_for_each(|row| writeln!(out, "{row}"))?;
    writeln!(out, "\n{} runs: {worst}", rows.len())
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
        for text in ["", "# nothing", "--workload", "--workload set --nonsense", "find", "find --workload set"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_suites_that_come_with_it_can_be_read() {
        for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/suites")).unwrap() {
            let path = entry.unwrap().path();
            let lines = read(&std::fs::read_to_string(&path).unwrap())
                .unwrap_or_else(|error| panic!("{}: {error:#}", path.display()));
            for line in lines {
                let Ok(Command::Run(args)) = line.parse(&[]) else {
                    panic!("{}, line {}", path.display(), line.number)
                };
                crate::workload::Workload::parse(&args.workload).unwrap();
                let names = args.nemesis.iter().filter(|name| *name != "none");
                names.for_each(|name| assert!(!crate::nemesis::Kind::of_name(name).unwrap().is_empty(), "{name}"));
            }
        }
    }
}
