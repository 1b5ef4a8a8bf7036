//! What was decided on each candidate, as words that files and reports share.

use serde::Serialize;

/// Why a candidate was chosen, or why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Chosen: everything was asked for.
    All,
    /// Chosen by its rate.
    Rate,
    /// Chosen because a rule raised its rate; the rate alone would have left it out.
    Rule,
    /// Chosen among a fixed number.
    Count,
    /// Chosen by its risk score.
    Risk,
    /// Chosen with its cluster.
    Cluster,
    /// Chosen because it differs most from the others.
    Diverse,
    /// Left out by its rate.
    RateMissed,
    /// Left out: the fixed number was reached.
    CountReached,
    /// Left out by its risk score.
    RiskMissed,
    /// Left out with its cluster.
    ClusterMissed,
    /// Left out: its cluster had given enough.
    ClusterFull,
    /// Left out: the design gave it no chance.
    NoChance,
    /// Left out: a near-duplicate stands for it.
    NearDuplicate,
    /// Left out: others differ more.
    LessDiverse,
}

impl Decision {
    /// The word used in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Rate => "rate",
            Self::Rule => "rule",
            Self::Count => "count",
            Self::Risk => "risk",
            Self::Cluster => "cluster",
            Self::Diverse => "diverse",
            Self::RateMissed => "rate_missed",
            Self::CountReached => "count_reached",
            Self::RiskMissed => "risk_missed",
            Self::ClusterMissed => "cluster_missed",
            Self::ClusterFull => "cluster_full",
            Self::NoChance => "no_chance",
            Self::NearDuplicate => "near_duplicate",
            Self::LessDiverse => "less_diverse",
        }
    }
}

/// The decision on one candidate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decided {
    /// Key of the example.
    pub id: String,
    /// Stratum.
    pub stratum: String,
    /// Whether it was chosen.
    pub chosen: bool,
    /// Why.
    pub decision: Decision,
    /// Probability with which the design chooses it; absent where that is not known.
    pub probability: Option<f64>,
    /// How many near-duplicates it stands for, itself included; 0 where another one stands for it.
    pub represents: u64,
    /// Who stands for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub near_duplicate_of: Option<String>,
    /// Rules that hold for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
}
