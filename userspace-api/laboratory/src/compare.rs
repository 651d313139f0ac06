//! What changed between two results beyond noise.
//!
//! A figure is compared by its rounds, which know the machine's noise: the exact two-sided rank test of Mann and Whitney says how likely two sets of
//! rounds as far apart would be if nothing had changed, the Hodges-Lehmann estimate by how much they differ. A figure has changed when both say so:
//! a chance of at most one in twenty, and a difference of at least the threshold. No distribution is assumed; one wild round decides nothing.

use serde_json::Value;

/// Largest chance at which a difference counts.
pub const CHANCE_MAX: f64 = 0.05;

/// What two sets of rounds say.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Better beyond noise.
    Better,
    /// Worse beyond noise.
    Worse,
    /// Within noise, or a smaller difference than the threshold.
    Same,
    /// Even rounds that are wholly apart could be chance: there are too few.
    TooFewRounds,
}

/// A figure of both results.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Difference {
    /// Where it stands in both results.
    pub figure: String,
    /// Its unit.
    pub unit: String,
    /// Medians.
    pub before: f64,
    /// Of the second.
    pub after: f64,
    /// Hodges-Lehmann: the median of all differences between a round of the second and one of the first.
    pub shift: f64,
    /// That over the first median.
    pub relative: f64,
    /// How likely rounds so far apart are where nothing changed.
    pub chance: f64,
    /// The verdict.
    pub verdict: Verdict,
}

/// What was compared.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Comparison {
    /// What is not the same in both runs besides the figures, and should be.
    pub conditions: Vec<String>,
    /// Every figure of both, in their order.
    pub differences: Vec<Difference>,
    /// Figures that only one has.
    pub only_one: Vec<String>,
}

/// Compares; `threshold` is the least relative difference that counts.
#[must_use]
pub fn compare(before: &Value, after: &Value, threshold: f64) -> Comparison {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    figures(&before["tiers"], "", &mut first);
    figures(&after["tiers"], "", &mut second);
    let mut comparison = Comparison {
        conditions: conditions(before, after),
        differences: Vec::new(),
        only_one: Vec::new(),
    };
    for (name, one) in &first {
        match second.iter().find(|(other, _)| other == name) {
            Some((_, other)) => {
                comparison
                    .differences
                    .push(difference(name, one, other, threshold));
            }
            None => comparison.only_one.push(format!("{name} (first)")),
        }
    }
    for (name, _) in &second {
        if !first.iter().any(|(other, _)| other == name) {
            comparison.only_one.push(format!("{name} (second)"));
        }
    }
    comparison
}

/// Everything with rounds, by its path.
fn figures<'a>(of: &'a Value, path: &str, into: &mut Vec<(String, &'a Value)>) {
    let Some(map) = of.as_object() else {
        return;
    };
    if map.contains_key("rounds") && map.contains_key("better") {
        into.push((path.to_owned(), of));
        return;
    }
    for (name, value) in map {
        let below = match path.is_empty() {
            true => name.clone(),
            false => format!("{path} / {name}"),
        };
        figures(value, &below, into);
    }
}

/// What should be equal and is not.
fn conditions(before: &Value, after: &Value) -> Vec<String> {
    let mut unlike = Vec::new();
    for path in [
        "/format",
        "/tiny",
        "/scenario/name",
        "/scenario/topology",
        "/scenario/flow",
        "/scenario/trader",
        "/scenario/faults",
        "/scenario/latency",
        "/flow/checksum",
        "/machine/processor",
        "/machine/processors",
        "/machine/kernel",
        "/machine/mitigations",
        "/machine/clock",
    ] {
        let (one, other) = (before.pointer(path), after.pointer(path));
        if one != other {
            let text = |of: Option<&Value>| of.map_or("nothing".to_owned(), Value::to_string);
            let name = path.trim_start_matches('/').replace('/', " ");
            unlike.push(format!("{name}: {} and {}", text(one), text(other)));
        }
    }
    unlike
}

fn rounds(of: &Value) -> Vec<f64> {
    let rounds = of["rounds"].as_array().into_iter().flatten();
    rounds.filter_map(Value::as_f64).collect()
}

fn median(of: &[f64]) -> f64 {
    let mut sorted = of.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        len if len.is_multiple_of(2) => (sorted[len / 2 - 1] + sorted[len / 2]) / 2.0,
        len => sorted[len / 2],
    }
}

fn difference(name: &str, one: &Value, other: &Value, threshold: f64) -> Difference {
    let (first, second) = (rounds(one), rounds(other));
    let differences: Vec<f64> = second
        .iter()
        .flat_map(|after| first.iter().map(move |before| after - before))
        .collect();
    let (before, after, shift) = (median(&first), median(&second), median(&differences));
    let relative = shift / before.abs().max(f64::MIN_POSITIVE);
    let chance = rank_test(&first, &second);
    let is_higher_better = one["better"] == "higher";
    let verdict = if least_chance(first.len(), second.len()) > CHANCE_MAX {
        Verdict::TooFewRounds
    } else if chance > CHANCE_MAX || relative.abs() < threshold {
        Verdict::Same
    } else if (shift > 0.0) == is_higher_better {
        Verdict::Better
    } else {
        Verdict::Worse
    };
    Difference {
        figure: name.to_owned(),
        unit: one["unit"].as_str().unwrap_or_default().to_owned(),
        before,
        after,
        shift,
        relative,
        chance,
        verdict,
    }
}

/// Chance of the two sets being wholly apart where nothing changed: the least that the test can say.
fn least_chance(first: usize, second: usize) -> f64 {
    let ways = arrangements(first, second);
    2.0 / ways.iter().sum::<f64>()
}

/// How many of the orders in which rounds of two sets can come have each count of pairs with the second's above the first's.
fn arrangements(first: usize, second: usize) -> Vec<f64> {
    // By rounds of the second set: the last in order is of the first set, above which none is, or of the second, above all of the first.
    let mut ways = vec![vec![vec![1.0_f64]; second + 1]; first + 1];
    for a in 1..=first {
        for b in 1..=second {
            let mut of = vec![0.0; a * b + 1];
            for (count, before) in ways[a - 1][b].iter().enumerate() {
                of[count] += before;
            }
            for (count, before) in ways[a][b - 1].iter().enumerate() {
                of[count + a] += before;
            }
            ways[a][b] = of;
        }
    }
    ways.swap_remove(first).swap_remove(second)
}

/// The exact two-sided chance of Mann and Whitney. Equal values count half, which makes it a little careful.
fn rank_test(first: &[f64], second: &[f64]) -> f64 {
    let mut above = 0.0_f64;
    for one in first {
        for other in second {
            above += match other.total_cmp(one) {
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Less => 0.0,
            };
        }
    }
    let pairs = (first.len() * second.len()) as f64;
    let least = above.min(pairs - above).ceil() as usize;
    let ways = arrangements(first.len(), second.len());
    let total: f64 = ways.iter().sum();
    let below: f64 = ways.iter().take(least + 1).sum();
    (2.0 * below / total).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn one(rounds: &[f64], better: &str) -> Value {
        json!({"tiers": {"wire": {"speed": {"rounds": rounds, "median": median(rounds), "unit": "ns", "better": better}}}})
    }

    fn verdict(before: &[f64], after: &[f64], better: &str) -> Verdict {
        let comparison = compare(&one(before, better), &one(after, better), 0.02);
        assert_eq!(comparison.differences.len(), 1);
        comparison.differences[0].verdict
    }

    /// Values of the published tables (Mann and Whitney 1947, n = m = 5): U = 2 is the last at which two sides are at most 5%.
    #[test]
    fn chances_are_those_of_the_tables() {
        let ways = arrangements(5, 5);
        assert_eq!(ways.iter().sum::<f64>(), 252.0);
        assert_eq!(&ways[..4], &[1.0, 1.0, 2.0, 3.0]);
        assert!((least_chance(5, 5) - 2.0 / 252.0).abs() < 1e-12);
        assert!((least_chance(3, 3) - 0.1).abs() < 1e-12);
        let apart = rank_test(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]);
        assert!((apart - 0.1).abs() < 1e-12);
        assert!((rank_test(&[1.0, 2.0], &[1.0, 2.0]) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn what_is_apart_has_changed_and_what_overlaps_has_not() {
        let calm = [100.0, 101.0, 99.0, 100.5, 99.5];
        let slower = calm.map(|it| it * 1.1);
        assert_eq!(verdict(&calm, &slower, "lower"), Verdict::Worse);
        assert_eq!(verdict(&slower, &calm, "lower"), Verdict::Better);
        assert_eq!(verdict(&calm, &slower, "higher"), Verdict::Better);
        assert_eq!(verdict(&calm, &calm, "lower"), Verdict::Same);
        // One wild round changes nothing.
        let wild = [100.0, 101.0, 99.0, 100.5, 900.0];
        assert_eq!(verdict(&calm, &wild, "lower"), Verdict::Same);
        // Apart, but by less than what counts.
        let hair = calm.map(|it| it + 3.0 - 1.5);
        assert_eq!(verdict(&calm, &hair, "lower"), Verdict::Same);
        assert_eq!(
            verdict(&calm[..3], &slower[..3], "lower"),
            Verdict::TooFewRounds
        );
    }

    #[test]
    fn other_conditions_and_lone_figures_are_said() {
        let mut before = one(&[1.0], "lower");
        before["machine"] = json!({"kernel": "6.18"});
        before["tiers"]["latency"] = before["tiers"]["wire"].clone();
        let mut after = one(&[1.0], "lower");
        after["machine"] = json!({"kernel": "6.19"});
        let comparison = compare(&before, &after, 0.02);
        assert_eq!(comparison.conditions.len(), 1);
        assert!(comparison.conditions[0].contains("6.18"));
        assert_eq!(comparison.only_one, ["latency / speed (first)"]);
    }
}
