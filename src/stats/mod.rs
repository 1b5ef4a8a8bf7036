//! Numbers only: estimates, intervals, tests, agreement, power.
//!
//! Knows nothing of examples, judges or runs; imports nothing of this crate. Nothing here draws from ambient
//! randomness and no function returns NaN: what is not defined is absent, with a status that says why. Arguments named
//! `level` are two-sided confidence levels such as 0.95, `alpha` one-sided error probabilities such as 0.05; both lie
//! strictly between 0 and 1. `clusters[i]` is any number that names the independent unit of value i.

mod agreement;
mod alarm;
mod alert;
mod anytime;
mod assignment;
mod attribution;
mod bootstrap;
mod bradley_terry;
mod careful;
pub mod cases;
mod chart;
mod cluster;
mod confusion;
mod design;
mod dist;
mod effect;
mod envelope;
mod evidence;
#[cfg(test)]
mod goldens;
mod label_mass;
mod margin;
mod mcnemar;
mod mean;
mod moments;
mod multiple;
mod paired;
mod pairwise;
mod power;
mod ppi;
mod proportion;
mod quantile;
mod repeats;
mod rogan_gladen;
mod sequence;
mod signflip;
mod unpaired;
mod variance;
mod wilcoxon;

pub use agreement::{
    Metric, Weighting, cohen_kappa, gwet_ac, kendall_tau_b, krippendorff_alpha, pearson, percent, spearman,
};
pub use alarm::{Alarm, Rhythm, STALE_AFTER, Told};
pub use alert::{Condition, Level, cost_ratio, error_rate, is_small_spend, p95_above, p95_ratio, quality_drop};
pub use anytime::{ASYMPTOTIC_UNITS, Horizon, Unit, anytime_difference, anytime_margin, units};
pub use assignment::assign;
pub use attribution::{
    Culprit, Marks, SpanAttribution, StepAttribution, span_attribution, step_attribution, steps_within,
};
pub use bootstrap::{
    Bootstrap, Draws, StatisticBootstrap, bootstrap_mean, bootstrap_mean_drawn, bootstrap_statistic, resamples,
};
pub use bradley_terry::{Bout, BradleyTerry, Ranking, bradley_terry, rank_by_examples, rank_intervals, wins};
pub use chart::{ChangePoint, Cusum, Ewma, change_point, change_point_p, cusum, ewma, sd_of_steps};
pub use cluster::{
    ClusteredMean, Hajek, PoissonSample, Strata, clustered_mean, hajek, is_singletons, mean_cr2, mean_hajek,
    mean_weighted, poisson_sample,
};
pub use confusion::Confusion;
pub use design::{Design, Designed, designed, mean_designed};
pub use dist::{normal_cdf, normal_quantile, normal_sf, t_cdf, t_quantile, t_sf};
pub use effect::{EffectSizes, RateEffects, effect_sizes, rate_effects};
pub use envelope::{Estimate, Interval, Status};
pub use evidence::{Evidence, Gather, e_detector, e_detector_against, e_process, mixture_sprt};
pub use label_mass::{LEAST_MASS, LabelMass, label_mass};
pub use margin::{
    Bounds, Finding, MarginTest, equal_differences, equal_differences_p_below, estimate_margin, one_sided, t_margin,
};
pub use mcnemar::{McNemar, PairedCounts, mcnemar, tango, tango_interval, tango_margin, tango_z};
pub use mean::{empirical_bernstein, equal_values, hoeffding, mean_t};
pub use multiple::{benjamini_hochberg, benjamini_yekutieli, bonferroni, holm};
pub use paired::{PairedT, paired_t};
pub use pairwise::{BothOrders, LEAST_CONSISTENCY, LengthControlled, Pairwise, Preferred, length_controlled, pairwise};
pub use power::{Plan, Variances, detectable, examples_needed, mcnemar_power, t_power};
pub use ppi::{FEW_LABELS, FEWEST_LABELS, Ppi, PpiSample, Tuning, ppi_mean};
pub use proportion::{clopper_pearson, clopper_pearson_lower, clopper_pearson_upper, proportion, wilson};
pub use quantile::{QuantileInterval, quantile, quantile_estimate, quantile_sorted};
pub use repeats::{Repeats, pass_at_k, pass_hat_k, repeats};
pub use rogan_gladen::{JudgedCounts, RoganGladen, allocate_labels, rogan_gladen};
pub use sequence::{Sequence, asymptotic, empirical_bernstein_sequence, normal_mixture};
pub use signflip::{EXACT_CLUSTERS, SignFlip, sign_flip};
pub use unpaired::{independent_difference, newcombe, two_sided_p, welch};
pub use variance::{Allocation, Budget, Nested, OneWay, allocate, nested, one_way};
pub use wilcoxon::{SignedRank, Signs, Zeros, signed_rank, signed_rank_exact, signs};
