//! What the demo services do: small, but real, so that a caller can tell that the right one answered.

use clap::ValueEnum;
use serde::Deserialize;
use serde_json::{Value, json};

/// What a demo service does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Summarizes numbers: `{"values": [1, 2, 3]}`.
    Analyst,
    /// Reads a page: `{"html": "<title>…"}`.
    Scraper,
    /// Looks at a text: `{"text": "…"}`.
    Writer,
    /// Hands a task to whoever offers a capability: `{"capability": "data_analysis", "task": {…}}`.
    Orchestrator,
}

/// What became of a task.
#[derive(Debug, PartialEq)]
pub(crate) enum Performed {
    /// The result.
    Done(Value),
    /// The task makes no sense, and why.
    Refused(String),
    /// Somebody else must do it.
    HandOn(Value),
}

impl Kind {
    /// The name as the command line takes it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Analyst => "analyst",
            Self::Scraper => "scraper",
            Self::Writer => "writer",
            Self::Orchestrator => "orchestrator",
        }
    }

    /// Does the task.
    pub(crate) fn perform(self, task: Value) -> Performed {
        let done = |result: Result<Value, String>| result.map_or_else(Performed::Refused, Performed::Done);
        match self {
            Self::Analyst => done(field::<Vec<f64>>(&task, "values").and_then(|values| summarize(&values))),
            Self::Scraper => done(field::<String>(&task, "html").map(|html| scrape(&html))),
            Self::Writer => done(field::<String>(&task, "text").map(|text| review(&text))),
            Self::Orchestrator => Performed::HandOn(task),
        }
    }
}

fn field<T: for<'de> Deserialize<'de>>(task: &Value, name: &str) -> Result<T, String> {
    let value = task.get(name).ok_or_else(|| format!("the task must have {name:?}"))?;
    T::deserialize(value).map_err(|error| format!("{name}: {error}"))
}

fn summarize(values: &[f64]) -> Result<Value, String> {
    if values.is_empty() {
        return Err("values must not be empty".to_owned());
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (count, middle) = (sorted.len() as f64, sorted.len() / 2);
    let median = if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) };
    let mean = sorted.iter().sum::<f64>() / count;
    let variance = sorted.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    Ok(json!({
        "count": values.len(),
        "min": sorted[0],
        "median": median,
        "mean": mean,
        "max": sorted[sorted.len() - 1],
        "standard_deviation": variance.sqrt(),
    }))
}

fn scrape(html: &str) -> Value {
    let title = between(html, "<title>", "</title>").map(str::trim);
    let links: Vec<&str> = html.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let mut text = String::new();
    for piece in html.split('<') {
        // What stands before the first '>' is the tag itself.
        let words = piece.split_once('>').map_or(piece, |(_, words)| words);
        for word in words.split_whitespace() {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(word);
        }
    }
    json!({ "title": title, "links": links, "text": text })
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    text.split_once(start)?.1.split_once(end).map(|(inner, _)| inner)
}

fn review(text: &str) -> Value {
    /// Words that an adult reads in a minute (Brysbaert 2019, silent reading of non-fiction).
    const WORDS_PER_MINUTE: usize = 238;
    let words = text.split_whitespace().count();
    let sentences: Vec<&str> = text.split_inclusive(['.', '!', '?']).map(str::trim).filter(|s| !s.is_empty()).collect();
    let longest = sentences.iter().max_by_key(|sentence| sentence.split_whitespace().count());
    json!({
        "words": words,
        "sentences": sentences.len(),
        "reading_time_s": words * 60 / WORDS_PER_MINUTE,
        "says_it_best": longest,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: Kind, task: Value, expected: Value) {
        assert_eq!(kind.perform(task), Performed::Done(expected));
    }

    #[test]
    fn the_analyst_summarizes() {
        check(
            Kind::Analyst,
            json!({ "values": [4, 1, 3, 2] }),
            json!({ "count": 4, "min": 1.0, "median": 2.5, "mean": 2.5, "max": 4.0, "standard_deviation": 1.25_f64.sqrt() }),
        );
    }

    #[test]
    fn the_scraper_finds_title_links_and_text() {
        check(
            Kind::Scraper,
            json!({ "html": "<html><title> Hi </title><p>read <a href=\"/x\">this</a></p></html>" }),
            json!({ "title": "Hi", "links": ["/x"], "text": "Hi read this" }),
        );
    }

    #[test]
    fn the_writer_counts() {
        check(
            Kind::Writer,
            json!({ "text": "Short. This one is longer!" }),
            json!({ "words": 5, "sentences": 2, "reading_time_s": 1, "says_it_best": "This one is longer!" }),
        );
    }

    #[test]
    fn a_task_without_sense_is_refused_in_words() {
        for (kind, task) in [
            (Kind::Analyst, json!({})),
            (Kind::Analyst, json!({ "values": [] })),
            (Kind::Analyst, json!({ "values": ["x"] })),
            (Kind::Writer, json!(7)),
        ] {
            assert!(matches!(kind.perform(task.clone()), Performed::Refused(_)), "{task}");
        }
    }
}
