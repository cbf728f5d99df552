//! The section `[forecast]`: how finely and how far back this node looks for trends.

use std::time::Duration;

use rollcall_health::forecast::{Options, OptionsError};
use serde::{Deserialize, Serialize};

use super::duration;

/// How a node predicts failures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ForecastConfig {
    /// Time that one point of a trend covers, 10 ms to 1 h. Default 10 s. Of an instance whose check runs less often it is the
    /// interval of the check: a point needs a sample.
    #[serde(with = "duration")]
    pub bucket: Duration,
    /// Points looked back, and ahead, 20 to 240. Default 60.
    pub window: usize,
}

impl Default for ForecastConfig {
    fn default() -> Self {
        let options = Options::default();
        Self { bucket: options.bucket(), window: options.window() }
    }
}

impl ForecastConfig {
    /// What the section amounts to.
    ///
    /// # Errors
    /// When a number is out of range.
    pub(crate) fn options(&self) -> Result<Options, OptionsError> {
        Options::new(self.bucket, self.window)
    }

    /// Checks the rules between values.
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        match self.options() {
            Ok(_) => {}
            Err(error @ OptionsError::Bucket) => {
                problems.push(format!("forecast.bucket: {error}; got {:?}", self.bucket))
            }
            Err(error @ OptionsError::Window) => {
                problems.push(format!("forecast.window: {error}; got {}", self.window))
            }
        }
    }
}
