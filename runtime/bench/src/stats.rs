//! Statistics of the measurements: the best of several rounds, quantiles, ratios. Pure.

/// One figure over rounds: the smallest counts, since whatever else the machine does only ever adds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rounds {
    values: Vec<f64>,
}

impl Rounds {
    /// Takes the figure of one more round. What is not a number is left out.
    pub fn push(&mut self, value: f64) {
        if value.is_finite() {
            self.values.push(value);
        }
    }

    /// The smallest.
    pub fn best(&self) -> Option<f64> {
        self.values.iter().copied().reduce(f64::min)
    }

    /// The one in the middle.
    pub fn median(&self) -> Option<f64> {
        quantile(&mut self.values.clone(), 0.5)
    }

    /// How far the rounds lie apart: the median over the best, 1 when all are the same.
    pub fn spread(&self) -> Option<f64> {
        ratio(self.median(), self.best())
    }
}

/// The value below which this part of all values lies: 0.5 for the median. The nearest value that there is, none between two.
pub fn quantile(values: &mut [f64], part: f64) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    values.sort_unstable_by(f64::total_cmp);
    // The nearest-rank method: the smallest value that at least this part of all does not exceed.
    let rank = (part * values.len() as f64).ceil().max(1.0) as usize;
    values.get(rank.min(values.len()) - 1).copied()
}

/// One figure over another, when there are both and the other is above zero.
pub fn ratio(of: Option<f64>, to: Option<f64>) -> Option<f64> {
    match (of, to) {
        (Some(of), Some(to)) if to > 0.0 => Some(of / to),
        _ => None,
    }
}

/// Messages in a second from the nanoseconds that one takes.
pub fn per_second(nanoseconds: Option<f64>) -> Option<f64> {
    ratio(Some(1e9), nanoseconds)
}

/// A figure with three digits that say something, and its thousands shortened: `1.23`, `45.6k`, `789M`.
pub fn short(value: f64) -> String {
    let (value, unit) = match value.abs() {
        size if size >= 999.5e6 => (value / 1e9, "G"),
        size if size >= 999.5e3 => (value / 1e6, "M"),
        size if size >= 9_995.0 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let decimals = match value.abs() {
        size if size == 0.0 || size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(values: &[f64]) -> Rounds {
        let mut rounds = Rounds::default();
        values.iter().for_each(|value| rounds.push(*value));
        rounds
    }

    #[test]
    fn the_best_round_is_the_one_that_was_disturbed_least() {
        let rounds = rounds(&[120.0, 100.0, f64::NAN, 300.0, f64::INFINITY]);
        assert_eq!(rounds.best(), Some(100.0));
        assert_eq!(rounds.median(), Some(120.0));
        assert_eq!(rounds.spread(), Some(1.2));
    }

    #[test]
    fn no_round_gives_no_figure() {
        assert_eq!(Rounds::default().best(), None);
        assert_eq!(Rounds::default().spread(), None);
        assert_eq!(quantile(&mut [], 0.5), None);
    }

    #[test]
    fn a_quantile_is_a_value_that_was_measured() {
        let mut values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(quantile(&mut values, 0.5), Some(50.0));
        assert_eq!(quantile(&mut values, 0.99), Some(99.0));
        assert_eq!(quantile(&mut values, 0.995), Some(100.0));
        assert_eq!(quantile(&mut values, 0.0), Some(1.0));
        assert_eq!(quantile(&mut values, 1.0), Some(100.0));
        assert_eq!(quantile(&mut [7.0], 0.99), Some(7.0));
    }

    #[test]
    fn a_ratio_needs_both_figures() {
        assert_eq!(ratio(Some(3.0), Some(2.0)), Some(1.5));
        assert_eq!(ratio(None, Some(2.0)), None);
        assert_eq!(ratio(Some(3.0), None), None);
        assert_eq!(ratio(Some(3.0), Some(0.0)), None);
        assert_eq!(per_second(Some(20_000.0)), Some(50_000.0));
    }

    #[test]
    fn figures_are_short_enough_to_be_read() {
        let figures = [0.0, 0.367, 1.0, 12.34, 999.4, 1_234.0, 12_345.0, 999_400.0, 1.2e6, 3.5e9];
        let texts: Vec<String> = figures.iter().map(|figure| short(*figure)).collect();
        assert_eq!(texts, ["0", "0.37", "1.00", "12.3", "999", "1234", "12.3k", "999k", "1.20M", "3.50G"]);
    }
}
