//! The statistics once more, slowly and as their authors write them: pairs, sorting, no shortcuts.

/// The slopes of all pairs, sorted.
fn slopes(values: &[(usize, f64)]) -> Vec<f64> {
    let mut slopes = Vec::new();
    for (i, earlier) in values.iter().enumerate() {
        for later in &values[i + 1..] {
            slopes.push((later.1 - earlier.1) / (later.0 - earlier.0) as f64);
        }
    }
    slopes.sort_by(f64::total_cmp);
    slopes
}

fn middle(sorted: &[f64]) -> f64 {
    (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2.0
}

/// Neighbours as one: the mean of two, counted from the latest.
pub(crate) fn pairs(values: &[(usize, f64)]) -> Vec<(usize, f64)> {
    let last = values[values.len() - 1].0;
    let blocks = last / 2;
    let mean = |block: usize| {
        let of_block = values.iter().filter(|(x, _)| blocks - (last - x) / 2 == block);
        let (count, sum) = of_block.fold((0, 0.0), |(count, sum), value| (count + 1, sum + value.1));
        (count > 0).then(|| (block, sum / f64::from(count)))
    };
    (0..=blocks).filter_map(mean).collect()
}

/// Sen 1968.
pub(crate) fn theil_sen(values: &[(usize, f64)]) -> f64 {
    middle(&slopes(values))
}

/// S and its variance without the correction for resemblance.
fn concordance(values: &[(usize, f64)]) -> (f64, f64) {
    let mut s = 0.0;
    for (i, earlier) in values.iter().enumerate() {
        s += values[i + 1..].iter().map(|later| (later.1 - earlier.1).total_cmp(&0.0) as i32 as f64).sum::<f64>();
    }
    let n = values.len() as f64;
    let mut variance = n * (n - 1.0) * (2.0 * n + 5.0);
    let mut distinct: Vec<f64> = values.iter().map(|value| value.1).collect();
    distinct.sort_by(f64::total_cmp);
    distinct.dedup();
    for value in distinct {
        let t = values.iter().filter(|other| other.1 == value).count() as f64;
        variance -= t * (t - 1.0) * (2.0 * t + 5.0);
    }
    (s, variance / 18.0)
}

fn normal_score(s: f64, variance: f64) -> f64 {
    if variance > 0.0 && s != 0.0 { (s - s.signum()) / variance.sqrt() } else { 0.0 }
}

/// Mann 1945, Kendall 1975, Hamed & Rao 1998 with eight lags: the normal score. Where it is no trend without the correction,
/// the correction is left out.
pub(crate) fn mann_kendall(values: &[(usize, f64)]) -> f64 {
    let (s, variance) = concordance(values);
    let alone = normal_score(s, variance);
    if alone.abs() <= 2.576 { alone } else { normal_score(s, variance * resemblance(values)) }
}

fn resemblance(values: &[(usize, f64)]) -> f64 {
    let (n, slope) = (values.len() as f64, theil_sen(values));
    let left: Vec<f64> = values.iter().map(|(x, y)| y - slope * *x as f64).collect();
    // Equal residuals rank by time.
    let before = |i: usize, j: usize| left[j] < left[i] || (left[j] == left[i] && j < i);
    let rank = |i: usize| (0..left.len()).filter(|j| before(i, *j)).count() as f64 - (n - 1.0) / 2.0;
    let ranks: Vec<(usize, f64)> = values.iter().enumerate().map(|(i, (x, _))| (*x, rank(i))).collect();
    let squares: f64 = ranks.iter().map(|(_, rank)| rank * rank).sum();
    let mut sum = 0.0;
    for lag in 1..=8 {
        let later = |x: usize| ranks.iter().find(|(other, _)| *other == x + lag).map_or(0.0, |(_, rank)| *rank);
        let rho = ranks.iter().map(|(x, rank)| rank * later(*x)).sum::<f64>() / squares;
        if rho.abs() > 1.959_964 / n.sqrt() {
            let k = lag as f64;
            sum += (n - k) * (n - k - 1.0) * (n - k - 2.0) * rho;
        }
    }
    (1.0 + 2.0 * sum / (n * (n - 1.0) * (n - 2.0))).max(1.0)
}

/// The chance of a normal score at least this far from 0, by the midpoint rule over ten deviations.
pub(crate) fn two_sided_p(z: f64) -> f64 {
    const STEPS: u32 = 20_000;
    let width = 10.0 / f64::from(STEPS);
    let density = |x: f64| (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    (0..STEPS).map(|step| 2.0 * width * density(z.abs() + width * (f64::from(step) + 0.5))).sum()
}
