//! Names that were given up: what somebody wrote down goes on to mean the same.
//!
//! Recipes, boards, sets of tasks and models are named in projects, limits, grids and scripts. Who gives one of
//! them another name adds a line to `RENAMED`; `tests/old-files/names.txt` has every name that there ever was,
//! and a test opens them all.

/// What a name is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// A recipe that comes along.
    Recipe,
    /// A board that is built in.
    Board,
    /// A set of tasks that comes along.
    Tasks,
    /// A model of the catalog.
    Model,
}

/// What was renamed, from which name to which of today.
const RENAMED: &[(Named, &str, &str)] = &[];

/// The name that `name` has today.
#[must_use]
pub fn today(kind: Named, name: &str) -> &str {
    in_list(RENAMED, kind, name)
}

fn in_list<'a>(list: &[(Named, &str, &'static str)], kind: Named, name: &'a str) -> &'a str {
    let mut lines = list.iter();
    let found = lines.find(|(of, before, _)| *of == kind && *before == name);
    found.map_or(name, |(_, _, today)| today)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_name_means_what_it_meant_and_any_other_itself() {
        let list = [
            (Named::Board, "c3", "esp32-c3"),
            (Named::Recipe, "c3", "small-3bit"),
        ];
        let today = |kind, name| in_list(&list, kind, name).to_owned();
        assert_eq!(today(Named::Board, "c3"), "esp32-c3");
        assert_eq!(today(Named::Recipe, "c3"), "small-3bit");
        assert_eq!(today(Named::Tasks, "c3"), "c3");
        assert_eq!(today(Named::Board, "esp32-c3"), "esp32-c3");
        // One step leads to a name of today.
        let is_old = |name| RENAMED.iter().any(|(_, before, _)| *before == name);
        assert!(!RENAMED.iter().any(|(_, _, today)| is_old(*today)));
    }
}
