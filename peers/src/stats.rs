//! Numbers out of noisy rounds.

/// The middle value.
pub fn median(values: Vec<f64>) -> f64 {
    quantile(values, 0.5)
}

/// The value that the share `q` of the others stay below.
pub fn quantile(mut values: Vec<f64>, q: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() as f64 * q) as usize]
}

/// The median of the ratios round by round, so that what slows a whole round cancels out.
pub fn median_ratio(values: &[f64], base: &[f64]) -> f64 {
    median(values.iter().zip(base).map(|(v, b)| v / b).collect())
}
