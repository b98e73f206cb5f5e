//! Fields for files that are written: named after the model and its recipe, shown from the root on.

use std::path::{Path, PathBuf, absolute};

/// Longest name that is proposed, in bytes: every file system takes it, with an extension.
const LONGEST_NAME: usize = 200;

/// The field of a path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PathField {
    /// As it is shown and edited.
    pub text: String,
    /// What a file dialog gave, or was proposed: its bytes need not be text.
    exact: Option<PathBuf>,
    /// What it was proposed for.
    proposed_for: String,
}

impl PathField {
    /// The path, from the root on.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        from_root(&self.as_typed())
    }

    /// As it is written there, which may be a name that is no path.
    #[must_use]
    pub fn as_typed(&self) -> PathBuf {
        match &self.exact {
            Some(path) if path.display().to_string() == self.text => path.clone(),
            Some(_) | None => self.text.trim().into(),
        }
    }

    /// Shows a path, or a name that is none.
    pub(super) fn show(&mut self, spec: PathBuf) {
        self.text = spec.display().to_string();
        self.exact = Some(spec);
    }

    /// Whether nothing is typed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.trim().is_empty()
    }

    /// Takes a path.
    pub fn set(&mut self, path: PathBuf) {
        let path = from_root(&path);
        self.text = path.display().to_string();
        self.exact = Some(path);
    }

    /// Proposes a file of this name. What was typed stays as long as it is for the same; after that, its folder.
    pub(super) fn propose(&mut self, name: &str, extension: &str, folder: &Path) {
        if self.proposed_for == name && !self.is_empty() {
            return;
        }
        let before = Some(self.path()).filter(|_| !self.is_empty());
        let folder = before.as_deref().and_then(Path::parent).unwrap_or(folder);
        self.set(folder.join(format!("{name}.{extension}")));
        name.clone_into(&mut self.proposed_for);
    }
}

fn from_root(path: &Path) -> PathBuf {
    // Without a current folder, a path is what it is.
    absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// A name without what file systems, shells or people stumble over.
pub(super) fn file_name(text: &str) -> String {
    let is_kept = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-');
    let words = text.split(|c| !is_kept(c)).filter(|word| !word.is_empty());
    let name = words.collect::<Vec<_>>().join("-");
    let mut end = name.len().min(LONGEST_NAME);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    let name = name[..end].trim_matches(['.', '-']);
    match name {
        "" => "model".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proposal_follows_its_name_and_keeps_what_was_typed_for_the_same() {
        let folder = std::env::temp_dir();
        let mut field = PathField::default();
        field.propose("hearth-balanced-4bit", "gguf", &folder);
        assert_eq!(field.path(), folder.join("hearth-balanced-4bit.gguf"));
        field.text = folder.join("mine/x.gguf").display().to_string();
        field.propose("hearth-balanced-4bit", "gguf", &folder);
        assert_eq!(field.path(), folder.join("mine/x.gguf"));
        field.propose("other-original", "gguf", &folder);
        assert_eq!(field.path(), folder.join("mine/other-original.gguf"));
        field.text = " relative.gguf ".into();
        let here = std::env::current_dir().unwrap();
        assert_eq!(field.path(), here.join("relative.gguf"));
    }

    #[test]
    fn names_are_plain() {
        let check = |text: &str, expected: &str| assert_eq!(file_name(text), expected);
        check("hearth-balanced-4bit", "hearth-balanced-4bit");
        check("SmolLM2 135M Instruct", "SmolLM2-135M-Instruct");
        check("a/b\\c: d?", "a-b-c-d");
        check("Küche 1.5B", "Küche-1.5B");
        check("../..", "model");
        check("", "model");
        assert_eq!(file_name(&"é".repeat(300)).len(), 200);
    }

    #[cfg(unix)]
    #[test]
    fn a_chosen_path_may_be_any_bytes() {
        use std::os::unix::ffi::OsStrExt as _;
        let path = PathBuf::from(std::ffi::OsStr::from_bytes(b"/tmp/k\xfcche.gguf"));
        let mut field = PathField::default();
        field.set(path.clone());
        assert_eq!(field.path(), path);
        field.text.push('2');
        assert_ne!(field.path(), path);
    }
}
