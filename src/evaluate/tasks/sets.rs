//! Where tasks come from: a file, or a set that comes with Whittle and has a name.

use super::TasksError;
use super::file::{MAX_BYTES, Task, parse};
use crate::job::Job;
use crate::renamed::{Named, today};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// A set of tasks that comes with Whittle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShippedSet {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What is in it, for people.
    pub title: &'static str,
    /// Its lines, as in a file.
    pub text: &'static str,
}

/// The sets that come along.
const SETS: &[ShippedSet] = &[
    ShippedSet {
        name: "home",
        title: "Home: commands that hearth never saw",
        text: include_str!("../../../assets/tasks/home.jsonl"),
    },
    ShippedSet {
        name: "kitchen",
        title: "Kitchen appliance",
        text: include_str!("../../../assets/tasks/kitchen.jsonl"),
    },
    ShippedSet {
        name: "industrial",
        title: "Industrial sensor",
        text: include_str!("../../../assets/tasks/industrial.jsonl"),
    },
];

/// The sets that come with Whittle.
#[must_use]
pub const fn shipped() -> &'static [ShippedSet] {
    SETS
}

/// The tasks of a file, or of the set of this name if there is no such file.
///
/// # Errors
/// When there is neither, the file cannot be read or is no task file, or the job is cancelled.
pub fn load(spec: impl AsRef<Path>, job: &Job<'_>) -> Result<Vec<Task>, TasksError> {
    let path = spec.as_ref();
    let spec = &*path.to_string_lossy();
    let name = today(Named::Tasks, spec);
    let set = SETS.iter().find(|set| set.name == name);
    if let Some(set) = set.filter(|_| !path.exists()) {
        return parse(set.name, set.text.as_bytes(), job);
    }
    let failed = |source| TasksError::Io {
        path: path.into(),
        hint: hint(),
        source,
    };
    let mut bytes = Vec::new();
    // One byte more than is allowed tells that there is more.
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    parse(spec, &bytes, job)
}

/// The names that could have been meant.
fn hint() -> String {
    let names: Vec<&str> = SETS.iter().map(|set| set.name).collect();
    format!(" (sets with a name: {})", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_set_that_comes_along_can_be_read() {
        for set in shipped() {
            let tasks = load(set.name, &Job::silent()).unwrap();
            assert!(!tasks.is_empty(), "{}", set.name);
        }
        let names: BTreeSet<_> = shipped().iter().map(|set| set.name).collect();
        assert_eq!(names.len(), shipped().len());
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let message = load("no/such.jsonl", &Job::silent())
            .unwrap_err()
            .to_string();
        assert!(
            message.starts_with("cannot read tasks from no/such.jsonl"),
            "{message}"
        );
    }
}
