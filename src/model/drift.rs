//! What counts as drift: the demands of `assize drift`, as configured. Data only; the rules are in `compare`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When scores and traces over time have drifted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DriftPolicy {
    /// One-sided error of each look at a day. Default 0.01.
    #[schemars(range(min = 0.000_001, max = 0.2))]
    pub alpha: f64,
    /// Hours of a window of live traces, a divisor of 24. Default 24: days.
    #[schemars(range(min = 1, max = 24))]
    pub window_hours: u32,
    /// Whether a window is held against the same hours of the week in the four weeks before, once there are so many.
    /// Default: where windows are shorter than a day.
    pub hour_of_week: Option<bool>,
    /// False alarms a week that may be expected of all rules and scores together. Default 1. Each has the same share of
    /// them: its error is never above its share, nor above `alpha`.
    #[schemars(range(min = 0.001, max = 1000))]
    pub false_alarms_per_week: f64,
    /// Days before a day that it is held against, those left out that were beyond the limit or fired. Default 7.
    #[schemars(range(min = 1, max = 365))]
    pub baseline_days: u32,
    /// Points of a hundred by which the mean of a score may fall. Default 10.
    #[schemars(range(min = 0, max = 100))]
    pub quality_drop: f64,
    /// Milliseconds that the 95th percentile of the latency may reach. Default: a multiple of the baseline's.
    #[schemars(range(min = 0))]
    pub latency_p95_ms: Option<f64>,
    /// Multiple of the baseline's 95th percentile of the latency. Default 2.
    #[schemars(range(min = 1))]
    pub latency_ratio: f64,
    /// Multiple of the baseline's 95th percentile of repeated calls. Default 3.
    #[schemars(range(min = 1))]
    pub loop_ratio: f64,
    /// Share of tool calls that may fail. Default 0.15.
    #[schemars(range(min = 0, max = 1))]
    pub tool_error_rate: f64,
    /// Multiple of the baseline's mean cost. Default 2.
    #[schemars(range(min = 1))]
    pub cost_ratio: f64,
    /// US dollars below which a day's cost wakes nobody. Default 1.
    #[schemars(range(min = 0))]
    pub min_spend_usd: f64,
    /// Days beyond the limit among the last `of` known ones that fire. Default 2.
    #[schemars(range(min = 1, max = 1000))]
    pub fire: u32,
    /// Known days that are looked at. Default 3.
    #[schemars(range(min = 1, max = 1000))]
    pub of: u32,
    /// Known days in a row, within four fifths of the limit, that clear. Default 2.
    #[schemars(range(min = 1, max = 1000))]
    pub clear: u32,
    /// Days between two notices of the same rule. Default 0.
    #[schemars(range(min = 0, max = 1000))]
    pub cooldown: u32,
    /// Judged traces after which a false alarm of the running evidence may be expected on average; more where the share
    /// of `false_alarms_per_week` asks for it. Default 1000.
    #[schemars(range(min = 10))]
    pub false_alarm_every: f64,
}

impl DriftPolicy {
    /// Windows of a day.
    pub fn windows_a_day(&self) -> usize {
        (24 / self.window_hours.clamp(1, 24)) as usize
    }

    /// Whether the hour of the week counts.
    pub fn by_hour_of_week(&self) -> bool {
        self.hour_of_week.unwrap_or(self.window_hours < 24)
    }
}

impl Default for DriftPolicy {
    fn default() -> Self {
        Self {
            alpha: 0.01,
            window_hours: 24,
            hour_of_week: None,
            false_alarms_per_week: 1.0,
            baseline_days: 7,
            quality_drop: 10.0,
            latency_p95_ms: None,
            latency_ratio: 2.0,
            loop_ratio: 3.0,
            tool_error_rate: 0.15,
            cost_ratio: 2.0,
            min_spend_usd: 1.0,
            fire: 2,
            of: 3,
            clear: 2,
            cooldown: 0,
            false_alarm_every: 1_000.0,
        }
    }
}
