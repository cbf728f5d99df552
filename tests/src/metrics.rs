//! Reading `/metrics`.

/// Sum of the samples called `name` in a page of metrics whose labels hold every text of `labels`; 0 when there is none.
pub fn metric(page: &str, name: &str, labels: &[&str]) -> f64 {
    let samples = page.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (this, own_labels) = series.split_once('{').unwrap_or((series, ""));
        let fits = this == name && labels.iter().all(|label| own_labels.contains(label));
        if fits { value.parse::<f64>().ok() } else { None }
    });
    samples.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_one_name_are_added_up_by_label() {
        let page = "# TYPE a_total counter\na_total{x=\"1\",y=\"2\"} 3\na_total{x=\"2\"} 4\na_total_more 9\nb 1.5\n";
        assert_eq!(metric(page, "a_total", &[]), 7.0);
        assert_eq!(metric(page, "a_total", &["x=\"1\""]), 3.0);
        assert_eq!(metric(page, "b", &[]), 1.5);
        assert_eq!(metric(page, "c", &[]), 0.0);
    }
}
