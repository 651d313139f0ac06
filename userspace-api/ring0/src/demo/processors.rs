//! How busy the processors were: on veth the kernel matches on the sender's (RULES 30).

use serde_json::{Value, json};

/// Places of user, system and softirq time in a line of `/proc/stat`, in hundredths of a second (proc(5)).
const COLUMNS: [(&str, usize); 3] = [("user_s", 1), ("system_s", 3), ("softirq_s", 7)];

/// The processors' times at one moment, everybody's together.
pub(super) struct Processors(Vec<(String, [u64; 3])>);

impl Processors {
    pub(super) fn now() -> Processors {
        let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let lines = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        let times = lines.filter_map(|fields| {
            let name = fields
                .first()?
                .strip_prefix("cpu")
                .filter(|number| !number.is_empty())?;
            let time = |at: usize| {
                fields
                    .get(at)
                    .and_then(|field| field.parse().ok())
                    .unwrap_or(0)
            };
            Some((format!("cpu{name}"), COLUMNS.map(|(_, at)| time(at))))
        });
        Processors(times.collect())
    }

    /// Seconds busy since then, of the whole machine.
    pub(super) fn busy_since(&self) -> Value {
        let now = Processors::now();
        let busy = self
            .0
            .iter()
            .zip(&now.0)
            .map(|((name, before), (_, after))| {
                let mut busy = json!({});
                for ((column, _), (before, after)) in COLUMNS.iter().zip(before.iter().zip(after)) {
                    busy[*column] = (after.saturating_sub(*before) as f64 / 100.0).into();
                }
                (name.clone(), busy)
            });
        Value::Object(busy.collect())
    }
}
