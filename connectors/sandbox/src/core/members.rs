//! What one audience holds: the digests as uploaded (exact, for tests) and the persons the platform found behind them.
//!
//! The two are kept apart because platforms do the same: an upload *resolves* rows to accounts and a removal takes out
//! whoever its row resolves to, by any key. A client that adds a changed row and then removes the old one loses the
//! person although the new digests are still "held"; [`Members::drift`] counts such cases.

use super::key::{Key, KeyMap, PersonMap, PersonSet, Rows};
use super::people::People;
use serde::{Deserialize, Serialize};

const DAY_MS: i64 = 86_400_000;

#[derive(Clone, Default, Debug, Serialize, Deserialize)]
pub(crate) struct Members {
    /// Digest → when it was last added, milliseconds since 1970.
    held: KeyMap<i64>,
    /// Account → when it was last added.
    persons: PersonMap<i64>,
    /// Nothing expires before this moment.
    #[serde(default)]
    next_sweep_ms: i64,
}

impl Members {
    /// Adds every row and says how many of them match an account.
    pub(crate) fn add(&mut self, rows: impl Iterator<Item = impl AsRef<[Key]>>, people: &People, now_ms: i64) -> u64 {
        let mut matched = 0;
        for row in rows {
            let mut found = false;
            for key in row.as_ref() {
                // An older request may be applied after a newer one; the newest time counts.
                let added = self.held.entry(*key).or_insert(now_ms);
                *added = now_ms.max(*added);
                if let Some(person) = people.person(key) {
                    let added = self.persons.entry(person).or_insert(now_ms);
                    *added = now_ms.max(*added);
                    found = true;
                }
            }
            matched += u64::from(found);
        }
        matched
    }

    /// Removes every row's digests, and every person any of them leads to.
    pub(crate) fn remove(&mut self, rows: impl Iterator<Item = impl AsRef<[Key]>>, people: &People) -> u64 {
        let mut matched = 0;
        for row in rows {
            let mut found = false;
            for key in row.as_ref() {
                self.held.remove(key);
                if let Some(person) = people.person(key) {
                    self.persons.remove(&person);
                    found = true;
                }
            }
            matched += u64::from(found);
        }
        matched
    }

    /// Removes what was last added before `at_ms`.
    pub(crate) fn remove_before(&mut self, at_ms: i64) {
        self.held.retain(|_, added| *added >= at_ms);
        self.persons.retain(|_, added| *added >= at_ms);
    }

    /// Forgets members older than `days`. Cheap to call on every access: it looks at the members at most once a day.
    pub(crate) fn expire(&mut self, days: Option<i64>, now_ms: i64) {
        let Some(days) = days else { return };
        if now_ms < self.next_sweep_ms || self.held.is_empty() {
            return;
        }
        self.remove_before(now_ms - days * DAY_MS + 1);
        let oldest = self.held.values().copied().min().unwrap_or(now_ms);
        self.next_sweep_ms = (oldest + days * DAY_MS).min(now_ms + DAY_MS);
    }

    pub(crate) fn extend(&mut self, rows: &Rows, people: &People, now_ms: i64) -> u64 {
        self.add(rows.iter(), people, now_ms)
    }

    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    pub(crate) fn matched(&self) -> usize {
        self.persons.len()
    }

    /// Sorted `kind:hex` of every digest held.
    pub(crate) fn list(&self) -> Vec<String> {
        let mut keys: Vec<&Key> = self.held.keys().collect();
        keys.sort_unstable();
        keys.into_iter().map(Key::text).collect()
    }

    pub(crate) fn persons(&self) -> Vec<u32> {
        let mut persons: Vec<u32> = self.persons.keys().copied().collect();
        persons.sort_unstable();
        persons
    }

    /// Persons a held digest leads to who are not in the audience, and persons in it without any held digest.
    pub(crate) fn drift(&self, people: &People) -> (usize, usize) {
        let backed: PersonSet = self.held.keys().filter_map(|key| people.person(key)).collect();
        let lost = backed.iter().filter(|p| !self.persons.contains_key(p)).count();
        let stray = self.persons.keys().filter(|p| !backed.contains(p)).count();
        (lost, stray)
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::Kind;
    use super::*;

    fn row(values: &[&str]) -> Vec<Key> {
        values.iter().map(|v| Key::of_plain(Kind::Email, v)).collect()
    }

    #[test]
    fn members_expire_by_last_added_time() {
        let (people, mut members) = (People::nobody(), Members::default());
        members.add([row(&["a"]), row(&["b"])].iter(), &people, 0);
        members.add([row(&["b"])].iter(), &people, 2 * DAY_MS);
        members.expire(Some(30), 30 * DAY_MS - 1);
        assert_eq!(members.held(), 2);
        members.expire(Some(30), 30 * DAY_MS);
        assert_eq!(members.held(), 1);
        members.expire(Some(30), 32 * DAY_MS);
        assert_eq!(members.held(), 0);
    }

    #[test]
    fn removing_an_old_row_after_adding_the_new_one_loses_the_person() {
        let people =
            People::from_digests([(Key::of_plain(Kind::Email, "e"), 7), (Key::of_plain(Kind::Email, "p2"), 7)]);
        let mut members = Members::default();
        members.add([row(&["e", "p1"])].iter(), &people, 0);
        members.add([row(&["e", "p2"])].iter(), &people, 0);
        members.remove([row(&["e", "p1"])].iter(), &people);
        assert_eq!((members.held(), members.matched(), members.drift(&people)), (1, 0, (1, 0)));
    }
}
