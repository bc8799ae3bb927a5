//! The age and size of the suppression lists.

use super::{ListLabel, Metrics};
use paceline_core::time::Wall;
use paceline_store::ListRow;

impl Metrics {
    /// Shows these lists and no others.
    pub fn suppression_lists(&self, lists: &[ListRow], now: Wall) {
        let (age, numbers) = (&self.0.suppression_age, &self.0.suppression_numbers);
        age.clear();
        numbers.clear();
        for list in lists {
            let label = ListLabel {
                list: list.name.to_string(),
            };
            let shown = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
            age.get_or_create(&label).set(shown(list.age(now).as_secs()));
            numbers.get_or_create(&label).set(shown(list.numbers));
        }
    }
}
