//! The text format that was before OpenMetrics. It differs in that a counter is described under the name of its samples, and in
//! that nothing stands at the end.

/// The same page in that format.
pub(super) fn of_open_metrics(page: &str) -> String {
    let counters = page.lines().filter_map(|line| {
        line.strip_prefix("# TYPE ").and_then(|described| described.strip_suffix(" counter"))
    });
    let counters: std::collections::HashSet<&str> = counters.collect();
    let mut classic = String::with_capacity(page.len());
    for line in page.lines().filter(|line| *line != "# EOF") {
        let described = ["# HELP ", "# TYPE "].into_iter().find_map(|start| {
            let (name, rest) = line.strip_prefix(start)?.split_once(' ')?;
            counters.contains(name).then_some((start, name, rest))
        });
        match described {
            Some((start, name, rest)) => {
                classic.extend([start, name, "_total ", rest]);
            }
            None => classic.push_str(line),
        }
        classic.push('\n');
    }
    classic
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_described_under_the_name_of_their_samples() {
        let page = "# HELP a b.\n# TYPE a counter\na_total{c=\"# TYPE\"} 1\n# HELP d e.\n# TYPE d gauge\nd 2\n# EOF\n";
        let expected = "# HELP a_total b.\n# TYPE a_total counter\na_total{c=\"# TYPE\"} 1\n# HELP d e.\n# TYPE d gauge\nd 2\n";
        assert_eq!(of_open_metrics(page), expected);
    }
}
