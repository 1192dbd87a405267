//! Numbers as sentences have them: short, with their unit, and no more exact than they are.

/// A share as a percentage: `39 %`, `2.5 %`, `0.0005 %`.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent.abs() {
        none if none < 1e-9 => "0 %".to_owned(),
        small if small < 0.095 => format!("{percent:.4} %"),
        tenths if tenths < 10.0 => format!("{percent:.1} %"),
        _ => format!("{percent:.0} %"),
    }
}

/// Bytes in the largest unit that leaves a whole number of digits before the point.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["B", "kB", "MB", "GB"];
    let mut amount = bytes as f64;
    let mut units = UNITS.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    for larger in units {
        if amount < 1000.0 {
            break;
        }
        amount /= 1000.0;
        unit = larger;
    }
    if amount < 10.0 && unit != "B" {
        format!("{amount:.1} {unit}")
    } else {
        format!("{amount:.0} {unit}")
    }
}

/// A length of time: `0.4 s`, `50 s`, `12 min`, `5.0 h`, `5.0 days`.
pub fn duration(seconds: f64) -> String {
    match seconds {
        short if short < 10.0 => format!("{short:.1} s"),
        short if short < 600.0 => format!("{short:.0} s"),
        minutes if minutes < 7200.0 => format!("{:.0} min", minutes / 60.0),
        hours if hours < 172_800.0 => format!("{:.1} h", hours / 3600.0),
        days => format!("{:.1} days", days / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_have_a_unit() {
        assert_eq!(
            [0.393, 0.025, 0.001, 5e-6, 1.0, 0.0].map(percent),
            ["39 %", "2.5 %", "0.1 %", "0.0005 %", "100 %", "0 %"]
        );
        assert_eq!(
            [999, 8192, 25_000_000, 1_700_000_000].map(bytes),
            ["999 B", "8.2 kB", "25 MB", "1.7 GB"]
        );
        assert_eq!(
            [0.42, 50.0, 720.0, 18_000.0, 432_000.0].map(duration),
            ["0.4 s", "50 s", "12 min", "5.0 h", "5.0 days"]
        );
    }
}
