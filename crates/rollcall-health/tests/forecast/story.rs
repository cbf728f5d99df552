//! The language of the stories: one command a line.
//!
//! ```text
//! above 1000 | below 5e9      the threshold of the series that is watched from here on, with buckets of 10 s, 60 of them
//! bucket 1s window 20         the same with other buckets; before `above` or `below`
//! hold 20 for=60              this value for so many buckets, with a ripple of 2 % up and down
//! line 20 400 for=100         evenly from one value to the other
//! grow 20 400 for=100         evenly in the logarithm
//! skip 30                     so many buckets without a sample
//! restart                     the subject was restarted
//! read                        the latest numbers
//! sample VALUE                one sample, whatever it is
//! peers degrading stable …    whether most of them degrade
//! ```
//! Buckets are told by their number since the series began; between commands time goes on.

use std::fmt::Write as _;
use std::time::Duration;

use rollcall_health::Trend;
use rollcall_health::forecast::{Assessment, Event, Options, Scratch, Series, Signal, common_cause};
use rollcall_types::MonoTime;

/// A story under way.
pub(crate) struct Story {
    options: Options,
    series: Series,
    scratch: Scratch,
    bucket: u32,
    told: String,
}

impl Story {
    /// What the commands of `script` answer.
    pub(crate) fn tell(script: &str) -> String {
        let options = Options::default();
        let series = Series::new(Signal::above(1000.0).unwrap(), options, MonoTime::default());
        let mut story = Self { options, series, scratch: Scratch::default(), bucket: 0, told: String::new() };
        for line in script.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            story.step(line);
        }
        story.told
    }

    fn step(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |text: &str| text.parse::<f64>().unwrap();
        let count = |text: &str| text.trim_start_matches("for=").parse::<u32>().unwrap();
        match words[..] {
            ["bucket", width, "window", window] => {
                let width = Duration::from_secs(width.trim_end_matches('s').parse().unwrap());
                self.options = Options::new(width, window.parse().unwrap()).unwrap();
            }
            ["above", threshold] => self.watch(Signal::above(number(threshold)).unwrap()),
            ["below", threshold] => self.watch(Signal::below(number(threshold)).unwrap()),
            ["hold", value, buckets] => {
                self.measure(count(buckets), |step, _| number(value) * if step % 2 == 0 { 1.02 } else { 0.98 });
            }
            ["line", from, to, buckets] => {
                self.measure(count(buckets), |_, x| number(from) + (number(to) - number(from)) * x);
            }
            ["grow", from, to, buckets] => {
                self.measure(count(buckets), |_, x| number(from) * (number(to) / number(from)).powf(x));
            }
            ["skip", buckets] => (0..count(buckets)).for_each(|_| self.pass()),
            ["restart"] => self.series.restart(self.now()),
            ["read"] => self.read(),
            ["sample", value] => {
                let answer = self.series.record(number(value), self.now());
                self.say(&answer.map_or_else(|error| format!("refused: {error}"), |()| "taken".to_owned()));
            }
            ["peers", ref trends @ ..] => {
                let cause = common_cause(trends.iter().map(|trend| read_trend(trend)));
                self.say(&cause.map_or("no common cause".to_owned(), |cause| {
                    format!("common cause: {} of {} degrade", cause.degrading, cause.compared)
                }));
            }
            _ => panic!("not understood: {line}"),
        }
    }

    fn watch(&mut self, signal: Signal) {
        self.bucket = 0;
        self.series = Series::new(signal, self.options, MonoTime::default());
    }

    fn now(&self) -> MonoTime {
        MonoTime::new(self.options.bucket() * self.bucket)
    }

    fn measure(&mut self, buckets: u32, value: impl Fn(u32, f64) -> f64) {
        for step in 0..buckets {
            let value = value(step, f64::from(step + 1) / f64::from(buckets));
            self.series.record(value, self.now()).unwrap();
            self.pass();
        }
    }

    fn pass(&mut self) {
        self.bucket += 1;
        let now = self.now();
        if let Some(Event { change, assessment }) = self.series.evaluate(now, &mut self.scratch) {
            self.say(&format!("{change:?}: {}", describe(&assessment)));
        }
    }

    fn read(&mut self) {
        let numbers = self.series.assessment().map_or("nothing".to_owned(), describe);
        let line = format!("{:?}, {:?}: {numbers}", self.series.outlook(), self.series.time_to_failure());
        self.say(&line);
    }

    fn say(&mut self, text: &str) {
        writeln!(self.told, "bucket {} {text}", self.bucket).unwrap();
    }
}

fn describe(it: &Assessment) -> String {
    let mut text = format!("{:?} {} of {}", it.trend, Short(it.level), Short(it.threshold));
    write!(text, ", {} per min, {:+.1} % per min", Short(it.slope_per_minute), 100.0 * it.growth_per_minute).unwrap();
    write!(text, ", curvature {:.2}, confidence {:.2}", it.curvature, it.confidence).unwrap();
    if let Some(time) = it.time_to_threshold {
        let seconds = |time: Duration| format!("{} s", time.as_secs());
        let latest = time.latest.map_or("never".to_owned(), seconds);
        write!(text, ", due in {} ({} to {latest})", seconds(time.likely), seconds(time.earliest)).unwrap();
    }
    write!(text, ", {} of {} buckets, p {:.0e}", it.fitted, it.buckets, it.p_value).unwrap();
    text
}

/// A number with as many digits as a person reads.
struct Short(f64);

impl std::fmt::Display for Short {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.abs() {
            large if large >= 1e6 => write!(f, "{:.2e}", self.0),
            middle if middle >= 10.0 => write!(f, "{:.0}", self.0),
            _ => write!(f, "{:.2}", self.0),
        }
    }
}

fn read_trend(text: &str) -> Trend {
    match text {
        "unknown" => Trend::Unknown,
        "improving" => Trend::Improving,
        "stable" => Trend::Stable,
        "degrading" => Trend::Degrading,
        other => panic!("no such trend: {other}"),
    }
}
