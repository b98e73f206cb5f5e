//! The rules for what stands together in a folder: no circles among its files, no type name twice.

use crate::lexer::is_word;
use crate::rules::{Finding, Source};
use std::collections::{BTreeMap, BTreeSet};

/// Where crates with folders begin.
const ROOTS: &[&str] = &["src", "firmware/engine/src"];

/// Folders in which type names stand twice, and why.
const TWINS: &[(&str, &str)] = &[(
    "firmware/engine/src/kernels/x86",
    "each level of an architecture has the same names",
)];

/// A rule for all files together.
type Rule = fn(&[Source<'_>]) -> Vec<Finding>;

/// All rules for folders.
pub(crate) const RULES: &[Rule] = &[circles, types_twice];

/// A module: the root of its crate, then its names.
type Place = Vec<String>;

/// Files of a folder do not use each other in a circle. What a `mod.rs` shows is reached through it: who names
/// `super::Journal` uses the file that has `Journal`. A `mod.rs` itself may use all of its files, and they it.
fn circles(sources: &[Source<'_>]) -> Vec<Finding> {
    let crates = Crates::read(sources);
    let mut folders: BTreeMap<String, BTreeSet<Use>> = BTreeMap::new();
    for (from, index) in &crates.modules {
        for (path, line) in paths(&sources[*index]) {
            let Some(to) = crates.resolve(from, &path, 0) else {
                continue;
            };
            let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
            let (Some(user), Some(used)) = (from.get(common), to.get(common)) else {
                continue;
            };
            let (user, used) = (user.clone(), used.clone());
            let source = *index;
            folders
                .entry(from[..common].join("/"))
                .or_default()
                .insert(Use {
                    user,
                    used,
                    source,
                    line,
                });
        }
    }
    let found = folders.values().flat_map(in_circles);
    found
        .map(|arc| {
            let message = format!(
                "circle: `{}` uses `{}`, which leads back to it",
                arc.user, arc.used
            );
            sources[arc.source].finding(arc.line, message)
        })
        .collect()
}

/// One file or folder that uses another beside it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Use {
    /// Where: the file's number and its line.
    source: usize,
    line: usize,
    user: String,
    used: String,
}

/// Those that lead back to where they began.
fn in_circles(uses: &BTreeSet<Use>) -> Vec<&Use> {
    let mut reached: BTreeSet<(&str, &str)> = uses
        .iter()
        .map(|arc| (arc.user.as_str(), arc.used.as_str()))
        .collect();
    loop {
        let further: Vec<(&str, &str)> = reached
            .iter()
            .flat_map(|(from, through)| {
                let onward = reached.iter().filter(move |(user, _)| user == through);
                onward.map(move |(_, to)| (*from, *to))
            })
            .filter(|pair| !reached.contains(pair))
            .collect();
        if further.is_empty() {
            break;
        }
        reached.extend(further);
    }
    let leads_back = |arc: &&Use| reached.contains(&(arc.used.as_str(), arc.user.as_str()));
    uses.iter().filter(leads_back).collect()
}

/// The modules of all crates, and what each brings into its names.
struct Crates {
    /// Each module and the number of its file.
    modules: BTreeMap<Place, usize>,
    /// The modules and the folders that they are in.
    places: BTreeSet<Place>,
    /// A module and a name in it, and the path that the name stands for.
    imports: BTreeMap<(Place, String), Vec<String>>,
}

impl Crates {
    fn read(sources: &[Source<'_>]) -> Self {
        let modules: BTreeMap<Place, usize> = sources
            .iter()
            .enumerate()
            .filter_map(|(index, source)| Some((place(source.path)?, index)))
            .collect();
        let mut imports = BTreeMap::new();
        for (module, index) in &modules {
            let source = &sources[*index];
            let uses = (0..source.tests_start()).filter(|at| source.word(*at) == "use");
            for at in uses {
                let mut leaves = Vec::new();
                read_tree(source, at + 1, &[], &mut leaves);
                for leaf in leaves {
                    imports.insert((module.clone(), leaf.name), leaf.path);
                }
            }
        }
        let all = |place: &Place| {
            (1..=place.len())
                .map(|n| place[..n].to_vec())
                .collect::<Vec<_>>()
        };
        Self {
            places: modules.keys().flat_map(all).collect(),
            modules,
            imports,
        }
    }

    /// The module in which what `path` names is defined, seen from module `from`; none outside of the crate.
    fn resolve(&self, from: &Place, path: &[String], depth: usize) -> Option<Place> {
        let mut at = from.clone();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => {
                at.truncate(1);
                rest = &path[1..];
            }
            "self" => rest = &path[1..],
            "super" => {
                while rest.first().is_some_and(|name| name == "super") && at.len() > 1 {
                    at.pop();
                    rest = &rest[1..];
                }
            }
            name => {
                self.places.get(&child(from, name))?;
            }
        }
        while let Some(name) = rest.first() {
            let inner = child(&at, name);
            if self.places.contains(&inner) {
                at = inner;
                rest = &rest[1..];
                continue;
            }
            // Imports of imports end soon; one that leads to itself ends here.
            if depth < 8
                && let Some(import) = self.imports.get(&(at.clone(), name.clone()))
            {
                let whole = [import, &rest[1..]].concat();
                return self.resolve(&at, &whole, depth + 1).or(Some(at));
            }
            break;
        }
        Some(at)
    }
}

fn child(place: &Place, name: &str) -> Place {
    let mut inner = place.clone();
    inner.push(name.to_owned());
    inner
}

/// The module that a file is; none for programs and for files outside of [`ROOTS`].
fn place(path: &str) -> Option<Place> {
    let root = ROOTS.iter().find(|root| {
        let inside = path.strip_prefix(**root);
        inside.is_some_and(|rest| rest.starts_with('/'))
    })?;
    let inside = path[root.len() + 1..].strip_suffix(".rs")?;
    if inside == "main" {
        return None;
    }
    let mut place = vec![(*root).to_owned()];
    place.extend(inside.split('/').map(str::to_owned));
    if matches!(place.last().map(String::as_str), Some("mod" | "lib")) {
        place.pop();
    }
    Some(place)
}

/// Paths of a file that begin at the crate, at a module above, or at itself, its unit tests left out.
fn paths(source: &Source<'_>) -> Vec<(Vec<String>, usize)> {
    let mut found = Vec::new();
    for at in 0..source.tests_start() {
        let begins = matches!(source.word(at), "crate" | "super" | "self");
        let continues = at > 0 && source.word(at - 1) == "::";
        if begins && !continues && source.word(at + 1) == "::" {
            let mut leaves = Vec::new();
            read_tree(source, at, &[], &mut leaves);
            let line = source.words[at].line;
            found.extend(leaves.into_iter().map(|leaf| (leaf.path, line)));
        }
    }
    found
}

/// One path of an import and the name that it brings.
struct Leaf {
    path: Vec<String>,
    name: String,
}

/// Reads `a::{b, c::d as e}` from word `at` on as the paths it stands for; gives the word after it.
fn read_tree(
    source: &Source<'_>,
    mut at: usize,
    before: &[String],
    leaves: &mut Vec<Leaf>,
) -> usize {
    let mut path = before.to_vec();
    loop {
        let word = source.word(at);
        if word == "{" {
            at += 1;
            while !matches!(source.word(at), "}" | "") {
                at = match source.word(at) {
                    "," => at + 1,
                    _ => read_tree(source, at, &path, leaves).max(at + 1),
                };
            }
            return at + 1;
        }
        if !word.starts_with(is_word) {
            break;
        }
        // `{self, b}` names the module itself.
        if word != "self" || path.is_empty() {
            path.push(word.to_owned());
        }
        at += 1;
        if source.word(at) != "::" {
            break;
        }
        at += 1;
    }
    let mut name = path.last().cloned().unwrap_or_default();
    if source.word(at) == "as" {
        source.word(at + 1).clone_into(&mut name);
        at += 2;
    }
    if !path.is_empty() {
        leaves.push(Leaf { path, name });
    }
    at
}

/// A type's name stands once in a folder, those of unit tests aside; one file may have it for each system.
fn types_twice(sources: &[Source<'_>]) -> Vec<Finding> {
    let mut seen: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    let mut findings = Vec::new();
    for source in sources {
        let Some((folder, _)) = source.path.rsplit_once('/') else {
            continue;
        };
        let is_known = TWINS.iter().any(|(known, _)| *known == folder);
        if is_known || !source.path.starts_with("src/") && !source.path.starts_with("firmware/") {
            continue;
        }
        for at in types_of(source) {
            let name = source.word(at);
            if let Some(other) = seen.insert((folder, name), source.path)
                && other != source.path
            {
                let message = format!("`{name}` stands in {other} too: name one of them otherwise");
                findings.push(source.finding(source.words[at].line, message));
            }
        }
    }
    findings
}

/// The names of the types that a file defines; those that belong to a trait's implementation are none.
fn types_of(source: &Source<'_>) -> Vec<usize> {
    let mut depth = 0;
    let mut names = Vec::new();
    for at in 0..source.tests_start() {
        match source.word(at) {
            "{" => depth += 1,
            "}" => depth -= 1,
            "struct" | "enum" | "trait" => names.push(at + 1),
            "type" if depth == 0 => names.push(at + 1),
            _ => {}
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `rule` finds exactly these places in `files`.
    fn check(rule: Rule, files: &[(&str, &str)], expected: &[(&str, usize)]) {
        let sources: Vec<Source<'_>> = files
            .iter()
            .map(|(path, text)| Source::new(path, text))
            .collect();
        let found = rule(&sources);
        let places: Vec<(&str, usize)> = found.iter().map(|f| (f.path(), f.line())).collect();
        assert_eq!(places, expected, "{files:?}");
    }

    #[test]
    fn two_files_that_use_each_other_are_found() {
        let (a, b) = ("src/tune/a.rs", "src/tune/b.rs");
        let both = [(a, 2), (b, 1)];
        check(
            circles,
            &[(a, "\nuse super::b::B;"), (b, "use super::a;")],
            &both,
        );
        check(
            circles,
            &[
                (a, "\nuse crate::tune::b;"),
                (b, "fn f() { super::a::g() }"),
            ],
            &both,
        );
        check(
            circles,
            &[
                (a, "\nuse super::{b::{self, B}, c};"),
                (b, "use super::a::A as X;"),
            ],
            &both,
        );
        check(
            circles,
            &[(a, "use super::b::B;"), (b, "use super::c;")],
            &[],
        );
        check(
            circles,
            &[(a, "use super::b::B;"), (b, "// use super::a;")],
            &[],
        );
        let tests = "#[cfg(test)]\nmod tests {\n    use super::super::a;\n}";
        check(circles, &[(a, "use super::b::B;"), (b, tests)], &[]);
    }

    #[test]
    fn a_circle_through_three_files_and_a_folder_is_found() {
        let files = [
            ("src/tune/a.rs", "use super::b::B;"),
            ("src/tune/b/deep.rs", "use crate::tune::c::C;"),
            ("src/tune/b/mod.rs", "mod deep;"),
            ("src/tune/c.rs", "use super::a::A;"),
            ("src/tune/d.rs", "use super::a::A;"),
        ];
        let expected = [(files[0].0, 1), (files[1].0, 1), (files[3].0, 1)];
        check(circles, &files, &expected);
    }

    #[test]
    fn what_a_folder_shows_is_found_where_it_is_defined() {
        let (a, b, top) = ("src/tune/a.rs", "src/tune/b.rs", "src/tune/mod.rs");
        let uses = [(a, "use super::B;"), (b, "use super::a::A;")];
        let both = [(a, 1), (b, 1)];
        let with = |text| [&uses[..], &[(top, text)]].concat();
        check(circles, &with("mod a;\nmod b;\npub use b::B;"), &both);
        check(circles, &with("mod a;\nmod b;\nuse b::{C, X as B};"), &both);
        // What it defines itself, and what it has from elsewhere, closes no circle.
        check(
            circles,
            &with("mod a;\nmod b;\npub struct B;\nuse a::A;"),
            &[],
        );
        check(circles, &with("pub use crate::model::B;"), &[]);
    }

    #[test]
    fn a_type_name_that_stands_twice_is_found() {
        let (a, b) = ("src/cli/a.rs", "src/cli/b.rs");
        let check = |first, second, expected: &[(&str, usize)]| {
            check(types_twice, &[(a, first), (b, second)], expected);
        };
        check("struct Report {}", "\npub(super) enum Report {}", &[(b, 2)]);
        check(
            "type Report = u8;",
            "fn f() {\n    struct Report;\n}",
            &[(b, 2)],
        );
        check("struct Report;", "struct Reported;", &[]);
        check(
            "impl X for Y {\n    type Output = u8;\n}",
            "type Output = u8;",
            &[],
        );
        check(
            "struct R;",
            "#[cfg(test)]\nmod tests {\n    struct R;\n}",
            &[],
        );
    }

    #[test]
    fn a_type_name_in_two_folders_is_fine() {
        let files = [
            ("src/cli/a.rs", "struct R;"),
            ("src/cli/eval/a.rs", "struct R;"),
        ];
        check(types_twice, &files, &[]);
    }
}
